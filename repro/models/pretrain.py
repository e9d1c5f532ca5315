"""Pre-training of the embedded micro Llama (`repro models build-embedded`)."""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from random import Random

import tokenizers
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from repro.data.embedded.documents import (
    EOS,
    OUTPUT_WEIGHT,
    Options,
    Token,
    document,
    packed,
)
from repro.data.embedded.tokenizer import build_tokenizer, vocabulary
from repro.models.incontext import table

Mix = dict[str, float]
Progress = Callable[[dict[str, float], LlamaForCausalLM], None]
"""Gets each line of the log (step, tokens, output_loss) and the model as it is."""

# First phase. Lists and repeats come first: copying, and looking back for a label, are learnt
# from them.
EARLY: Mix = {
    "repeats": 3.0,
    "selection": 2.0,
    "category": 4.0,
    "equality": 2.0,
    "sentiment": 1.0,
    "summary": 0.5,
    "lookup": 0.5,
}
BROAD: Mix = {
    "repeats": 0.3,
    "selection": 0.7,
    "category": 1.0,
    "equality": 0.8,
    "sentiment": 1.5,
    "paraphrase": 2.5,
    "nli": 2.5,
    "summary": 1.5,
    "question": 1.5,
    "rewrite": 0.8,
    "lookup": 1.0,
}
# Second phase. Single examples, whose labels always mean the same, teach what a task is about: in
# longer documents every word has occurred before, which hides whether two sentences share it.
SINGLE: Mix = {
    "sentiment": 1.0,
    "paraphrase": 3.0,
    "nli": 3.0,
    "equality": 1.5,
    "lookup": 1.5,
    "summary": 0.5,
    "question": 1.0,
    "rewrite": 1.0,
}
# Few-shot documents, most of whose labels are given out anew.
MANY: Mix = {
    "repeats": 0.2,
    "selection": 0.5,
    "category": 1.5,
    "equality": 1.0,
    "sentiment": 2.5,
    "paraphrase": 3.0,
    "nli": 3.0,
    "summary": 1.0,
    "question": 1.0,
    "rewrite": 0.3,
    "lookup": 0.4,
}


# Third phase: more of what was not learnt yet, in single examples and in context.
HARD_SINGLE: Mix = {
    "nli": 4.0,
    "paraphrase": 3.0,
    "equality": 2.0,
    "sentiment": 0.3,
    "lookup": 0.3,
}
HARD_MANY: Mix = {
    "selection": 0.3,
    "category": 4.0,
    "equality": 1.5,
    "sentiment": 4.0,
    "paraphrase": 1.5,
    "nli": 1.5,
    "summary": 0.8,
    "question": 0.8,
}
# Last phase, in which the rates fall to nothing: all kinds again.
LAST_MANY: Mix = {
    "repeats": 0.2,
    "selection": 0.5,
    "category": 1.0,
    "equality": 0.5,
    "sentiment": 2.5,
    "paraphrase": 2.0,
    "nli": 2.0,
    "summary": 2.5,
    "question": 2.0,
    "rewrite": 0.4,
    "lookup": 0.5,
}


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Size of steps and rates of a phase; each phase has optimisers of its own.

    Attributes:
        steps: optimiser steps; tokens: about so many a step.
        learning_rate: peak for embeddings and norms (AdamW); muon_rate: for all other matrices.
        warmup: steps up to the peak; horizon: step at which the rates would be down to 2 %, after
            falling linearly over `decay` steps.
    """

    steps: int
    tokens: int
    learning_rate: float
    muon_rate: float
    warmup: int
    horizon: int
    decay: int


@dataclass(frozen=True, kw_only=True)
class Broad:
    """A phase on rows packed with few-shot documents, from easy kinds to all.

    Attributes:
        length: tokens a row; early_length: in the first `early_steps` steps. In twice as many the
            easy mix turns into the broad one.
        meaning: share of documents whose label words keep a fixed meaning, at the start and at
            the horizon.
    """

    pace: Pace
    length: int
    early_length: int
    early_steps: int
    meaning: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """A phase on one document a row: in each step either single examples or few-shot documents.

    Attributes:
        single, many: kinds of documents in either.
        single_length, many_length: tokens a row.
        singles: share of steps with single examples, at first and after `ramp` steps.
        meaning: share of few-shot documents whose label words keep a fixed meaning.
        terse: share of few-shot documents without cue words.
    """

    pace: Pace
    single: Mix
    many: Mix
    single_length: int
    many_length: int
    singles: tuple[float, float]
    ramp: int
    meaning: float
    terse: float


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The recipe: all that can change the weights, besides the generator and the versions.

    Attributes:
        layers, width, inner, heads: shape of the Llama; input and output embeddings are one.
        phases: what is trained on, in this order.
        seed: of the weights and of each phase's documents.
        threads: CPU threads; the last bits of sums depend on their number.
    """

    layers: int = 4
    width: int = 128
    inner: int = 344
    heads: int = 4
    phases: tuple[Broad | Mixed, ...]
    weight_decay: float = 0.05
    beta2: float = 0.98
    clip_norm: float = 1.0
    seed: int = 1
    threads: int = 1


RECIPE = Pretraining(
    phases=(
        Broad(
            pace=Pace(
                steps=1600,
                tokens=4096,
                learning_rate=3e-3,
                muon_rate=0.02,
                warmup=100,
                horizon=3000,
                decay=2100,
            ),
            length=256,
            early_length=96,
            early_steps=250,
            meaning=(0.6, 0.35),
        ),
        Mixed(
            pace=Pace(
                steps=800,
                tokens=2304,
                learning_rate=2e-3,
                muon_rate=0.01,
                warmup=50,
                horizon=3200,
                decay=1000,
            ),
            single=SINGLE,
            many=MANY,
            single_length=48,
            many_length=288,
            singles=(0.7, 0.25),
            ramp=1500,
            meaning=0.3,
            terse=0.2,
        ),
        Mixed(
            pace=Pace(
                steps=800,
                tokens=2304,
                learning_rate=2e-3,
                muon_rate=0.012,
                warmup=50,
                horizon=10000,
                decay=1000,
            ),
            single=HARD_SINGLE,
            many=HARD_MANY,
            single_length=40,
            many_length=288,
            singles=(0.6, 0.2),
            ramp=2000,
            meaning=0.1,
            terse=0.4,
        ),
        Mixed(
            pace=Pace(
                steps=600,
                tokens=2304,
                learning_rate=2e-3,
                muon_rate=0.01,
                warmup=20,
                horizon=600,
                decay=600,
            ),
            single=SINGLE,
            many=LAST_MANY,
            single_length=48,
            many_length=288,
            singles=(0.1, 0.1),
            ramp=600,
            meaning=0.2,
            terse=0.2,
        ),
    )
)


def _hurried(phase: Broad | Mixed) -> Broad | Mixed:
    pace = replace(phase.pace, steps=12, tokens=600, warmup=4, horizon=12, decay=6)
    if isinstance(phase, Broad):
        return replace(phase, pace=pace, early_steps=8)
    return replace(phase, pace=pace)


SMOKE = replace(
    RECIPE, layers=2, width=64, phases=tuple(_hurried(phase) for phase in RECIPE.phases)
)
"""The same code in a few seconds."""

Batch = tuple[torch.Tensor, torch.Tensor]
"""Token ids (rows, length) int64 and the weight of predicting each (rows, length) float32."""


def broad_batches(phase: Broad, rng: Random) -> Iterator[Batch]:
    """The batches of a broad phase."""
    start, end = phase.meaning
    for step in range(phase.pace.steps):
        length = phase.early_length if step < phase.early_steps else phase.length
        share = min(1.0, step / (2 * phase.early_steps))
        mix = {kind: (1 - share) * EARLY.get(kind, 0.0) + share * BROAD[kind] for kind in BROAD}
        meaning = start + (end - start) * (step / phase.pace.horizon)
        options = Options(meaning=meaning, terse=0.0, swaps=2, examples=(6, 14))
        yield batch([packed(rng, mix, length, options) for _ in range(phase.pace.tokens // length)])


def mixed_batches(phase: Mixed, rng: Random) -> Iterator[Batch]:
    """The batches of a mixed phase."""
    start, end = phase.singles
    single = Options(meaning=1.0, terse=0.5, examples=(1, 1))
    many = Options(meaning=phase.meaning, terse=phase.terse)
    for step in range(phase.pace.steps):
        if rng.random() < start + (end - start) * min(1.0, step / phase.ramp):
            mix, length, options = phase.single, phase.single_length, single
        else:
            mix, length, options = phase.many, phase.many_length, many
        rows = phase.pace.tokens // length
        yield batch([document(rng, mix, length, options) for _ in range(rows)])


@cache
def _ids() -> dict[str, int]:
    return {token: number for number, token in enumerate(vocabulary())}


def batch(documents: list[list[Token]]) -> Batch:
    """Rows as tensors; shorter ones are filled up with tokens of weight 0."""
    ids, longest = _ids(), max(map(len, documents))
    filled = [row + [Token(EOS, 0.0)] * (longest - len(row)) for row in documents]
    return (
        torch.tensor([[ids[token.text] for token in row] for row in filled]),
        torch.tensor([[token.weight for token in row] for row in filled]),
    )


def new_model(recipe: Pretraining) -> LlamaForCausalLM:
    """The untrained model."""
    torch.manual_seed(recipe.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary()),
            hidden_size=recipe.width,
            intermediate_size=recipe.inner,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=2,
            initializer_range=0.04,
        )
    )


def rate(pace: Pace, step: int) -> float:
    """Share of the peak learning rate at a step of a phase: warm-up, plateau, linear decay."""
    if step < pace.warmup:
        return (step + 1) / pace.warmup
    return min(1.0, 0.02 + (pace.horizon - step) / pace.decay)


class Muon:
    """Momentum whose update of a matrix is made orthogonal (Jordan et al. 2024), in float32.

    torch's own computes in bfloat16, which processors without support for it do slowly.
    """

    def __init__(self, matrices: list[torch.nn.Parameter], rate: float, decay: float) -> None:
        self.rate, self.decay = rate, decay
        self.matrices = matrices
        self.momentum = [torch.zeros_like(matrix) for matrix in matrices]

    @torch.no_grad()
    def step(self) -> None:
        """Changes every matrix by its gradient and the momentum (0.95, Nesterov)."""
        for matrix, momentum in zip(self.matrices, self.momentum, strict=True):
            assert matrix.grad is not None
            momentum.lerp_(matrix.grad, 0.05)
            update = orthogonal(matrix.grad.lerp(momentum, 0.95))
            matrix.mul_(1 - self.rate * self.decay)
            matrix.add_(update, alpha=-self.rate * max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Nearly the orthogonal matrix next to this one: five quintic Newton-Schulz iterations."""
    found = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    found = found / (found.norm() + 1e-7)
    for _ in range(5):
        square = found @ found.T
        found = 3.4445 * found + (-4.7750 * square + 2.0315 * square @ square) @ found
    return found if matrix.shape[0] <= matrix.shape[1] else found.T


def train(
    recipe: Pretraining, *, progress: Progress | None = None, every: int = 50
) -> tuple[LlamaForCausalLM, list[dict[str, float]]]:
    """Trains from scratch; returns the model and the log, one line every `every` steps.

    A logged loss is the mean since the line before, over the tokens of outputs.
    """
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    model = new_model(recipe)
    log: list[dict[str, float]] = []
    for phase in recipe.phases:
        run_phase(model, phase, recipe, log, progress, every)
    return model, log


def run_phase(
    model: LlamaForCausalLM,
    phase: Broad | Mixed,
    recipe: Pretraining,
    log: list[dict[str, float]],
    progress: Progress | None,
    every: int,
) -> None:
    """Trains the model through one phase and writes on in the log."""
    rng, pace = Random(recipe.seed), phase.pace
    batches = broad_batches(phase, rng) if isinstance(phase, Broad) else mixed_batches(phase, rng)
    muon, adam = _optimisers(model, recipe)
    before, tokens = (log[-1]["step"], log[-1]["tokens"]) if log else (0, 0)
    total = outputs = 0.0
    for step, (ids, weights) in enumerate(batches, start=1):
        share = rate(pace, step - 1)
        muon.rate = pace.muon_rate * share
        adam.param_groups[0]["lr"] = pace.learning_rate * share
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
        )
        flat = weights[:, 1:].flatten()
        ((losses * flat).sum() / flat.sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        muon.step()
        adam.step()
        model.zero_grad(set_to_none=True)
        is_output = flat == OUTPUT_WEIGHT
        total += float(losses.detach()[is_output].sum())
        outputs += float(is_output.sum())
        tokens += ids.numel()
        if step % every == 0 or step == pace.steps:
            loss = round(total / outputs, 4)
            line = {"step": before + step, "tokens": tokens, "output_loss": loss}
            log.append(line)
            total = outputs = 0.0
            if progress:
                progress(line, model)


def _optimisers(model: LlamaForCausalLM, recipe: Pretraining) -> tuple[Muon, torch.optim.Optimizer]:
    inner = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
    known = {id(parameter) for parameter in inner}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return (
        Muon(inner, 0.0, recipe.weight_decay),
        torch.optim.AdamW(rest, betas=(0.9, recipe.beta2), weight_decay=0.0, fused=True),
    )


GENERATOR = ("words", "families", "rows", "documents", "tokenizer")


def generator_sha256() -> str:
    """Hash of the source text of all that makes pre-training documents."""
    folder = files("repro.data.embedded")
    text = "".join(folder.joinpath(f"{name}.py").read_text(encoding="utf-8") for name in GENERATOR)
    return hashlib.sha256(text.encode()).hexdigest()


def build(
    out: Path,
    *,
    progress: Progress | None = None,
    smoke: bool = False,
) -> dict[str, object]:
    """Makes the embedded model: trains, measures, and writes all files of the package data.

    Args:
        out: folder for the checkpoint, tokenizer and `recipe.json`; made if it is not there.
        progress: called with every line of the log and the model.
        smoke: a few steps of a smaller model, the same code.

    Returns:
        What `recipe.json` holds: recipe, versions, hashes, log, and the in-context table.
    """
    recipe = SMOKE if smoke else RECIPE
    started = time.monotonic()
    model, log = train(recipe, progress=progress, every=5 if smoke else 50)
    seconds = time.monotonic() - started
    return save(out, model, recipe, log, seconds, rows=4 if smoke else 250)


def save(
    out: Path,
    model: LlamaForCausalLM,
    recipe: Pretraining,
    log: list[dict[str, float]],
    seconds: float,
    *,
    rows: int,
) -> dict[str, object]:
    """Writes checkpoint, tokenizer and `recipe.json`; returns the latter's content."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.iterdir())
        if path.suffix in (".json", ".safetensors")
        and path.name not in ("recipe.json", "manifest.json")
    }
    facts: dict[str, object] = {
        "recipe": asdict(recipe),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokens": log[-1]["tokens"],
        "seconds": round(seconds),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "generator_sha256": generator_sha256(),
        "files": hashes,
        "incontext": table(model, tokenizer, rows=rows),
        "log": log,
    }
    for name, content in (("recipe.json", facts), ("manifest.json", hashes)):
        (out / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return facts
