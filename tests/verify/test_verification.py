"""Whole verifications: exit codes, the two separate questions, and what the terminal shows."""

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from repro.errors import ReproError
from repro.metrics import best_of
from repro.report.answer import head
from repro.report.commands import compare, conclude, record_expected
from repro.report.model import report
from repro.report.tables import paper_parts, reference_parts
from repro.results.outcomes import read_samples
from repro.spec.cells import BASE, Cell
from repro.spec.points import Point
from repro.studies.paper.claims import claims
from repro.studies.paper.figures import cells, points
from repro.studies.paper.study import study
from repro.verify.claimverdicts import Answer, ContrastVerdict
from repro.verify.contrasts import Evidence, judge
from repro.verify.measured import Measured
from repro.verify.reading import read_results
from repro.verify.reference import load_reference, record
from repro.verify.runscores import run_source
from repro.verify.verdicts import Level, Verdict
from repro.verify.verification import build

Make = Callable[..., Path]
CELLS = study().claim_cells(claims()["C12"])


def console() -> Console:
    return Console(file=io.StringIO(), width=80, highlight=False)


def verify(
    folder: Path,
    terminal: Console,
    *,
    expected: Path,
    claims: list[str] | None = None,
    full: bool = False,
) -> int:
    """As `repro verify` does."""
    found = report(folder, expected=expected, asked=claims)
    return conclude(found, terminal, claims, full=full)


def shown(terminal: Console) -> str:
    assert isinstance(terminal.file, io.StringIO)
    return terminal.file.getvalue()


@pytest.fixture(scope="module")
def expected(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    run = make(home / "run", CELLS, seeds=(1, 2, 3, 4, 5), n=40)
    record([run], home / "expected" / "embedded")
    return home / "expected"


@pytest.fixture(scope="module")
def again(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("again") / "run", CELLS, seeds=(1,), n=40)


def test_the_same_bits_verify_whatever_the_papers_claims_come_to(
    again: Path, expected: Path
) -> None:
    terminal = console()
    assert verify(again, terminal, expected=expected) == 0
    text = shown(terminal)
    assert text.startswith("PASS")
    assert f"{len(CELLS)} cells equal to the stored run, bit for bit" in " ".join(text.split())
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_claim_counts_on_the_papers_own_model_only_asked_for_or_not(
    make: Make, tmp_path: Path, published: dict[Cell, float]
) -> None:
    """C12 turned round: FTICL far below fine-tuning."""
    turned = published | {c: 0.05 for c in CELLS if c.variant.method == "fticl"}
    stored = tmp_path / "expected"
    for profile, code in (("embedded", 0), ("llama2-7b", 1)):
        folder = make(tmp_path / profile, CELLS, seeds=(1,), n=40, profile=profile, skill=turned)
        record([folder], stored / profile)
        for asked in (None, ["C12"]):
            (verified,) = build(folder, expected=stored, asked=asked).runs
            assert verified.claims_count == (profile == "llama2-7b")
            (found,) = [c for c in verified.claims if c.claim.id == "C12"]
            assert found.verdict is Answer.FAILS
            assert found.contradicts
            assert verified.exit_code == code
        assert verify(folder, console(), expected=stored, claims=["C12"]) == code


def test_a_claim_that_is_only_not_shown_is_no_failure(again: Path, expected: Path) -> None:
    """C12 cannot be told from skills like the paper's: FC2 equals FT on PeerRead."""
    (verified,) = build(again, expected=expected, asked=["C12"]).runs
    assert verified.claims[0].verdict in (Answer.CANNOT_TELL, Answer.AGREES)
    assert verified.exit_code == 0
    assert replace(verified, claims_count=True).exit_code == 0


def test_missing_cells_are_exit_code_3_with_the_command_to_run(
    make: Make, tmp_path: Path, expected: Path
) -> None:
    folder = make(tmp_path / "run", CELLS[:-3], seeds=(1,), n=40)
    terminal = console()
    # In full: a command with long paths is not among the first 60 lines.
    assert verify(folder, terminal, expected=expected, full=True) == 3
    text = shown(terminal)
    assert text.startswith("NOT COMPLETE")
    assert "3 cells" in text.splitlines()[0]
    assert "repro run --profile embedded" in text
    assert all(cell.name in text for cell in CELLS[-3:])
    assert verify(folder, console(), expected=expected, claims=["C1"]) == 3


def test_nothing_stored_for_a_protocol_is_said(make: Make, tmp_path: Path, expected: Path) -> None:
    folder = make(tmp_path / "run", CELLS, seeds=(1,), n=40, protocol="corrected")
    terminal = console()
    assert verify(folder, terminal, expected=expected) == 3
    assert "nothing is stored" in shown(terminal)


def test_one_wrong_cell_fails(
    make: Make, tmp_path: Path, expected: Path, published: dict[Cell, float]
) -> None:
    worse = published | {CELLS[0]: 0.3 * published[CELLS[0]]}
    folder = make(tmp_path / "run", CELLS, seeds=(1,), n=40, machine="B", noise="B", skill=worse)
    terminal = console()
    assert verify(folder, terminal, expected=expected) == 1
    assert CELLS[0].name in shown(terminal)


def test_unknown_claim_and_missing_folder(again: Path, expected: Path, tmp_path: Path) -> None:
    with pytest.raises(ReproError, match="unknown claim 'C99'"):
        verify(again, console(), expected=expected, claims=["C99"])
    with pytest.raises(ReproError, match="no such folder") as caught:
        verify(again, console(), expected=tmp_path / "nowhere")
    assert caught.value.exit_code == 3


def test_protocols_side_by_side_show_whether_claims_survive(
    make: Make, tmp_path: Path, published: dict[Cell, float]
) -> None:
    fixed = published | {c: 0.6 for c in CELLS if c.variant.method == "fticl"}
    make(tmp_path / "results" / "a", CELLS, n=60)
    make(tmp_path / "results" / "b", CELLS, n=60, protocol="corrected", skill=fixed)
    verification = build(tmp_path / "results", expected=tmp_path)
    rows = dict(verification.survival)
    found = {name.split(" / ")[1]: verdict for name, verdict in rows["C12"]}
    assert found["corrected"] is Answer.HOLDS
    assert found["published-code"] in (Answer.AGREES, Answer.CANNOT_TELL)


def test_claims_hold_on_results_made_to_the_papers_effects(make: Make, tmp_path: Path) -> None:
    wanted = [*study().claim_cells(claims()["C5"]), *study().claim_cells(claims()["C9"])]
    folder = make(tmp_path / "run", dict.fromkeys(wanted), seeds=(1, 2, 3), n=120, jitter=0.003)
    (verified,) = build(folder, expected=tmp_path, asked=["C5", "C9"]).runs
    assert verified.claims[0].verdict is Answer.HOLDS
    scores, labels = verified.claims[1].contrasts
    assert scores.verdict is Answer.HOLDS
    assert labels.verdict is Answer.FAILS, "the made-up texts are no labels"
    against_base = verified.claims[0].contrasts[0]
    assert against_base.ratio == pytest.approx(1.0, abs=0.15)
    assert against_base.seeds == (1, 2, 3)


def test_a_claim_run_in_part_is_not_reproduced_and_for_less_than_half_not_even_consistent(
    make: Make, tmp_path: Path
) -> None:
    wanted = study().claim_cells(claims()["C5"])
    found = []
    for name, datasets in (("most", {"cnndm", "tweetqa", "sciqa"}), ("few", {"sciqa"})):
        some = [cell for cell in wanted if cell.dataset in datasets]
        folder = make(tmp_path / name, some, n=120, jitter=0.003)
        (verified,) = build(folder, expected=tmp_path, asked=["C5"]).runs
        found.append(verified.claims[0].verdict)
        assert verified.exit_code == 3
    assert found == [Answer.AGREES, Answer.CANNOT_TELL]


def test_a_claim_turned_round_is_not_reproduced(make: Make, tmp_path: Path) -> None:
    wanted = study().claim_cells(claims()["C5"])
    turned = {c: 0.2 if c.variant.method == "base" else 0.4 for c in wanted}
    folder = make(tmp_path / "run", wanted, n=120, skill=turned, profile="llama2-7b")
    (verified,) = build(folder, expected=tmp_path, asked=["C5"]).runs
    assert verified.claims[0].verdict is Answer.FAILS
    assert verified.claims[0].contradicts
    assert verified.exit_code == 1


def test_the_papers_own_model_is_held_against_the_paper(make: Make, tmp_path: Path) -> None:
    wanted = [cell for cell in cells(["4"]) if cell.dataset == "peerread"]
    folder = make(tmp_path / "run", wanted, n=250, seeds=(1, 2), profile="llama2-7b")
    (verified,) = build(folder, expected=tmp_path).runs
    ran = [n for n in verified.points if n.verdict != Verdict.NOT_RUN]
    assert {n.level for n in ran} == {Level.L3}
    assert all(n.verdict.passes for n in ran if n.point and n.point.shots != "best")
    assert verified.claims_count
    assert verified.not_run
    assert verified.exit_code == 3
    other = make(tmp_path / "other", wanted[:3], n=40)
    assert not build(other, expected=tmp_path).runs[0].points
    assert build(other, expected=tmp_path, level=Level.L3).runs[0].points


def test_one_seed_far_from_the_paper_is_told_with_a_spread_that_is_named(
    make: Make, tmp_path: Path
) -> None:
    """Much further than the prior spread over seeds allows: one seed or two."""
    wanted = [cell for cell in cells(["2"]) if cell.dataset == "stsb"]
    far = {cell: 0.9 if cell.variant.method == "base" else 0.1 for cell in wanted}
    found = {}
    for seeds in ((1,), (1, 2)):
        folder = make(
            tmp_path / str(seeds), wanted, n=250, seeds=seeds, jitter=0.001, skill=far,
            profile="llama2-7b",
        )  # fmt: skip
        (verified,) = build(folder, expected=tmp_path).runs
        found[seeds] = {
            (n.cell.variant.method, n.verdict)
            for n in verified.points
            if n.verdict is not Verdict.NOT_RUN
        }
        fine_tunes = [n for n in verified.points if n.ours and n.cell.variant.method == "ft"]
        assert all("registered prior" in n.reason for n in fine_tunes)
    far_off = {("base", Verdict.NOT_REPRODUCED), ("ft", Verdict.NOT_REPRODUCED)}
    assert found[1,] == found[1, 2] == far_off


@pytest.mark.parametrize("rule", ["smallest", "all", "split-half"])
def test_bars_are_chosen_as_the_metrics_choose_them(make: Make, tmp_path: Path, rule: str) -> None:
    """Against the rule's own implementation, which works on samples."""
    (point,) = [
        p
        for p in points(["4"], every_shot=rule != "smallest")
        if (p.panel, p.series) == ("b", "FC1")
    ]
    skill = {cell: 0.3 + 0.01 * index for index, cell in enumerate(point.cells)}
    folder = make(tmp_path / "run", point.cells, seeds=(7,), n=41, best_of=rule, skill=skill)
    (run,) = read_results(folder).runs
    measured = run_source(run)(point)
    by_shots: dict[int, list[dict[str, float]]] = {}
    for cell in point.cells:
        path = folder / "samples" / f"{cell.name}.seed7.jsonl"
        found, _ = read_samples(path, study().task_of(cell))
        by_shots[cell.shots] = [
            {"row": int(row), "score": float(score)}
            for row, score in zip(found.rows, found.scores, strict=True)
        ]
    assert measured is not None
    assert measured.values == pytest.approx([best_of(by_shots, rule).value])  # type: ignore[arg-type]
    assert measured.draws.shape == (1, 10_000)


def test_draws_of_two_cells_are_paired(make: Make, tmp_path: Path) -> None:
    wanted = [Cell.parse("base.xsum.p1.1"), Cell.parse("base.xsum.p1.2")]
    (run,) = read_results(make(tmp_path / "run", wanted, n=200)).runs
    by_cell = {p.cells[0]: p for p in points(["1"])}
    one, two = (run_source(run)(by_cell[cell]) for cell in wanted)
    assert one is not None
    assert two is not None
    scores = [run.cells[cell, None].outcomes.scores for cell in wanted]  # type: ignore[union-attr]
    paired = float(np.std(scores[0] - scores[1]) / np.sqrt(200))
    assert float(np.std(one.draws - two.draws)) == pytest.approx(paired, rel=0.05)


def test_false_alarms_and_power_of_a_contrast_by_simulation() -> None:
    """A contrast of many pairs whose error is known, drawn again and again."""
    contrast = claims()["C9"].contrasts[0]
    assert contrast.left is not None
    contrast = replace(
        contrast, direction="greater", right=replace(contrast.left, models=("base",))
    )
    contrast = replace(contrast, same=("shots",), quantifier="most")
    wanted = dict.fromkeys(
        p for pair in study().pairs(contrast) for t in (pair.left, pair.right) for p in t.points
    )
    noise = np.random.default_rng(0)
    z = noise.standard_normal(2000)

    def shown_share(effect: float) -> tuple[float, float]:
        hits, power = 0, 0.0
        for _ in range(150):
            drawn: dict[Point, Measured] = {}
            error = 0.03 * noise.standard_normal()
            for p in wanted:
                # All pairs share one error, so that the mean has that of a single pair.
                base = p.variant.method == "base"
                value = 0.3 if base else 0.3 + effect + error
                draws = value + (0 if base else 0.03) * z
                drawn[p] = Measured((), np.array([value]), draws[None, :], 250)
            evidence = Evidence(study(), drawn.get)
            published = truth(effect) if effect else None
            found = judge(contrast, evidence, published=published)
            hits += found.p_shown < 0.05
            power = found.power or 0.0
        return hits / 150, power

    def truth(effect: float) -> ContrastVerdict:
        """The same contrast with that effect in each comparison, and hardly any error."""
        exact = {}
        for p in wanted:
            value = 0.3 if p.variant.method == "base" else 0.3 + effect
            exact[p] = Measured((), np.array([value]), value + 1e-6 * z[None, :], 250)
        return judge(contrast, Evidence(study(), exact.get))

    rate, _ = shown_share(0.0)
    assert rate == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 150) ** 0.5)
    rate, power = shown_share(0.06)
    assert rate == pytest.approx(power, abs=4 * (0.25 / 150) ** 0.5)


def test_compare_names_what_differs(make: Make, again: Path, tmp_path: Path) -> None:
    terminal = console()
    assert compare(again, again, terminal) == 0
    assert "What differs" not in shown(terminal)
    other = make(tmp_path / "b", CELLS[2:], seeds=(1,), n=40, machine="cpu B", noise="B")
    terminal = console()
    assert compare(again, other, terminal) in (0, 3)
    text = " ".join(shown(terminal).split())  # a long path wraps
    assert "numerics.device" in text
    assert "only: 2 cells" in text


def test_compare_ends_as_verify_does(
    make: Make, tmp_path: Path, published: dict[Cell, float]
) -> None:
    """What cannot be decided is no difference: one seed against another says nothing of spread."""
    tuned = [cell for cell in CELLS if cell.variant != BASE]
    stored = make(tmp_path / "a", tuned, seeds=(1,), n=40)
    lower = {cell: 0.5 * value for cell, value in published.items()}
    far = make(tmp_path / "b", tuned, seeds=(2,), n=40, noise="b", skill=lower)
    terminal = console()
    assert compare(stored, far, terminal) == 3
    assert "not to be decided against the stored run" in " ".join(shown(terminal).split())


def test_recorded_references_are_shown(again: Path, tmp_path: Path) -> None:
    recorded, stored = console(), console()
    recorded.print(*reference_parts(record_expected([again], tmp_path / "new", console())))
    stored.print(*reference_parts(load_reference(tmp_path / "new")))
    assert shown(stored) == shown(recorded)
    assert f"{len(CELLS)}" in shown(stored)


def test_recording_shows_how_far_it_is(again: Path, tmp_path: Path) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    record_expected([again, again], tmp_path / "new", terminal)
    # What is drawn last is the bar's last state.
    assert re.search(r"writing the reference .*2/3", shown(terminal))
    piped = console()
    record_expected([again], tmp_path / "piped", piped)
    assert "writing" not in shown(piped)


def test_following_from_the_figures_is_printed() -> None:
    terminal = console()
    terminal.print(*paper_parts())
    text = shown(terminal)
    assert text.count("does not follow") == 4 + 1, "four findings, and what C12 does not claim"
    flat = " ".join(text.split())
    assert "(66 of 72; " in flat
    # The text of a row wraps in its column; beside it stands the next one.
    assert re.search(r"not claimed: the same out of .*\n\s+domain \(35 of 90\)", text)
    assert "0.932" in text
    assert max(map(len, text.splitlines())) <= 80


def test_verifying_needs_neither_torch_nor_datasets() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'datasets'): sys.modules[name] = None\n"
        "import repro.report.commands"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_no_compared_number_is_no_pass(make: Make, tmp_path: Path) -> None:
    """Cells that the reference has not, beside facts that it has."""
    stored = record([make(tmp_path / "a", CELLS[:4], n=40)], tmp_path / "expected")
    folder = make(tmp_path / "run", CELLS[4:6], n=40, asked=CELLS[4:6])
    terminal = console()
    assert verify(folder, terminal, expected=stored) == 3
    text = " ".join(shown(terminal).split())
    assert "something is missing: stored values of what was run" in text
    assert "stored values of 2 cells: the reference has none of them" in text


def test_a_part_of_the_papers_model_that_was_asked_for_can_pass(make: Make, tmp_path: Path) -> None:
    """No other cells, claims and points are held against it as missing."""
    wanted = [cell for cell in cells(["1"]) if cell.dataset == "paws"]
    folder = make(
        tmp_path / "run", wanted, n=250, jitter=0.0, luck=0.0, profile="llama2-7b", asked=wanted
    )
    (verified,) = build(folder, expected=tmp_path).runs
    assert verified.points
    assert {n.cell.dataset for n in verified.points} == {"paws"}
    assert (verified.not_run, verified.untold, verified.exit_code) == ((), (), 0)
    terminal = console()
    assert verify(folder, terminal, expected=tmp_path) == 0
    some = make(tmp_path / "some", wanted[:-1], n=250, profile="llama2-7b", asked=wanted)
    (verified,) = build(some, expected=tmp_path).runs
    assert verified.not_run == tuple(wanted[-1:])
    assert verified.exit_code == 3


@pytest.mark.parametrize("lost", ["seed", "samples"])
def test_without_a_reference_lost_seeds_and_samples_are_noticed(
    make: Make, edit: Callable[..., None], tmp_path: Path, lost: str
) -> None:
    wanted = [cell for cell in cells(["1"]) if cell.dataset == "paws"]
    folder = make(tmp_path / "run", wanted, seeds=(1, 2), n=250, profile="llama2-7b", asked=wanted)
    (verified,) = build(folder, expected=tmp_path).runs
    assert not verified.fewer
    assert not verified.not_run
    cell = next(cell.name for cell in wanted if cell.variant != BASE)
    if lost == "seed":
        edit(
            folder / "results.jsonl",
            lambda lines: lines.remove(next(x for x in lines if x["cell"] == cell)),
        )
    else:
        (folder / f"samples/{cell}.seed1.jsonl").unlink()
    (verified,) = build(folder, expected=tmp_path).runs
    assert verified.exit_code == 3
    assert [c.name for c in verified.not_run] == [cell] * (lost == "seed")
    assert bool(verified.fewer) == (lost == "samples")


def test_what_differs_is_told_from_the_paper_or_the_stored_runs(
    make: Make, tmp_path: Path, published: dict[Cell, float]
) -> None:
    wanted = [cell for cell in cells(["1"]) if cell.dataset == "paws"]
    stored = record(
        [make(tmp_path / "a", wanted, seeds=(1, 2, 3), n=250, profile="llama2-7b", asked=wanted)],
        tmp_path / "expected" / "a",
    )
    zero = published | {wanted[0]: 0.0}
    folder = make(
        tmp_path / "run", wanted, seeds=(1, 2, 3), n=250, profile="llama2-7b", skill=zero,
        asked=wanted,
    )  # fmt: skip
    terminal = console()
    assert verify(folder, terminal, expected=stored) == 1
    assert "something differs from the stored runs and the paper" in " ".join(
        shown(terminal).split()
    )


def test_a_single_switch_beside_the_published_run_is_a_row_on_survival(
    make: Make, edit: Callable[..., None], tmp_path: Path
) -> None:
    home = tmp_path / "results"
    make(home / "a", CELLS, n=60)
    other = make(home / "b", CELLS, n=60)
    assert not build(home / "a", expected=tmp_path).survival
    switch = {"truncation_side": "source"}
    edit(other / "results.jsonl", lambda lines: [x.update(overrides=switch) for x in lines])
    told = json.loads((other / "run.json").read_text())
    told["identity"]["overrides"] = switch
    (other / "run.json").write_text(json.dumps(told))
    rows = dict(build(home, expected=tmp_path).survival)
    assert [name for name, _ in rows["C12"]] == [
        "embedded / published-code", "embedded / published-code (truncation_side=source)",
    ]  # fmt: skip
    shutil.rmtree(other)
    make(home / "b", CELLS, n=60, profile="small", protocol="corrected")
    assert not build(home, expected=tmp_path).survival, "two models"


@pytest.mark.parametrize(
    ("data", "model", "counts"),
    [
        ("upstream", {"kind": "hub", "repo": "meta-llama/Llama-2-7b-hf"}, True),
        ("upstream", {"kind": "hub", "repo": "NousResearch/Llama-2-7b-hf"}, True),
        ("upstream", {"kind": "hub", "repo": "HuggingFaceTB/SmolLM2-360M-Instruct"}, False),
        ("upstream", {"kind": "folder", "path": "llama"}, False),
        ("embedded", {"kind": "embedded"}, False),
        ("embedded", {"kind": "hub", "repo": "meta-llama/Llama-2-7b-hf"}, False),
    ],
)
def test_evidence_on_the_paper_is_its_model_on_its_data(
    make: Callable[..., Path], tmp_path: Path, data: str, model: dict, counts: bool
) -> None:
    """A profile's name says nothing: anybody may call one llama2-7b, or give it another model."""
    folder = make(tmp_path / "run", cells(["4"])[:6], profile="llama2-7b")
    told = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(told | {"data": data, "model": model}))
    own = report(folder, expected=tmp_path)
    text = head(own.runs[0].verified).on_paper
    assert text.startswith("Evidence on the paper: yes" if counts else "Not evidence on the paper")
    assert own.runs[0].verified.claims_count is counts
    assert bool(own.runs[0].verified.points) is counts
