"""What training and test sets share, and rows that occur twice (AUDIT A4, A8, A9, D3, D4)."""

from collections import Counter
from itertools import pairwise

from repro.audit.material import FIRST, SCOPES, TRAINED, Material, Row, Values
from repro.audit.overlap import contained, near_pairs, repeats
from repro.data.leakage import implied_labels, same_inputs, same_text
from repro.spec.tasks import Task
from repro.studies.paper.tasks import DATASETS, SIZES, TRAIN_SETS, datasets_of


def _joined(task: Task, row: Row) -> str:
    return " ".join(same_inputs(task, row))


def paws_leakage(material: Material) -> Values:
    """Paws test rows whose sentences, pairs or labels the training rows give away (A4)."""
    measured: Values = {}
    task = TRAIN_SETS["paws"].task
    for size in SIZES:
        train = material.train("paws", size)
        pairs = {frozenset(same_inputs(task, row)) for row in train}
        sentences = Counter(sentence for pair in pairs for sentence in pair)
        for scope, first in SCOPES:
            test = material.test("paws", first)
            own = [frozenset(same_inputs(task, row)) for row in test]
            implied = implied_labels(test, train)
            near = near_pairs([_joined(task, r) for r in test], [_joined(task, r) for r in train])
            values = {
                "a sentence in training": sum(any(s in sentences for s in p) for p in own),
                "both sentences in other pairs": sum(
                    all(sentences[s] > (pair in pairs) for s in pair) for pair in own
                ),
                "identical pair": sum(pair in pairs for pair in own),
                "near-duplicate pair": len({i for i, _ in near}),
                "label follows": sum(label is not None for label in implied),
                "label follows, correctly": sum(
                    label == row["output"] for label, row in zip(implied, test, strict=True)
                ),
                "no sentence in training": sum(not any(s in sentences for s in p) for p in own),
            }
            measured |= {f"{size}, {scope}: {k}": v for k, v in values.items()}
    return measured


def other_leakage(material: Material) -> Values:
    """Test rows, other than Paws, that occur in a training set of their task (A4).

    An empty text is none that could be shared.
    """
    measured: Values = {}
    for train, training in TRAIN_SETS.items():
        task = training.task
        rows = material.train(train, max(size for name, size in TRAINED if name == train))
        known = {same_inputs(task, row) for row in rows}
        texts = [_joined(task, row) for row in rows]
        tested = [
            (dataset.name, row)
            for dataset in datasets_of(task)
            for row in material.test(dataset.name)
            if dataset.name != "paws" and any(same_inputs(task, row))
        ]
        near = {i for i, _ in near_pairs([_joined(task, row) for _, row in tested], texts)}
        for name in dict.fromkeys(name for name, _ in tested):
            own = [(i, row) for i, (of, row) in enumerate(tested) if of == name]
            measured[f"{name}: identical"] = sum(same_inputs(task, row) in known for _, row in own)
            measured[f"{name}: near-duplicate"] = sum(i in near for i, _ in own)
            if name in ("xsum", "xlsum"):
                documents = [_joined(task, row) for _, row in own]
                measured[f"{name}: shared document"] = contained(documents, texts)
    premises = {same_text(row["input_1"]) for row in material.train("mnli", SIZES[-1])}
    for scope, rows in material.scopes("mnli1"):
        found = sum(same_text(row["input_1"]) in premises for row in rows)
        measured[f"{scope}: premise in training"] = found
    return measured


def demonstrations_in_test(material: Material) -> Values:
    """Test rows that are demonstrations of their own set, and the shot counts showing them (A9)."""
    measured: Values = {}
    for dataset in DATASETS.values():
        task = dataset.task
        shown = [same_inputs(task, row) for row in material.demonstrations(dataset.name)]
        places: list[int] = []
        for position, row in enumerate(material.test(dataset.name)):
            if (own := same_inputs(task, row)) in shown:
                places.append(position)
                index = shown.index(own)
                shots = ", ".join(str(n) for n in task.shots if n > index) or "none"
                measured[f"{dataset.name}, row {position}: shot counts"] = shots
        measured[f"{dataset.name}: rows"] = ", ".join(map(str, places)) or "none"
    return measured


def demonstrations_in_train(material: Material) -> Values:
    """Demonstrations (counted from 1) that are rows of their task's training sets (A9)."""
    measured: Values = {}
    for train, size in TRAINED:
        training = TRAIN_SETS[train]
        task = training.task
        known = {same_inputs(task, row) for row in material.train(train, size)}
        shown = [same_inputs(task, row) for row in material.demonstrations(training.dataset)]
        numbers = [i for i, own in enumerate(shown, start=1) if own in known]
        measured[f"{train} {size}: demonstrations"] = ", ".join(map(str, numbers)) or "none"
        measured[f"{train} {size}: number"] = len(numbers)
    return measured


def nesting(material: Material) -> Values:
    """Whether each smaller training set begins the next (D3)."""
    measured: Values = {}
    for train, training in TRAIN_SETS.items():
        task = training.task
        sizes = [size for name, size in TRAINED if name == train]
        for small, large in pairwise(sizes):
            fields = (*task.fields, "output")
            a, b = (
                [tuple(row[f] for f in fields) for row in material.train(train, size)]
                for size in (small, large)
            )
            within = set(b)
            name = f"{train}, {small} in {large}"
            measured[f"{name}: rows absent"] = sum(row not in within for row in a)
            measured[f"{name}: rows elsewhere"] = sum(x != y for x, y in zip(a, b, strict=False))
    return measured


def duplicates(material: Material) -> Values:
    """Rows that repeat another row of their own file (D3)."""
    measured: Values = {}
    for train, size in TRAINED:
        task, rows = TRAIN_SETS[train].task, material.train(train, size)
        whole = [tuple(same_text(row[f]) for f in (*task.fields, "output")) for row in rows]
        measured[f"{train} {size}: identical rows"] = repeats(whole)
        if task.labels:
            inputs = Counter(text for text, _ in {(row[:-1], row[-1]) for row in whole})
            measured[f"{train} {size}: inputs with two labels"] = sum(
                count > 1 for count in inputs.values()
            )
    contexts = [same_text(row["input"]) for row in material.train("socialqa", SIZES[-1])]
    measured["socialqa 6000: repeated contexts"] = repeats(contexts)
    return measured


def repeated_inputs(material: Material) -> Values:
    """Test rows whose input an earlier row has, and pairs of rows that nearly agree (A8, D3)."""
    measured: Values = {}
    for dataset in DATASETS.values():
        for scope, rows in material.scopes(dataset.name):
            own = [same_inputs(dataset.task, row) for row in rows]
            measured[f"{scope}: repeated"] = repeats(own)
            texts = [_joined(dataset.task, row) for row in rows]
            measured[f"{scope}: near pairs"] = len(near_pairs(texts))
    tweets = [same_inputs(DATASETS["tweetqa"].task, row) for row in material.test("tweetqa", FIRST)]
    measured["tweetqa, first 250: repeated tweets"] = repeats(
        [tweet for tweet in tweets if any(tweet)]
    )
    return measured


def empty_inputs(material: Material) -> Values:
    """Rows with an empty input field (A8, D4)."""
    return {
        name: sum(any(not row[field].strip() for field in task.fields) for row in rows)
        for name, task, rows in material.scoped()
    }
