"""What was measured of one source of rows, as the lines that are held against another's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from repro.audit.material import CLASSIFICATION, FIRST, GENERATION, TRAINED
from repro.audit.measure import Value
from repro.audit.training import runs
from repro.profiles import Profile
from repro.spec.protocol import Protocol
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
        protocol: that of the published code.
        bos: the id of the token that opens a text.
        blanks: ids of tokens that are blanks and nothing else.
    """

    values: Mapping[tuple[str, str], Value]
    profile: Profile
    protocol: Protocol
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

    @property
    def _scored(self) -> int:
        return min(FIRST, self.profile.sizes.test or FIRST)

    def _number(self, finding: str, what: str) -> float | None:
        value = self.values.get((finding, what))
        return None if isinstance(value, str) else value

    def _percent(
        self, finding: str, name: str, what: str, of: float | None, told: str = ""
    ) -> Line:
        """Rows in percent of all, under a name of its own where one is told."""
        number = self._number(finding, f"{name}{what}")
        share = 100 * number / of if number is not None and of else None
        return Line(finding, told or f"{name}{what}", "%", (share,))

    def _rows(self, part: str) -> float | None:
        return self._number("row-counts", part)

    def _training(self) -> Iterator[Line]:
        limit = self.profile.longest(self.protocol)
        yield Line("xsum-truncation", "sequences are cut at", "tokens", (limit,))
        for train, size, shots in runs():
            xsum = train == "xsum"
            for what in ("no target token left", "target cut partly"):
                yield self._percent(
                    "xsum-truncation" if xsum else "training-truncation",
                    f"{shots} shots: " if xsum else f"{train} {size}, {shots} shots: ",
                    what,
                    self._rows(f"train/{train}/{size}"),
                    f"{variant(train, size, shots)}: {what}",
                )
        for train in TRAIN_SETS:
            yield self._percent(
                "label-boundary",
                f"{train} {SMALLEST}, 0 shots",
                "",
                self._rows(f"train/{train}/{SMALLEST}"),
                f"{variant(train, SMALLEST, 0)}: first character fused with the colon",
            )

    def _prompts(self) -> Iterator[Line]:
        for what in (
            "training",
            "training with demonstrations",
            *(f"{kind}, {few}" for kind in ("generation", "classification")
              for few in ("0-shot", "few-shot")),
        ):  # fmt: skip
            text = self.values.get(("first-tokens", what))
            opened = None if text is None else opening(str(text), self.bos, self.blanks)
            yield Line("first-tokens", what, "opened by", (opened,))

    def _pairs(self) -> Iterator[Line]:
        for size in SIZES:
            for what in ("label follows", "a sentence in training", "identical pair"):
                yield self._percent(
                    "paws-leakage",
                    f"{size}, first {FIRST}: ",
                    what,
                    self._scored,
                    f"paws, {size} training rows: {what}",
                )

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
            yield self._percent("no-majority", name, f", first {FIRST}", self._scored, name)
        for name in CLASSIFICATION:
            found = [
                self._number("constant-class", f"{name}, always {label}")
                for label in DATASETS[name].task.labels
            ]
            known = [value for value in found if value is not None]
            yield Line("constant-class", name, "accuracy", (max(known, default=None),))

    def _scores(self) -> Iterator[Line]:
        limit = self.profile.new_tokens(self.protocol)
        yield Line("reference-lengths", "generations end after", "tokens", (limit,))
        for name in GENERATION:
            yield self._percent("reference-lengths", name, ": longer than 60", self._scored, name)
        for finding, what in (
            ("token-baselines", "reference cut to 60 tokens"),
            ("simple-baselines", "first sentence"),
        ):
            for name in GENERATION:
                value = self._number(finding, f"{name}: {what}")
                yield Line(finding, f"{name}: {what}".replace("to 60 tokens", "like a generation"),
                           "ROUGE-L F1", (value,))  # fmt: skip
        for scope in ("train", f"first {FIRST}"):
            what = f"{scope}, percent of the ten templates"
            told = f"socialqa, {'training' if scope == 'train' else 'scored'} rows: ten templates"
            value = self._number("socialqa-templates", what)
            yield Line("socialqa-templates", told, "%", (value,))

    def _repeated(self) -> Iterator[Line]:
        files = [(f"test/{name}", f"test/{name}, all") for name in DATASETS]
        files += [(f"train/{train}/{size}",) * 2 for train, size in TRAINED]
        for part, what in files:
            yield self._percent("empty-inputs", what, "", self._rows(part), part)
        for name in DATASETS:
            scored = f", first {FIRST}: repeated"
            yield self._percent("repeated-inputs", name, scored, self._scored, name)

    def _shown(self) -> Iterator[Line]:
        for name in DATASETS:
            places = self._listed("demonstrations-in-test", f"{name}: rows")
            counts: tuple[Value | None, ...] = (None, None)
            if places is not None:
                counts = (len(places), sum(place < self._scored for place in places))
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
        for train, size, shots in runs():
            if size == SMALLEST:
                yield self._several("training-lengths", f"{train} {size}, {shots} shots",
                                    variant(train, size, shots))  # fmt: skip
        for name in DATASETS:
            for side in ("input", "output"):
                part = f"test/{name}, {side}"
                yield self._several("text-lengths", part, f"{name}, {side}")

    def _several(self, finding: str, name: str, told: str) -> Line:
        values = tuple(self._number(finding, f"{name}: {what}") for what in LENGTHS)
        return Line(finding, told, f"tokens: {', '.join(LENGTHS)}", values)


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
