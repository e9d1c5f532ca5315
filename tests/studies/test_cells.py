"""The paper's grid, against the numbers counted independently in the audit (section F)."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.spec.cells import Cell, Variant
from repro.spec.prompts import context
from repro.spec.tasks import Kind, Role
from repro.studies.paper import figures, prompts
from repro.studies.paper.cells import VARIANTS, all_cells
from repro.studies.paper.claims import claims
from repro.studies.paper.study import study
from repro.studies.paper.tasks import DATASETS, TASKS, fticl_shots


@pytest.mark.parametrize(
    ("every_shot", "counts", "distinct"),
    [
        (False, [125, 156, 180, 44, 58, 72, 65], 574),
        (True, [125, 156, 180, 56, 73, 90, 83], 616),
    ],
)
def test_cells_of_figures_are_as_counted(
    every_shot: bool, counts: list[int], distinct: int
) -> None:
    per_figure = [len(figures.cells([f], every_shot=every_shot)) for f in figures.FIGURES]
    assert per_figure == counts
    assert len(figures.cells(every_shot=every_shot)) == distinct


def test_cells_of_figures_by_prompt_kind_and_model() -> None:
    cells = figures.cells()
    assert sum(cell.prompt == "p1" for cell in cells) == 484
    assert sum(study().task_of(cell).kind is Kind.GENERATION for cell in cells) == 218
    assert {cell.variant.name for cell in cells} == set(VARIANTS)
    assert len(VARIANTS) == 26
    assert len(all_cells()) == 3744
    assert len(figures.points()) == 578


def test_roles_and_sets_are_those_of_table_1() -> None:
    assert len(DATASETS) == 18
    in_domain = {name for name, d in DATASETS.items() if d.role is Role.IN_DOMAIN}
    assert in_domain == {
        *("xsum", "xlsum", "socialqa", "amazon", "amazonfood", "paws", "mnli1", "mnli2")
    }
    assert {fticl_shots(task) for task in TASKS.values()} == {(1, 2), (2, 4), (3, 5)}


def test_bars_leave_out_the_largest_shot_count() -> None:
    """The published bars are the best over 0 and the two FTICL counts (audit A6)."""
    bars = [p for p in figures.points(["4", "5", "6", "7"]) if p.shots == "best"]
    assert len(bars) == 63
    for point in bars:
        assert [cell.shots for cell in point.cells] == list(
            study().task_of(point.cells[0]).shots[:3]
        )


@given(st.sampled_from(all_cells()))
def test_names_of_cells_and_variants_read_back(cell: Cell) -> None:
    assert Cell.parse(cell.name) == cell
    assert Variant.parse(cell.variant.name) == cell.variant


@pytest.mark.parametrize("name", ["xsum-2000", "xsum-ft-0", "base.xsum.p1", "base.x-sum.p1.3"])
def test_wrong_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not a|cannot name a"):
        Cell.parse(name) if "." in name else Variant.parse(name)


def test_claims_rest_on_their_panels() -> None:
    assert list(claims()) == [f"C{number}" for number in range(1, 19)]
    paws_on_xsum = Cell.parse("paws-ft-2000.xsum.p1.4")
    assert paws_on_xsum in study().claim_cells(claims()["C9"])
    assert {cell.dataset for cell in study().claim_cells(claims()["C12"])} == {"peerread", "sciqa"}


def test_prompts_are_the_authors() -> None:
    """Their prompt map, byte for byte; file stems differ for two tasks."""
    folder = os.environ.get("REPRO_UPSTREAM_DATA")
    if not folder:
        pytest.skip("REPRO_UPSTREAM_DATA is not set: the authors' prompt map is not at hand")
    stems = {"paraphrase": "detection", "nli": "inference"}
    published = json.loads((Path(folder) / "prompt_map.json").read_text(encoding="utf-8"))
    for prompt, theirs in zip(("p1", "p2"), published, strict=True):
        for task in TASKS.values():
            assert prompts.template(task, prompt) == theirs[stems.get(task.name, task.name)]


def test_context_is_prompt_output_blank_line() -> None:
    task = TASKS["sentiment"]
    shown = [{"input": "{odd} text", "output": "positive"}]
    text = context(task, prompts.template(task, "p1"), shown)
    assert text == "### Input:\n{odd} text\n### Sentiment:positive\n\n"
    nli = TASKS["nli"]
    stripped = prompts.template(nli, "p2", strip=True)
    pair = {"input_1": "a", "input_2": "b", "output": "neutral"}
    joined = context(nli, stripped, [pair], joint=" ")
    assert joined.endswith("The relation is neutral\n\n")
    assert "text: {input} Provide" in prompts.template(TASKS["summary"], "p2", spacing="paper")
