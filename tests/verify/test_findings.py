"""What the claims come to on the paper's own numbers; expectations counted by hand or by loop."""

import itertools

import pytest

from repro.paper.claims import claims
from repro.paper.figures import points
from repro.verify.contrasts import Region
from repro.verify.findings import judge_claims, paper_verdicts, published_facts
from repro.verify.measured import published_source
from repro.verify.published import load_paper
from repro.verify.verdicts import ClaimVerdict, ContrastVerdict, Verdict

VERDICTS = {verdict.claim.id: verdict for verdict in paper_verdicts()}
PLOTTED = load_paper().plotted


def dataset(item: ContrastVerdict, name: str):
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
        assert (item.mean.right_count, item.mean.total) == counts
    assert beyond.contrast.beyond
    assert beyond.verdict == Verdict.NOT_REPRODUCED
    assert VERDICTS["C3"].verdict == Verdict.CONSISTENT, "what lies beyond a claim decides nothing"


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
    assert VERDICTS["C7"].verdict == Verdict.INCONCLUSIVE


def test_fc1_on_peerread_is_below_the_base_with_four_examples_and_fc2_equals_ft() -> None:
    against_ft, against_base = VERDICTS["C12"].contrasts
    lost = [effect for effect in against_base.pairs if not effect.holds]
    assert [(round(e.left, 3), round(e.right, 3)) for e in lost] == [(0.401, 0.407)]
    fc2 = next(e for e in against_ft.pairs if e.name.startswith("xsum-fticl2-2000 peerread"))
    assert abs(fc2.effect) < 0.001
    assert not fc2.holds
    assert VERDICTS["C12"].verdict == Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("C1", Verdict.REPRODUCED),
        ("C2", Verdict.CONSISTENT),
        ("C5", Verdict.REPRODUCED),
        ("C9", Verdict.REPRODUCED),
        ("C13", Verdict.REPRODUCED),
        ("C14", Verdict.CONSISTENT),
        ("C15", Verdict.INCONCLUSIVE),
        ("C16", Verdict.REPRODUCED),
    ],
)
def test_which_findings_follow_from_the_figures(claim: str, verdict: Verdict) -> None:
    assert VERDICTS[claim].verdict == verdict


def test_sentiment_cannot_be_told_apart_at_250_rows() -> None:
    """Two standard errors of one accuracy near .97 are as much as C2 speaks of."""
    (item,) = VERDICTS["C2"].contrasts
    assert item.mean is not None
    low, high = item.mean.interval
    assert low < 0 < high


def test_weights_move_less_by_7_and_20_percent_but_one_run_shows_nothing() -> None:
    (item,) = VERDICTS["C14"].contrasts
    found = {effect.name.split("-")[0]: effect.effect for effect in item.pairs}
    assert found["socialqa"] == pytest.approx(7.95 / 8.54 - 1)
    assert found["xsum"] == pytest.approx(8.03 / 10 - 1)
    assert item.p_shown == 1


def test_every_claim_has_an_interval_or_says_why_not() -> None:
    for verdict in VERDICTS.values():
        for item in verdict.contrasts:
            if item.contrast.kind in ("weight change", "final loss"):
                continue
            assert item.mean is not None
            low, high = item.mean.interval
            assert low < item.mean.effect < high
            assert item.mean.total == len(item.pairs)


def test_each_claim_needs_only_cells_of_the_figures() -> None:
    known = {cell for point in points() for cell in point.cells}
    for claim in claims().values():
        assert claim.cells()
        assert set(claim.cells()) <= known
    shots_of_base = {c.shots for c in claims()["C12"].cells() if c.variant.method == "base"}
    assert shots_of_base == {1, 2, 4}


def test_c16_compares_models_of_the_same_training_set() -> None:
    for pair in claims()["C16"].contrasts[0].pairs():
        assert pair.left.train == pair.right.train
    assert len(claims()["C16"].contrasts[0].pairs()) == 6


RANK = {Verdict.NOT_REPRODUCED: 0, Verdict.INCONCLUSIVE: 1, Verdict.CONSISTENT: 2}


def test_widening_the_margins_turns_no_claim_for_the_worse() -> None:
    paper = load_paper()

    def judged(widen: float) -> tuple[ClaimVerdict, ...]:
        return judge_claims(
            ["C4", "C6", "C8", "C9", "C10", "C11", "C13"],
            published_source(paper),
            published_facts(paper),
            widen=widen,
        )

    series = [judged(widen) for widen in (0.2, 0.5, 1.0, 1.5, 3.0)]
    for narrow, wide in itertools.pairwise(series):
        for before, after in zip(narrow, wide, strict=True):
            assert RANK.get(after.verdict, 3) >= RANK.get(before.verdict, 3), before.claim.id
    assert series[0] != series[-1]


def test_regions_by_hand() -> None:
    equal = Region(-0.02, 0.02)
    assert equal.p_shown(0.0, 0.01, float("inf")) == pytest.approx(0.02275, abs=1e-4)
    assert equal.p_against(0.04, 0.01, float("inf")) == pytest.approx(2 * 0.02275, abs=1e-4)
    greater = Region(0.0, float("inf"))
    assert greater.p_shown(0.0196, 0.01, float("inf")) == pytest.approx(0.025, abs=1e-3)
    assert greater.p_against(-0.0196, 0.01, float("inf")) == pytest.approx(0.025, abs=1e-3)
    assert greater.p_shown(0.0, 0.0, 9) == 1.0, "a tie is not greater"
