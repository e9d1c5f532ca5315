"""The studies that come with the kit: each claim finds the cells that it compares."""

import json
from pathlib import Path

import pytest

from repro import studies
from repro.results.writing import study_record


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


STORED = sorted((Path(__file__).parents[2] / "expected_results" / "studies").glob("*/*/"))


@pytest.mark.parametrize("folder", STORED, ids=lambda folder: folder.parent.name)
def test_stored_results_are_those_of_the_study_as_it_is(folder: Path) -> None:
    head = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    for record in head["recorded"]:
        now = {"study": study_record(studies.load(folder.parent.name))}
        assert studies.measured(record) == studies.measured(now)
