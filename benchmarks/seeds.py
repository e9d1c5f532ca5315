"""How far another seed moves a score, of a real model and of the embedded one.

The registered spread (`[seed_spread]` in `repro/verify/margins.toml`) stands in where no seeds are
stored. Its accuracy and ROUGE-L are the 90th percentile of the real model's cells, rounded up.
"""

import math

import numpy as np

from benchmarks._paper_runs import REAL_SEEDS, seed_spreads
from repro.verify.margins import margins
from repro.verify.published import default_folder

Row = dict[str, object]


def run(*, small: bool = False, repeats: int = 1) -> list[Row]:
    """Rows of the table, a metric of stored seeds each; spreads are over sqrt(p (1 - p)).

    Args:
        small, repeats: without meaning here, since nothing is drawn or timed.
    """
    registered, rows = margins().seed_spread, []
    for folder in (REAL_SEEDS, default_folder() / "embedded"):
        for metric, spreads in seed_spreads(folder).items():
            most = float(np.quantile(spreads, 0.9))
            row: Row = {"seeds of": folder.name, "metric": metric, "cells": len(spreads)}
            row |= {"median": f"{np.median(spreads):.3f}", "90 % within": f"{most:.3f}"}
            row["root mean square"] = f"{np.sqrt(np.mean(spreads**2)):.3f}"
            row["registered"] = registered[metric]
            met = math.ceil(100 * most) / 100 == registered[metric]
            row["target met"] = ("yes" if met else "no") if folder == REAL_SEEDS else ""
            rows.append(row)
    return rows
