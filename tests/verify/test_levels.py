"""Runs against a stored reference: each level, each kind of tampering, and simulated A/A runs."""

import itertools
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from repro.errors import ReproError
from repro.paper.cells import Cell
from repro.paper.claims import claims
from repro.paper.figures import cells
from repro.verify.flips import Flips
from repro.verify.levels import hold_against
from repro.verify.margins import Margins, margins
from repro.verify.reference import OUTCOMES, load_reference, record
from repro.verify.results import Run, read_results
from repro.verify.statistics import mcnemar
from repro.verify.verdicts import Level, Verdict

CELLS = cells(["4"])
SOME = "xsum-fticl1-2000.peerread.p1.1"
Make = Callable[..., Path]
Edit = Callable[..., None]
SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def stored(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded from two folders, as two machines of one kind would deliver them."""
    home = tmp_path_factory.mktemp("stored")
    parts = [
        make(home / "a", CELLS, seeds=SEEDS[:3], n=60),
        make(home / "b", CELLS, seeds=SEEDS[3:], n=60),
    ]
    return record(parts, home / "reference")


@pytest.fixture
def same(make: Make, tmp_path: Path) -> Path:
    return make(tmp_path / "same", CELLS, seeds=(1,), n=60)


def judged(folder: Path, stored: Path, **options: object):
    (run,) = read_results(folder).runs
    found = hold_against(run, load_reference(stored).run, **options)  # type: ignore[arg-type]
    return {number.cell.name: number for number in found}


def test_a_reference_reads_back_as_the_runs_it_was_made_from(
    stored: Path, make: Make, tmp_path: Path
) -> None:
    reference = load_reference(stored)
    (run,) = read_results(make(tmp_path / "x", CELLS, seeds=SEEDS, n=60)).runs
    assert set(reference.run.cells) == set(run.cells)
    assert reference.run.seeds == SEEDS
    for place, result in run.cells.items():
        kept = reference.run.cells[place]
        assert kept.value == result.value
        assert result.outcomes is not None
        assert kept.outcomes is not None
        assert kept.outcomes.outputs == result.outcomes.outputs
        assert kept.outcomes.scores == pytest.approx(result.outcomes.scores, abs=1e-9)
    assert [item["machine"] for item in reference.recorded] == [{"cpu": "cpu A"}] * 2


def test_the_same_runs_make_the_same_bytes(stored: Path, tmp_path: Path) -> None:
    again = record([stored.parent / "b", stored.parent / "a"], tmp_path / "again")
    assert (again / OUTCOMES).read_bytes() == (stored / OUTCOMES).read_bytes()


@pytest.mark.parametrize("name", ["results.jsonl", OUTCOMES, "reference.json"])
def test_a_tampered_reference_is_refused_with_its_file(
    stored: Path, tmp_path: Path, name: str
) -> None:
    copy = shutil.copytree(stored, tmp_path / "copy")
    (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
    with pytest.raises(ReproError, match=f"{name}.*changed"):
        load_reference(copy)


def test_a_malformed_reference_is_refused_with_its_field(stored: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(stored, tmp_path / "copy")
    head = json.loads((copy / "reference.json").read_text()) | {"profile": 3}
    (copy / "reference.json").write_text(json.dumps(head))
    old = (copy / "SHA256SUMS").read_text().splitlines()
    new = sha256((copy / "reference.json").read_bytes()).hexdigest()
    lines = [f"{new}  reference.json" if x.endswith("reference.json") else x for x in old]
    (copy / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    with pytest.raises(ReproError, match=r"reference\.json: field 'profile' is 3"):
        load_reference(copy)


def test_recording_refuses_what_must_not_be_pooled(
    make: Make, tmp_path: Path, stored: Path
) -> None:
    ours = make(tmp_path / "a", CELLS[:3])
    other = make(tmp_path / "b", CELLS[:3], protocol="corrected")
    with pytest.raises(ReproError, match="protocol differs"):
        record([ours, other], tmp_path / "out")
    unlike = make(tmp_path / "c", CELLS[:3], noise="other luck")
    with pytest.raises(ReproError, match="differs from an earlier"):
        record([ours, unlike], tmp_path / "out")
    with pytest.raises(ReproError, match="exists"):
        record([ours], stored)
    assert not (tmp_path / "out").exists()


def test_equal_bits_are_l0(same: Path, stored: Path) -> None:
    found = judged(same, stored)
    assert {(n.level, n.verdict) for n in found.values()} == {(Level.L0, Verdict.REPRODUCED)}


def test_equal_outputs_with_another_loss_trace_are_not_l0(
    same: Path, stored: Path, edit: Edit
) -> None:
    edit(same / "finetunes.jsonl", lambda lines: lines[0]["losses"].append(0.1))
    first = json.loads((same / "finetunes.jsonl").read_text().splitlines()[0])["variant"]
    found = judged(same, stored)
    assert {n.level for n in found.values() if n.cell.variant.name == first} == {Level.L2}
    assert {n.level for n in found.values() if n.cell.variant.name != first} == {Level.L0}


def test_equal_bits_without_the_losses_are_not_l0(same: Path, stored: Path) -> None:
    (same / "finetunes.jsonl").unlink()
    found = judged(same, stored)
    assert {n.level for n in found.values() if n.seeds} == {Level.L1}
    assert {n.level for n in found.values() if not n.seeds} == {Level.L0}
    asked = judged(same, stored, level=Level.L0)
    assert {n.verdict for n in asked.values() if n.seeds} == {Verdict.NOT_REPRODUCED}


def located(lock: str | None, device: str | None) -> dict[str, object]:
    return {"lock_sha256": lock, "identity": {"numerics": {"device": device}}}


@pytest.mark.parametrize(
    ("own", "recorded", "told"),
    [
        (("a", "x"), [("a", "x")], ""),
        (("a", "x"), [("b", "y"), ("a", "x")], ""),
        (("b", "x"), [("a", "x")], "; another lock"),
        (("a", "y"), [("a", "x")], "; another machine kind (y, stored x)"),
        (("b", "y"), [("a", "x")], "; another lock; another machine kind (y, stored x)"),
        ((None, "x"), [("a", "x")], "; lock unknown"),
        (("a", "x"), [(None, None)], "; lock unknown; machine kind unknown"),
        (("a", "y"), [("a", "x"), ("b", "y")], "; lock and machine kind of different stored runs"),
    ],
)
def test_equal_bits_of_another_lock_or_machine_kind_are_l0_and_say_so(
    same: Path,
    stored: Path,
    own: tuple[str | None, str | None],
    recorded: list[tuple[str | None, str | None]],
    told: str,
) -> None:
    """Equal bits are equal wherever they were made; where, the reason says."""
    (run,) = read_results(same).runs
    found = hold_against(
        replace(run, record=located(*own)),
        load_reference(stored).run,
        recorded=[located(*one) for one in recorded],
    )
    assert {(n.level, n.verdict) for n in found} == {(Level.L0, Verdict.REPRODUCED)}
    assert {n.reason for n in found} == {f"losses, logits and outputs equal to the last bit{told}"}


def test_l0_asked_for_refuses_other_bits(make: Make, tmp_path: Path, stored: Path) -> None:
    folder = make(tmp_path / "x", CELLS, seeds=(1,), n=60, machine="cpu B", noise="B")
    verdicts = {n.verdict for n in judged(folder, stored, level=Level.L0).values()}
    assert verdicts == {Verdict.REPRODUCED, Verdict.NOT_REPRODUCED}, "the base's bits are equal"


def test_one_altered_number_made_to_agree_is_caught_by_its_key(
    same: Path, stored: Path, edit: Edit, reseal: Edit
) -> None:
    path = same / "samples" / f"{SOME}.seed1.jsonl"
    edit(path, lambda lines: lines[5].update(score=lines[5]["score"] + 1e-6))
    reseal(same, SOME, 1)
    found = judged(same, stored)
    assert found[SOME].verdict == Verdict.NOT_REPRODUCED
    assert "other outcome" in found[SOME].reason
    assert sum(n.verdict == Verdict.NOT_REPRODUCED for n in found.values()) == 1


def test_one_dropped_row_made_to_agree_is_caught(
    same: Path, stored: Path, edit: Edit, reseal: Edit
) -> None:
    edit(same / "samples" / f"{SOME}.seed1.jsonl", lambda lines: lines.pop(3))
    reseal(same, SOME, 1)
    assert judged(same, stored)[SOME].verdict == Verdict.NOT_REPRODUCED


def rename(folder: Path, edit: Edit, old: tuple[str, int], new: tuple[str, int]) -> None:
    """Pass a variant and seed off as another, everywhere in the folder."""

    def change(lines: list[dict]) -> None:
        lines[:] = [x for x in lines if (x["variant"], x["seed"]) != new]
        for line in lines:
            if (line["variant"], line["seed"]) == old:
                line.update(variant=new[0], seed=new[1])
                if "cell" in line:
                    source = folder / line["samples"]
                    line["cell"] = line["cell"].replace(old[0], new[0])
                    line["samples"] = f"samples/{line['cell']}.seed{new[1]}.jsonl"
                    shutil.copy(source, folder / line["samples"])

    for name in ("results.jsonl", "finetunes.jsonl"):
        edit(folder / name, change)


@pytest.mark.parametrize("new", [("xsum-fticl2-2000", 1), ("xsum-fticl1-2000", 2)])
def test_a_swapped_variant_or_changed_seed_is_caught_by_its_key(
    same: Path, stored: Path, edit: Edit, new: tuple[str, int]
) -> None:
    rename(same, edit, ("xsum-fticl1-2000", 1), new)
    found = judged(same, stored)
    wrong = [n for n in found.values() if n.verdict == Verdict.NOT_REPRODUCED]
    assert {n.cell.variant.name for n in wrong} == {new[0]}
    assert all("xsum-fticl1-2000" in n.reason and "swapped" in n.reason for n in wrong)


def test_a_missing_cell_and_a_missing_seed_are_not_run(
    same: Path, stored: Path, edit: Edit, make: Make, tmp_path: Path
) -> None:
    def drop(lines: list[dict]) -> None:
        lines[:] = [line for line in lines if line["cell"] != SOME]

    edit(same / "results.jsonl", drop)
    assert judged(same, stored)[SOME].verdict == Verdict.NOT_RUN
    two = make(tmp_path / "two", CELLS, seeds=(1, 2), n=60)
    edit(two / "results.jsonl", lambda lines: lines.remove(lines[-1]))
    lost = [n for n in judged(two, stored).values() if n.verdict == Verdict.NOT_RUN]
    assert [n.reason for n in lost] == ["seed 2 is missing"]


def test_the_base_on_another_machine_is_l1(
    same: Path, stored: Path, edit: Edit, reseal: Edit
) -> None:
    name = "base.xsum.p1.1"
    path = same / "samples" / f"{name}.jsonl"

    def flip(lines: list[dict]) -> None:
        lines[0]["text"] += "!"
        lines[0]["score"] = min(1.0, lines[0]["score"] + 0.05)

    edit(path, flip)
    reseal(same, name, None)

    def other_key(lines: list[dict]) -> None:
        for line in lines:
            if line["cell"] == name:
                line["key"] = "0" * 64

    edit(same / "results.jsonl", other_key)
    number = judged(same, stored)[name]
    assert (number.level, number.verdict) == (Level.L1, Verdict.REPRODUCED)
    assert "98.3% of outputs agree" in number.reason
    assert number.power is not None
    low, high = number.interval
    assert low <= 0.05 / 60 <= high


def test_retrained_runs_are_l2_and_mostly_inside(make: Make, tmp_path: Path, stored: Path) -> None:
    folder = make(tmp_path / "x", CELLS, seeds=(1,), n=60, machine="cpu B", noise="B")
    tuned = [n for n in judged(folder, stored).values() if n.seeds]
    assert {n.level for n in tuned} == {Level.L2}
    assert all(n.verdict.passes for n in tuned)
    assert all(n.stored == 5 and n.interval and n.power is not None for n in tuned)


def test_a_worse_model_is_not_reproduced(
    make: Make, tmp_path: Path, stored: Path, published: dict[Cell, float]
) -> None:
    worse = published | {cell: 0.5 * published[cell] for cell in CELLS if cell.name == SOME}
    folder = make(tmp_path / "x", CELLS, seeds=(1,), n=60, machine="B", noise="B", skill=worse)
    found = judged(folder, stored)
    assert found[SOME].verdict == Verdict.NOT_REPRODUCED
    assert sum(n.verdict == Verdict.NOT_REPRODUCED for n in found.values()) == 1


def test_without_samples_the_level_falls_and_says_so(same: Path, stored: Path) -> None:
    for path in (same / "samples").iterdir():
        path.unlink()
    found = judged(same, stored)
    assert {n.level for n in found.values()} == {Level.L2}
    assert all("samples are missing" in n.reason for n in found.values())
    assert not any(n.verdict == Verdict.NOT_REPRODUCED for n in found.values())


def test_another_data_version_is_named_and_not_compared(
    same: Path, stored: Path, edit: Edit, reseal: Edit
) -> None:
    path = same / "samples" / f"{SOME}.seed1.jsonl"
    edit(path, lambda lines: lines[5].update(prompt_sha256="1" * 64))
    reseal(same, SOME, 1)

    def other_key(lines: list[dict]) -> None:
        for line in lines:
            if line["cell"] == SOME:
                line["key"] = "0" * 64

    edit(same / "results.jsonl", other_key)
    number = judged(same, stored)[SOME]
    assert number.verdict == Verdict.INCONCLUSIVE
    assert "another data version" in number.reason


def test_one_stored_run_is_never_green(make: Make, tmp_path: Path) -> None:
    stored = record([make(tmp_path / "a", CELLS, seeds=(1,))], tmp_path / "ref")
    folder = make(tmp_path / "b", CELLS, seeds=(1,), machine="B", noise="B")
    tuned = [n for n in judged(folder, stored).values() if n.seeds]
    assert {n.verdict for n in tuned} <= {Verdict.CONSISTENT, Verdict.INCONCLUSIVE}
    assert all("k = 1" in n.reason for n in tuned)


def test_verdicts_do_not_depend_on_the_order_of_rows_or_cells(
    make: Make, tmp_path: Path, stored: Path, edit: Edit
) -> None:
    folder = make(tmp_path / "x", CELLS, seeds=(1, 2), n=60, machine="B", noise="B")
    tuned = [cell for cell in CELLS if cell.variant.name != "base"]
    before = judged(folder, stored, wanted=tuned)
    shuffle = random.Random(0).shuffle
    digests = {}
    for path in (folder / "samples").iterdir():
        edit(path, shuffle)
        digests[f"samples/{path.name}"] = sha256(path.read_bytes()).hexdigest()

    def follow(lines: list[dict]) -> None:
        shuffle(lines)
        for line in lines:
            line["samples_sha256"] = digests[line["samples"]]
            # Other bits need another key: the kit itself never reorders rows.
            line["key"] = "f" + line["key"][1:]

    edit(folder / "results.jsonl", follow)
    after = judged(folder, stored, wanted=tuned[::-1])
    assert set(after) == set(before)
    for name, number in before.items():
        other = after[name]
        assert (other.level, other.verdict, other.reason, other.seeds, other.n) == (
            (number.level, number.verdict, number.reason, number.seeds, number.n)
        )
        for field in ("ours", "theirs", "p", "p_adjusted", "equivalence_p", "power", "interval"):
            assert getattr(other, field) == pytest.approx(getattr(number, field), abs=1e-12)


RANK = {
    Verdict.NOT_REPRODUCED: 0,
    Verdict.INCONCLUSIVE: 1,
    Verdict.CONSISTENT: 2,
    Verdict.REPRODUCED: 3,
}


def widened(factor: float) -> Margins:
    known = margins()
    return replace(
        known,
        same_weights={k: v * factor for k, v in known.same_weights.items()},
        retrained={k: v * factor for k, v in known.retrained.items()},
        logit_tie=known.logit_tie * factor,
    )


def test_widening_a_margin_turns_no_cell_for_the_worse(
    make: Make, tmp_path: Path, stored: Path, published: dict[Cell, float]
) -> None:
    worse = {cell: 0.8 * published[cell] for cell in published}
    folder = make(tmp_path / "x", CELLS, seeds=(1,), n=60, machine="B", noise="B", skill=worse)
    series = [
        judged(folder, stored, limits=widened(factor), level=level)
        for level in (Level.L1, Level.L2)
        for factor in (0.1, 0.5, 1, 2, 5)
    ]
    seen = set()
    for narrow, wide in itertools.pairwise(series[:5]):
        assert all(RANK[wide[name].verdict] >= RANK[narrow[name].verdict] for name in narrow)
    for narrow, wide in itertools.pairwise(series[5:]):
        assert all(RANK[wide[name].verdict] >= RANK[narrow[name].verdict] for name in narrow)
    for found in series:
        seen |= {number.verdict for number in found.values()}
    assert {Verdict.NOT_REPRODUCED, Verdict.REPRODUCED} <= seen


@pytest.mark.parametrize("gained", range(4))
@pytest.mark.parametrize("lost", range(8))
def test_ties_count_for_equality_and_more_of_them_never_against_it(gained: int, lost: int) -> None:
    p = [Flips(gained, lost, tied, 0, 0, 100).p for tied in range(12)]
    assert p == sorted(p)
    assert p[0] == mcnemar(gained, lost)
    assert p[-1] >= mcnemar(gained + 11, lost)


def test_simulated_a_a_runs_raise_few_alarms(make: Make, tmp_path: Path) -> None:
    """200 runs of the same process against five stored ones, cell by cell, on values alone.

    Unadjusted, 5% fall outside their interval; the verdict adjusts for the number of cells, so
    that a run with any NOT REPRODUCED is rare too.
    """
    wanted = [cell for cell in claims()["C7"].cells() if cell.variant.name != "base"][:24]
    stored = record([make(tmp_path / "a", wanted, seeds=SEEDS, n=30)], tmp_path / "ref")
    reference = load_reference(stored).run
    (template,) = read_results(make(tmp_path / "b", wanted, seeds=(9,), n=30, noise="B")).runs
    rng = np.random.default_rng(0)
    spread = 0.12  # far above the binomial floor, so that the floor does not hide the rate

    def lucky(run: Run) -> Run:
        cells = {
            place: replace(result, value=0.5 + spread * rng.normal(), outcomes=None, n=2500)
            for place, result in run.cells.items()
        }
        return replace(run, cells=cells)

    outside = alarms = 0
    for _ in range(200):
        found = hold_against(lucky(template), lucky(reference))
        outside += sum(number.outside for number in found)
        alarms += any(number.verdict == Verdict.NOT_REPRODUCED for number in found)
    cells_judged = 200 * len(wanted)
    assert outside / cells_judged == pytest.approx(0.05, abs=0.015)
    assert alarms / 200 <= 0.05 + 4 * (0.05 * 0.95 / 200) ** 0.5
