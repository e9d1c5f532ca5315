"""Do the paper's claims hold: on its own published numbers, and on those of a run."""

from collections.abc import Iterable, Sequence
from functools import cache

from repro.spec.cells import Variant
from repro.spec.claims import Claim
from repro.studies.paper.cells import VARIANTS
from repro.studies.paper.study import study
from repro.studies.paper.tasks import SIZES
from repro.verify.claimverdicts import Answer, ClaimVerdict, ContrastVerdict
from repro.verify.contrasts import Evidence, Facts, judge
from repro.verify.measured import published_source
from repro.verify.published import Paper, load_paper
from repro.verify.quantifiers import answered
from repro.verify.statistics import holm


def published_facts(paper: Paper) -> dict[str, Facts]:
    """The facts of fine-tunes that the text states.

    It gives one number for FTICL without saying with how many examples; it stands for both.
    """
    changes: dict[Variant, dict[int | None, float]] = {}
    for number in paper.stated:
        for variant in VARIANTS.values() if number.quantity == "weight change" else ():
            own = (variant.train, variant.method, variant.size)
            if own == (number.train, number.method, SIZES[0]):
                changes[variant] = {None: number.value}
    return {"weight change": changes}


def judge_claims(
    ids: Sequence[str], evidence: Evidence, *, every_shot: bool = False, power: bool = True
) -> tuple[ClaimVerdict, ...]:
    """Verdicts on the named claims, corrected by Holm for the number of their contrasts.

    What lies beyond a claim decides nothing, and is left uncorrected.

    Args:
        every_shot: bars are the best over all shot counts.
        power: work out the power of each contrast.
    """
    beside = evidence.study.published and not evidence.published
    known = published_verdicts() if beside else {}
    judged: dict[str, list[ContrastVerdict]] = {}
    for name in ids:
        judged[name] = [
            judge(
                contrast,
                evidence,
                every_shot=every_shot,
                published=known.get((name, contrast.name)),
                power=power,
            )
            for contrast in evidence.study.claims[name].contrasts
        ]
    # All contrasts of a claim must be shown, hence one correction a claim, as a factor.
    raw = [max((c.p_shown for c in _own(cs) if c.ran), default=1.0) for cs in judged.values()]
    factors = [
        adjusted / p if p > 0 else float(len(raw))
        for adjusted, p in zip(holm(raw), raw, strict=True)
    ]
    # Each contrast can refute its claim by itself.
    refuting = [c for contrasts in judged.values() for c in _own(contrasts) if c.ran]
    p_values = holm([c.p_otherwise for c in refuting])
    p_otherwise = {id(c): p for c, p in zip(refuting, p_values, strict=True)}
    found = []
    for (name, contrasts), p, factor in zip(judged.items(), raw, factors, strict=True):
        verdicts = tuple(
            answered(
                item,
                item.p_shown * (1.0 if item.contrast.beyond else factor),
                p_otherwise.get(id(item), item.p_otherwise),
            )
            for item in contrasts
        )
        claim, paired = evidence.study.claims[name], evidence.labels is not None
        found.append(_claim_verdict(claim, verdicts, min(1.0, factor * p), paired))
    return tuple(found)


def _own(contrasts: Iterable[ContrastVerdict]) -> list[ContrastVerdict]:
    """The contrasts that decide a claim."""
    return [item for item in contrasts if not item.contrast.beyond]


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
    own = _own(contrasts)
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
    return judge_claims(list(study().claims), evidence)


def published_verdicts() -> dict[tuple[str, str], ContrastVerdict]:
    """The contrasts on the published numbers, by claim id and name."""
    return {
        (verdict.claim.id, item.contrast.name): item
        for verdict in paper_verdicts()
        for item in verdict.contrasts
        if item.ran
    }
