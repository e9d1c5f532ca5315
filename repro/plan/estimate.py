"""What a plan would cost: tokens, time and disk, before anything runs."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from repro.models.load import load_tokenizer
from repro.models.spec import EMBEDDED
from repro.plan.cost import Cost, Row
from repro.plan.placement import Choice
from repro.plan.plan import Plan, PlannedCell, Training
from repro.plan.store import Store
from repro.spec.prompts import context, fill
from repro.spec.tasks import Kind

CHARACTERS_A_TOKEN = 3.86
"""For plans without a tokenizer: measured with the Llama-2 vocabulary on prompt 1 of the first 250
rows of all 18 test sets (3.0 for Tweetqa to 4.7 for PeerRead)."""

Count = Callable[[list[str]], list[int]]


def by_characters(texts: list[str]) -> list[int]:
    """Tokens guessed from characters, where no tokenizer is at hand."""
    return [max(1, round(len(text) / CHARACTERS_A_TOKEN)) for text in texts]


def counter(plan: Plan, store: Store) -> tuple[Count, str]:
    """How to count tokens for a plan, and that in words: by its tokenizer if the store has it."""
    folder = store.find("weights", plan.base_key)
    if folder is None and plan.request.spec.kind == "embedded":
        folder = EMBEDDED
    if folder is None:
        return by_characters, f"guessed from characters, {CHARACTERS_A_TOKEN} a token"
    return count_in(folder), "counted with the model's tokenizer"


def count_in(folder: Path) -> Count:
    """Counting by the tokenizer of a model folder; a file of tokenizers needs no transformers."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return count_with(load_tokenizer(folder))
    from tokenizers import Tokenizer  # not part of the light install

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(found.ids) for found in tokenizer.encode_batch(texts)]


def count_with(tokenizer: Any) -> Count:
    """Counting by a tokenizer."""
    return lambda texts: [len(ids) for ids in tokenizer(texts)["input_ids"]]


def costs(
    plan: Plan, count: Count, done: Callable[[str, str], bool], choice: Choice | None = None
) -> list[Row]:
    """Each model of the plan with its cost; what is done already, by kind and key, costs nothing.

    Args:
        choice: where the memory of fine-tunes will lie; None for one device that holds everything.
    """
    tokens = _Tokens(plan, count)
    paid: dict[object, tuple[int, float]] = {}  # by training, for its checkpoints before
    found = []
    for model in plan.models:
        train, steps = 0, 0.0
        if model.training is not None and model.to_tune(done):
            recipe, rows = model.training.recipe, len(model.training.rows)
            whole = float(recipe.steps(rows))
            to_here = tokens.train(model.training), recipe.checkpoint or whole
            before = paid.get(model.trained_as, (0, 0.0))
            paid[model.trained_as] = max(before, to_here)
            train, steps = max(0, to_here[0] - before[0]), max(0.0, to_here[1] - before[1])
        pending = [cell for cell in model.cells if not done("cell", cell.key)]
        prompt, new = sum(map(tokens.prompt, pending)), sum(map(tokens.new, pending))
        cost = Cost.of(plan.request, choice, train=train, steps=steps, prompt=prompt, new=new)
        found.append(Row(model.name, len(model.cells), len(pending), cost))
    return found


def seconds_of(plan: Plan, count: Count) -> dict[str, float]:
    """Expected seconds of each fine-tune and each cell by its content key, at the profile's rates.

    Only how they compare matters: workers take the longest first.
    """
    compute, tokens = plan.request.profile.compute, _Tokens(plan, count)
    found = {}
    for model in plan.models:
        if model.training is not None:
            found[model.key] = tokens.train(model.training) / compute.train_rate
        for cell in model.cells:
            found[cell.key] = (
                tokens.prompt(cell) / compute.evaluate_rate
                + tokens.new(cell) / compute.generate_rate
            )
    return found


class _Tokens:
    """Tokens of a plan's fine-tunes and cells; generations count as long as allowed."""

    def __init__(self, plan: Plan, count: Count) -> None:
        self._longest = plan.settings.max_new_tokens
        self._count = count
        self._context = cache(lambda text: sum(count([text])) if text else 0)
        self._queries: dict[tuple[str, str], int] = {}
        self._prompts: dict[str, int] = {}

    def prompt(self, cell: PlannedCell) -> int:
        """Of a cell's prompts, the context once."""
        if cell.prompts not in self._prompts:
            asked, where = cell.asked, (cell.cell.dataset, cell.cell.prompt)
            if where not in self._queries:
                text = asked.prompt.text(asked.task)
                queries = self._count([fill(asked.task, text, row) for row in cell.rows.to_list()])
                self._queries[where] = sum(queries)
            task, shown = asked.shown.task, cell.demonstrations.to_list()[: cell.cell.shots]
            before = self._context(context(task, asked.prompt.text(task), shown))
            self._prompts[cell.prompts] = before + self._queries[where]
        return self._prompts[cell.prompts]

    def new(self, cell: PlannedCell) -> int:
        """Of a cell's generations."""
        return len(cell.rows) * self._longest if cell.asked.task.kind is Kind.GENERATION else 0

    def train(self, training: Training) -> int:
        """Of a fine-tune up to its checkpoint or end, what samples share once a step."""
        recipe, rows = training.recipe, training.rows.to_list()
        task, text = training.template.task, training.template.text
        own = self._count([fill(task, text, row) + row["output"] for row in rows])
        before = list(map(self._context, training.before))
        # What all samples begin with is computed once a step (repro/finetune/schedule.py).
        shared = before[0] if len(set(training.before)) == 1 and len(before) > 1 else 0
        samples = [shown + tokens for shown, tokens in zip(before, own, strict=True)]
        longest = recipe.max_length or max(samples, default=0)
        planned = recipe.steps(len(own))
        whole = recipe.epochs * sum(max(0, min(tokens, longest) - shared) for tokens in samples)
        whole += planned * min(shared, longest)
        return whole * (recipe.checkpoint or planned) // planned
