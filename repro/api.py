"""Results from Python: `repro.load(folder)` -> cells, samples, claims and fine-tunes.

Plain frozen dataclasses, in tables that are sequences and know `.to_dicts()` and `.to_pandas()`.
Fields are only ever added; one that is renamed or changes its meaning raises `FORMAT`. Reading
needs the light install alone; `.to_pandas()` needs pandas.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from repro.errors import EXIT_MISSING, ReproError
from repro.lines import read_lines
from repro.printable import counted
from repro.results.runs import Run
from repro.results.texts import Lookup, prompts
from repro.spec.cells import Cell
from repro.verify.reading import read_results

if TYPE_CHECKING:
    import pandas

__all__ = ["FORMAT", "Claim", "FineTune", "Results", "Sample", "Score", "Table", "read"]

FORMAT = 1
"""Of the dataclasses below."""

Row = TypeVar("Row", bound="Score | Sample | Claim | FineTune")


@dataclass(frozen=True, kw_only=True)
class Score:
    """A cell: one model on one test set with one prompt and number of examples.

    Attributes:
        cell: its name, such as "xsum-ft-2000.xlsum.p1.2".
        variant: of the model, "base" or such as "xsum-ft-2000".
        shots: in-context examples.
        seed: of the fine-tune; None for the base.
        metric: "accuracy" or "rougeL".
        value: mean over the rows, 0 to 1; stderr: its standard error.
        low, high: 95 % interval of the value, over rows.
        n: rows.
        profile, protocol: how it was run; overrides: switches set by hand.
        key: content key of the artefact; model_key: of the weights behind it.
    """

    cell: str
    variant: str
    dataset: str
    prompt: str
    shots: int
    seed: int | None
    metric: str
    value: float
    stderr: float
    low: float | None
    high: float | None
    n: int
    profile: str
    protocol: str
    overrides: Mapping[str, Any]
    key: str
    model_key: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One row of a cell: what was asked, what was right, what came.

    Attributes:
        cell, seed: as of its `Score`.
        row: position in the test file, counted from 0.
        prompt: the whole prompt; None where texts were not kept.
        prompt_sha256: of that text.
        gold: the right label or text.
        output: the predicted label or the generated text.
        score: 1 or 0, or ROUGE-L F1.
        logits: by label, for classification; else None.
        prompt_tokens: BOS included.
    """

    cell: str
    seed: int | None
    row: int
    prompt: str | None
    prompt_sha256: str
    gold: str
    output: str
    score: float
    logits: Mapping[str, float] | None
    prompt_tokens: int | None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A finding of the paper and whether it holds in a run.

    Attributes:
        claim: its id, such as "C9".
        verdict: as `repro verify` prints it.
        profile, protocol: of the run.
    """

    claim: str
    finding: str
    verdict: str
    profile: str
    protocol: str


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """A fine-tuned model.

    Attributes:
        losses: of every step; None where a step had no label, empty where they are not known.
        weight_change: mean |fine-tuned - base| over all weights; None where it is not known.
        key: content key of the weights.
        facts: all that the run wrote about it.
    """

    variant: str
    seed: int
    losses: tuple[float | None, ...]
    weight_change: float | None
    key: str
    facts: Mapping[str, Any]


class Table(Sequence[Row], Generic[Row]):
    """Rows of one kind, in a fixed order."""

    def __init__(self, kind: type[Row], rows: Sequence[Row]) -> None:
        self._kind = kind
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> "Table[Row]": ...

    def __getitem__(self, index: int | slice) -> "Row | Table[Row]":
        if isinstance(index, slice):
            return Table(self._kind, self._rows[index])
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<{len(self)} of {self._kind.__name__}>"

    def where(self, **values: object) -> "Table[Row]":
        """The rows whose fields have these values.

        Raises:
            TypeError: there is no such field.
        """
        for name in values:
            if name not in {field.name for field in fields(self._kind)}:
                raise TypeError(f"{self._kind.__name__} has no field '{name}'")
        kept = [
            row
            for row in self._rows
            if all(getattr(row, name) == value for name, value in values.items())
        ]
        return Table(self._kind, kept)

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as plain dicts."""
        return [asdict(row) for row in self._rows]

    def to_pandas(self) -> "pandas.DataFrame":
        """The rows as a DataFrame, a column a field.

        Raises:
            ReproError: pandas is not installed (3).
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise ReproError(
                "to_pandas() needs pandas, which is not installed",
                hint="pip install pandas",
                exit_code=EXIT_MISSING,
            ) from None
        names = [field.name for field in fields(self._kind)]
        values = [[getattr(row, name) for name in names] for row in self._rows]
        return pandas.DataFrame(values, columns=names)


class Results:
    """What `repro run` wrote, checked: hashes, scores and models belong together.

    Attributes:
        folder: that of its run, or the one that holds those of several.
        warnings: what a reader must know about it, in sentences.
    """

    def __init__(self, folder: Path, runs: Sequence[Run], warnings: Sequence[str]) -> None:
        self.folder = folder
        self.warnings = tuple(warnings)
        self._runs = tuple(runs)
        self._texts: dict[Path, Lookup] = {}

    def __repr__(self) -> str:
        return f"<Results of {self.folder}: {counted(len(self.cells), 'cell')}>"

    @cached_property
    def cells(self) -> Table[Score]:
        """Every cell with its score."""
        return Table(Score, [_score(result.raw) for _, result in self._results()])

    @cached_property
    def samples(self) -> Table[Sample]:
        """Every row of every cell; `samples_of` reads those of a single cell."""
        found: list[Sample] = []
        for run, result in self._results():
            found += self._samples(run, result.raw)
        return Table(Sample, found)

    def samples_of(self, cell: str, seed: int | None = None) -> Table[Sample]:
        """The rows of a cell.

        Args:
            seed: of the fine-tune; None takes every seed there is.

        Raises:
            ReproError: there is no such cell (2).
        """
        found: list[Sample] = []
        known = False
        for run, result in self._results():
            if result.raw["cell"] == cell and seed in (None, result.seed):
                known = True
                found += self._samples(run, result.raw)
        if not known:
            raise ReproError(
                f"{self.folder} has no cell '{cell}'"
                + ("" if seed is None else f" of seed {seed}"),
                hint="see .cells for those that it has",
            )
        return Table(Sample, found)

    @cached_property
    def claims(self) -> Table[Claim]:
        """The paper's findings, each with its verdict in each run."""
        from repro.report.model import report

        return Table(
            Claim,
            [
                Claim(
                    claim=verdict.claim.id,
                    finding=verdict.claim.finding,
                    verdict=verdict.verdict.value,
                    profile=one.verified.run.profile,
                    protocol=one.verified.run.protocol,
                )
                for one in report(self.folder).runs
                for verdict in one.verified.claims
            ],
        )

    @cached_property
    def finetunes(self) -> Table[FineTune]:
        """Every fine-tuned model."""
        return Table(
            FineTune,
            [
                FineTune(
                    variant=tuned.variant.name,
                    seed=tuned.seed,
                    losses=tuple(tuned.losses),
                    weight_change=tuned.weight_change,
                    key=tuned.key,
                    facts=tuned.raw,
                )
                for run in self._runs
                for tuned in run.tuned.values()
            ],
        )

    @property
    def records(self) -> tuple[Mapping[str, Any], ...]:
        """What each run was: the content of its run.json."""
        return tuple(run.record for run in self._runs)

    def _results(self) -> Iterator[tuple[Run, Any]]:
        for run in self._runs:
            for result in run.cells.values():
                yield run, result

    def _samples(self, run: Run, line: Mapping[str, Any]) -> Iterator[Sample]:
        if run.folder not in self._texts:
            self._texts[run.folder] = prompts(run.folder)
        text = self._texts[run.folder]
        cell = next(known for known, _ in run.cells if known.name == line["cell"])
        for sample in read_lines(run.folder / line["samples"]):
            sha256 = sample.get("prompt_sha256", "")
            yield Sample(
                cell=line["cell"],
                seed=line.get("seed"),
                row=sample["row"],
                prompt=text(cell, sample["row"], sha256),
                prompt_sha256=sha256,
                gold=sample["gold"],
                output=sample["prediction"] if "prediction" in sample else sample["text"],
                score=float(sample["score"]),
                logits=sample.get("logits"),
                prompt_tokens=sample.get("prompt_tokens"),
            )


def _score(line: Mapping[str, Any]) -> Score:
    low, high = line.get("interval") or (None, None)
    given = {field.name: line.get(field.name) for field in fields(Score)}
    cell = Cell.parse(line["cell"])
    named = {"variant": cell.variant.name, "dataset": cell.dataset, "prompt": cell.prompt}
    return Score(**given | named | {"shots": cell.shots, "low": low, "high": high})


def read(folder: str | PathLike[str]) -> Results:
    """The results of a folder, or of the results folders right inside it; as `repro.load`.

    Raises:
        ReproError: there are no results (3), or they contradict themselves (1).
    """
    path = Path(fspath(folder)).expanduser()
    found = read_results(path)
    own = {run.folder for run in found.runs}
    return Results(own.pop() if len(own) == 1 else path, found.runs, found.warnings)
