"""Parts of the kit against plain float32 computations of the same, on any device."""

import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch

from repro.errors import ReproError
from repro.evaluate.batches import Budget
from repro.evaluate.forward import label_logits
from repro.evaluate.generate import generate
from repro.evaluate.prefix import sharing
from repro.finetune.attention import Packing, Way
from repro.machine.selftest.record import Check
from repro.models.spec import Architecture

BOUNDS = {torch.bfloat16: 2**-5, torch.float16: 2**-8, torch.float32: 1e-4}
"""Largest error as a share of the largest value: some units in the last place of 8, 11 and 24 bits,
since results are sums of many rounded products."""

SHAPES = {"bfloat16": (torch.bfloat16, 128), "float32": (torch.float32, 64)}
"""Head sizes of Llama-2-7b and of SmolLM2, in the precision that each is trained in."""

REPLAYED = "replayed"
GAIN = 0.8
"""Share of the time, at most, that decoding takes where it replays a graph. Fewer than one launch a
step in place of hundreds is a gain of several times, if any."""

_COMMON = 300
"""Tokens that the prompts of evaluations begin with."""

TINY = Architecture(
    layers=2, hidden=256, intermediate=512, heads=4, kv_heads=2, vocabulary=500, context=1024
)


def attention(
    way: Way,
    precision: str,
    device: torch.device,
    *,
    queries: Sequence[int] = (1, 60, 128, 129, 2048),
    prefixes: Sequence[int] = (0, 20, 700),
) -> Check:
    """Packed attention against plain attention in float32: outputs and all gradients."""
    dtype, size = SHAPES[precision]
    what, bound, worst, where = f"attention {way} {precision}", BOUNDS[dtype], 0.0, ""
    try:
        for count in queries:
            for before in prefixes:
                error = attention_error(way, count, before, dtype, size, device)
                if error > worst:
                    worst, where = error, f"{count} queries behind {before} shared tokens"
    except (ReproError, RuntimeError) as error:  # torch's compiler raises RuntimeErrors
        return _not_run(what, error)
    return Check(what, worst <= bound, f"{worst:.2g}", f"{bound:.2g}", where)


def _not_run(what: str, error: Exception) -> Check:
    return Check(what, False, "did not run", "runs", str(error).strip().partition("\n")[0])


def _size(error: float) -> float:
    """The absolute value; infinite for what is no number, since comparisons would forget that."""
    return math.inf if math.isnan(error) else abs(error)


def attention_error(
    way: Way, queries: int, before: int, dtype: torch.dtype, size: int, device: torch.device
) -> float:
    """The largest error of an output or gradient, as a share of the largest value of its kind."""
    heads, groups, scaling = 8, 4, size**-0.5
    lengths = _lengths(queries)
    generator = torch.Generator().manual_seed(queries + before)

    def states(count: int, tokens: int) -> torch.Tensor:
        made = torch.randn(1, tokens, count, size, generator=generator).transpose(1, 2)
        return made.to(device, dtype).requires_grad_()

    own = [states(count, queries) for count in (heads, groups, groups)]
    shared = [states(groups, before), states(groups, before)] if before else []
    direction = torch.randn(1, queries, heads, size, generator=generator).to(device, dtype)
    layer = SimpleNamespace(layer_idx=0)
    held = {0: (shared[0], shared[1])} if shared else {}
    packing = Packing(lengths, device, held, way=way)
    output = packing.attend(layer, own[0], own[1], own[2], scaling)
    found = [output, *torch.autograd.grad(output, [*own, *shared], direction)]

    exact = [tensor.detach().float().requires_grad_() for tensor in [*own, *shared]]
    plain = plain_attention(exact[0], exact[1:3], exact[3:], lengths, scaling)
    expected = [plain, *torch.autograd.grad(plain, exact, direction.float())]
    errors = [
        ((one.float() - other).abs().max() / other.abs().max()).item()
        for one, other in zip(found, expected, strict=True)
        if other.abs().max() > 0  # a single token's scores have no gradient
    ]
    return max(map(_size, errors))


def plain_attention(
    query: torch.Tensor,
    own: Sequence[torch.Tensor],
    shared: Sequence[torch.Tensor],
    lengths: Sequence[int],
    scaling: float,
) -> torch.Tensor:
    """Softmax over a full matrix of scores, its mask written pair by pair."""
    keys, values = (
        torch.cat([before, states], dim=2)
        for before, states in zip(shared or [own[0][:, :, :0]] * 2, own, strict=True)
    )
    repeats = query.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(repeats, 1), values.repeat_interleave(repeats, 1)
    before = keys.shape[2] - query.shape[2]
    seen = torch.zeros(query.shape[2], keys.shape[2], dtype=torch.bool)
    seen[:, :before] = True
    begin = 0
    for length in lengths:
        for place in range(begin, begin + length):
            seen[place, before + begin : before + place + 1] = True
        begin += length
    scores = (query @ keys.transpose(2, 3)) * scaling
    weights = scores.masked_fill(~seen.to(query.device), float("-inf")).softmax(-1)
    return (weights @ values).transpose(1, 2)


def _lengths(tokens: int) -> list[int]:
    """Samples of many lengths, longest first, that make so many tokens."""
    generator = random.Random(tokens)
    lengths = []
    while tokens:
        lengths.append(generator.randint(1, min(tokens, 400)))
        tokens -= lengths[-1]
    return sorted(lengths, reverse=True)


def evaluation(
    dtype: torch.dtype, device: torch.device, *, shared: bool, replayed: bool = False
) -> list[Check]:
    """Label logits and generations of a small model against its plain float32 computation.

    A generated token is right where the plain logit of no other token is larger by more than the
    bound, since rounding may decide between the two.

    Args:
        shared: whether the prompts' beginning is computed once, with the kit's own attention.
        replayed: whether decoding replays a graph; labels are then not asked for.
    """
    plain, model, prompts = _model(torch.float32, device), _model(dtype, device), _prompts()
    how = f"{str(dtype).removeprefix('torch.')}, {'with' if shared else 'without'} shared prefix"
    with sharing(model) if shared else nullcontext() as prefix:
        if prefix is not None:
            prefix.move_to((tuple(prompts[0][:_COMMON]),))
        labels = {"a": 7, "b": 11, "c": 13}
        scored = label_logits(model, prompts, labels, Budget(4096), pad=0, prefix=prefix)
        written = _write(model, prompts, 12, prefix, replayed)
    scores, texts = 0.0, 0.0
    for prompt, found, generation in zip(prompts, scored, written, strict=True):
        whole = torch.tensor([[*prompt, *generation.tokens]], device=device)
        with torch.inference_mode():
            logits = plain(input_ids=whole).logits[0, len(prompt) - 1 :].float()
        scale = logits.abs().max().item()
        for label, token in labels.items():
            scores = max(scores, _size(found[label] - logits[0, token].item()) / scale)
        for own, token in zip(logits, generation.tokens, strict=False):
            texts = max(texts, _size((own.max() - own[token]).item()) / scale)
    bound, how = BOUNDS[dtype], f"{how}, {REPLAYED}" if replayed else how
    checks = [
        Check(f"label logits, {how}", scores <= bound, f"{scores:.2g}", f"{bound:.2g}"),
        Check(f"generation, {how}", texts <= 2 * bound, f"{texts:.2g}", f"{2 * bound:.2g}"),
    ]
    return checks[1:] if replayed else checks


def replays(sizes: Architecture, device: torch.device) -> Iterator[Check]:
    """Whether decoding that replays a graph is right, and faster in layers of the real width."""
    try:
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            yield from evaluation(dtype, device, shared=True, replayed=True)
        model = _model(torch.bfloat16, device, sizes)
        plain, replayed = (decoding_seconds(model, replayed=way) for way in (False, True))
    except RuntimeError as error:  # of torch or CUDA, where a graph cannot be captured
        yield _not_run(f"decoding, {REPLAYED}", error)
        return
    share = replayed / plain
    found = f"{share:.2f} of the time"
    yield Check(f"decoding, {REPLAYED}", share <= GAIN, found, f"{GAIN:g}", f"{plain:.2g} s before")


def decoding_seconds(model: Any, *, replayed: bool) -> float:
    """Seconds of a few generations, the least of several."""
    prompts, seconds = _prompts(), []
    with sharing(model) as prefix:
        prefix.move_to((tuple(prompts[0][:_COMMON]),))
        for _ in range(4):
            begin = time.perf_counter()
            _write(model, prompts, 60, prefix, replayed)
            seconds.append(time.perf_counter() - begin)
    return min(seconds)


def _write(model: Any, prompts: list[Any], tokens: int, prefix: Any, replayed: bool) -> list[Any]:
    """What the kit generates behind prompts."""
    return generate(
        model,
        _Words(),
        prompts,
        Budget(4096),
        max_new_tokens=tokens,
        cut_at_blank_line=False,
        prefix=prefix,
        replayed=replayed,
    )


class _Words:
    """A tokenizer as far as generating needs one; no text ends a generation."""

    pad_token_id, eos_token_id = 0, None

    def decode(self, tokens: Sequence[int], **_: object) -> str:
        return " ".join(map(str, tokens))


def _model(dtype: torch.dtype, device: torch.device, sizes: Architecture = TINY) -> Any:
    """The same random weights every time, large enough for attention to matter."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**(sizes.llama | {"initializer_range": 0.08}))
    model: Any = LlamaForCausalLM(config)
    model.set_attn_implementation("sdpa")
    for parameter in model.parameters():  # buffers, such as rotary frequencies, keep their dtype
        parameter.data = parameter.data.to(torch.bfloat16).to(dtype)
    model.generation_config.eos_token_id = None
    return model.to(device).eval()


def _prompts() -> list[tuple[int, ...]]:
    generator = random.Random(0)
    common = generator.choices(range(TINY.vocabulary), k=_COMMON)
    lengths = [1, 2, 5, 17, 40, 64, 64, 90]
    return [(*common, *generator.choices(range(TINY.vocabulary), k=length)) for length in lengths]


def evaluations(device: torch.device) -> Iterator[Check]:
    """The checks of evaluation in the precisions that the protocols use."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for shared in (False, True):
            yield from evaluation(dtype, device, shared=shared)
