"""The figure of `repro findings`: the effect of each finding on the paper's numbers and here."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

from matplotlib.figure import Figure

from repro.report.charts import settings
from repro.verify.claimverdicts import ClaimVerdict
from repro.verify.survival import Condition, Sizes, common_leads

WHOLE = ("#0072b2", "#009e73", "#cc79a7")
"""Colours of whole protocols."""


def effects(sizes: Sizes, paper: Mapping[str, ClaimVerdict]) -> Figure:
    """The effect of each finding: the paper's, this model's, and with flaws mended.

    A panel for each size.
    """
    claims = sizes[0][0].claims
    lead_of = common_leads(sizes)
    run = [c for own in sizes for c in own if not c.audit]
    alone = [c for own in sizes for c in own if c.audit and c.source != "untouched"]
    hollow: dict[str, Any] = {"fillstyle": "none", "linestyle": "none"}
    looks: dict[str, dict[str, Any]] = {"paper": hollow | {"marker": "o", "color": "#6a737b"}}
    for name, color in zip(dict.fromkeys(_short(c) for c in run), WHOLE, strict=False):
        looks[name] = {"marker": "s", "color": color, "markersize": 5}
    for name, mark in zip(dict.fromkeys(_short(c) for c in alone), cycle("^vDPX<>*"), strict=False):
        looks[name] = hollow | {"marker": mark, "color": "#d55e00", "markersize": 4}
    with settings():
        canvas = Figure(figsize=(4.2 + 3 * len(sizes), 0.36 * len(claims) + 1.1))
        panels = canvas.subplots(1, len(sizes), sharey=True, sharex=True, squeeze=False)[0]
        canvas.subplots_adjust(2.45 / canvas.get_figwidth(), 0.08, 0.98, 0.91, wspace=0.05)
        for axes, conditions in zip(panels, sizes, strict=True):
            axes.axvline(0, color="#6a737b", linewidth=0.8)
            for place, name in enumerate(claims):
                lead = lead_of[name]
                if told := paper[name].item(lead).mean:
                    axes.plot(told.effect, place - 0.27, **looks["paper"])
                below = place - 0.05
                for condition in conditions:
                    mean = condition.claims[name].item(lead).mean
                    if mean is None or condition.source == "untouched":
                        continue
                    look = looks[_short(condition)]
                    if condition.audit:
                        axes.plot(mean.effect, place + 0.36, **look)
                        continue
                    axes.plot(
                        mean.interval or [mean.effect] * 2, (below, below), color=look["color"]
                    )
                    axes.plot(mean.effect, below, **look)
                    below += 0.2
            axes.set_title(f"{conditions[0].run.profile}", fontsize=8)
            axes.set_xlabel("effect of the finding's first comparison here")
        titles = [f"{name}  {claim.claim.title}" for name, claim in claims.items()]
        panels[0].set_yticks(range(len(titles)), titles)
        panels[0].set_ylim(len(titles) - 0.5, -0.6)
        handles = [panels[0].plot([], [], **look)[0] for look in looks.values()]
        canvas.legend(handles, list(looks), loc="upper center", ncols=len(looks), fontsize=7)
    return canvas


def _short(condition: Condition) -> str:
    return condition.audit or condition.name
