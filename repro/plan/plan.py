"""The plan: which models and cells a selection needs, each with its content key.

The graph is small and fixed: base weights -> fine-tunes -> cells; a `PlannedModel` is a
model with its cells. Keys cover all that can change an artefact, and nothing that cannot.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

from datasets import Dataset

from repro.data.source import Source
from repro.data.targets import entropy
from repro.errors import EXIT_MISSING, ReproError
from repro.evaluate import Settings
from repro.finetune import Recipe, recipe_from
from repro.models.files import model_digest
from repro.models.spec import ModelSpec
from repro.plan.checkpoints import Given
from repro.plan.rows import PlanRows, rows_digest
from repro.plan.store import content_key
from repro.profiles import Profile
from repro.spec.cells import BASE, Cell, Demonstrations, Variant
from repro.spec.keys import entering
from repro.spec.prompts import Template
from repro.spec.protocol import Protocol
from repro.spec.study import Evaluation, Study
from repro.spec.tasks import Kind, Part

# Raised by one when a change to these packages changes their results.
WEIGHTS_VERSION = 1
FINETUNE_VERSION = 2
EVALUATE_VERSION = 2

TORCH = "torch"
"""The kit's own engine; another one stands in keys and identities, this one does not."""

# The length of generations is among the settings of evaluation, scaled for the profile's model.
_EVALUATION_SWITCHES = tuple(
    name for name in entering(Protocol, "cell") if name != "max_new_tokens"
)
ROTARY = "float32"
"""The precision of rotary frequencies that content keys of fine-tunes leave out."""


@dataclass(frozen=True)
class PlannedCell:
    """A cell with what it is computed from.

    Attributes:
        dtype: of the model when it computes the cell.
        prompts: cells with the same ones have the same prompts as texts.
    """

    asked: Evaluation
    key: str
    rows: Dataset
    dropped: dict[str, int]
    demonstrations: Dataset
    dtype: str
    prompts: str

    @property
    def cell(self) -> Cell:
        return self.asked.cell


@dataclass(frozen=True)
class PlannedModel:
    """A model and its cells.

    Attributes:
        seed: of the fine-tune; None for the base, which has none.
        key: of the weights: those of the base, or of the fine-tune.
        contexts: the text before each training row, where the demonstrations are not the same or of
            another task.
        facts: hashes of the rows and demonstrations that it is trained on, and of a target format
            the entropy of its targets in bits, by name.
        checkpoint: folder of a fine-tune that is there already; it is not trained, nor kept in the
            store.
    """

    variant: Variant
    seed: int | None
    key: str
    cells: tuple[PlannedCell, ...]
    recipe: Recipe | None = None
    template: Template | None = None
    rows: Dataset | None = None
    dropped: dict[str, int] | None = None
    demonstrations: Dataset | None = None
    facts: Mapping[str, str | float] = field(default_factory=dict)
    checkpoint: Path | None = None
    contexts: tuple[str, ...] = ()

    @property
    def training(self) -> tuple[Variant, int | None]:
        """The training that it comes of: models that differ in their checkpoint share it."""
        return replace(self.variant, checkpoint=""), self.seed

    @property
    def name(self) -> str:
        name = self.variant.name if self.seed is None else f"{self.variant.name} seed {self.seed}"
        return f"{name}, given" if self.checkpoint else name

    def to_tune(self, done: Callable[[str, str], bool]) -> bool:
        """Whether its model is still to be fine-tuned.

        Args:
            done: whether the store holds an artefact of a kind and key.
        """
        if self.recipe is None or done("model", self.key):
            return False
        return not (done("facts", self.key) and all(done("cell", c.key) for c in self.cells))


@dataclass(frozen=True)
class Plan:
    """All models of a selection.

    Attributes:
        identity: what must be equal for results to stand in one folder.
        engine: what evaluates: "torch", or "vllm" with its version.
    """

    study: Study
    profile: Profile
    protocol_name: str
    protocol: Protocol
    overrides: dict[str, object]
    spec: ModelSpec
    source: Source
    base_key: str
    settings: Settings
    models: tuple[PlannedModel, ...]
    identity: dict[str, object]
    engine: str


def weights_key(spec: ModelSpec) -> str:
    """The content key of base weights in the kit's own layout."""
    return content_key({"weights": WEIGHTS_VERSION, "spec": spec.identity()})


def needed_parts(
    study: Study,
    cells: Sequence[Cell],
    protocol: Protocol,
    untrained: Collection[Variant] = (),
) -> list[Part]:
    """The files of rows that cells and their models need; some models are not to be trained."""
    parts: dict[Part, None] = {}
    for variant in dict.fromkeys(cell.variant for cell in cells):
        if variant != BASE and variant not in untrained:
            parts[Part("train", variant.train, variant.size)] = None
            parts[Part("demonstrations", study.training[variant.train].dataset)] = None
            if variant.train_shots:
                parts[Part("demonstrations", study.shown_to(variant))] = None
            if variant.rows and (to := study.filters[variant.rows].to):
                parts[Part("test", to)] = None
    for name in dict.fromkeys(cell.dataset for cell in cells):
        parts[Part("test", name)] = None
        parts[Part("demonstrations", name)] = None
        leak = study.datasets[name].leak
        if leak and protocol.leaked_rows == "drop":
            parts[Part("train", *leak)] = None
    for cell in cells:
        if cell.demonstrations.source:
            parts[Part("demonstrations", cell.demonstrations.source)] = None
    return list(parts)


def cell_dtype(asked: Evaluation, profile: Profile, protocol: Protocol) -> str:
    """The precision of a cell (AUDIT A12): on CPU profiles float32 for all."""
    if profile.compute.dtype == "float32":
        return "float32"
    mixed = protocol.precision == "mixed" and asked.cell.variant == BASE
    return "float16" if mixed and asked.task.kind is Kind.GENERATION else "bfloat16"


def make_plan(
    cells: Sequence[Cell],
    *,
    study: Study,
    profile: Profile,
    protocol_name: str,
    protocol: Protocol,
    overrides: dict[str, object],
    spec: ModelSpec,
    source: Source,
    seeds: Sequence[int],
    test_limit: int | None,
    numerics: dict[str, object],
    engine: str = TORCH,
    given: Given | None = None,
) -> Plan:
    """The plan of a selection. Reads all rows it needs, and loads no model.

    Args:
        test_limit: rows of a test set to score, at most; None for the protocol's number.
        numerics: what else can change bits, see `machine.numerics`.
        engine: what evaluates, see `machine.engine`.
        given: fine-tunes that are there already.
    """
    settings = Settings(
        token_budget=profile.compute.evaluate_tokens,
        max_new_tokens=profile.new_tokens(protocol),
    )
    base_key = weights_key(spec)
    switches = {name: getattr(protocol, name) for name in _EVALUATION_SWITCHES}
    rotary = protocol.rotary_precision
    evaluated_by = {} if engine == TORCH else {"engine": engine}

    rows = PlanRows(
        study=study, profile=profile, protocol=protocol, source=source, test_limit=test_limit
    )

    @cache
    def shown_digest(dataset: str, own: Demonstrations) -> str:
        return rows_digest(rows.first(dataset, own))

    def cell_step(cell: Cell, model_key: str) -> PlannedCell:
        asked, own = study.evaluation(cell), cell.demonstrations
        selected, digest = rows.tested(cell.dataset)
        tested, shown = selected.rows, rows.shown(asked.shown.name, own)
        first = shown_digest(asked.shown.name, own)
        if written := rows.writer(cell.variant, asked.task):
            tested, shown = written.tested(tested), written.rows(shown)
            digest = rows_digest(tested)
            first = rows_digest(shown.select(range(min(own.number, len(shown)))))
        dtype = cell_dtype(asked, profile, protocol)
        parts: dict[str, object] = {
            "evaluate": EVALUATE_VERSION,
            "model": model_key,
            "cell": [cell.dataset, cell.prompt, cell.shots],
            "rows": digest,
            "demonstrations": first,
            "switches": switches,
            "settings": asdict(settings),
            "dtype": dtype,
            "numerics": numerics,
            **evaluated_by,
            **asked.unfixed,
        }
        said = ("cell", "rows", "demonstrations", "switches", *asked.unfixed)
        return PlannedCell(
            asked,
            content_key(parts),
            tested,
            selected.dropped,
            shown,
            dtype,
            content_key({name: parts[name] for name in said} | {"shown": own.name}),
        )

    def model(variant: Variant, seed: int | None) -> PlannedModel:
        own = [cell for cell in cells if cell.variant == variant]
        if seed is None:
            return PlannedModel(variant, None, base_key, tuple(cell_step(c, base_key) for c in own))
        if checkpoint := (given or {}).get((variant, seed)):
            key = content_key({"checkpoint": model_digest(checkpoint)})
            steps = tuple(cell_step(cell, key) for cell in own)
            return PlannedModel(variant, seed, key, steps, checkpoint=checkpoint)
        recipe = recipe_from(
            protocol,
            seed=seed,
            dtype="float32" if profile.compute.dtype == "float32" else "bfloat16",
            learning_rate_factor=profile.scale.learning_rate,
            length_factor=profile.scale.length,
            epochs=variant.epochs,
            lora_rank=profile.compute.lora_rank,
        )
        selected, digest = rows.trained(variant)
        recipe = recipe.until(variant.checkpoint, len(selected.rows), variant.name)
        task, prompt = study.training[variant.train].task, study.training_prompt(variant)
        examples = rows.examples(variant)
        parts = {
            "finetune": FINETUNE_VERSION,
            "base": base_key,
            "task": task.name,
            "rows": digest,
            "demonstrations": examples.digest,
            "recipe": recipe.settings,
            "numerics": numerics,
            **({} if variant.prompt == "" and prompt.fixed else {"prompt": prompt.text(task)}),
            **({} if rotary == ROTARY else {"rotary": rotary}),
        }
        key = content_key(parts)
        steps = tuple(cell_step(cell, key) for cell in own)
        facts: dict[str, str | float] = {
            "rows_sha256": digest,
            "demonstrations_sha256": examples.digest,
        }
        if variant.target:
            facts["target_bits"] = round(entropy(selected.rows["output"]), 3)
        return PlannedModel(
            variant,
            seed,
            key,
            steps,
            recipe,
            Template(task, prompt.text(task)),
            selected.rows,
            selected.dropped,
            examples.rows,
            facts,
            contexts=examples.contexts,
        )

    variants = dict.fromkeys(cell.variant for cell in cells)
    models = [
        model(variant, seed)
        for variant in sorted(variants, key=lambda v: v != BASE)
        for seed in ([None] if variant == BASE else seeds)
    ]
    identity: dict[str, object] = {
        "profile": profile.name,
        "profile_digest": profile.digest,
        "protocol": protocol_name,
        "overrides": overrides,
        "test_limit": test_limit,
        "model": base_key,
        "numerics": numerics,
        **evaluated_by,
    }
    if rank := profile.compute.lora_rank:
        identity["trained"] = f"LoRA of rank {rank}, not all weights as in the paper"
    return Plan(
        study,
        profile,
        protocol_name,
        protocol,
        overrides,
        spec,
        source,
        base_key,
        settings,
        tuple(models),
        identity,
        engine,
    )


def available(
    study: Study,
    cells: Sequence[Cell],
    source: Source,
    protocol: Protocol,
    *,
    skip_missing: bool,
    untrained: Collection[Variant] = (),
) -> tuple[tuple[Cell, ...], dict[Variant, str]]:
    """The cells whose data is there, and why models are left out.

    Raises:
        ReproError: data is missing or wrong (3): any file, or with `skip_missing` one that is
            not only a training set.
    """
    left_out: dict[Variant, str] = {}
    if skip_missing:
        for variant in dict.fromkeys(cell.variant for cell in cells):
            if variant == BASE or variant in untrained:
                continue
            problems = source.missing([Part("train", variant.train, variant.size)])
            if problems:
                left_out[variant] = str(problems[0])
    kept = tuple(cell for cell in cells if cell.variant not in left_out)
    problems = source.missing(needed_parts(study, kept, protocol, untrained))
    if problems:
        shown = "; ".join(str(problem) for problem in problems[:4])
        more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise ReproError(shown + more, hint=problems[0].hint, exit_code=problems[0].exit_code)
    if not kept:
        raise ReproError(
            "no cell is left: the training data of every selected model is missing",
            hint="repro data fetch",
            exit_code=EXIT_MISSING,
        )
    return kept, left_out
