"""What was measured of one source of rows, as the lines that are held against another's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from repro.audit.material import CLASSIFICATION, FIRST, GENERATION, TRAINED, Value, scored
from repro.audit.training import runs
from repro.profiles import Profile
from repro.studies.paper.protocols import protocol
from repro.studies.paper.tasks import DATASETS, SIZES, TASKS, TRAIN_SETS

LENGTHS = ("mean", "median", "95th percentile", "longest")
SMALLEST = SIZES[0]


@dataclass(frozen=True)
class Line:
    """One number of a source, or several.

    Attributes:
        finding: the id of its finding.
        values: None where there is none.
    """

    finding: str
    what: str
    unit: str
    values: tuple[Value | None, ...]


@dataclass(frozen=True)
class Side:
    """What was measured of one source.

    Attributes:
        values: by finding and what is measured, under the names of the stored values: these have
            the paper's sizes and lengths in them, whatever the profile makes of them.
        profile: how many rows are used, and how lengths are scaled.
        bos: the id of the token that opens a text.
        blanks: ids of tokens that are blanks and nothing else.
    """

    values: Mapping[tuple[str, str], Value]
    profile: Profile
    bos: int
    blanks: frozenset[int]

    def lines(self) -> Iterator[Line]:
        """All lines, the same ones whatever was measured."""
        return chain(
            self._training(),
            self._prompts(),
            self._pairs(),
            self._labels(),
            self._scores(),
            self._repeated(),
            self._shown(),
            self._lengths(),
        )

    def _number(self, finding: str, what: str) -> float | None:
        value = self.values.get((finding, what))
        return None if isinstance(value, str) else value

    def _share(self, finding: str, what: str, told: str, part: str = "") -> Line:
        """A number of rows in percent of those of a file, or of those that are scored."""
        of = self._number("row-counts", part) if part else scored(self.profile)
        number = self._number(finding, what)
        share = 100 * number / of if number is not None and of else None
        return Line(finding, told, "%", (share,))

    def _training(self) -> Iterator[Line]:
        limit = self.profile.longest(protocol("published-code"))
        yield Line("xsum-truncation", "sequences are cut at", "tokens", (limit,))
        for train, size, shots in runs():
            finding, name = "training-truncation", f"{train} {size}, {shots} shots"
            if train == "xsum":
                finding, name = "xsum-truncation", f"{shots} shots"
            for what in ("no target token left", "target cut partly"):
                told = f"{variant(train, size, shots)}: {what}"
                yield self._share(finding, f"{name}: {what}", told, f"train/{train}/{size}")
        for train in TRAIN_SETS:
            name, part = f"{train} {SMALLEST}, 0 shots", f"train/{train}/{SMALLEST}"
            told = f"{variant(train, SMALLEST, 0)}: first character fused with the colon"
            yield self._share("label-boundary", name, told, part)

    def _prompts(self) -> Iterator[Line]:
        kinds = [f"{kind}, {few}" for kind in ("generation", "classification")
                 for few in ("0-shot", "few-shot")]  # fmt: skip
        for what in ("training", "training with demonstrations", *kinds):
            text = self.values.get(("first-tokens", what))
            opened = None if text is None else opening(str(text), self.bos, self.blanks)
            yield Line("first-tokens", what, "opened by", (opened,))

    def _pairs(self) -> Iterator[Line]:
        for size in SIZES:
            for what in ("label follows", "a sentence in training", "identical pair"):
                told = f"paws, {size} training rows: {what}"
                yield self._share("paws-leakage", f"{size}, first {FIRST}: {what}", told)

    def _labels(self) -> Iterator[Line]:
        for task in (task for task in TASKS.values() if task.labels):
            for few in ("0-shot", "few-shot"):
                every, own = (
                    self._number("label-matches", f"{task.name}, {prompt}, {few}")
                    for prompt in ("p1", "p2")
                )
                other = 100 * (1 - own / every) if every and own is not None else None
                told = f"{task.name}, p2, {few}: another token than is scored"
                yield Line("label-matches", told, "%", (other,))
        for name in CLASSIFICATION:
            yield self._share("no-majority", f"{name}, first {FIRST}", name)
        for name in CLASSIFICATION:
            labels = DATASETS[name].task.labels
            found = [self._number("constant-class", f"{name}, always {label}") for label in labels]
            best = max((value for value in found if value is not None), default=None)
            yield Line("constant-class", name, "accuracy", (best,))

    def _scores(self) -> Iterator[Line]:
        limit = self.profile.new_tokens(protocol("published-code"))
        yield Line("reference-lengths", "generations end after", "tokens", (limit,))
        for name in GENERATION:
            yield self._share("reference-lengths", f"{name}: longer than 60", name)
        told = {
            ("token-baselines", "reference cut to 60 tokens"): "reference cut like a generation",
            ("simple-baselines", "first sentence"): "first sentence",
        }
        for (finding, what), text in told.items():
            for name in GENERATION:
                value = self._number(finding, f"{name}: {what}")
                yield Line(finding, f"{name}: {text}", "ROUGE-L F1", (value,))
        for scope, rows in (("train", "training"), (f"first {FIRST}", "scored")):
            what = f"{scope}, percent of the ten templates"
            value = self._number("socialqa-templates", what)
            told_rows = f"socialqa, {rows} rows: ten templates"
            yield Line("socialqa-templates", told_rows, "%", (value,))

    def _repeated(self) -> Iterator[Line]:
        for name in DATASETS:
            part = f"test/{name}"
            yield self._share("empty-inputs", f"{part}, all", part, part)
        for train, size in TRAINED:
            part = f"train/{train}/{size}"
            yield self._share("empty-inputs", part, part, part)
        for name in DATASETS:
            yield self._share("repeated-inputs", f"{name}, first {FIRST}: repeated", name)

    def _shown(self) -> Iterator[Line]:
        for name in DATASETS:
            places = self._listed("demonstrations-in-test", f"{name}: rows")
            counts: tuple[Value | None, ...] = (None, None)
            if places is not None:
                counts = (len(places), sum(place < scored(self.profile) for place in places))
            yield Line("demonstrations-in-test", name, "rows: all, scored", counts)
        for train, size in TRAINED:
            name, finding = f"{train} {size}", "demonstrations-in-train"
            numbers = self._listed(finding, f"{name}: demonstrations")
            number = self._number(finding, f"{name}: number") if numbers is None else len(numbers)
            yield Line(finding, name, "rows", (number,))

    def _listed(self, finding: str, what: str) -> list[int] | None:
        """A list of numbers, of which "none" is the empty one."""
        value = self.values.get((finding, what))
        if value is None:
            return None
        return [] if value == "none" else [int(part) for part in str(value).split(", ")]

    def _lengths(self) -> Iterator[Line]:
        told = {
            ("training-lengths", f"{train} {size}, {shots} shots"): variant(train, size, shots)
            for train, size, shots in runs()
            if size == SMALLEST
        }
        told |= {
            ("text-lengths", f"test/{name}, {side}"): f"{name}, {side}"
            for name in DATASETS
            for side in ("input", "output")
        }
        for (finding, name), text in told.items():
            values = tuple(self._number(finding, f"{name}: {what}") for what in LENGTHS)
            yield Line(finding, text, f"tokens: {', '.join(LENGTHS)}", values)


def variant(train: str, size: int, shots: int) -> str:
    """What a training run is called everywhere else."""
    return f"{train}-fticl{shots}-{size}" if shots else f"{train}-ft-{size}"


def opening(text: str, bos: int, blanks: frozenset[int]) -> str:
    """How prompts open, of the ids that they open with: how many BOS, and a blank or none.

    Args:
        text: ids parted by commas; several openings parted by "or".
    """
    told = []
    for ids in ([int(part) for part in one.split(", ")] for one in text.split(" or ")):
        count = next((place for place, token in enumerate(ids) if token != bos), len(ids))
        blank = count < len(ids) and ids[count] in blanks
        told.append(f"{count} BOS{', a blank' if blank else ''}")
    return " or ".join(dict.fromkeys(told))
