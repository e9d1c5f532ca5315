"""Verdicts and numbers in words: what every face says, in the same words."""

import math
import re
from collections.abc import Sequence

from repro.printable import counted
from repro.verify.claimverdicts import Answer, ClaimVerdict, ContrastVerdict, Effect
from repro.verify.fingerprint import FactCheck
from repro.verify.statistics import Interval
from repro.verify.verdicts import GroupVerdict, Level, NumberVerdict, Verdict

EQUAL_POWER = "to show equality within the margin, if there is no difference"
"""What the power of a number is the power of."""
_NOTICED_NUMBER = 1.65
"""Half-widths of a 95 % interval that a two-sided test at 5 % notices in nine of ten runs."""
_NOTICED_EFFECT = 1.5
"""The same for a one-sided test at 5 %, before the correction for the number of findings."""

ANSWERS = {
    Answer.HOLDS: "shown to hold",
    Answer.AGREES: "agreeing",
    Answer.CANNOT_TELL: "undecided",
    Answer.PARTLY: "holding in part",
    Answer.FAILS: "shown otherwise",
    Answer.NOT_RUN: "not run",
}
BRIEFLY = {
    Verdict.REPRODUCED: "equal",
    Verdict.CONSISTENT: "within the spread",
    Verdict.INCONCLUSIVE: "undecided",
    Verdict.NOT_REPRODUCED: "different",
    Verdict.NOT_RUN: "missing",
}
"""How a number came out, where there is no room for `outcome`."""


def joined(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds with their number: `1 seed (42)`, `20 seeds (42 to 61)`, `no seed`."""
    if not seeds:
        return "no seed"
    ordered = sorted(seeds)
    run = len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1
    listed = f"{ordered[0]} to {ordered[-1]}" if run else ", ".join(map(str, ordered))
    return f"{counted(len(ordered), 'seed')} ({listed})"


def signed(value: float | None) -> str:
    """A difference with its sign; empty for none."""
    return "" if value is None else f"{value:+.3f}"


def between(interval: Interval | None) -> str:
    """An interval in brackets after a blank; empty for none."""
    return "" if interval is None else f" [{interval.low:+.3f}, {interval.high:+.3f}]"


def outcome(verdict: Verdict, level: Level | None) -> str:
    """A verdict on a number in plain words."""
    paper = level is Level.L3
    against = "the paper's number" if paper else "the stored run"
    if verdict is Verdict.REPRODUCED:
        return {
            Level.L0: "equal to the stored run, bit for bit",
            Level.L1: "equal to the stored run but for rounding",
            Level.L2: "equal to the stored seeds within the margin",
            Level.L3: "equal to the paper's number within the margin",
            None: "equal to the stored run",
        }[level]
    if verdict is Verdict.CONSISTENT:
        return f"not different from {against}" if paper else "within the spread of the stored seeds"
    return {
        Verdict.NOT_REPRODUCED: f"different from {against}",
        Verdict.INCONCLUSIVE: f"not to be decided against {against}",
        Verdict.NOT_RUN: "missing",
    }[verdict]


def noticed_of(number: NumberVerdict) -> float | None:
    """The smallest true difference that would be an alarm in nine of ten runs.

    None where any difference would be (L0), and where nothing was compared. Where the test does
    not say it itself, it follows from the interval, for this number taken alone.
    """
    if number.noticed is not None or number.interval is None:
        return number.noticed
    return _NOTICED_NUMBER * (number.interval.high - number.interval.low) / 2


def noticed_text(number: NumberVerdict) -> str:
    """What would have been noticed, short: `any`, `2 rows`, `0.034`; empty for nothing."""
    if number.level is Level.L0:
        return "any"
    value = noticed_of(number)
    if value is None:
        return ""
    if number.level is Level.L1:
        return counted(round(value * number.n), "row")
    return size_text(value)


def size_text(value: float) -> str:
    """A size of a difference of scores; none can be larger than 1."""
    return f"{value:.3f}" if value < 1 else "over 1"


def noticed_effect(effect: Effect | None) -> float | None:
    """The smallest true effect that would have been shown in nine of ten runs, by itself."""
    if effect is None or effect.interval is None:
        return None
    half = (effect.interval.high - effect.interval.low) / 2
    return _NOTICED_EFFECT * half if math.isfinite(half) else None


def number_text(number: NumberVerdict) -> str:
    """A verdict on a number in words, without its name."""
    text = ""
    if number.ours is not None and number.theirs is not None:
        theirs = "paper" if number.point else "stored"
        text += f"{number.ours:.3f}, {theirs} {number.theirs:.3f}, {signed(number.difference)}"
        text += between(number.interval) + f", n = {number.n}; "
        if noticed := noticed_text(number):
            text += f"noticed from {noticed}; "
    text += number.reason
    return text + (f"; always '{number.constant}'" if number.constant else "")


def group_text(group: GroupVerdict) -> str:
    """A verdict on a fine-tune, a figure or the run in words, without its name."""
    what, ours, theirs = group.what, group.ours, group.theirs
    if group.logarithmic:
        apart = f"{ours / theirs - 1:+.1%}" if theirs else ""
        values, noticed = f"{ours:.4g}, stored {theirs:.4g}, {apart}", math.expm1(group.noticed)
        return f"{what} {values}; noticed from {noticed:.1%}"
    what = f"log {what}" if what.startswith("distance") else what
    values = f"{ours:.3f}, stored {theirs:.3f}, {signed(ours - theirs)}{between(group.interval)}"
    return f"{what} {values}; noticed from {size_text(group.noticed)}"


def fact_text(check: FactCheck) -> str:
    """A fact of the run beside the stored one."""
    if check.verdict is not Verdict.NOT_RUN and (check.ours or check.theirs):
        text = f"{check.fact} {check.ours or 'not told'}"
        text += f", stored {check.theirs}" if check.theirs else ""
        return text + (f" ({check.reason})" if check.reason not in ("", "differs") else "")
    return check.reason if check.fact == "all" else f"{check.fact}: {check.reason}"


def decided_by(claim: ClaimVerdict) -> str:
    """How many comparisons hold of those that decided a claim, and where it fails most.

    Such as `41 of 54, Paws 2 of 9`, or `1 of 2, not PeerRead` where that is shown otherwise.
    """
    item = claim.headline
    if item is None or item.mean is None:
        return item.reason if item else claim.reason
    text = f"{item.mean.right_count} of {item.mean.total}"
    if claim.verdict.otherwise:
        parts = [name for name in item.otherwise if name != "all"]
        own = [name for name in parts if " " not in name] or parts
        return text + (f", not {re.split(' [-/] ', own[-1])[0]}" if own else "")
    short = [e for e in item.by_dataset if e.right_count < e.total]
    if short and len(item.by_dataset) > 1:
        worst = min(short, key=lambda effect: effect.right_count / effect.total)
        text += f", {worst.name} {worst.right_count} of {worst.total}"
    return text


def contrast_text(item: ContrastVerdict) -> str:
    """A comparison of a claim in words."""
    text = f"{item.contrast.name}: "
    if item.mean is not None:
        text += signed(item.mean.effect) + between(item.mean.interval)
        if (noticed := noticed_effect(item.mean)) is not None:
            text += f", noticed from {noticed:.3f}"
        if item.paper_effect is not None:
            text += f", paper {signed(item.paper_effect)}"
        if item.ratio is not None:
            text += f", ratio {item.ratio:.2f}"
        text += "; "
    text += item.reason
    if item.power is not None and item.verdict is not Answer.HOLDS:
        text += f"; power {item.power:.0%} {item.power_of}"
    return text
