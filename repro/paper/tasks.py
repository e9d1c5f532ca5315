"""Tasks, data sets and their roles (paper Table 1, Table 4; section 3)."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a model must produce: free text, or one of a few labels."""

    GENERATION = "generation"
    CLASSIFICATION = "classification"


class Role(StrEnum):
    """Where a test set stands towards its task's training set (paper Table 1)."""

    IN_DOMAIN = "in-domain"
    OUT_OF_DOMAIN = "out-of-domain"


@dataclass(frozen=True)
class Task:
    """One of the five tasks.

    Attributes:
        fields: the input fields of a row, in prompt order; every row also has "output".
        labels: the labels in Table 4's order; empty for generation.
        shots: numbers of in-context examples tested, zero first.
        train_set: name of its training set; part of variant names.
        train_dataset: the test set from the same source; FTICL uses its demonstrations.
    """

    name: str
    kind: Kind
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    shots: tuple[int, ...]
    train_set: str
    train_dataset: str

    @property
    def fticl_shots(self) -> tuple[int, int]:
        """The two numbers of in-context examples that FTICL trains with (Figures 4 to 7)."""
        return (self.shots[1], self.shots[2])


@dataclass(frozen=True)
class Dataset:
    """One of the 18 test sets."""

    name: str
    printed: str
    task: Task
    role: Role


SIZES = (2000, 4000, 6000)
PROMPTS = ("p1", "p2")
METRICS = {Kind.GENERATION: "rougeL", Kind.CLASSIFICATION: "accuracy"}

_PAIR = ("input_1", "input_2")
_GENERATION_SHOTS = (0, 1, 2, 4)
_BINARY_SHOTS = (0, 2, 4, 6)

TASKS = {
    task.name: task
    for task in (
        Task("summary", Kind.GENERATION, ("input",), (), _GENERATION_SHOTS, "xsum", "xsum"),
        Task(
            "question",
            Kind.GENERATION,
            ("input", "answer"),
            (),
            _GENERATION_SHOTS,
            "socialqa",
            "socialqa",
        ),
        Task(
            "sentiment",
            Kind.CLASSIFICATION,
            ("input",),
            ("positive", "negative"),
            _BINARY_SHOTS,
            "amazon",
            "amazon",
        ),
        Task(
            "paraphrase", Kind.CLASSIFICATION, _PAIR, ("yes", "no"), _BINARY_SHOTS, "paws", "paws"
        ),
        Task(
            "nli",
            Kind.CLASSIFICATION,
            _PAIR,
            ("entailment", "neutral", "contradiction"),
            (0, 3, 5, 7),
            "mnli",
            "mnli1",
        ),
    )
}

_IN, _OUT = Role.IN_DOMAIN, Role.OUT_OF_DOMAIN
DATASETS = {
    name: Dataset(name, printed, TASKS[task], role)
    for name, printed, task, role in (
        ("xsum", "XSum", "summary", _IN),
        ("xlsum", "XLSum", "summary", _IN),
        ("peerread", "PeerRead", "summary", _OUT),
        ("cnndm", "CNN/DailyMail", "summary", _OUT),
        ("socialqa", "Socialqa", "question", _IN),
        ("tweetqa", "Tweetqa", "question", _OUT),
        ("sciqa", "Sciqa", "question", _OUT),
        ("amazon", "Amazon", "sentiment", _IN),
        ("amazonfood", "AmazonFood", "sentiment", _IN),
        ("sst2", "SST2", "sentiment", _OUT),
        ("yelp", "Yelp", "sentiment", _OUT),
        ("paws", "Paws", "paraphrase", _IN),
        ("qqp", "QQP", "paraphrase", _OUT),
        ("stsb", "STS-B", "paraphrase", _OUT),
        ("mnli1", "MNLI-1", "nli", _IN),
        ("mnli2", "MNLI-2", "nli", _IN),
        ("rte", "RTE", "nli", _OUT),
        ("gptnli", "GPTNLI", "nli", _OUT),
    )
}

TRAIN_SETS = {task.train_set: task for task in TASKS.values()}


def datasets_of(task: Task) -> tuple[Dataset, ...]:
    """The test sets of a task, in Table 1's order."""
    return tuple(dataset for dataset in DATASETS.values() if dataset.task == task)
