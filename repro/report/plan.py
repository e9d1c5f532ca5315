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
    for heading in ("cells", "to do", "train", "prompt", "new", "time"):
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
        f"tokens: {counted}; prompts with each context once; new ones at most",
        f"time: by the rates of {compute.measured}",
        *needs,
    ]
    return Group(*notes, "", table)


def thousands(tokens: int) -> str:
    """A number of tokens in thousands or millions."""
    return f"{tokens / 1e6:.2f}M" if tokens >= 1e6 else f"{tokens / 1e3:.0f}k"


def _numbers(cost: Cost) -> tuple[str, str, str, str]:
    tokens = (cost.train_tokens, cost.prompt_tokens, cost.new_tokens)
    train, prompt, new = map(thousands, tokens)
    return train, prompt, new, duration(cost.seconds)
