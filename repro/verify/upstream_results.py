"""Results of the authors' own scripts, made into a results folder.

Their evaluation writes one JSON file a cell, `<test set>_<model folder>_<shots>_shot_map_<p>.json`
with p 0 or 1 for the first or second prompt: a list with an object for each of the first 250 test
rows, in file order. `output` is the gold. For generation `generation` is the text, of which the
metric scores what stands before the first blank line; for labels `max_idx` is the place of the
chosen label in Table 4's order, and a gold "-" equals none of them (AUDIT A5, A8, A13).

Such files say nothing about seed, machine, versions, losses, logits and prompts. These are left
out, so that the imported numbers can be held against the paper (L3), and never count as equal
bits or weights.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError
from repro.lines import Line, to_line
from repro.metrics import summarise
from repro.metrics.rouge import rouge_l
from repro.printable import counted
from repro.results.runs import AUTHORS_SCRIPTS
from repro.results.schema import FORMAT, RESULTS, RUN
from repro.spec.cells import BASE, Cell, Demonstrations, Variant
from repro.spec.tasks import NO_MAJORITY, Kind, Task
from repro.studies.paper.cells import VARIANTS
from repro.studies.paper.prompts import PROMPTS
from repro.studies.paper.protocols import protocol
from repro.studies.paper.tasks import DATASETS, SIZES

PROTOCOL = "published-code"
BASE_MODEL = "llama-2-7b"
"""The base model's folder in the authors' training script."""
UNKNOWN = ("seed", "machine", "versions", "losses", "weight change", "logits", "prompts")

_NAME = re.compile(
    r"(?P<test>[^_]+)_(?P<model>.+)_(?P<shots>0|[1-9][0-9]*)_shot_map_(?P<prompt>[01])\.json"
)
_TUNED = re.compile(rf"(?P<train>[^_]+)_(?P<size>{'|'.join(map(str, SIZES))})(?P<shots>[1-9]?)")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Imported(NamedTuple):
    """What was imported: the results folder; the cells found, in the order of the file names."""

    folder: Path
    cells: tuple[Cell, ...]


@cache
def _stems() -> tuple[dict[str, str], dict[str, str]]:
    """Test sets and training sets by the authors' names, from the manifest of their files."""
    manifest = json.loads(files("repro.data").joinpath("manifest.json").read_text("utf-8"))
    found: dict[str, dict[str, str]] = {"test": {}, "train": {}}
    for entry in manifest["files"]:
        split, name = entry["part"].split("/")[:2]
        found.setdefault(split, {})[entry["path"].rsplit("/", 1)[-1].split("_")[0]] = name
    return found["test"], found["train"]


def parse_name(name: str, base: str = BASE_MODEL) -> Cell:
    """The cell of a file name; raises ValueError that says which part is unknown."""
    match = _NAME.fullmatch(name)
    if not match:
        raise ValueError("its name is not <test set>_<model>_<shots>_shot_map_<0 or 1>.json")
    by_test, _ = _stems()
    if match["test"] not in by_test:
        raise ValueError(f"'{match['test']}' is not one of the test sets {', '.join(by_test)}")
    variant = BASE if match["model"] == base else _tuned(match["model"], base)
    tested = DATASETS[by_test[match["test"]]].task.shots
    if int(match["shots"]) not in tested:
        raise ValueError(f"the authors' test set is tested with {tested} shots")
    return Cell(
        variant,
        by_test[match["test"]],
        list(PROMPTS)[int(match["prompt"])],
        Demonstrations(int(match["shots"])),
    )


def _tuned(model: str, base: str) -> Variant:
    _, by_train = _stems()
    match = _TUNED.fullmatch(model)
    if match and match["train"] in by_train:
        shots = int(match["shots"] or 0)
        variant = Variant(by_train[match["train"]], int(match["size"]), Demonstrations(shots))
        if variant.name in VARIANTS:
            return variant
    raise ValueError(
        f"the model '{model}' is neither the base '{base}' nor <training set>_<size>, with one of "
        f"the FTICL shots behind the size, for {', '.join(by_train)}"
    )


def _bad(path: Path, what: str) -> NoReturn:
    raise ReproError(
        f"{path}: {what}",
        hint="write it again with the authors' evaluation script, or move it away",
        exit_code=EXIT_FAILED,
    )


def _text(path: Path, number: int, row: Line, name: str) -> str:
    value, where = row.get(name), f"row {number}, field '{name}'"
    if name not in row:
        _bad(path, f"{where} is missing")
    if not isinstance(value, str):
        _bad(path, f"{where} is {value!r}, not a string")
    if _SURROGATE.search(value):
        _bad(path, f"{where} holds half of a surrogate pair, which is no text")
    return value


def _read_rows(path: Path) -> list[Line]:
    try:
        rows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        _bad(path, f"not JSON, or cut: {error}")
    wanted = protocol(PROTOCOL).rows
    if not isinstance(rows, list):
        _bad(path, f"not a list of rows but {type(rows).__name__}")
    if len(rows) != wanted:
        there = counted(len(rows), "row")
        _bad(path, f"{there}, but the authors' evaluation scores the first {wanted}")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            _bad(path, f"row {number} is not an object")
    return rows


def _samples(path: Path, cell: Cell, rows: Sequence[Line]) -> list[Line]:
    """Records as `repro run` writes them, less what these files do not tell."""
    task, stemmer = DATASETS[cell.dataset].task, protocol(PROTOCOL).rouge_stemmer
    found = []
    for number, row in enumerate(rows):
        gold = _text(path, number, row, "output")
        sample: Line = {"row": number, "gold": gold}
        if task.kind is Kind.GENERATION:
            text = _text(path, number, row, "generation").split("\n\n")[0]
            found.append(sample | {"text": text, "score": rouge_l(gold, text, stemmer=stemmer)})
            continue
        label = _label(path, number, row, task, gold)
        found.append(sample | {"prediction": label, "score": int(label == gold)})
    return found


def _label(path: Path, number: int, row: Line, task: Task, gold: str) -> str:
    labels = task.labels
    allowed = (*labels, NO_MAJORITY) if task.name == "nli" else labels
    if gold not in allowed:
        _bad(path, f"row {number}, field 'output' is '{gold}', not one of {', '.join(allowed)}")
    place = row.get("max_idx")
    if type(place) is not int or not 0 <= place < len(labels):
        shown = "missing" if "max_idx" not in row else repr(place)
        _bad(path, f"row {number}, field 'max_idx' is {shown}, not 0 to {len(labels) - 1}")
    return labels[place]


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def import_results(
    source: Path, out: Path, *, profile: str = "llama2-7b", base: str = BASE_MODEL
) -> Imported:
    """Make a results folder from the JSON files of a folder; other files are left aside.

    Args:
        source: what the authors' `--outfile` named.
        out: a folder that does not exist yet; it appears whole or not at all.
        profile: whose model was evaluated; the files do not tell.
        base: the folder name of the base model in the file names.

    Raises:
        ReproError: a name that is no cell's, or `out` exists (2); a malformed file, or other golds
            than in another file of the test set (1); no files, or no rouge-score (3).
    """
    if out.exists():
        raise ReproError(f"{out} exists", hint="name a new folder with -o, or remove that one")
    cells: dict[Path, Cell] = {}
    for path in sorted(source.glob("*.json")):
        try:
            cells[path] = parse_name(path.name, base)
        except ValueError as error:
            raise ReproError(
                f"{path}: {error}",
                hint="rename it, move it away, or name the base model's folder with --base",
            ) from None
    if not cells:
        raise ReproError(
            f"{source} holds no JSON files",
            hint="name the folder that the authors' evaluation wrote to",
            exit_code=EXIT_MISSING,
        )
    # Beside the target, so that renaming it is one step.
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "samples").mkdir(parents=True)
    try:
        lines = _write_cells(partial, cells, profile)
        (partial / RESULTS).write_text("".join(map(to_line, lines)), encoding="utf-8")
        record = json.dumps(_record(profile), indent=1) + "\n"
        (partial / RUN).write_text(record, encoding="utf-8")
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Imported(out, tuple(cells.values()))


def _write_cells(folder: Path, cells: dict[Path, Cell], profile: str) -> list[Line]:
    inputs: dict[str, tuple[Path, str]] = {}
    models: dict[Variant, list[str]] = {}
    lines: list[Line] = []
    for path, cell in cells.items():
        rows = _read_rows(path)
        samples = _samples(path, cell, rows)
        data = _digest([(row.get("instruction"), row["output"]) for row in rows])
        first, known = inputs.setdefault(cell.dataset, (path, data))
        if known != data:
            _bad(path, f"its rows ('instruction', 'output') are not those of {first.name}")
        name = f"samples/{cell.name}.jsonl"
        content = "".join(map(to_line, samples)).encode()
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        models.setdefault(cell.variant, []).append(digest)
        lines.append(
            {
                "cell": cell.name,
                "variant": cell.variant.name,
                **{name: getattr(cell, name) for name in ("dataset", "prompt", "shots")},
                "seed": None,
                **summarise(DATASETS[cell.dataset].task, samples),
                **_kind(profile),
                "key": _digest(cell.name, digest)[:24],
                "samples": name,
                "samples_sha256": digest,
            }
        )
    # The weights are unknown; all that a model put out stands for them.
    keys = {variant: _digest(sorted(found))[:24] for variant, found in models.items()}
    return [line | {"model_key": keys[VARIANTS[line["variant"]]]} for line in lines]


def _record(profile: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "origin": AUTHORS_SCRIPTS,
        "unknown": list(UNKNOWN),
        "identity": _kind(profile),
        "switches": vars(protocol(PROTOCOL)),
    }


def _kind(profile: str) -> dict[str, Any]:
    return {"profile": profile, "protocol": PROTOCOL, "overrides": {}}
