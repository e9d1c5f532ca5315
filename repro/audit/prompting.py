"""What the evaluation prompts are as tokens (AUDIT A3, A5, E2, E3)."""

from collections import Counter
from collections.abc import Sequence
from itertools import product

from repro.audit.material import CLASSIFICATION, FIRST, GENERATION, Material, Values
from repro.audit.statistics import mean
from repro.evaluate.encode import first_tokens as in_context
from repro.finetune.encode import encode
from repro.spec.prompts import context, fill
from repro.spec.tasks import Kind
from repro.studies.paper.prompts import PROMPTS, template, training_template
from repro.studies.paper.tasks import DATASETS, TASKS, TRAIN_SETS, datasets_of, fticl_shots


def opening(sequences: Sequence[Sequence[int]], count: int) -> str:
    """The first ids of all sequences, as text; each different opening once, joined by "or"."""
    openings = dict.fromkeys(", ".join(map(str, ids[:count])) for ids in sequences)
    return " or ".join(openings)


def first_tokens(material: Material) -> Values:
    """The ids that open the prompts of each path: how many BOS, and whether a blank (A3)."""
    measured: Values = {}
    for name, few in (("training", False), ("training with demonstrations", True)):
        opened: list[Sequence[int]] = []
        for train, training in TRAIN_SETS.items():
            task, text = training.task, training_template(training.task)
            shown = material.shown(task, fticl_shots(task)[0] if few else 0)
            rows = material.train(train, 2000)[:FIRST]
            samples = encode(rows, shown, text, material.tokenizer, material.recipe)
            opened += [sample.ids for sample in samples]
        measured[name] = opening(opened, 3)
    joints: list[Sequence[int]] = []
    kinds = ((Kind.GENERATION, GENERATION, 3), (Kind.CLASSIFICATION, CLASSIFICATION, 2))
    for kind, names, count in kinds:
        zero: list[Sequence[int]] = []
        few_shot: list[Sequence[int]] = []
        for name in names:
            zero += material.prompts(name, "p1", 0).openings
            for shots in DATASETS[name].task.shots[1:]:
                few_shot += material.prompts(name, "p1", shots).openings
                joints += material.prompts(name, "p1", shots).joints
        measured[f"{kind}, 0-shot"] = opening(zero, count + 1)
        measured[f"{kind}, few-shot"] = opening(few_shot, count)
    measured["query behind a blank line"] = opening(joints, 2)
    return measured


def label_tokens(material: Material) -> Values:
    """The token that is scored for each label, and the one it begins with in prompt 2 (A5)."""
    measured: Values = {}
    for task in (task for task in TASKS.values() if task.labels):
        dataset = datasets_of(task)[0].name
        scored = material.prompts(dataset, "p1", 0).labels
        text = fill(task, template(task, "p2"), material.test(dataset)[0])
        other = in_context(material.tokenizer, text, task.labels)
        for label in task.labels:
            measured[f"{task.name}, {label}: scored"] = _piece(material, scored[label])
            measured[f"{task.name}, {label}: behind prompt 2"] = _piece(material, other[label])
    return measured


def _piece(material: Material, token: int) -> str:
    return f"{token} {material.tokenizer.convert_ids_to_tokens(token)}"


def label_matches(material: Material) -> Values:
    """Labels of the prompts that do begin with the token scored for them (A5)."""
    measured: Values = {}
    for task in (task for task in TASKS.values() if task.labels):
        for prompt in PROMPTS:
            text = template(task, prompt)
            for few in (False, True):
                shots = task.shots[-1] if few else 0
                count = 0
                for dataset in datasets_of(task):
                    before = context(task, text, material.demonstrations(dataset.name)[:shots])
                    scored = material.prompts(dataset.name, prompt, shots).labels
                    for row in material.test(dataset.name, FIRST):
                        whole = before + fill(task, text, row)
                        first = in_context(material.tokenizer, whole, task.labels)
                        count += sum(first[label] == scored[label] for label in task.labels)
                measured[f"{task.name}, {prompt}, {'few' if few else '0'}-shot"] = count
    return measured


def prompt_lengths(material: Material) -> Values:
    """Tokens of the prompts of every test set, prompt and shot count (E2, E3)."""
    measured: Values = {}
    totals: Counter[str] = Counter()
    longest = 0
    for dataset in DATASETS.values():
        for prompt, shots in product(PROMPTS, dataset.task.shots):
            made = material.prompts(dataset.name, prompt, shots)
            whole = sum(made.lengths)
            shared = whole - made.common * (len(made.lengths) - 1)
            values: Values = {
                "context": made.context,
                "common": made.common,
                "mean": mean(made.lengths),
                "longest": max(made.lengths),
                "all": whole,
                "all, shared prefix once": shared,
            }
            measured |= {f"{dataset.name}, {prompt}, {shots} shots: {k}": values[k] for k in values}
            for name in (dataset.name, "every set"):
                totals[f"{name}: all"] += whole
                totals[f"{name}: all, shared prefix once"] += shared
            longest = max(longest, *made.lengths)
    return {**measured, **totals, "longest prompt": longest}
