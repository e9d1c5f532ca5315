"""Do the paper's claims hold: on its own published numbers, and on those of a run."""

from collections.abc import Mapping, Sequence
from functools import cache

from repro.paper.cells import Variant
from repro.paper.claims import Claim, claims
from repro.paper.tasks import SIZES, TRAIN_SETS
from repro.verify.contrasts import Facts, judge, verdict_of
from repro.verify.measured import Source, published_source
from repro.verify.published import Paper, load_paper
from repro.verify.statistics import holm
from repro.verify.verdicts import ClaimVerdict, ContrastVerdict, Verdict

PaperEffects = Mapping[tuple[str, str], float]
"""The mean effect in the published numbers, by claim id and name of the contrast."""


def published_facts(paper: Paper) -> dict[str, Facts]:
    """The facts of fine-tunes that the text states.

    It gives one number for FTICL without saying with how many examples; it stands for both.
    """
    changes: dict[Variant, dict[int | None, float]] = {}
    for number in paper.stated:
        if number.quantity != "weight change":
            continue
        shots = TRAIN_SETS[number.train].fticl_shots if number.method == "fticl" else (0,)
        for count in shots:
            changes[Variant(number.train, SIZES[0], count)] = {None: number.value}
    return {"weight change": changes}


def judge_claims(
    ids: Sequence[str],
    source: Source,
    facts: Mapping[str, Facts],
    *,
    every_shot: bool = False,
    paper_effects: PaperEffects | None = None,
    paired: bool = True,
    widen: float = 1.0,
) -> tuple[ClaimVerdict, ...]:
    """Verdicts on the named claims, corrected by Holm for their number.

    Args:
        paired: whether `source` compares row by row; only recorded.
        widen: factor on the registered margins, see `contrasts.judge`.
    """
    effects = paper_effects or {}
    judged: list[tuple[Claim, tuple[ContrastVerdict, ...]]] = []
    for name in ids:
        claim = claims()[name]
        judged.append(
            (
                claim,
                tuple(
                    judge(
                        contrast,
                        source,
                        facts,
                        every_shot=every_shot,
                        paper_effect=effects.get((name, contrast.name)),
                        widen=widen,
                    )
                    for contrast in claim.contrasts
                ),
            )
        )
    ran = [[c for c in own if _counts(c)] for _, own in judged]
    shown = _adjust([max(c.p_shown for c in own) if own else None for own in ran])
    against = _adjust([min(holm([c.p_against for c in own])) if own else None for own in ran])
    return tuple(
        _claim_verdict(claim, contrasts, p_shown, p_against, paired)
        for (claim, contrasts), p_shown, p_against in zip(judged, shown, against, strict=True)
    )


def _counts(verdict: ContrastVerdict) -> bool:
    return not verdict.contrast.beyond and verdict.verdict != Verdict.NOT_RUN


def _adjust(p_values: Sequence[float | None]) -> list[float]:
    """Holm over the claims that were judged; 1 for the others."""
    there = [index for index, p in enumerate(p_values) if p is not None]
    adjusted = [1.0] * len(p_values)
    for index, value in zip(there, holm([p for p in p_values if p is not None]), strict=True):
        adjusted[index] = value
    return adjusted


def _claim_verdict(
    claim: Claim,
    contrasts: tuple[ContrastVerdict, ...],
    p_shown: float,
    p_against: float,
    paired: bool,
) -> ClaimVerdict:
    own = [item for item in contrasts if not item.contrast.beyond]
    ran = [item for item in own if _counts(item)]
    missing = len(own) - len(ran)
    raw = max((item.p_shown for item in ran), default=1.0)
    if not ran:
        verdict, reason = Verdict.NOT_RUN, own[0].reason
    else:
        agrees = all(item.verdict.passes for item in ran)
        verdict = verdict_of(agrees, 1.0 if missing else p_shown, p_against)
        reason = "; ".join(f"{item.contrast.name}: {item.reason}" for item in ran)
        if missing:
            reason += f"; {missing} of {len(own)} contrasts have no numbers"
    return ClaimVerdict(
        claim=claim,
        verdict=verdict,
        contrasts=contrasts,
        p_shown=raw,
        p_adjusted=p_shown,
        paired=paired,
        reason=reason,
    )


@cache
def paper_verdicts() -> tuple[ClaimVerdict, ...]:
    """Each claim on the paper's own numbers: does the finding follow from the figures?

    REPRODUCED: it follows. CONSISTENT: the figures agree, but n = 250 could not show it.
    INCONCLUSIVE: the figures do not agree, by less than n = 250 could show. NOT REPRODUCED: the
    figures show otherwise.
    """
    paper = load_paper()
    return judge_claims(
        list(claims()), published_source(paper), published_facts(paper), paired=False
    )


def paper_effects() -> dict[tuple[str, str], float]:
    """The published mean effects."""
    return {
        (verdict.claim.id, item.contrast.name): item.mean.effect
        for verdict in paper_verdicts()
        for item in verdict.contrasts
        if item.mean is not None
    }
