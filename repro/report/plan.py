"""The plan as a terminal table."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from repro.pipeline.estimate import Cost, total
from repro.pipeline.plan import Plan
from repro.pipeline.store import Store


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def plan_table(
    plan: Plan, store: Store, costs: Sequence[Cost], *, counted: str, needs: Sequence[str]
) -> RenderableType:
    """Models and cells to do, with tokens and time.

    Args:
        counted: how tokens were counted.
        needs: lines on memory and disk.
    """
    table = Table(title="Plan", title_justify="left", box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in ("cells", "to do", "train tokens", "prompt tokens", "new tokens", "time"):
        table.add_column(heading, justify="right")
    for job, cost in zip(plan.jobs, costs, strict=True):
        pending = sum(not store.has("cell", step.key) for step in job.cells)
        table.add_row(job.name, str(len(job.cells)), str(pending), *_numbers(cost))
    everything = total(costs)
    cells = sum(len(job.cells) for job in plan.jobs)
    pending = sum(not store.has("cell", s.key) for job in plan.jobs for s in job.cells)
    table.add_section()
    table.add_row(f"{len(plan.jobs)} models", str(cells), str(pending), *_numbers(everything))
    compute = plan.profile.compute
    notes = [
        f"profile {plan.profile.name}, protocol {plan.protocol_name}"
        + "".join(f", {name}={value}" for name, value in plan.overrides.items()),
        f"base model: {plan.spec.describe()}",
        f"tokens: {counted}; each context counted once; new tokens are the most there can be",
        f"time: by the rates of {compute.measured}",
        *needs,
    ]
    return Group(*notes, "", table)


def _numbers(cost: Cost) -> tuple[str, str, str, str]:
    return (
        f"{cost.train_tokens:,}",
        f"{cost.prompt_tokens:,}",
        f"{cost.new_tokens:,}",
        duration(cost.seconds),
    )
