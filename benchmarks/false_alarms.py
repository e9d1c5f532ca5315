"""False alarms of `repro verify`: seeds of a stored reference against its other seeds.

Nothing differs between them but luck, so that at most 5 % of the cells should be outside their
interval, and next to none called NOT REPRODUCED after the correction for many cells. Single seeds
against single ones know nothing of the spread over seeds; they may be outside more often, and are
never called NOT REPRODUCED.
"""

from pathlib import Path

from repro.verify.alarms import alarm_rate, leave_out, one_to_one
from repro.verify.published import default_folder
from repro.verify.reference import load_reference

Row = dict[str, object]


def run(*, small: bool = False, repeats: int = 1, reference: Path | None = None) -> list[Row]:
    """Rows of the table, a kind of comparison each.

    Args:
        small: leave the pairs out.
        repeats: without meaning here, since nothing is timed.
        reference: the folder of a reference; that of the profile `embedded` by default.
    """
    folder = reference or default_folder() / "embedded"
    if not folder.is_dir():
        return [{"what": f"not run: {folder.name} is not recorded"}]
    stored = load_reference(folder).run
    seeds = len(stored.seeds)
    kinds = {f"1 seed against {seeds - 1}": leave_out(stored, 1)}
    if not small:
        kinds[f"2 seeds against {seeds - 2}"] = leave_out(stored, 2)
        kinds["1 seed against 1"] = one_to_one(stored)
    rows: list[Row] = []
    for name, splits in kinds.items():
        rate = alarm_rate(splits)
        rows.append(
            {
                "what": name,
                "splits": len(splits),
                "cells judged": rate.tests,
                "outside": f"{rate.share:.2%}",
                "at least": f"{max(0.0, rate.floor):.2%}",
                "not reproduced": sum(one.failed for one in splits),
                "splits with any": sum(one.failed > 0 for one in splits),
            }
        )
    return rows
