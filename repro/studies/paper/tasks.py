"""The paper's tasks, data sets and their roles (Table 1, Table 4; section 3)."""

from repro.spec.tasks import Dataset, Part, Role, Task, TrainingSet

SIZES = (2000, 4000, 6000)

_PAIR = ("input_1", "input_2")
_GENERATION_SHOTS = (0, 1, 2, 4)
_BINARY_SHOTS = (0, 2, 4, 6)

TASKS = {
    task.name: task
    for task in (
        Task("summary", ("input",), (), _GENERATION_SHOTS, fixed=True),
        # AUDIT A9 and D3 count a tweet with another answer as the same input.
        Task("question", ("input", "answer"), (), _GENERATION_SHOTS, ("input",), fixed=True),
        Task("sentiment", ("input",), ("positive", "negative"), _BINARY_SHOTS, fixed=True),
        Task("paraphrase", _PAIR, ("yes", "no"), _BINARY_SHOTS, fixed=True),
        Task("nli", _PAIR, ("entailment", "neutral", "contradiction"), (0, 3, 5, 7), fixed=True),
    )
}

_IN, _OUT = Role.IN_DOMAIN, Role.OUT_OF_DOMAIN
# RTE has two classes; its third one exists only in the scoring of the published code (A5).
_OCCURRING = {"rte": ("entailment", "neutral")}
# The only set whose test labels follow from training labels (A4).
_LEAKS = {"paws": ("paws", SIZES[-1])}
DATASETS = {
    name: Dataset(name, printed, TASKS[task], role, _OCCURRING.get(name, ()), _LEAKS.get(name))
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

TRAIN_SETS = {
    name: TrainingSet(name, DATASETS[dataset].task, dataset)
    for name, dataset in (
        ("xsum", "xsum"),
        ("socialqa", "socialqa"),
        ("amazon", "amazon"),
        ("paws", "paws"),
        ("mnli", "mnli1"),
    )
}
"""By the part that they have in names of variants."""


def training_of(task: Task) -> TrainingSet:
    """The training set of a task."""
    return next(own for own in TRAIN_SETS.values() if own.task == task)


def fticl_shots(task: Task) -> tuple[int, int]:
    """The two numbers of in-context examples that FTICL trains with (Figures 4 to 7)."""
    return (task.shots[1], task.shots[2])


def datasets_of(task: Task) -> tuple[Dataset, ...]:
    """The test sets of a task, in Table 1's order."""
    return tuple(dataset for dataset in DATASETS.values() if dataset.task == task)


def task_of(part: Part) -> Task:
    """The task of a part's rows."""
    return (TRAIN_SETS if part.split == "train" else DATASETS)[part.name].task
