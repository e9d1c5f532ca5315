"""The plan: which models and cells a selection needs, each with its content key.

The graph is small and fixed: base weights -> fine-tunes -> cells; a `Job` is a model with its
cells. Keys cover all that can change an artefact, and nothing that cannot.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from datasets import Dataset

from repro.data.filters import Selected, test_rows, train_rows
from repro.data.source import Part, Source
from repro.errors import EXIT_MISSING, ReproError
from repro.evaluate import Settings
from repro.finetune import Recipe, recipe_from
from repro.models.files import model_digest
from repro.models.spec import ModelSpec
from repro.paper.cells import BASE, Cell, Variant
from repro.paper.protocols import Protocol
from repro.paper.tasks import Kind
from repro.pipeline.checkpoints import Given
from repro.pipeline.store import content_key
from repro.profiles import Profile

# Raised by one when a change to these packages changes their results.
WEIGHTS_VERSION = 1
FINETUNE_VERSION = 2
EVALUATE_VERSION = 2

TORCH = "torch"
"""The kit's own engine; another one stands in keys and identities, this one does not."""

# The switches that evaluation reads; rows are dropped by the others, and enter by content.
_EVALUATION_SWITCHES = (
    "bos_zero_shot_generation",
    "bos_few_shot_classification",
    "zero_shot_blank",
    "query_tokens",
    "label_tokens",
    "trailing_blank",
    "prompt2_spacing",
    "rte_labels",
    "cut_at_blank_line",
    "rouge_stemmer",
    "rotary_precision",
)


@dataclass(frozen=True)
class CellStep:
    """A cell with what it is computed from.

    Attributes:
        dtype: of the model when it computes the cell.
    """

    cell: Cell
    key: str
    rows: Dataset
    dropped: dict[str, int]
    demonstrations: Dataset
    dtype: str


@dataclass(frozen=True)
class Job:
    """A model and its cells.

    Attributes:
        seed: of the fine-tune; None for the base, which has none.
        key: of the weights: those of the base, or of the fine-tune.
        digests: hashes of the rows and demonstrations that it is trained on, by name of the fact.
        checkpoint: folder of a fine-tune that is there already; it is not trained, nor kept in the
            store.
    """

    variant: Variant
    seed: int | None
    key: str
    cells: tuple[CellStep, ...]
    recipe: Recipe | None = None
    rows: Dataset | None = None
    dropped: dict[str, int] | None = None
    demonstrations: Dataset | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    checkpoint: Path | None = None

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
    """All jobs of a selection.

    Attributes:
        identity: what must be equal for results to stand in one folder.
        engine: what evaluates: "torch", or "vllm" with its version.
    """

    profile: Profile
    protocol_name: str
    protocol: Protocol
    overrides: dict[str, object]
    spec: ModelSpec
    source: Source
    base_key: str
    settings: Settings
    jobs: tuple[Job, ...]
    identity: dict[str, object]
    engine: str


def weights_key(spec: ModelSpec) -> str:
    """The content key of base weights in the kit's own layout."""
    return content_key({"weights": WEIGHTS_VERSION, "spec": spec.identity()})


def rows_digest(rows: Dataset) -> str:
    """A hash over the content of rows, in their order."""
    text = json.dumps(rows.to_list(), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def needed_parts(
    cells: Sequence[Cell], protocol: Protocol, untrained: Collection[Variant] = ()
) -> list[Part]:
    """The files of rows that cells and their models need; some models are not to be trained."""
    parts: dict[Part, None] = {}
    for variant in dict.fromkeys(cell.variant for cell in cells):
        if variant != BASE and variant not in untrained:
            parts[Part("train", variant.train, variant.size)] = None
            parts[Part("demonstrations", variant.task.train_dataset)] = None
    for name in dict.fromkeys(cell.dataset for cell in cells):
        parts[Part("test", name)] = None
        parts[Part("demonstrations", name)] = None
        if name == "paws" and protocol.leaked_rows == "drop":
            parts[Part("train", "paws", 6000)] = None
    return list(parts)


def cell_dtype(cell: Cell, profile: Profile, protocol: Protocol) -> str:
    """The precision of a cell (AUDIT A12): on CPU profiles float32 for all."""
    if profile.compute.dtype == "float32":
        return "float32"
    mixed = protocol.precision == "mixed" and cell.variant == BASE
    return "float16" if mixed and cell.task.kind is Kind.GENERATION else "bfloat16"


def make_plan(
    cells: Sequence[Cell],
    *,
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
    evaluated_by = {} if engine == TORCH else {"engine": engine}

    @cache
    def tested(dataset: str) -> tuple[Selected, str]:
        selected = test_rows(source, dataset, protocol, limit=test_limit)
        return selected, rows_digest(selected.rows)

    @cache
    def shown(dataset: str) -> Dataset:
        return source.rows(Part("demonstrations", dataset))

    @cache
    def shown_digest(dataset: str, shots: int) -> str:
        return rows_digest(shown(dataset).select(range(shots)))

    def cell_step(cell: Cell, model_key: str) -> CellStep:
        selected, digest = tested(cell.dataset)
        dtype = cell_dtype(cell, profile, protocol)
        parts = {
            "evaluate": EVALUATE_VERSION,
            "model": model_key,
            "cell": [cell.dataset, cell.prompt, cell.shots],
            "rows": digest,
            "demonstrations": shown_digest(cell.dataset, cell.shots),
            "switches": switches,
            "settings": asdict(settings),
            "dtype": dtype,
            "numerics": numerics,
            **evaluated_by,
        }
        key = content_key(parts)
        return CellStep(cell, key, selected.rows, selected.dropped, shown(cell.dataset), dtype)

    @cache
    def trained(variant: Variant) -> tuple[Selected, str]:
        limit = profile.train_limit(variant.size)
        selected = train_rows(source, variant, protocol, limit=limit)
        return selected, rows_digest(selected.rows)

    def job(variant: Variant, seed: int | None) -> Job:
        own = [cell for cell in cells if cell.variant == variant]
        if seed is None:
            return Job(variant, None, base_key, tuple(cell_step(c, base_key) for c in own))
        if checkpoint := (given or {}).get((variant, seed)):
            key = content_key({"checkpoint": model_digest(checkpoint)})
            steps = tuple(cell_step(cell, key) for cell in own)
            return Job(variant, seed, key, steps, checkpoint=checkpoint)
        recipe = recipe_from(
            protocol,
            seed=seed,
            dtype="float32" if profile.compute.dtype == "float32" else "bfloat16",
            learning_rate_factor=profile.scale.learning_rate,
            length_factor=profile.scale.length,
            lora_rank=profile.compute.lora_rank,
        )
        selected, digest = trained(variant)
        examples = shown(variant.task.train_dataset).select(range(variant.train_shots))
        shown_first = rows_digest(examples)
        parts = {
            "finetune": FINETUNE_VERSION,
            "base": base_key,
            "task": variant.task.name,
            "rows": digest,
            "demonstrations": shown_first,
            "recipe": recipe.table(),
            "numerics": numerics,
        }
        key = content_key(parts)
        steps = tuple(cell_step(cell, key) for cell in own)
        digests = {"rows_sha256": digest, "demonstrations_sha256": shown_first}
        return Job(
            variant, seed, key, steps, recipe, selected.rows, selected.dropped, examples, digests
        )

    variants = dict.fromkeys(cell.variant for cell in cells)
    jobs = [
        job(variant, seed)
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
        profile,
        protocol_name,
        protocol,
        overrides,
        spec,
        source,
        base_key,
        settings,
        tuple(jobs),
        identity,
        engine,
    )


def available(
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
    problems = source.missing(needed_parts(kept, protocol, untrained))
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
