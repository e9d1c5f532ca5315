"""What the claims come to on the paper's own numbers; expectations counted by hand or by loop."""

import itertools
import math
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from repro.spec.points import Point
from repro.studies.paper.claims import claims
from repro.studies.paper.figures import points
from repro.studies.paper.study import study
from repro.verify import effects
from repro.verify.claimverdicts import Answer, ClaimVerdict, ContrastVerdict, Effect
from repro.verify.contrasts import Evidence
from repro.verify.findings import combined, judge_claims, paper_verdicts, published_facts
from repro.verify.margins import margins
from repro.verify.measured import published_source
from repro.verify.published import load_paper

VERDICTS = {verdict.claim.id: verdict for verdict in paper_verdicts()}
PLOTTED = load_paper().plotted


def unclaimed() -> dict[Point, str]:
    """The plotted points that no finding rests on, with the reason."""
    tables = tomllib.loads(Path(__file__).with_name("unclaimed.toml").read_text(encoding="utf-8"))
    return {
        point: table["reason"]
        for table in tables["unclaimed"]
        for point in points()
        if point.figure + point.panel in table["panels"] and point.series in table["series"]
    }


def dataset(item: ContrastVerdict, name: str) -> Effect:
    return next(effect for effect in item.by_dataset if effect.name == name)


def test_few_shot_of_fine_tunes_66_of_72_in_domain_but_35_of_90_beyond() -> None:
    ours, _, beyond = VERDICTS["C3"].contrasts
    for item, figure, counts in ((ours, "1", (66, 72)), (beyond, "2", (35, 90))):
        below = [
            number.value < PLOTTED[figure, key[1], key[2], 0].value
            for key, number in PLOTTED.items()
            if key[0] == figure and key[2] != "0" and key[3] != 0
        ]
        assert (sum(below), len(below)) == counts
        assert item.mean is not None
        assert (item.mean.right_count, item.mean.total) == counts
    assert beyond.contrast.beyond
    assert beyond.verdict is Answer.PARTLY
    assert "PeerRead" in beyond.otherwise
    assert beyond.reason.startswith("35 of 90 hold")
    assert VERDICTS["C3"].verdict is Answer.AGREES, "what lies beyond a claim decides nothing"


def test_qqp_is_above_the_base_in_7_of_12_points_so_c7_does_not_follow() -> None:
    above = [
        PLOTTED["2", "g", size, shots].value > PLOTTED["2", "g", "0", shots].value
        for size, shots in itertools.product(("2k", "4k", "6k"), (0, 2, 4, 6))
    ]
    assert sum(above) == 7
    (item,) = VERDICTS["C7"].contrasts
    qqp = dataset(item, "QQP")
    assert (qqp.right_count, qqp.total) == (7, 12)
    assert dataset(item, "RTE").right_count == dataset(item, "GPTNLI").right_count == 12
    assert VERDICTS["C7"].verdict is Answer.CANNOT_TELL
    assert item.allowed is not None
    assert item.allowed < 7, "more of 48 are on the wrong side than chance puts there"


def test_fc1_on_peerread_is_above_the_base_that_its_figure_shows_and_fc2_equals_ft() -> None:
    """Figure 4(b) shows the base with one and two examples; with four, in 2(a), it is better."""
    against_ft, against_base, beyond = VERDICTS["C12"].contrasts
    assert [e.holds for e in against_base.pairs] == [True, True]
    assert beyond.contrast.beyond
    assert [(round(e.left, 3), round(e.right, 3)) for e in beyond.pairs] == [(0.401, 0.407)]
    fc2 = next(e for e in against_ft.pairs if e.name.startswith("xsum-fticl2-2000 peerread"))
    series = {key[2]: number.value for key, number in PLOTTED.items() if key[:2] == ("4", "b")}
    assert fc2.effect == pytest.approx(series["FC2"] - series["FT"], abs=1e-9)
    assert fc2.holds == (series["FC2"] > series["FT"])
    assert abs(fc2.effect) < 0.001
    assert VERDICTS["C12"].verdict is Answer.CANNOT_TELL


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("C1", Answer.HOLDS),
        ("C2", Answer.AGREES),
        ("C5", Answer.AGREES),
        ("C9", Answer.HOLDS),
        ("C14", Answer.AGREES),
        ("C15", Answer.CANNOT_TELL),
        ("C16", Answer.CANNOT_TELL),
        ("C17", Answer.HOLDS),
        ("C18", Answer.AGREES),
    ],
)
def test_which_findings_follow_from_the_figures(claim: str, verdict: Answer) -> None:
    assert VERDICTS[claim].verdict is verdict


def test_the_headline_by_hand() -> None:
    """Mean over test sets of the fine-tunes' mean over the base's, at the same shots."""

    def gain(panels: str) -> float:
        total = 0.0
        for panel in panels:
            own = {k: v.value for k, v in PLOTTED.items() if k[:2] == ("2", panel)}
            shots = [k[3] for k in own if k[2] == "0"]
            base = sum(own["2", panel, "0", s] for s in shots) / len(shots)
            tuned = [own["2", panel, size, s] for size in ("2k", "4k", "6k") for s in shots]
            total += sum(tuned) / len(tuned) / base - 1
        return total / len(panels)

    (item,) = VERDICTS["C17"].contrasts
    assert item.mean is not None
    assert item.mean.left == pytest.approx(gain("efghij"), abs=1e-9)
    assert item.mean.right == pytest.approx(gain("abcd"), abs=1e-9)


def test_sentiment_is_only_slightly_below_but_below_cannot_be_shown_at_250_rows() -> None:
    """Two standard errors of one accuracy near .97 are as much as C2 speaks of."""
    below, slightly = VERDICTS["C2"].contrasts
    assert below.mean is not None
    assert below.mean.interval is not None
    low, high = below.mean.interval
    assert low < 0 < high
    assert slightly.verdict is Answer.HOLDS


def test_the_two_published_weight_changes_are_counted_once_each() -> None:
    (item,) = VERDICTS["C14"].contrasts
    found = {effect.name.split("-")[0]: effect.effect for effect in item.pairs}
    assert found == {
        "socialqa": pytest.approx(7.95 / 8.54 - 1),
        "xsum": pytest.approx(8.03 / 10 - 1),
    }
    assert (len(item.pairs), item.expected) == (2, 2)
    assert "1 seed" in item.reason
    assert "rows" not in item.reason


def test_what_the_paper_has_no_numbers_for_is_named_and_does_not_count() -> None:
    for name, kind in (("C9", "labels"), ("C15", "final loss")):
        (item,) = [c for c in VERDICTS[name].contrasts if c.contrast.kind == kind]
        assert item.verdict is Answer.NOT_RUN
        assert item.unpublished
        assert f"no numbers for: {item.contrast.name}" in VERDICTS[name].reason


def width(effect: Effect) -> float:
    assert effect.interval is not None
    return effect.interval[1] - effect.interval[0]


def test_every_claim_has_an_interval_as_wide_as_its_test_sets_make_it() -> None:
    """Test sets are independent; the pairs of one share rows, and a mean is never wider."""
    for verdict in VERDICTS.values():
        for item in verdict.contrasts:
            if item.mean is None or item.mean.interval is None:
                assert item.contrast.kind in ("weight change", "final loss", "labels")
                continue
            assert item.mean.total == len(item.pairs)
            pairs, sets = ([width(one) for one in ones] for ones in (item.pairs, item.by_dataset))
            assert 0 < width(item.mean) <= sum(pairs) / len(pairs) + 1e-9
            equal = item.contrast.kind == "scores" and len({e.total for e in item.by_dataset}) == 1
            if equal:
                independent = math.hypot(*sets) / len(sets)
                assert width(item.mean) == pytest.approx(independent, rel=0.15)


def test_every_sentence_says_how_many_hold() -> None:
    for verdict in VERDICTS.values():
        for item in verdict.contrasts:
            if item.ran:
                right = sum(effect.holds for effect in item.pairs)
                assert item.reason.startswith(f"{right} of {len(item.pairs)} hold")


def test_each_claim_needs_only_cells_of_the_figures() -> None:
    known = {cell for point in points() for cell in point.cells}
    for claim in claims().values():
        assert study().claim_cells(claim)
        assert set(study().claim_cells(claim)) <= known
    shots_of_base = {
        c.shots for c in study().claim_cells(claims()["C12"]) if c.variant.method == "base"
    }
    assert shots_of_base == {1, 2}, "not the four examples that Figure 4(b) leaves out"


def test_every_plotted_point_is_in_a_finding_or_has_a_reason_why_not() -> None:
    claimed = {
        point
        for claim in claims().values()
        for contrast in claim.contrasts
        if not contrast.beyond
        for pair in study().pairs(contrast) + study().pairs(contrast, other=True)
        for term in (pair.left, pair.right)
        if term is not None
        for point in term.points
    }
    assert not claimed & set(unclaimed())
    assert claimed | set(unclaimed()) == set(points())
    assert (len(claimed), len(unclaimed())) == (509, 69)
    assert all(unclaimed().values())


def test_points_said_to_repeat_cells_do() -> None:
    """What is left out as plotted before stands in Figure 1 or 2."""
    before = {point.cells for point in points(["1", "2"])}
    for point, reason in unclaimed().items():
        assert ("plotted again" in reason) == (point.cells in before)


def test_the_same_words_have_the_same_quantifier() -> None:
    """Most only where the finding says often or generally."""
    for claim in claims().values():
        for item in claim.contrasts:
            if item.quantifier == "most":
                assert "often" in claim.finding or "generally" in claim.finding


def test_c16_compares_models_of_the_same_training_set() -> None:
    for pair in study().pairs(claims()["C16"].contrasts[0]):
        assert pair.left.train == pair.right.train
    assert len(study().pairs(claims()["C16"].contrasts[0])) == 6


HOLDS, AGREES, OPEN, PARTLY, FAILS, NONE = (
    Answer.HOLDS, Answer.AGREES, Answer.CANNOT_TELL, Answer.PARTLY, Answer.FAILS, Answer.NOT_RUN
)  # fmt: skip


@pytest.mark.parametrize(
    ("contrasts", "claim"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, AGREES], AGREES),
        ([HOLDS, NONE], AGREES),
        ([HOLDS, OPEN], OPEN),
        ([HOLDS, FAILS], PARTLY),
        ([AGREES, FAILS], FAILS),
        ([AGREES, PARTLY], PARTLY),
        ([NONE, NONE], NONE),
    ],
)
def test_a_claim_from_its_contrasts(contrasts: list[Answer], claim: Answer) -> None:
    for order in itertools.permutations(contrasts):
        assert combined(order) is claim


RANK = {FAILS: 0, PARTLY: 1, OPEN: 2, AGREES: 3, HOLDS: 4}


def test_widening_the_margins_turns_no_claim_for_the_worse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paper, known = load_paper(), margins()
    evidence = Evidence(
        study(), published_source(paper), None, published_facts(paper), published=True
    )

    def judged(widen: float) -> tuple[ClaimVerdict, ...]:
        names = ["C4", "C6", "C8", "C9", "C10", "C11", "C13"]
        wide = replace(known, claims={name: widen * own for name, own in known.claims.items()})
        monkeypatch.setattr(effects, "margins", lambda: wide)
        return judge_claims(names, evidence)

    series = [judged(widen) for widen in (0.2, 0.5, 1.0, 1.5, 3.0)]
    for narrow, wide in itertools.pairwise(series):
        for before, after in zip(narrow, wide, strict=True):
            assert RANK[after.verdict] >= RANK[before.verdict], before.claim.id
    assert series[0] != series[-1]
