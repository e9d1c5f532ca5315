"""Do the paper's claims hold: on its own published numbers, and on those of a run."""

from collections.abc import Mapping, Sequence
from functools import cache

from repro.spec.cells import Variant
from repro.spec.claims import Claim
from repro.studies.paper.cells import VARIANTS
from repro.studies.paper.study import study
from repro.studies.paper.tasks import SIZES
from repro.verify.claimverdicts import Answer, ClaimVerdict, ContrastVerdict
from repro.verify.contrasts import Evidence, judge
from repro.verify.facts import Facts
from repro.verify.measured import published_source
from repro.verify.published import Paper, load_paper
from repro.verify.quantifiers import answered
from repro.verify.statistics import holm

PublishedVerdicts = Mapping[tuple[str, str], ContrastVerdict]
"""Contrasts on the published numbers, by claim id and name of the contrast."""


def published_facts(paper: Paper) -> dict[str, Facts]:
    """The facts of fine-tunes that the text states.

    It gives one number for FTICL without saying with how many examples; it stands for both.
    """
    changes: dict[Variant, dict[int | None, float]] = {}
    for number in paper.stated:
        if number.quantity != "weight change":
            continue
        for variant in VARIANTS.values():
            own = (variant.train, variant.method, variant.size)
            if own == (number.train, number.method, SIZES[0]):
                changes[variant] = {None: number.value}
    return {"weight change": changes}


def judge_claims(
    ids: Sequence[str],
    evidence: Evidence,
    *,
    every_shot: bool = False,
    published: PublishedVerdicts | None = None,
    paired: bool = True,
    widen: float = 1.0,
    power: bool = True,
) -> tuple[ClaimVerdict, ...]:
    """Verdicts on the named claims, corrected by Holm for the number of their contrasts.

    Args:
        published: the contrasts on the published numbers; see `contrasts.judge`.
        paired: whether `evidence` compares row by row; only recorded.
        widen: factor on the registered margins, see `contrasts.judge`.
        power: work out the power of each contrast.
    """
    known, claims = published or {}, evidence.study.claims
    judged = [
        (
            claims[name],
            [
                judge(
                    contrast,
                    evidence,
                    every_shot=every_shot,
                    published=known.get((name, contrast.name)),
                    widen=widen,
                    power=power,
                )
                for contrast in claims[name].contrasts
            ],
        )
        for name in ids
    ]
    found = []
    shown = _factors([_raw(own) for _, own in judged])
    otherwise = _otherwise([own for _, own in judged])
    for (claim, own), factor, p_otherwise in zip(judged, shown, otherwise, strict=True):
        verdicts = tuple(
            answered(item, item.p_shown * (1.0 if item.contrast.beyond else factor), p)
            for item, p in zip(own, p_otherwise, strict=True)
        )
        found.append(_claim_verdict(claim, verdicts, min(1.0, factor * _raw(own)), paired))
    return tuple(found)


def _raw(own: Sequence[ContrastVerdict]) -> float:
    """P that a claim does not hold: all of its contrasts must be shown, none need be corrected."""
    return max((c.p_shown for c in own if c.ran and not c.contrast.beyond), default=1.0)


def _factors(p_values: Sequence[float]) -> list[float]:
    """Holm's correction over claims, as a factor, which serves the contrasts of a claim too."""
    pairs = zip(holm(p_values), p_values, strict=True)
    return [adjusted / p if p > 0 else float(len(p_values)) for adjusted, p in pairs]


def _otherwise(judged: Sequence[Sequence[ContrastVerdict]]) -> list[list[float]]:
    """Holm over all contrasts, each of which can refute its claim by itself.

    What lies beyond a claim decides nothing, and is left uncorrected.
    """
    places = [
        (i, j)
        for i, own in enumerate(judged)
        for j, item in enumerate(own)
        if item.ran and not item.contrast.beyond
    ]
    found = [[item.p_otherwise for item in own] for own in judged]
    adjusted = holm([judged[i][j].p_otherwise for i, j in places])
    for (i, j), p in zip(places, adjusted, strict=True):
        found[i][j] = p
    return found


def combined(verdicts: Sequence[Answer]) -> Answer:
    """The verdict on a claim that says several things, all of which must hold."""
    ran = [verdict for verdict in verdicts if verdict is not Answer.NOT_RUN]
    if not ran:
        return Answer.NOT_RUN
    if any(verdict.otherwise for verdict in ran):
        partly = Answer.PARTLY in ran or Answer.HOLDS in ran
        return Answer.PARTLY if partly else Answer.FAILS
    if Answer.CANNOT_TELL in ran:
        return Answer.CANNOT_TELL
    return Answer.HOLDS if set(verdicts) == {Answer.HOLDS} else Answer.AGREES


def _claim_verdict(
    claim: Claim, contrasts: tuple[ContrastVerdict, ...], p_adjusted: float, paired: bool
) -> ClaimVerdict:
    own = [item for item in contrasts if not item.contrast.beyond]
    testable = [item for item in own if not item.unpublished]
    told = [item for item in own if item.ran]
    reason = "; ".join(f"{item.contrast.name}: {item.reason}" for item in told)
    if not told:
        reason = own[0].reason
    elif len(told) < len(own):
        silent = ", ".join(item.contrast.name for item in own if not item.ran)
        reason += f"; no numbers for: {silent}"
    return ClaimVerdict(
        claim=claim,
        verdict=combined([item.verdict for item in testable]),
        contrasts=contrasts,
        p_shown=max((item.p_shown for item in told), default=1.0),
        p_adjusted=p_adjusted,
        paired=paired,
        reason=reason,
    )


@cache
def paper_verdicts() -> tuple[ClaimVerdict, ...]:
    """Each claim on the paper's own numbers: does the finding follow from the figures?

    The figures show one seed of each fine-tune and rows that are unpublished. What the paper gives
    no numbers for (final losses, outputs) is left out, and named.
    """
    paper = load_paper()
    evidence = Evidence(
        study(), published_source(paper), None, published_facts(paper), published=True
    )
    return judge_claims(list(study().claims), evidence, paired=False)


def published_verdicts() -> dict[tuple[str, str], ContrastVerdict]:
    """The contrasts on the published numbers, by claim id and name."""
    return {
        (verdict.claim.id, item.contrast.name): item
        for verdict in paper_verdicts()
        for item in verdict.contrasts
        if item.ran
    }
