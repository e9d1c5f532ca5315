"""The studies that come with the kit: each claim finds the cells that it compares."""

import pytest

from repro import studies


@pytest.mark.parametrize("name", [name for name in studies.NAMES if name != studies.DEFAULT])
def test_every_claim_of_a_study_is_answered_by_its_own_cells(name: str) -> None:
    study = studies.load(name)
    cells = set(study.cells())
    assert study.question.endswith("?")
    assert study.claims
    for claim in study.claims.values():
        for contrast in claim.contrasts:
            pairs = study.pairs(contrast)
            assert pairs, f"{claim.id}: {contrast.name} compares nothing"
        needed = set(study.claim_cells(claim))
        assert needed <= cells, claim.id
    tuned = {cell.variant for cell in cells if cell.variant.name != "base"}
    assert {variant.train for variant in tuned} <= set(study.training)
