"""The plan as a terminal table."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from repro.plan.cost import Cost, Row, duration, total


def plan_table(rows: Sequence[Row], notes: Sequence[str]) -> RenderableType:
    """Models and cells to do, with tokens and time.

    Args:
        notes: lines that stand above.
    """
    table = Table(title="Plan", title_justify="left", box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in ("cells", "to do", "train", "prompt", "new", "time"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(row.name, str(row.cells), str(row.pending), *_numbers(row.cost))
    table.add_section()
    whole = total(rows)
    table.add_row(whole.name, str(whole.cells), str(whole.pending), *_numbers(whole.cost))
    return Group(*notes, "", table)


def thousands(tokens: int) -> str:
    """A number of tokens in thousands or millions."""
    return f"{tokens / 1e6:.2f}M" if tokens >= 1e6 else f"{tokens / 1e3:.0f}k"


def _numbers(cost: Cost) -> tuple[str, str, str, str]:
    tokens = (cost.train_tokens, cost.prompt_tokens, cost.new_tokens)
    train, prompt, new = map(thousands, tokens)
    return train, prompt, new, duration(cost.seconds)
