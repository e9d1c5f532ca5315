"""Expected results: raw reference runs with the outcome of every row, recorded and read back.

A reference folder holds `reference.json` (what was run, where, with what), `results.jsonl.gz` and
`finetunes.jsonl.gz` with the lines that the runs wrote, `outcomes.jsonl.gz`, and `SHA256SUMS`.
Thresholds are computed from it when checking.

A line of `outcomes.jsonl.gz` is a cell of one seed: `cell`, `seed`, `rows` (ascending positions in
the test file) and, in their order,

- `inputs`: DIGITS hex digits a row, one behind the other: the start of the sha256 of the prompt's
  sha256, a blank and the gold;
- `scores`: a digit a row for classification, else a list of ROUGE-L F1;
- `outputs`: a digit a row, the label's place in Table 4, else a list of digests of the texts;
- `gaps`, for classification only: best logit minus the next.

Cells of one test set, prompt and shot count stand together: their `inputs` are equal and then take
next to no room in the packed file.
"""

import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from repro import studies
from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError
from repro.files import file_sha256
from repro.results.outcomes import DIGITS, Outcomes, changed_inputs
from repro.results.reading import check_line, json_lines, read_tuned
from repro.results.runs import CellResult, Key, Run, Tuned, named
from repro.results.schema import FINETUNES, RESULTS, RUN, Checked, ResultLine
from repro.spec.cells import Cell, Variant
from repro.spec.study import Study
from repro.spec.tasks import Kind, Task
from repro.tables import checked
from repro.verify.published import SUMS, check_sums
from repro.verify.reading import read_results

FORMAT = 3
REFERENCE, OUTCOMES = "reference.json", "outcomes.jsonl.gz"
CELLS, TUNED = f"{RESULTS}.gz", f"{FINETUNES}.gz"
FILES = {REFERENCE, CELLS, TUNED, OUTCOMES}

_KIND = ("profile", "protocol", "overrides")
# What a run was asked for, and with which paths: its own affair.
_OWN = ("asked", "options")
# Facts of a fine-tune that are large and compared nowhere.
_LEFT_OUT = ("versions", "gradient_norms", "weight_change")


@dataclass(frozen=True)
class Reference:
    """A stored reference.

    Attributes:
        run: its cells, as those of a run.
        recorded: run.json of each folder that it was made from.
    """

    folder: Path
    run: Run
    recorded: tuple[Mapping[str, Any], ...]


class _Head(Checked):
    """What `reference.json` holds."""

    format: Literal[3]
    profile: str
    protocol: str
    overrides: dict[str, Any]
    recorded: list[dict[str, Any]]


_HINT = "restore the folder from the repository, or record it again: repro expected record"
_LEAVE = "run what is missing again into that folder, or leave the folder out"


def _fail(where: str | Path, what: str, hint: str = _HINT) -> NoReturn:
    raise ReproError(f"{where}: {what}", hint=hint, exit_code=EXIT_FAILED)


def record(
    results: Sequence[Path], out: Path, *, stage: Callable[[str], None] = lambda name: None
) -> Path:
    """Make a reference folder from results folders: one run with all its seeds, or several runs.

    What was stored before can be among them, so that a reference grows after the samples behind
    it are gone.

    Args:
        results: results folders of one profile, protocol and base model, with all samples; or
            reference folders of the same.
        out: a folder that does not exist yet.
        stage: called with what begins: reading, a time for each folder, and writing.

    Raises:
        ReproError: the runs are of different kinds, contradict each other in a cell of the same
            seed, or lack samples or facts of a fine-tune (1); `out` exists (2); nothing to record
            (3).
    """
    if out.exists():
        read = out.resolve() in [folder.resolve() for folder in results]
        other = "; replace that one afterwards" if read else ", or remove that one"
        raise ReproError(f"{out} exists", hint=f"name a new folder with -o{other}")
    runs: list[Run] = []
    recorded: list[Mapping[str, Any]] = []
    for folder in results:
        stage("reading results")
        if (folder / REFERENCE).is_file():
            stored = load_reference(folder)
            runs.append(stored.run)
            recorded += stored.recorded
        elif folder.is_dir() and (inside := next(references(folder), None)):
            raise ReproError(
                f"{folder} holds a reference, {inside.relative_to(folder)}",
                hint="name results and references one by one",
            )
        else:
            found = read_results(folder).runs
            for run in found:
                if not run.record:
                    raise ReproError(
                        f"{run.folder / RUN} is missing: nobody could tell how it was made",
                        hint=_LEAVE,
                        exit_code=EXIT_MISSING,
                    )
            runs += found
            recorded += (run.record for run in found)
    stage("writing the reference")
    _check_alike(runs)
    cells: dict[Key, CellResult] = {}
    tuned: dict[tuple[Variant, int], Tuned] = {}
    inputs: dict[Cell, Outcomes] = {}
    for run in runs:
        for place, result in run.cells.items():
            if result.outcomes is None:
                _fail(run.folder, f"the samples of {result.cell.name} are missing", _LEAVE)
            if result.outcomes.inputs is None:
                _fail(run.folder, f"prompts and logits of {result.cell.name} are unknown", _LEAVE)
            known = cells.setdefault(place, result)
            if known.samples_sha256 != result.samples_sha256:
                _fail(run.folder, f"{result.cell.name} differs from an earlier folder's", _LEAVE)
            first = inputs.setdefault(place[0], result.outcomes)
            if changed_inputs([first, result.outcomes]).any():
                told = f"prompts or golds of {result.cell.name} differ from those of another seed"
                _fail(run.folder, told, _LEAVE)
        tuned |= run.tuned
    for (cell, seed), result in cells.items():
        if seed is None:
            continue
        name = named(cell.variant.name, seed)
        if (cell.variant, seed) not in tuned:
            _fail(runs[0].folder, f"{FINETUNES} does not tell how {name} was fine-tuned", _LEAVE)
        if tuned[cell.variant, seed].key != result.model_key:
            told = f"{name} was trained twice, apart: its cells are of different weights"
            _fail(runs[0].folder, told, "keep the cells of one of them: repro merge")
    study = runs[0].study

    def rank(item: CellResult) -> tuple[object, ...]:
        cell, own = item.cell, study.rank(item.cell.variant)
        return own, item.seed or 0, cell.dataset, cell.prompt, cell.demonstrations

    ranked = sorted(cells.values(), key=rank)
    models = sorted(tuned.values(), key=lambda item: (study.rank(item.variant), item.seed))
    head = {
        "format": FORMAT,
        **{name: getattr(runs[0], name) for name in _KIND},
        "seeds": sorted({seed for _, seed in cells if seed is not None}),
        "recorded": [
            {name: value for name, value in item.items() if name not in _OWN} for item in recorded
        ],
    }
    out.mkdir(parents=True)
    (out / REFERENCE).write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")
    _write_packed(out / CELLS, (dict(item.raw) for item in ranked))
    _write_packed(out / TUNED, map(_facts, models))
    # Equal inputs stand together, so that they pack well.
    packed = sorted(ranked, key=lambda x: (x.cell.dataset, x.cell.prompt, x.cell.shots))
    _write_packed(out / OUTCOMES, (_outcome_line(study, item) for item in packed))
    sums = (f"{file_sha256(out / name)}  {name}\n" for name in sorted(FILES))
    (out / SUMS).write_text("".join(sums), encoding="utf-8")
    return out


def _check_alike(runs: Sequence[Run]) -> None:
    """Of one kind; refused as wrong usage, since nothing is wrong with any of them."""

    def kind(run: Run) -> dict[str, object]:
        own: dict[str, object] = {name: getattr(run, name) for name in _KIND}
        names = ("model", "profile_digest", "test_limit", "engine")
        own |= {f"identity.{name}": run.identity.get(name) for name in names}
        return own | {name: run.record.get(name) for name in ("study", "data", "switches")}

    first = kind(runs[0])
    for run in runs[1:]:
        for name, value in kind(run).items():
            if value != first[name]:
                raise ReproError(
                    f"{run.folder}: its {name} differs from that of {runs[0].folder}",
                    hint="record each kind of run into a folder of its own",
                )


def _write_packed(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    # Without a time or a name inside, the same runs make the same file.
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        packed.write(text.encode())


def _facts(tuned: Tuned) -> dict[str, Any]:
    """The facts of a fine-tune that a reference keeps."""
    kept = {name: value for name, value in tuned.raw.items() if name not in _LEFT_OUT}
    if norms := tuned.raw.get("gradient_norms"):
        kept["gradient_norms"] = norms[:1]
    return kept | {"weight_change": {"all": tuned.weight_change}}


def _outcome_line(study: Study, result: CellResult) -> dict[str, Any]:
    """Rows as they are; labels as letters, scores of classification as digits, to stay small."""
    found = result.outcomes
    assert found is not None
    assert found.inputs is not None
    line: dict[str, Any] = {
        "cell": result.cell.name,
        "seed": result.seed,
        "rows": [int(row) for row in found.rows],
        "inputs": found.inputs.tobytes().decode(),
    }
    if found.gaps is None:
        line["scores"] = [round(float(score), 9) for score in found.scores]
        line["outputs"] = list(found.outputs)
        return line
    labels = study.task_of(result.cell).labels
    line["scores"] = "".join(str(int(score)) for score in found.scores)
    line["outputs"] = "".join(str(labels.index(label)) for label in found.outputs)
    line["gaps"] = [float(f"{gap:.3g}") for gap in found.gaps]
    return line


def _outcomes(where: str, task: Task, line: Mapping[str, Any]) -> Outcomes:
    try:
        rows, inputs = np.array(line["rows"], dtype=np.int64), str(line["inputs"])
        scores = np.array([float(score) for score in line["scores"]])
        if task.kind is Kind.CLASSIFICATION:
            outputs = tuple(task.labels[int(label)] for label in line["outputs"])
            gaps = np.array(line["gaps"], dtype=np.float64)
        else:
            outputs, gaps = tuple(str(text) for text in line["outputs"]), None
    except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        _fail(where, f"not an outcome: {error!r}")
    if rows.ndim != 1 or scores.ndim != 1 or (gaps is not None and gaps.ndim != 1):
        _fail(where, "fields 'rows', 'scores' and 'gaps' must be lists")
    lengths = {len(rows), len(scores), len(outputs), len(rows) if gaps is None else len(gaps)}
    if len(lengths) != 1 or not len(rows) or (np.diff(rows) <= 0).any():
        _fail(where, "rows must ascend, and go with as many scores, outputs and gaps")
    if not (np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()):
        _fail(where, "field 'scores' is not between 0 and 1")
    if not re.fullmatch(f"[0-9a-f]{{{DIGITS * len(rows)}}}", inputs):
        _fail(where, f"field 'inputs' is not {DIGITS} hex digits a row")
    digests = np.frombuffer(inputs.encode(), dtype=f"S{DIGITS}")
    return Outcomes(rows, scores, outputs, gaps, digests)


def load_reference(folder: Path) -> Reference:
    """A stored reference, checked.

    Raises:
        ReproError: a file is missing (3), or malformed or changed (1), with file and field.
    """
    check_sums(folder, FILES)
    return _parsed(folder, (folder / SUMS).read_bytes())


@lru_cache(maxsize=2)  # runs of one folder are mostly held against one reference
def _parsed(folder: Path, sums: bytes) -> Reference:
    """The reference whose files have these hashes."""
    head = _head(folder)
    first = _first(head)
    study = studies.recorded(first)
    stored: dict[tuple[str, int | None], Outcomes] = {}
    for where, line in json_lines(folder / OUTCOMES):
        try:
            cell = Cell.parse(line["cell"])
            place = (cell.name, line["seed"])
            hash(place)
            task = study.evaluation(cell).task
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _fail(where, f"not an outcome: {error!r}")
        stored[place] = _outcomes(where, task, line)
    cells: dict[Key, CellResult] = {}
    for where, line in json_lines(folder / CELLS):
        check_line(ResultLine, where, line)
        found = stored.get((line["cell"], line.get("seed")))
        if found is None:
            _fail(where, f"{OUTCOMES} lacks this cell")
        cell = Cell.parse(line["cell"])
        if len(found.rows) != line["n"] or abs(float(found.scores.mean()) - line["value"]) > 1e-6:
            _fail(where, f"fields 'n' or 'value' do not go with {OUTCOMES}")
        cells[cell, line.get("seed")] = CellResult.of(cell, line, found)
    kind = {name: head[name] for name in _KIND}
    tuned = read_tuned(folder / TUNED)
    run = Run(folder, **kind, record=first, cells=cells, tuned=tuned, study=study)
    return Reference(folder, run, tuple(head["recorded"]))


def _head(folder: Path) -> dict[str, Any]:
    try:
        head = json.loads((folder / REFERENCE).read_text(encoding="utf-8"))
    except ValueError as error:
        _fail(folder / REFERENCE, f"not JSON: {error}")
    checked(_Head, head, str(folder / REFERENCE), hint=_HINT, exit_code=EXIT_FAILED)
    return dict(head)


def _first(head: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first run.json that a reference was made from; empty without any."""
    recorded = head.get("recorded")
    first = recorded[0] if isinstance(recorded, list) and recorded else {}
    return first if isinstance(first, dict) else {}


def references(root: Path, **wanted: Any) -> Iterator[Path]:
    """Reference folders, `root` itself or those inside it, of which `reference.json` says this."""
    inside = root / REFERENCE
    for path in [inside] if inside.is_file() else sorted(root.rglob(REFERENCE)):
        head = _head(path.parent)
        if all(head.get(name) == value for name, value in wanted.items()):
            yield path.parent


def find_reference(root: Path, run: Run) -> Reference | None:
    """The reference for a run: `root` itself, or a folder inside it, of the same kind of run."""
    for folder in references(root, **{name: getattr(run, name) for name in _KIND}):
        if studies.measured(_first(_head(folder))) == studies.measured(run.record):
            return load_reference(folder)
    if not root.is_dir():
        raise ReproError(
            f"{root}: no such folder", hint="name one with --expected", exit_code=EXIT_MISSING
        )
    return None
