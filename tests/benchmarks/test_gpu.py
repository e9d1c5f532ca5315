"""The GPU benchmark on a tiny model on the CPU: what it counts, and that every row is there."""

import importlib
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from repro.clock import ModelSizes
from repro.errors import EXIT_MISSING, ReproError
from repro.finetune.encode import Sample
from repro.finetune.objective import objective
from repro.finetune.recipe import recipe_from
from repro.models.memory import evaluation_bytes, finetune_peak_bytes
from repro.studies.paper.protocols import protocol
from repro.studies.paper.tasks import TRAIN_SETS, fticl_shots

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of the folder `benchmarks`, which is no part of the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    # Lengths are then those of stored figures, wherever the tests run.
    monkeypatch.delenv("REPRO_LLAMA2_TOKENIZER", raising=False)
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def test_every_row_has_a_finite_positive_measurement(load: Any) -> None:
    gpu = load("gpu")
    rows = gpu.run(small=True, repeats=1)
    assert {tuple(row) for row in rows} == {("what", "measured", "target", "")}
    values = {row["what"]: float(row["measured"].split()[0]) for row in rows}
    assert len(values) == len(rows)
    assert all(math.isfinite(value) and value > 0 for value in values.values())
    for what in (
        "matmul",
        "training, XSum, 2 shots",
        "training, Socialqa, 0 shots",
        "prefill, MNLI-1, 7 shots",
        "decoding, XSum, 4 shots",
        "decoding, Socialqa, batch of 6",
        "decoding, Socialqa, batch of 6, replayed",
    ):
        assert what in values
    *parts, whole = [value for what, value in values.items() if what.startswith("hours")]
    assert whole == pytest.approx(sum(parts), rel=0.02)


def test_without_a_gpu_it_is_not_run(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ReproError, match="needs a GPU, and there is none") as caught:
        gpu.run()
    assert caught.value.exit_code == EXIT_MISSING
    assert "--small" in caught.value.hint


def test_on_a_small_gpu_it_is_not_run(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    found = SimpleNamespace(total_memory=12 * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)
    with pytest.raises(ReproError, match="needs 16 GB of GPU memory, there are 12") as caught:
        gpu.fitting()
    assert caught.value.exit_code == EXIT_MISSING


@pytest.mark.parametrize(
    ("memory", "layers"), [(150, 32), (85, range(15, 25)), (24, range(3, 6)), (16.5, range(1, 4))]
)
def test_smaller_gpus_get_fewer_layers(
    load: Any, monkeypatch: pytest.MonkeyPatch, memory: float, layers: Any
) -> None:
    gpu = load("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    found = SimpleNamespace(total_memory=int(memory * 1e9))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)
    sizing = gpu.fitting()
    assert sizing.architecture.layers in (layers if isinstance(layers, range) else [layers])
    whole = gpu.full()
    assert sizing.architecture.hidden == whole.architecture.hidden
    assert sizing.train_tokens == whole.train_tokens
    for held in (
        finetune_peak_bytes(sizing.architecture, bfloat16=True, tokens=sizing.train_tokens),
        evaluation_bytes(sizing.architecture, "bfloat16", tokens=sizing.evaluate_tokens),
    ):
        assert held <= 0.95 * memory * 1e9


def test_the_model_has_the_weights_of_llama2_7b(load: Any) -> None:
    sizes = load("gpu").full().architecture
    model = load("_gpu").untrained(sizes, torch.bfloat16, torch.device("meta"))
    assert sum(weight.numel() for weight in model.parameters()) == 6_738_415_616
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("shared", [0, 20])
def test_training_work_is_what_torch_counts(load: Any, shared: int) -> None:
    """Torch counts attention in whole rectangles; of a causal one, the upper triangle is too much.

    Samples of one length, of which a CPU fills none up; norms, which are here counted as weights,
    are the tolerance. What the last layer makes of shared tokens, beyond keys and values, leads
    nowhere, so that it has no backward pass.
    """
    measure, sizes = load("_gpu"), load("gpu").SMALL.architecture
    count, length, labels = 3, 30, 5
    model = measure.untrained(sizes, torch.float32, CPU).train()
    rows = measure.made_up([length] * count, shared, sizes.vocabulary)
    weighted = [(Sample(ids, length - labels), 1.0) for ids in rows]
    own = length - shared
    triangles = shared * (shared - 1) / 2 + count * own * (own - 1) / 2
    work = measure.computed_work(weighted)
    whole = measure.Work(work.tokens, work.pairs + triangles, work.rows)
    way = objective(model, pad=0, autocast=False)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        way.backward(weighted, 10_000)
    way.close()
    last = model.model.layers[-1]
    idle = [last.self_attn.q_proj, last.self_attn.o_proj, *last.mlp.children()]
    products = sum(weight.numel() for module in idle for weight in module.parameters())
    nowhere = 4 * shared * products + 8 * shared**2 * sizes.hidden
    assert work.tokens == shared + count * own
    assert whole.flops(ModelSizes.of(model), "train") - nowhere == pytest.approx(
        counter.get_total_flops(), rel=0.01
    )


def test_plain_work_is_of_every_sample_on_its_own(load: Any) -> None:
    samples = [Sample(tuple(range(n)), masked) for n, masked in ((9, 4), (5, 5), (12, 11))]
    pairs = sum(len(sample.ids[: i + 1]) for sample in samples for i in range(len(sample.ids)))
    assert load("_gpu").plain_work(samples) == (26, pairs, 6)


def test_prefill_work_is_what_torch_counts(load: Any) -> None:
    measure, lengths = load("_gpu"), load("_lengths")
    sizes = load("gpu").SMALL.architecture
    model = measure.untrained(sizes, torch.float32, CPU)
    rows, common, own, repeats = 4, 24, 8, 2
    prompts = lengths.Prompts([common + own] * rows, common)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        found = measure.evaluate(model, sizes, prompts, new=0, budget=10_000, repeats=repeats)
    triangles = common * (common - 1) / 2 + rows * own * (own - 1) / 2
    more = measure.Work(0, triangles, 0).flops(ModelSizes.of(model), "prefill")
    assert found.tokens == common + rows * own
    assert (found.decode, found.new, found.floor) == (0, 0, 0)
    assert found.flops + more == pytest.approx(counter.get_total_flops() / (repeats + 1), rel=0.02)


def test_the_floor_reads_weights_and_caches_once_a_step(load: Any) -> None:
    """Against the tensors themselves: those of the model, and of the cache that it returns."""
    measure, sizes = load("_gpu"), load("gpu").SMALL.architecture
    model = measure.untrained(sizes, torch.bfloat16, CPU).eval()
    weights = sum(weight.nbytes for weight in model.parameters())
    weights -= model.get_input_embeddings().weight.nbytes

    def cached(tokens: int) -> int:
        with torch.inference_mode():
            cache = model(input_ids=torch.ones((1, tokens), dtype=torch.long)).past_key_values
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)

    batches, shared, steps = [[7, 3], [5]], 11, 3
    read = sum(
        weights + cached(shared) + sum(cached(own + step) for own in batch)
        for batch in batches
        for step in range(1, steps + 1)
    )
    assert measure.decode_bytes(sizes, "bfloat16", batches, shared, steps) == read


def test_decoding_is_cut_into_the_batches_of_its_floor(load: Any) -> None:
    measure, lengths = load("_gpu"), load("_lengths")
    sizes = load("gpu").SMALL.architecture
    model = measure.untrained(sizes, torch.bfloat16, CPU)
    # Rows of 8 own tokens, 3 new ones, and 10 shared ones over 2 layers take 16 each.
    prompts = lengths.Prompts([18] * 5, 10)
    found = measure.evaluate(model, sizes, prompts, new=3, budget=40, repeats=1)
    batches = [[8, 8], [8, 8], [8]]
    assert found.batch == 2
    assert found.new == 5 * 2
    assert found.floor == measure.decode_bytes(sizes, "bfloat16", batches, 10, 2)


def test_stored_lengths_add_up_to_the_tokens_of_the_rows(load: Any) -> None:
    """Percentiles say nothing of the totals, which the audit holds too."""
    lengths = load("_lengths")
    known, audited = lengths.stored(), lengths.audited()
    for train, own in TRAIN_SETS.items():
        for shots in (0, *fticl_shots(own.task)):
            tokens = sum(min(row.total, 1024) for row in known.training(train, shots))
            where = f"{train} 2000, {shots} shots: an epoch after cutting"
            assert tokens == pytest.approx(audited["training-lengths", where], rel=0.02)
    for dataset, shots in (("xsum", 0), ("xsum", 4), ("socialqa", 4), ("mnli1", 0), ("mnli1", 7)):
        tokens = sum(known.prompts(dataset, shots).lengths)
        where = f"{dataset}, p1, {shots} shots: all"
        assert tokens == pytest.approx(audited["prompt-lengths", where], rel=0.03)


def test_samples_of_a_mix_begin_alike_and_are_cut(load: Any) -> None:
    recipe = recipe_from(protocol("published-code"), seed=0, dtype="bfloat16")
    known = load("_lengths").stored()
    found = load("_gpu").mixes(known, recipe, count=64, vocabulary=1000, shrink=1)
    assert len(found) == 15
    for (train, shots), samples in found.items():
        context = 0 if not shots else known.training(train, shots)[0].source
        context -= known.training(train, 0)[0].source if shots else 0
        heads = {sample.ids[:context] for sample in samples}
        assert len(heads) == 1
        assert len({sample.ids for sample in samples}) == 64
        assert max(len(sample.ids) for sample in samples) <= recipe.max_length
        dead = sum(not sample.labels for sample in samples)
        assert (dead > 0) == (train == "xsum" and shots > 0)


def test_hours_are_those_of_the_audited_totals(load: Any) -> None:
    """A second a step, a token and a new token; counts as AUDIT E1 and E3 have them."""
    gpu, measure = load("gpu"), load("_gpu")
    none = measure.Work(0, 0, 0)
    mixes = [(train, n) for train, own in TRAIN_SETS.items() for n in (0, *fticl_shots(own.task))]
    trained = {mix: measure.Trained(1.0, 16, none, none) for mix in mixes}

    def one(new: int) -> Any:
        decode = float(new)
        return measure.Evaluated(1.0, 1, 1.0, decode, new, 1, 1)

    measured = {("mnli1", shots): one(0) for shots in (0, 7)}
    measured |= {(name, shots): one(1) for name in ("xsum", "socialqa") for shots in (0, 4)}
    training, prefill, decoding, whole = (
        float(row["measured"].split()[0]) for row in gpu.hours(trained, measured, gpu.full())
    )
    assert training == pytest.approx(10_000 / 3600, rel=0.005)
    assert prefill == pytest.approx(20_019_871 / 3600, rel=0.005)
    # 3,715,000 tokens: 60 a row of generation, 5 a row of classification, 574 cells of 250 rows.
    generation = (3_715_000 - 574 * 250 * 5) // (250 * 55)
    assert decoding == pytest.approx(generation * 250 * 59 / 3600, rel=0.005)
    assert whole == pytest.approx(training + prefill + decoding, rel=0.005)
