"""Pre-training of the embedded micro Llama."""

import hashlib
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from random import Random

import tokenizers
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from repro.errors import EXIT_FAILED, ReproError
from tools.embedded_model.documents import (
    EOS,
    OUTPUT_WEIGHT,
    Token,
    document,
)
from tools.embedded_model.incontext import table
from tools.embedded_model.makers import Options
from tools.embedded_model.recipe import RECIPE, SMOKE, Documents, Mix, Phase, Pretraining
from tools.embedded_model.tokenizer import build_tokenizer, vocabulary

Line = dict[str, float | str]
"""Of the log: phase, step, tokens, loss of outputs since the line before and of held-out kinds."""

Progress = Callable[[Line, LlamaForCausalLM], None]
"""Gets each line of the log and the model as it is."""

Batch = tuple[torch.Tensor, torch.Tensor]
"""Token ids (rows, length) int64 and the weight of predicting each (rows, length) float32."""


def batches(phase: Phase, rng: Random) -> Iterator[list[Batch]]:
    """What each step of a phase reads, without end: some batches of documents of like length."""
    shares = [documents.share for documents in phase.documents]
    while True:
        documents = rng.choices(phase.documents, weights=shares)[0]
        drawn: list[list[Token]] = []
        while sum(map(len, drawn)) < phase.tokens:
            drawn.append(made(rng, documents, documents.mix))
        drawn.sort(key=len)
        size = math.ceil(len(drawn) / PARTS)
        yield [batch(drawn[at : at + size]) for at in range(0, len(drawn), size)]


PARTS = 4
"""Batches a step: little is padded, since what is in one is of like length."""


def made(rng: Random, documents: Documents, mix: Mix) -> list[Token]:
    """One document of a kind drawn from the mix."""
    options = Options(
        meaning=documents.meaning,
        known=documents.known,
        terse=documents.terse,
        examples=documents.examples,
        words=documents.words,
    )
    return document(rng, mix, documents.length, options)


HELD_OUT = 150
"""Documents of a kind by which the end of a phase is decided."""


def held_out(phase: Phase) -> dict[str, Batch]:
    """By kind, documents that are read to tell how far the phase is, and never trained on."""
    found = {}
    for documents in phase.documents:
        for kind in documents.watched:
            rng = Random(f"held out {kind}")
            found[kind] = batch([made(rng, documents, {kind: 1.0}) for _ in range(HELD_OUT)])
    return found


@torch.no_grad()
def output_loss(model: LlamaForCausalLM, some: Batch) -> float:
    """Mean loss of the outputs' tokens, in nats."""
    ids, weights = some
    losses = _losses(model, ids)
    is_output = weights[:, 1:].flatten() == OUTPUT_WEIGHT
    return float(losses[is_output].mean())


def _losses(model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )


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
    """The untrained model.

    Queries and keys begin as one orthogonal projection, so that a head looks for tokens like its
    own (after "mimetic initialization", Trockman & Kolter 2023): copying a repeated list was learnt
    in 250 steps of 2,048 tokens, where from plain random weights it was not in four times as many.
    """
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(
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
            initializer_range=0.02,
        )
    )
    for layer in model.model.layers:
        torch.nn.init.orthogonal_(layer.self_attn.q_proj.weight)
        with torch.no_grad():
            layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)
    return model


def rate(phase: Phase, step: int) -> float:
    """Share of the peak learning rate at a step of a phase: warm-up, plateau, linear decay."""
    if step < phase.warmup:
        return (step + 1) / phase.warmup
    if not phase.decay:
        return 1.0
    return min(1.0, 0.02 + (phase.most - step) / phase.decay)


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
    every: int = 100,
    checkpoints: Path | None = None,
) -> tuple[LlamaForCausalLM, list[Line]]:
    """Trains from scratch; returns the model and the log, one line every `every` steps.

    A logged loss is the mean since the line before, over the tokens of outputs.

    Args:
        checkpoints: folder in which the end of each phase is kept; training goes on from the last
            one that is there, to the same weights.
    """
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    model = new_model(recipe)
    log: list[Line] = []
    left = list(recipe.phases)
    if checkpoints:
        checkpoints.mkdir(parents=True, exist_ok=True)
        ended = [phase for phase in left if (checkpoints / f"{phase.name}.pt").is_file()]
        if ended:
            state = torch.load(checkpoints / f"{ended[-1].name}.pt")
            model.load_state_dict(state["model"])
            log, left = state["log"], left[len(ended) :]
    for phase in left:
        run_phase(model, phase, recipe, log, progress, every)
        if checkpoints:
            state = {"model": model.state_dict(), "log": log}
            torch.save(state, checkpoints / f"{phase.name}.pt")
    return model, log


def run_phase(
    model: LlamaForCausalLM,
    phase: Phase,
    recipe: Pretraining,
    log: list[Line],
    progress: Progress | None,
    every: int,
) -> None:
    """Trains the model through one phase and writes on in the log."""
    rng = Random(f"{recipe.seed} {phase.name}")
    tests, started = held_out(phase), time.process_time()
    muon, adam = _optimisers(model, recipe)
    before, tokens = (int(log[-1]["step"]), int(log[-1]["tokens"])) if log else (0, 0)
    total = outputs = 0.0
    met = 0
    for step, parts in enumerate(islice(batches(phase, rng), phase.most), start=1):
        share = rate(phase, step - 1)
        muon.rate = phase.muon_rate * share
        adam.param_groups[0]["lr"] = phase.learning_rate * share
        weight = sum(float(weights[:, 1:].sum()) for _, weights in parts)
        for ids, weights in parts:
            losses, flat = _losses(model, ids), weights[:, 1:].flatten()
            ((losses * flat).sum() / weight).backward()
            is_output = flat == OUTPUT_WEIGHT
            total += float(losses.detach()[is_output].sum())
            outputs += float(is_output.sum())
            tokens += int((weights > 0).sum())
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        muon.step()
        adam.step()
        model.zero_grad(set_to_none=True)
        if step % every == 0 or step == phase.most:
            found = {kind: round(output_loss(model, some), 4) for kind, some in tests.items()}
            if found:
                found["held_out"] = round(statistics.fmean(found.values()), 4)
            loss = round(total / outputs, 4)
            line: Line = {"phase": phase.name, "step": before + step, "tokens": tokens}
            line["seconds"] = round(time.process_time() - started)
            log.append({**line, "output_loss": loss, **found})
            total = outputs = 0.0
            if progress:
                progress(log[-1], model)
            met = met + 1 if phase.until and found["held_out"] <= phase.until else 0
            if met == 2:
                return
    if phase.until:
        raise ReproError(
            f"phase {phase.name}: held-out loss {found['held_out']} after {phase.most} steps, "
            f"and not {phase.until} twice in succession",
            hint="another --seed, or a recipe with more steps (tools/embedded_model/recipe.py)",
            exit_code=EXIT_FAILED,
        )


def _optimisers(model: LlamaForCausalLM, recipe: Pretraining) -> tuple[Muon, torch.optim.Optimizer]:
    inner = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
    known = {id(parameter) for parameter in inner}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return (
        Muon(inner, 0.0, recipe.weight_decay),
        torch.optim.AdamW(rest, betas=(0.9, recipe.beta2), weight_decay=0.0, fused=True),
    )


GENERATORS = {
    "repro.data.embedded": ("words", "families", "pool", "rows"),
    "tools.embedded_model": ("words", "carriers", "makers", "documents", "tokenizer"),
}


def generator_sha256() -> str:
    """Hash of the source text of all that makes pre-training documents."""
    text = "".join(
        files(package).joinpath(f"{name}.py").read_text(encoding="utf-8")
        for package, names in GENERATORS.items()
        for name in names
    )
    return hashlib.sha256(text.encode()).hexdigest()


def build(
    out: Path,
    *,
    progress: Progress | None = None,
    seed: int = RECIPE.seed,
    smoke: bool = False,
) -> dict[str, object]:
    """Makes the embedded model: trains, measures, and writes all files of the package data.

    Args:
        out: folder for the checkpoint, tokenizer and `recipe.json`; made if it is not there.
        progress: called with every line of the log and the model.
        seed: of the recipe.
        smoke: a few steps of a smaller model, the same code.

    Returns:
        What `recipe.json` holds: recipe, versions, hashes, log, and the in-context table.
    """
    recipe = replace(SMOKE if smoke else RECIPE, seed=seed)
    every, checkpoints = (5 if smoke else 200), out / "checkpoints"
    model, log = train(recipe, progress=progress, every=every, checkpoints=checkpoints)
    return save(out, model, recipe, log, rows=4 if smoke else 250)


def save(
    out: Path,
    model: LlamaForCausalLM,
    recipe: Pretraining,
    log: list[Line],
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
        "seconds": sum(
            max(float(line["seconds"]) for line in log if line["phase"] == phase.name)
            for phase in recipe.phases
        ),
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
