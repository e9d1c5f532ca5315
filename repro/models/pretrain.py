"""Pre-training of the embedded micro Llama (`repro models build-embedded`)."""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from itertools import count
from pathlib import Path
from random import Random

import tokenizers
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from repro.data.embedded.documents import document
from repro.data.embedded.tokenizer import build_tokenizer, vocabulary
from repro.models.incontext import table

Mix = dict[str, float]
Progress = Callable[[dict[str, float], LlamaForCausalLM], None]
"""Gets each line of the log (step, tokens, output_loss) and the model as it is."""

# Lists and repeats come first: copying and looking back for a label are learnt from them.
EARLY: Mix = {
    "repeats": 3.0,
    "selection": 2.0,
    "category": 4.0,
    "equality": 2.0,
    "sentiment": 1.0,
    "summary": 0.5,
    "lookup": 0.5,
}
LATE: Mix = {
    "repeats": 0.15,
    "selection": 0.3,
    "category": 0.8,
    "equality": 0.8,
    "sentiment": 1.5,
    "paraphrase": 4.0,
    "nli": 4.0,
    "summary": 1.0,
    "question": 1.2,
    "rewrite": 0.7,
    "lookup": 1.2,
}


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The recipe: all that can change the weights, besides the generator and the versions.

    Attributes:
        layers, width, inner, heads: shape of the Llama; input and output embeddings are one.
        length: tokens a row; rows: rows a step; steps: optimiser steps.
        early_steps: first steps, on rows of only `early_length` tokens.
        ramp: steps in which the early mix, label meaning and formats turn into the late ones.
        learning_rate: peak for embeddings and norms (AdamW); muon_rate: for all other matrices.
        warmup: steps up to the peak; decay: last steps, in which the rates fall linearly.
        meaning: share of documents whose label words keep a fixed meaning, first and last.
        threads: parts of a step, a CPU thread each; the last bits depend on their number.
    """

    layers: int = 4
    width: int = 128
    inner: int = 344
    heads: int = 4
    length: int = 288
    rows: int = 8
    steps: int = 6000
    early_steps: int = 400
    early_length: int = 96
    ramp: int = 1500
    learning_rate: float = 3e-3
    muon_rate: float = 0.015
    warmup: int = 100
    decay: int = 1800
    weight_decay: float = 0.05
    beta2: float = 0.98
    clip_norm: float = 1.0
    meaning: tuple[float, float] = (0.7, 0.4)
    seed: int = 1
    threads: int = 2


RECIPE = Pretraining()


def packed(
    rng: Random, mix: Mix, length: int, meaning: float, terse: float = 0.2
) -> tuple[list[str], list[float]]:
    """Documents one after another until the length; the last one is cut."""
    texts: list[str] = []
    weights: list[float] = []
    while len(texts) < length:
        found = document(rng, mix, length - len(texts), meaning, terse)
        texts += [token.text for token in found]
        weights += [token.weight for token in found]
    return texts, weights


def batches(recipe: Pretraining) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Token ids (rows, length) int64 and the weight of predicting each (rows, length) float32."""
    ids = {token: number for number, token in enumerate(vocabulary())}
    rng = Random(recipe.seed)
    first, last = recipe.meaning
    for step in count():
        if step >= recipe.steps:
            return
        # Shorter rows at first, as many more of them: about the same tokens a step.
        length = recipe.early_length if step < recipe.early_steps else recipe.length
        rows = recipe.rows * recipe.length // length
        share = min(1.0, step / recipe.ramp)
        mix = {name: (1 - share) * EARLY.get(name, 0.0) + share * LATE[name] for name in LATE}
        meaning, terse = first + (last - first) * share, 0.7 - 0.5 * share
        made = [packed(rng, mix, length, meaning, terse) for _ in range(rows)]
        yield (
            torch.tensor([[ids[text] for text in texts] for texts, _ in made]),
            torch.tensor([weights for _, weights in made]),
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


def twin(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """A model with the very same weights in memory, and gradients of its own."""
    copy = deepcopy(model)
    for parameter, other in zip(model.parameters(), copy.parameters(), strict=True):
        other.data = parameter.data
    return copy


def backward(
    model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor, total: torch.Tensor
) -> tuple[float, float]:
    """Adds a part's share of the gradient; returns the summed loss of output tokens, their number.

    Args:
        model: gets the gradient of the loss summed over these rows, divided by `total`.
        ids: (rows, length) int64.
        weights: (rows, length) float32, of predicting each token.
        total: the sum of the weights of the whole step.
    """
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    flat = weights[:, 1:].flatten()
    ((losses * flat).sum() / total).backward()
    outputs = flat == 1.0
    return float(losses.detach()[outputs].sum()), float(outputs.sum())


def rate(recipe: Pretraining, step: int) -> float:
    """Share of the peak learning rate at a step: warm-up, plateau, linear decay."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    return min(1.0, 0.02 + (recipe.steps - step) / recipe.decay)


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
    recipe: Pretraining,
    *,
    progress: Progress | None = None,
    every: int = 50,
) -> tuple[LlamaForCausalLM, list[dict[str, float]]]:
    """Trains from scratch; returns the model and the log, one line every `every` steps.

    A logged loss is the mean since the line before, over tokens as weighted.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    model = new_model(recipe)
    copies = [model, *(twin(model) for _ in range(recipe.threads - 1))]
    pool = ThreadPoolExecutor(recipe.threads, initializer=torch.set_num_threads, initargs=(1,))
    hidden = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
    inner = {id(p) for p in hidden}
    optimisers = (
        Muon(hidden, recipe.muon_rate, recipe.weight_decay),
        torch.optim.AdamW(
            [p for p in model.parameters() if id(p) not in inner],
            lr=recipe.learning_rate,
            betas=(0.9, recipe.beta2),
            weight_decay=0.0,
            fused=True,
        ),
    )
    log: list[dict[str, float]] = []
    total = weight_sum = tokens = 0.0
    for step, (ids, weights) in enumerate(batches(recipe)):
        share = rate(recipe, step)
        optimisers[0].rate = recipe.muon_rate * share
        optimisers[1].param_groups[0]["lr"] = recipe.learning_rate * share
        flat = weights[:, 1:].sum()
        parts = [
            (copy, ids[i :: recipe.threads], weights[i :: recipe.threads], flat)
            for i, copy in enumerate(copies)
        ]
        # Sums in the order of the parts: the same bits every time.
        for output_loss, outputs in pool.map(lambda part: backward(*part), parts):
            total += output_loss
            weight_sum += outputs
        for copy in copies[1:]:
            for parameter, other in zip(model.parameters(), copy.parameters(), strict=True):
                assert parameter.grad is not None
                assert other.grad is not None
                parameter.grad += other.grad
                other.grad = None
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        for optimiser in optimisers:
            optimiser.step()
        model.zero_grad(set_to_none=True)
        tokens += ids.numel()
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            line = {"step": step + 1, "tokens": tokens, "output_loss": total / weight_sum}
            log.append(line)
            total = weight_sum = 0.0
            if progress:
                progress(line, model)
    return model, log


GENERATOR = ("words", "families", "rows", "documents", "tokenizer")
SMOKE = {
    "steps": 30,
    "early_steps": 20,
    "rows": 2,
    "warmup": 5,
    "threads": 1,
    "layers": 2,
    "width": 64,
}


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
    recipe = replace(RECIPE, **SMOKE) if smoke else RECIPE
    started = time.monotonic()
    model, log = train(recipe, progress=progress, every=5 if smoke else 100)
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
