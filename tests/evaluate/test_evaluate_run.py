"""evaluate() against one plain, unpadded forward pass a row and transformers' own generate."""

import json
import threading
from functools import wraps
from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from rich.progress import Progress
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from repro.errors import ReproError
from repro.evaluate import Settings, TorchEngine, evaluate
from repro.evaluate.batches import PADDING
from repro.evaluate.encode import encode
from repro.evaluate.prefix import supports_sharing
from repro.metrics.rouge import rouge_l
from repro.studies.paper.protocols import protocol

PUBLISHED = protocol("published-code")
CORRECTED = protocol("corrected")
BOUND = 1e-4  # of a label's logit in float32, here with logits of about 10

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.4,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CLASSIFICATION = [f"base.mnli1.p2.{shots}" for shots in (0, 3, 5, 7)] + ["base.paws.p1.4"]
_told: dict[tuple, tuple[str, list[int]]] = {}
GENERATION = [f"base.socialqa.p1.{shots}" for shots in (0, 1, 4)] + ["base.xsum.p2.1"]


def settings(**more):
    return Settings(**({"token_budget": 1500, "max_new_tokens": 7} | more))


def run(model, tokenizer, jobs, switches=PUBLISHED, **more):
    chosen = settings(**more)
    with TorchEngine(model, tokenizer, chosen) as engine:
        return dict(evaluate(engine, jobs, switches, chosen))


@torch.no_grad()
def plain_logits(model, prompt, labels):
    logits = model(input_ids=torch.tensor([prompt]), use_cache=False).logits[0, -1]
    return {label: logits[token].item() for label, token in labels.items()}


def plain_text(model, tokenizer, prompt):
    """Text and ids of transformers' own greedy search; kept, for it is slow."""
    key = (model, *prompt)
    if key not in _told:
        ids = torch.tensor([prompt])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=settings().max_new_tokens,
            do_sample=False,
            pad_token_id=0,
        )[0, len(prompt) :].tolist()
        _told[key] = tokenizer.decode(out, skip_special_tokens=True), out
    return _told[key]


def assert_plain(model, tokenizer, jobs, found, switches=PUBLISHED):
    """Every record equals what a single row, alone and unpadded, gives."""
    for job in jobs:
        encoded = encode(job, tokenizer, switches)
        samples = found[job.cell]
        assert [sample["row"] for sample in samples] == job.rows["row"]
        for sample, prompt, gold in zip(samples, encoded.prompts, job.rows["output"], strict=True):
            assert sample["prompt_tokens"] == len(prompt)
            assert sample["gold"] == gold
            if job.asked.task.labels:
                expected = plain_logits(model, prompt, encoded.labels)
                assert sample["logits"] == pytest.approx(expected, abs=BOUND, rel=0)
                assert sample["prediction"] == max(expected, key=expected.get)
                assert sample["score"] == (sample["prediction"] == gold)
            else:
                text, ids = plain_text(model, tokenizer, prompt)
                assert sample["text"] == text.split("\n\n")[0]
                if "\n\n" in text:
                    assert sample["stopped"] == "blank-line"
                else:
                    assert sample["new_tokens"] == len(ids)
                    assert sample["stopped"] == ("eos" if ids[-1] == 2 else "length")
    return {sample.get("stopped") for samples in found.values() for sample in samples}


@pytest.mark.parametrize(("share", "padding"), [(True, PADDING), (True, 4), (False, PADDING)])
@pytest.mark.parametrize("names", [CLASSIFICATION, GENERATION])
@pytest.mark.parametrize("switches", [PUBLISHED, CORRECTED])
def test_equals_one_row_at_a_time(
    words, llama, make_job, monkeypatch, names, share, padding, switches
):
    """With little padding allowed, prompts go through the model in parts, which then join."""
    monkeypatch.setattr("repro.evaluate.generate.PADDING", padding)
    monkeypatch.setattr("repro.evaluate.forward.PADDING", padding)
    jobs = [make_job(name) for name in names]
    found = run(llama, words, jobs, switches, share_prefix=share)
    stopped = assert_plain(llama, words, jobs, found, switches)
    assert stopped == ({"eos", "blank-line", "length"} if names is GENERATION else {None})


def others():
    yield (
        "gpt2",
        lambda size: GPT2LMHeadModel(
            GPT2Config(
                vocab_size=size,
                n_embd=32,
                n_layer=2,
                n_head=4,
                n_positions=600,
                initializer_range=0.4,
                bos_token_id=1,
                eos_token_id=2,
            )
        ),
        True,
    )
    yield (
        "qwen3",
        lambda size: Qwen3ForCausalLM(Qwen3Config(vocab_size=size, head_dim=8, **SMALL)),
        True,
    )
    yield (
        "bloom",
        lambda size: BloomForCausalLM(
            BloomConfig(
                vocab_size=size,
                hidden_size=32,
                n_layer=2,
                n_head=4,
                initializer_range=0.4,
                bos_token_id=1,
                eos_token_id=2,
            )
        ),
        False,
    )
    yield (
        "sliding",
        lambda size: MistralForCausalLM(MistralConfig(vocab_size=size, sliding_window=16, **SMALL)),
        False,
    )


@pytest.mark.parametrize(("make", "shares"), [pytest.param(*o[1:], id=o[0]) for o in others()])
def test_other_architectures(words, make_job, make, shares):
    torch.manual_seed(0)
    model = make(len(words)).eval()
    assert supports_sharing(model) == shares
    jobs = [
        make_job(name, 5) for name in ("base.mnli1.p1.3", "base.mnli1.p1.5", "base.socialqa.p1.2")
    ]
    assert_plain(model, words, jobs, run(model, words, jobs))


def test_llama_2_vocabulary_on_real_rows(llama2, real_job):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=32000, **SMALL)).eval()
    names = ("base.mnli1.p2.0", "base.mnli1.p2.3", "base.socialqa.p1.0", "base.socialqa.p1.1")
    for switches in (PUBLISHED, CORRECTED):
        jobs = [real_job(name, 4) for name in names]
        assert_plain(model, llama2, jobs, run(model, llama2, jobs, switches), switches)


def test_records_hold_what_they_say(words, llama, make_job):
    jobs = [make_job("base.amazon.p1.2"), make_job("base.xsum.p1.1")]
    found = run(llama, words, jobs)
    prompt = ["row", "prompt_sha256", "prompt_tokens", "gold"]
    keys = {
        jobs[0].cell: [*prompt, "prediction", "logits", "score"],
        jobs[1].cell: [*prompt, "text", "new_tokens", "stopped", "score"],
    }
    for cell, samples in found.items():
        for sample in samples:
            assert list(sample) == keys[cell]
            assert json.loads(json.dumps(sample, allow_nan=False)) == sample


@pytest.mark.parametrize("share", [True, False])
def test_a_cell_has_the_same_bits_whichever_cells_are_asked_for(words, llama, make_job, share):
    """So a run that was killed and goes on with the missing cells ends in the same bytes."""
    names = [*CLASSIFICATION[1:4], *GENERATION[1:3]]
    together = run(llama, words, [make_job(name) for name in names], share_prefix=share)
    for name in names:
        job = make_job(name)
        assert run(llama, words, [job], share_prefix=share)[job.cell] == together[job.cell]
    some = [make_job(name) for name in reversed(names[::2])]
    for cell, samples in run(llama, words, some, share_prefix=share).items():
        assert samples == together[cell]


def test_cells_come_one_by_one_grouped_by_prompt_and_then_by_shots(words, llama, make_job):
    jobs = [
        make_job(name)
        for name in ("base.paws.p2.0", "base.paws.p1.4", "base.xsum.p1.1", "base.paws.p1.0")
    ]
    with Progress(disable=True) as bar, TorchEngine(llama, words, settings()) as engine:
        cells = evaluate(engine, jobs, PUBLISHED, settings(), progress=bar)
        first, _ = next(cells)
        assert first.name == "base.paws.p2.0"
        assert bar.tasks[0].total == 28
        rest = []
        for cell, _ in cells:
            rest.append(cell.name)
            assert "left" in bar.tasks[0].description
        assert not bar.tasks  # finished bars do not pile up
    assert rest == ["base.paws.p1.0", "base.paws.p1.4", "base.xsum.p1.1"]


def test_prompts_of_the_next_cell_are_made_while_the_model_computes(words, llama, make_job):
    jobs = [make_job("base.mnli1.p2.0"), make_job("base.mnli1.p2.3")]
    following = threading.Event()
    ahead = []

    class Engine(TorchEngine):
        def label_logits(self, encoded):
            ahead.append(following.wait(timeout=30))
            return super().label_logits(encoded)

    def encoder(job, tokenizer, switches):
        if job.cell.shots:
            following.set()
        assert tokenizer is not words  # which the engine may be using
        return encode(job, tokenizer, switches)

    with Engine(llama, words, settings()) as engine:
        found = dict(evaluate(engine, jobs, PUBLISHED, settings(), encoder=encoder))
    assert ahead == [True, True]
    assert found == run(llama, words, jobs)


def test_a_cell_is_handed_out_before_the_next_ones_prompts_fail(words, llama, make_job):
    jobs = [make_job("base.mnli1.p2.0"), make_job("base.mnli1.p2.3")]

    def encoder(job, tokenizer, switches):
        if job.cell.shots:
            raise ReproError("no such prompt", hint="none")
        return encode(job, tokenizer, switches)

    with TorchEngine(llama, words, settings()) as engine:
        cells = evaluate(engine, jobs, PUBLISHED, settings(), encoder=encoder)
        assert next(cells)[0] == jobs[0].cell
        with pytest.raises(ReproError, match="no such prompt"):
            next(cells)


def test_no_gradient_mode_leaks_to_the_caller_between_cells(words, llama, make_job):
    with TorchEngine(llama, words, settings()) as engine:
        for _ in evaluate(engine, [make_job("base.paws.p1.0")], PUBLISHED, settings()):
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()


def test_gold_without_majority_is_wrong(words, llama, make_job):
    job = make_job("base.mnli1.p1.0")
    rows = job.rows.map(lambda row: {"output": "-"})
    samples = run(llama, words, [type(job)(job.asked, rows, job.demonstrations)])[job.cell]
    assert {sample["score"] for sample in samples} == {0}


def test_score_of_a_text_is_rouge_l(words, llama, make_job):
    """F1 of the longest common subsequence, by hand."""
    job = make_job("base.xsum.p1.1", 12)
    samples = run(llama, words, [job])[job.cell]
    assert len({sample["score"] for sample in samples}) > 1
    pairs = [(sample["gold"], sample["text"], sample["score"]) for sample in samples]
    close = [
        ("The cat sees a red dog.", "a cat sees the dog"),
        ("dogs running", "dog runs"),
        ("one", ""),
    ]
    pairs += [(gold, text, rouge_l(gold, text, stemmer=False)) for gold, text in close]
    for gold, text, score in pairs:
        a, b = _words(gold), _words(text)
        common = _lcs(a, b)
        expected = 2 * common / (len(a) + len(b)) if common else 0.0
        assert score == pytest.approx(expected, abs=1e-12)
    assert rouge_l("dogs running", "dog runs", stemmer=True) == 1.0


def _words(text):
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def _lcs(a, b):
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + _lcs(a[1:], b[1:])
    return max(_lcs(a[1:], b), _lcs(a, b[1:]))


def test_prompts_beyond_the_models_positions(words, make_job):
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(words), max_position_embeddings=100, **SMALL)
    )
    with pytest.raises(ReproError, match=r"base\.paws\.p1\.6.*100 positions") as error:
        run(model, words, [make_job("base.paws.p1.6")])
    assert error.value.exit_code == 3


@pytest.mark.parametrize("name", ["base.paws.p1.0", "base.xsum.p1.1"])
def test_logits_that_are_not_finite(words, make_job, name):
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **SMALL))
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ReproError, match="not finite") as error:
        run(model, words, [make_job(name)])
    assert error.value.exit_code == 1


def test_rows_that_are_all_alike(words, llama, make_job):
    """Everything is common then, and still each row keeps a token to ask with."""
    for name in ("base.paws.p1.2", "base.socialqa.p1.0"):
        job = make_job(name)
        alike = type(job)(job.asked, job.rows.select([3, 3, 3]), job.demonstrations)
        assert_plain(llama, words, [alike], run(llama, words, [alike]))


@pytest.mark.parametrize("names", [CLASSIFICATION[1:], GENERATION[1:3]])
def test_contexts_are_computed_once(words, llama, make_job, monkeypatch, names):
    """Tokens that go through the model: each cell's own, and its set's longest context."""
    jobs = [make_job(name) for name in names]
    encodings = [encode(job, words, PUBLISHED) for job in jobs]
    seen = []
    forward = llama.forward

    @wraps(forward)
    def note(**inputs):
        seen.append(inputs["input_ids"])
        return forward(**inputs)

    monkeypatch.setattr(llama, "forward", note)
    run(llama, words, jobs, token_budget=100_000)
    alone = sum(ids.shape[1] for ids in seen if ids.shape[0] == 1)
    # Contexts of one set begin one another; behind them stands the fixed head of a query.
    longest: dict[tuple[str, str], int] = {}
    heads = 0
    for job, encoded in zip(jobs, encodings, strict=True):
        context = len(encoded.contexts[-1])
        longest[job.cell.dataset, job.cell.prompt] = context
        alike = zip(*(prompt[context:] for prompt in encoded.prompts), strict=False)
        heads += next(n for n, ids in enumerate(alike) if len(set(ids)) > 1)
    assert alone == sum(longest.values()) + heads
    prefills = [ids for ids in seen if ids.shape[0] > 1 and ids.shape[1] > 1]
    assert len(prefills) == len(jobs)
    for ids, encoded in zip(prefills, encodings, strict=True):
        assert ids.shape[1] <= max(map(len, encoded.prompts)) - len(encoded.contexts[-1])


def test_finished_rows_leave_the_batch(words, llama, make_job, monkeypatch):
    job = make_job("base.socialqa.p1.4", 12)
    sizes = []
    forward = llama.forward

    @wraps(forward)
    def note(**inputs):
        sizes.append(tuple(inputs["input_ids"].shape))
        return forward(**inputs)

    monkeypatch.setattr(llama, "forward", note)
    samples = run(llama, words, [job])[job.cell]
    steps = [rows for rows, tokens in sizes if tokens == 1]
    written = [sample["new_tokens"] for sample in samples]
    assert len(set(written)) > 2
    assert steps == [sum(new > step for new in written) for step in range(1, max(written))]


def cramped(forward, most, error, refused):
    """A forward pass that runs out of memory on batches of too many tokens, as a GPU would."""

    @wraps(forward)
    def refuse(**inputs):
        rows, *_, own = inputs["attention_mask"].shape
        shared = [keys.shape[2] for keys, _ in inputs["shared_prefix"]]
        # Each layer copies what is shared, and lets go of it before the next.
        if rows * (own + sum(shared[:1]) // 2) > most:
            refused.append(rows)
            raise error
        return forward(**inputs)

    return refuse


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to"), RuntimeError("out of memory")],
)
@pytest.mark.parametrize("name", ["base.paws.p1.4", "base.socialqa.p1.4"])
def test_out_of_memory_halves_the_batches(words, llama, make_job, monkeypatch, name, error):
    jobs = [make_job(name, 12)]
    calm = run(llama, words, jobs, token_budget=10_000)
    refused = []
    monkeypatch.setattr(llama, "forward", cramped(llama.forward, 600, error, refused))
    found = run(llama, words, jobs, token_budget=10_000)
    assert refused[0] == 12
    assert all(after <= before / 2 for before, after in pairwise(refused))
    assert_alike(found, calm)


def test_out_of_memory_on_one_prompt(words, llama, make_job, monkeypatch):
    error = torch.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(llama, "forward", cramped(llama.forward, 50, error, []))
    with pytest.raises(ReproError, match="single prompt") as raised:
        run(llama, words, [make_job("base.paws.p1.4")])
    assert raised.value.exit_code == 3


def assert_alike(found, expected):
    """The same but for the last digits of logits."""
    assert found.keys() == expected.keys()
    for cell, samples in found.items():
        for sample, other in zip(samples, expected[cell], strict=True):
            assert sample.get("logits") == pytest.approx(other.get("logits"), abs=BOUND)
            assert sample | {"logits": 0} == other | {"logits": 0}


@given(budget=st.integers(1, 4000), rows=st.permutations(range(9)), count=st.integers(1, 9))
@effort(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_score_does_not_depend_on_its_batch(words, llama, make_job, budget, rows, count):
    for name in ("base.paws.p1.4", "base.socialqa.p1.1"):
        job = make_job(name, 9)
        whole = {s["row"]: s for s in run(llama, words, [job], token_budget=2000)[job.cell]}
        some = type(job)(job.asked, job.rows.select(rows[:count]), job.demonstrations)
        found = run(llama, words, [some], token_budget=budget)[job.cell]
        assert [sample["row"] for sample in found] == rows[:count]
        assert_alike({0: found}, {0: [whole[row] for row in rows[:count]]})
