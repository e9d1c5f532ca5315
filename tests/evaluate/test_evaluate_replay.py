"""Decoding in steps that a GPU replays, on a CPU with a recorder in the place of a graph."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Qwen2Config, Qwen2ForCausalLM

from repro.evaluate import Settings, TorchEngine, evaluate, generate
from repro.studies.paper.protocols import protocol

CELLS = [f"base.socialqa.p1.{shots}" for shots in (0, 1, 4)] + ["base.xsum.p2.1"]


class Recorder(TorchDispatchMode):
    """What a graph does: the same operations again, on the same tensors, with the same numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.tape: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.tape.append((func, args, kwargs or {}, result))
        return result

    @torch.inference_mode()
    def replay(self) -> None:
        for func, args, kwargs, result in self.tape:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Graphs:
    """Takes the place of `captured`: work is recorded on states that are put back afterwards.

    Attributes:
        made: the graphs; replays: how often one was replayed.
    """

    def __init__(self) -> None:
        self.made = self.replays = 0

    def __call__(self, work: Callable[[], None], _: torch.device) -> Callable[[], None]:
        self.made += 1
        states = work.__self__  # type: ignore[attr-defined]
        kept = [states._mask, states._place, states._positions]
        kept += [part for layer in states._layers for part in (layer._keys, layer._values)]
        before = [tensor.clone() for tensor in kept]
        recorder = Recorder()
        with recorder:
            work()
        for tensor, value in zip(kept, before, strict=True):  # a graph is captured undone
            tensor.copy_(value)

        def again() -> None:
            self.replays += 1
            recorder.replay()

        return again


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Graphs:
    made = Graphs()
    monkeypatch.setattr(generate, "captured", made)
    return made


def answers(model: Any, tokenizer: Any, jobs: list[Any], *, replayed: bool) -> list[Any]:
    settings = Settings(token_budget=1500, max_new_tokens=12)
    with TorchEngine(model, tokenizer, settings, replayed=replayed) as engine:
        return list(evaluate(engine, jobs, protocol("published-code"), settings))


@pytest.mark.parametrize("kind", ["llama", "with bias, in bfloat16"])
def test_replayed_steps_give_the_same_tokens(
    words: Any, llama: Any, make_job: Any, graphs: Graphs, kind: str
) -> None:
    """Rows end at different steps, so that batches shrink and are captured again."""
    model = llama
    if kind != "llama":
        torch.manual_seed(0)
        own = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
        sizes = {"hidden_size": 32, "intermediate_size": 64, "initializer_range": 0.4}
        model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(words), **own, **sizes)).bfloat16()
    jobs = [make_job(name, 11) for name in CELLS]
    plain = answers(model, words, jobs, replayed=False)
    assert graphs.made == 0
    assert answers(model, words, jobs, replayed=True) == plain
    assert graphs.replays > 3 * graphs.made
    ends = {sample["new_tokens"] for _, samples in plain for sample in samples}
    if kind == "llama":
        assert len(ends) > 4
        assert graphs.made > len(CELLS)


def test_without_a_graph_the_same_steps_are_taken_one_by_one(
    words: Any, llama: Any, make_job: Any
) -> None:
    jobs = [make_job(name) for name in CELLS]
    found = answers(llama, words, jobs, replayed=True)
    assert found == answers(llama, words, jobs, replayed=False)


def test_settings_of_determinism_stay_as_they_are(words: Any, llama: Any, make_job: Any) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    try:
        for wanted in (True, False):
            torch.use_deterministic_algorithms(wanted)
            answers(llama, words, [make_job(CELLS[0])], replayed=True)
            assert torch.are_deterministic_algorithms_enabled() == wanted
    finally:
        torch.use_deterministic_algorithms(before)
