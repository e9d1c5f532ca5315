"""What a plan would cost: tokens, time and disk, before anything runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from repro.models.load import load_tokenizer
from repro.models.spec import EMBEDDED
from repro.plan import placement
from repro.plan.cost import Cost, Row
from repro.plan.pace import training_seconds
from repro.plan.plan import Plan, PlannedCell, PlannedModel
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
    if folder is None and plan.spec.kind == "embedded":
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

    def by_tokenizer(texts: list[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(texts)["input_ids"]]

    return by_tokenizer


def costs(
    plan: Plan,
    count: Count,
    done: Callable[[str, str], bool],
    choice: placement.Choice | None = None,
) -> list[Row]:
    """Each model of the plan with its cost; finished steps cost nothing.

    Args:
        done: whether the store holds an artefact of a kind and key.
        choice: where the memory of fine-tunes will lie; None for one device that holds everything.
    """
    compute, sizes = plan.profile.compute, plan.spec.architecture

    tokens = _Tokens(plan, count)
    paid: dict[object, tuple[int, float]] = {}

    def training(model: PlannedModel) -> tuple[int, float]:
        """Tokens and steps, beyond those of checkpoints of the same training."""
        if model.recipe is None or model.rows is None or not model.to_tune(done):
            return 0, 0.0
        samples = model.recipe.micro_batch * model.recipe.accumulation
        steps = model.recipe.checkpoint or model.recipe.epochs * len(model.rows) / samples
        before = paid.get(model.training, (0, 0.0))
        paid[model.training] = max(before, (tokens.train(model), steps))
        return max(0, tokens.train(model) - before[0]), max(0.0, steps - before[1])

    def row(model: PlannedModel) -> Row:
        pending = [step for step in model.cells if not done("cell", step.key)]
        train, steps = training(model)
        prompt = sum(map(tokens.prompt, pending))
        new = sum(map(tokens.new, pending))
        seconds = training_seconds(compute, sizes, choice, tokens=train, steps=steps)
        cost = Cost.at(compute, train=train, prompt=prompt, new=new, train_seconds=seconds)
        return Row(model.name, len(model.cells), len(pending), cost)

    return [row(model) for model in plan.models]


def seconds_of(plan: Plan, count: Count) -> dict[str, float]:
    """Expected seconds of each fine-tune and each cell by its content key, at the profile's rates.

    Only how they compare matters: workers take the longest first.
    """
    compute, tokens = plan.profile.compute, _Tokens(plan, count)
    found = {}
    for model in plan.models:
        if model.recipe is not None:
            found[model.key] = tokens.train(model) / compute.train_rate
        for cell in model.cells:
            found[cell.key] = (
                tokens.prompt(cell) / compute.evaluate_rate
                + tokens.new(cell) / compute.generate_rate
            )
    return found


class _Tokens:
    """Tokens of a plan's fine-tunes and cells; generations count as long as allowed."""

    def __init__(self, plan: Plan, count: Count) -> None:
        self._plan = plan
        self._count = count
        self._contexts: dict[str, int] = {}
        self._queries: dict[tuple[str, str], int] = {}
        self._prompts: dict[str, int] = {}

    def _context(self, text: str) -> int:
        if text not in self._contexts:
            self._contexts[text] = sum(self._count([text])) if text else 0
        return self._contexts[text]

    def prompt(self, cell: PlannedCell) -> int:
        """Of a cell's prompts, the context once."""
        if cell.prompts not in self._prompts:
            where = (cell.cell.dataset, cell.cell.prompt)
            if where not in self._queries:
                task, text = cell.asked.task, cell.asked.prompt.text(cell.asked.task)
                queries = self._count([fill(task, text, row) for row in cell.rows.to_list()])
                self._queries[where] = sum(queries)
            task = cell.asked.shown.task
            shown = cell.demonstrations.to_list()[: cell.cell.shots]
            before = context(task, cell.asked.prompt.text(task), shown)
            self._prompts[cell.prompts] = self._context(before) + self._queries[where]
        return self._prompts[cell.prompts]

    def new(self, cell: PlannedCell) -> int:
        """Of a cell's generations."""
        generates = cell.asked.task.kind is Kind.GENERATION
        return len(cell.rows) * self._plan.settings.max_new_tokens if generates else 0

    def train(self, model: PlannedModel) -> int:
        """Of a fine-tune up to its checkpoint or end; 0 for what is not trained."""
        if model.rows is None or model.recipe is None or model.demonstrations is None:
            return 0
        assert model.template is not None
        task, text = model.template.task, model.template.text
        contexts = model.contexts or (context(task, text, model.demonstrations.to_list()),)
        before = [self._context(text) for text in contexts]
        own = self._count([fill(task, text, row) + row["output"] for row in model.rows.to_list()])
        if not model.contexts:
            before *= len(own)
        samples = [shown + tokens for shown, tokens in zip(before, own, strict=True)]
        longest = model.recipe.max_length or max(samples, default=0)
        whole = model.recipe.epochs * sum(min(tokens, longest) for tokens in samples)
        planned = model.recipe.steps(len(own))
        return whole * (model.recipe.checkpoint or planned) // planned
