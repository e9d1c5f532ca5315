"""`docs/embedded-flaws.md`: what mending each flaw changes in a small world, as a table."""

from collections.abc import Iterator, Sequence

from repro.printable import counted
from repro.report.answer import model_and_data
from repro.report.markdown import table
from repro.report.words import ANSWERS, between, seeds_text, signed
from repro.results.runs import Run
from repro.verify.claimverdicts import Answer, ClaimVerdict
from repro.verify.flaws import Flaw
from repro.verify.survival import main_contrast

HEADS = (
    "audit",
    "mended",
    "cells touched",
    "fine-tunes anew",
    "mean change of their scores",
    "largest change",
    "findings that come out otherwise",
)


def markdown(published: Run, found: Sequence[Flaw]) -> str:
    """The document.

    Args:
        found: by switch, in the order of `repro protocols`, then all of them together.
    """
    lines = [*_head(published), "", *table(HEADS, map(_row, found))]
    return "\n".join(lines) + "\n"


def _head(published: Run) -> Iterator[str]:
    model, data = model_and_data(published)
    embedded = published.record.get("data") == "embedded"
    yield f"# What each flaw does{' in the embedded world' if embedded else ''}"
    yield ""
    yield (
        f"Made by `repro flaws`; do not edit. Model: {model}; data: {data}; "
        f"{counted(len(published.by_cell), 'cell')} of the paper's figures, "
        f"{seeds_text(published.seeds)}."
    )
    yield ""
    yield (
        "Each line sets one switch of the protocol published-code as `corrected` has it, the last "
        "one all of them. A switch touches a cell if it changes the tokens or golds of its "
        "prompts, how answers are scored, or the samples of its fine-tune. Only these cells were "
        "run again; all others are as they were. Changes are in points of accuracy or ROUGE-L; "
        "the interval is 95 % of their mean, over test rows, and over seeds where fine-tunes were "
        "made anew. Behind a finding stands the effect of its first comparison. What a flaw does "
        "here it need not do to Llama-2: [the audit](AUDIT.md) has its share in the authors' data."
    )


def _row(flaw: Flaw) -> tuple[object, ...]:
    mean = "" if flaw.mean is None else f"{signed(flaw.mean)}{between(flaw.interval)}"
    told = ""
    if largest := flaw.largest:
        seed = "" if largest.seed is None else f", seed {largest.seed}"
        told = f"{signed(largest.difference)} (`{largest.cell}`{seed})"
    turned = [
        f"{name}: {_told(before)} to {_told(after)}"
        for name, (before, after) in flaw.claims.items()
        if before.verdict is not after.verdict
        and Answer.NOT_RUN not in (before.verdict, after.verdict)
    ]
    return (flaw.audit, f"`{flaw.name}`", flaw.cells, flaw.anew, mean, told, "; ".join(turned))


def _told(claim: ClaimVerdict) -> str:
    mean = main_contrast(claim).mean
    return ANSWERS[claim.verdict] + (f" {signed(mean.effect)}" if mean else "")
