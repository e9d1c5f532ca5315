"""The registered margins, from `margins.toml` beside this file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from repro.spec.tasks import METRICS


@dataclass(frozen=True)
class SeedPrior:
    """The spread over seeds where none was measured.

    Attributes:
        scores: standard deviation by metric; facts: relative, by kind of fact.
        df: degrees of freedom that it counts for.
        shared: correlation within a fine-tune, test set and prompt.
    """

    scores: Mapping[str, float]
    facts: Mapping[str, float]
    df: float
    shared: float


@dataclass(frozen=True)
class Margins:
    """Fixed tolerances; each dict is by metric, "accuracy" and "rougeL".

    Attributes:
        same_weights: share of a cell's rows that may differ at L1; all_rows: of all rows of a run.
        first_step: relative difference of the first step's loss and gradient norm, same seed, by
            the dtype of the training.
        same_training: of every loss and the weight change, for trainings equal but for rounding.
        retrained: for L2; paper: for L3; claims: for claims of equality.
        logit_tie: labels whose logits are nearer than this are tied.
        rouge_spread: assumed spread of the paper's ROUGE-L rows, see the file.
        comparable: profiles that can be held against the paper's numbers.
        seed_spread: of claims and L3 on runs of few seeds.
    """

    same_weights: Mapping[str, float]
    all_rows: float
    first_step: Mapping[str, float]
    same_training: float
    retrained: Mapping[str, float]
    paper: Mapping[str, float]
    claims: Mapping[str, float]
    logit_tie: float
    rouge_spread: float
    comparable: tuple[str, ...]
    seed_spread: SeedPrior

    def first_step_in(self, dtype: object) -> float:
        """`first_step` of a dtype; that of float32 where it is not known."""
        return self.first_step.get(str(dtype), self.first_step["float32"])


def _by_metric(table: Mapping[str, Any]) -> dict[str, float]:
    return {metric: float(table[metric]) for metric in METRICS.values()}


@cache
def margins() -> Margins:
    """The margins as registered."""
    text = files("repro.verify").joinpath("margins.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    spread = table["seed_spread"]
    return Margins(
        _by_metric(table["same_weights"]),
        table["same_weights"]["all_rows"],
        table["training"]["first_step"],
        table["training"]["same_training"],
        _by_metric(table["retrained"]),
        _by_metric(table["paper"]),
        _by_metric(table["claims"]),
        table["rows"]["logit_tie"],
        table["rows"]["rouge_spread"],
        tuple(table["comparable"]["profiles"]),
        SeedPrior(
            _by_metric(table["seed_spread"]),
            {"weight change": spread["weight_change"], "final loss": spread["final_loss"]},
            spread["df"],
            spread["shared"],
        ),
    )
