"""The plan: which models and cells a selection needs, each with its content key.

The graph is small and fixed: base weights -> fine-tunes -> cells; a `PlannedModel` is a
model with its cells. Keys cover all that can change an artefact, and nothing that cannot.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
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
from repro.plan.rows import PlanRows, rows_digest
from repro.plan.select import Request
from repro.plan.store import content_key
from repro.spec.cells import BASE, Cell, Demonstrations, Variant
from repro.spec.keys import entering
from repro.spec.prompts import Template, context
from repro.spec.protocol import Protocol
from repro.spec.study import Evaluation
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


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a fine-tune is made of.

    Attributes:
        contexts: the text before each row, where the demonstrations are not the same or of
            another task.
        dropped: numbers of rows that were left out, by reason.
        facts: hashes of rows and demonstrations, and of a target format the entropy of its targets
            in bits, by name.
    """

    recipe: Recipe
    template: Template
    rows: Dataset
    demonstrations: Dataset
    contexts: tuple[str, ...]
    dropped: dict[str, int]
    facts: Mapping[str, str | float]

    @property
    def before(self) -> tuple[str, ...]:
        """The text before each row."""
        if self.contexts:
            return self.contexts
        shown = context(self.template.task, self.template.text, self.demonstrations.to_list())
        return (shown,) * len(self.rows)


@dataclass(frozen=True)
class PlannedModel:
    """A model and its cells.

    Attributes:
        seed: of the fine-tune; None for the base, which has none.
        key: of the weights.
        checkpoint: folder of a fine-tune that is there already; it is not kept in the store.
    """

    variant: Variant
    seed: int | None
    key: str
    cells: tuple[PlannedCell, ...]
    training: Training | None = None
    checkpoint: Path | None = None

    @property
    def trained_as(self) -> tuple[Variant, int | None]:
        """The training that it comes of: models that differ in their checkpoint share it."""
        return replace(self.variant, checkpoint=""), self.seed

    @property
    def name(self) -> str:
        name = self.variant.name if self.seed is None else f"{self.variant.name} seed {self.seed}"
        return f"{name}, given" if self.checkpoint else name

    def to_tune(self, done: Callable[[str, str], bool]) -> bool:
        """Whether it is still to be fine-tuned, by what the store holds of a kind and key."""
        if self.training is None or done("model", self.key):
            return False
        return not (done("facts", self.key) and all(done("cell", c.key) for c in self.cells))


@dataclass(frozen=True)
class Plan:
    """All models of a request.

    Attributes:
        identity: what must be equal for results to stand in one folder.
        engine: what evaluates: "torch", or "vllm" with its version.
    """

    request: Request
    base_key: str
    settings: Settings
    models: tuple[PlannedModel, ...]
    identity: dict[str, object]
    engine: str


def weights_key(spec: ModelSpec) -> str:
    """The content key of base weights in the kit's own layout."""
    return content_key({"weights": WEIGHTS_VERSION, "spec": spec.identity()})


def needed_parts(request: Request) -> list[Part]:
    """The files of rows that cells and the models to be trained need."""
    study = request.study
    parts: dict[Part, None] = {}
    for variant in request.trained:
        parts[Part("train", variant.train, variant.size)] = None
        parts[Part("demonstrations", study.training[variant.train].dataset)] = None
        if variant.train_shots:
            parts[Part("demonstrations", study.shown_to(variant))] = None
        if variant.rows and (to := study.filters[variant.rows].to):
            parts[Part("test", to)] = None
    for name in dict.fromkeys(cell.dataset for cell in request.cells):
        parts[Part("test", name)] = None
        parts[Part("demonstrations", name)] = None
        leak = study.datasets[name].leak
        if leak and request.protocol.leaked_rows == "drop":
            parts[Part("train", *leak)] = None
    for cell in request.cells:
        if cell.demonstrations.source:
            parts[Part("demonstrations", cell.demonstrations.source)] = None
    return list(parts)


def make_plan(
    request: Request, source: Source, *, numerics: dict[str, object], engine: str = TORCH
) -> Plan:
    """The plan of a request. Reads all rows it needs, and loads no model.

    Args:
        numerics: what else can change bits, see `machine.numerics`.
        engine: what evaluates, see `machine.engine`.
    """
    study, profile, protocol = request.study, request.profile, request.protocol
    settings = Settings(
        token_budget=profile.compute.evaluate_tokens,
        max_new_tokens=profile.new_tokens(protocol),
    )
    base_key = weights_key(request.spec)
    switches = {name: getattr(protocol, name) for name in _EVALUATION_SWITCHES}
    rotary, precision = protocol.rotary_precision, profile.compute.precision
    evaluated_by = {} if engine == TORCH else {"engine": engine}
    rows = PlanRows(request, source)

    @cache
    def shown_digest(dataset: str, own: Demonstrations) -> str:
        return rows_digest(rows.first(dataset, own))

    def planned(cell: Cell, model_key: str) -> PlannedCell:
        asked, own = study.evaluation(cell), cell.demonstrations
        selected, digest = rows.tested(cell.dataset)
        tested, shown = selected.rows, rows.shown(asked.shown.name, own)
        first = shown_digest(asked.shown.name, own)
        if written := rows.writer(cell.variant, asked.task):
            tested = written.tested(tested)
            digest = rows_digest(tested)
        if written := rows.writer(cell.variant, asked.shown.task):
            shown = written.rows(shown)
            first = rows_digest(shown.select(range(min(own.number, len(shown)))))
        mixed = protocol.precision == "mixed" and precision == "bfloat16"  # AUDIT A12
        halved = mixed and cell.variant == BASE and asked.task.kind is Kind.GENERATION
        dtype = "float16" if halved else precision
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
        prompts = content_key({name: parts[name] for name in said} | {"shown": own.name})
        key = content_key(parts)
        return PlannedCell(asked, key, tested, selected.dropped, shown, dtype, prompts)

    def trained(variant: Variant, seed: int) -> tuple[str, Training]:
        """The content key of a fine-tune, and what it is made of."""
        selected, digest = rows.trained(variant)
        recipe = recipe_from(
            protocol,
            seed=seed,
            dtype=precision,
            learning_rate_factor=profile.scale.learning_rate,
            length_factor=profile.scale.length,
            epochs=variant.epochs,
            lora_rank=profile.compute.lora_rank,
        ).until(variant.checkpoint, len(selected.rows), variant.name)
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
        facts: dict[str, str | float] = {
            "rows_sha256": digest,
            "demonstrations_sha256": examples.digest,
        }
        if variant.target:
            facts["target_bits"] = round(entropy(selected.rows["output"]), 3)
        return content_key(parts), Training(
            recipe=recipe,
            template=Template(task, prompt.text(task)),
            rows=selected.rows,
            demonstrations=examples.rows,
            contexts=examples.contexts,
            dropped=selected.dropped,
            facts=facts,
        )

    def model(variant: Variant, seed: int | None) -> PlannedModel:
        key, training, checkpoint = base_key, None, None
        if seed is not None and (checkpoint := request.given.get((variant, seed))):
            key = content_key({"checkpoint": model_digest(checkpoint)})
        elif seed is not None:
            key, training = trained(variant, seed)
        cells = tuple(planned(cell, key) for cell in request.cells if cell.variant == variant)
        return PlannedModel(variant, seed, key, cells, training, checkpoint)

    variants = dict.fromkeys(cell.variant for cell in request.cells)
    models = tuple(
        model(variant, seed)
        for variant in sorted(variants, key=lambda v: v != BASE)
        for seed in ([None] if variant == BASE else request.seeds)
    )
    identity: dict[str, object] = {
        "profile": profile.name,
        "profile_digest": profile.digest,
        "protocol": request.protocol_name,
        "overrides": request.overrides,
        "test_limit": request.test_limit,
        "model": base_key,
        "numerics": numerics,
        **evaluated_by,
    }
    if rank := profile.compute.lora_rank:
        identity["trained"] = f"LoRA of rank {rank}, not all weights as in the paper"
    return Plan(request, base_key, settings, models, identity, engine)


def without_missing(request: Request, source: Source) -> tuple[Request, dict[Variant, str]]:
    """With --skip-missing the request for models whose training data is there, and why others go.

    Without it, the request as it is.
    """
    left_out: dict[Variant, str] = {}
    for variant in request.trained if request.skip_missing else ():
        problems = source.missing([Part("train", variant.train, variant.size)])
        if problems:
            left_out[variant] = str(problems[0])
    kept = tuple(cell for cell in request.cells if cell.variant not in left_out)
    return replace(request, cells=kept), left_out


def available(request: Request, source: Source) -> tuple[Request, dict[Variant, str]]:
    """`without_missing`, of which all data is there.

    Raises:
        ReproError: data is missing or wrong (3): any file, or with --skip-missing one that is
            not only a training set.
    """
    request, left_out = without_missing(request, source)
    problems = source.missing(needed_parts(request))
    if problems:
        shown = "; ".join(str(problem) for problem in problems[:4])
        more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise ReproError(shown + more, hint=problems[0].hint, exit_code=problems[0].exit_code)
    if not request.cells:
        raise ReproError(
            "no cell is left: the training data of every selected model is missing",
            hint="repro data fetch",
            exit_code=EXIT_MISSING,
        )
    return request, left_out
