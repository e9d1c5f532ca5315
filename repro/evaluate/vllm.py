"""Evaluation by vLLM, which the authors generated with: an option beside the kit's own engine.

Names and behaviour are those of vLLM 0.32.0, the version that pyproject.toml pins.
"""

import gc
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoConfig, GenerationConfig

from repro import clock
from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError
from repro.evaluate.encode import Encoded
from repro.evaluate.forward import require_finite
from repro.evaluate.generate import Ending, Generation, stop_ids
from repro.models.doctor import VLLM_REMEDY
from repro.models.files import check_folder
from repro.models.load import load_tokenizer
from repro.spec.prompts import SEPARATOR

GPU_MEMORY = 0.85
"""Share of the GPU's memory that vLLM takes; this process needs some for itself."""


class VllmEngine:
    """vLLM on one GPU, in a process of its own; gets the kit's token ids, greedy throughout."""

    # vLLM generates a token even where only the logits before it are wanted.
    score_tokens = 1
    reduced_budget: int | None = None

    def __init__(self, folder: Path, *, dtype: str) -> None:
        """Start vLLM with a model folder; raises ReproError (3) without vLLM or a whole model."""
        self._vllm = _import_vllm()
        check_folder(folder, what=f"model folder {folder}")
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        self.tokenizer = load_tokenizer(folder)
        self.positions = getattr(config, "max_position_embeddings", None)
        generation = GenerationConfig.from_model_config(config)
        if (folder / "generation_config.json").is_file():  # as a model that is loaded has it
            generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
        self._stops = stop_ids(generation, self.tokenizer)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # what fine-tuning has left
        self._llm = self._vllm.LLM(
            model=str(folder),
            tokenizer=str(folder),
            dtype=dtype,
            seed=0,
            load_format="safetensors",
            max_model_len=self.positions,
            gpu_memory_utilization=GPU_MEMORY,
            enable_prefix_caching=True,
            generation_config="vllm",  # no sampling defaults of the model
            logprobs_mode="raw_logits",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._llm.llm_engine.engine_core.shutdown()

    def label_logits(self, encoded: Encoded) -> list[dict[str, float]]:
        ids = list(encoded.labels.values())
        # With `raw_logits`, what vLLM calls logprobs are the model's logits as float32.
        params = self._vllm.SamplingParams(
            temperature=0.0, max_tokens=1, logprob_token_ids=ids, detokenize=False
        )
        with clock.part("prefill"):
            done = self._complete(encoded.prompts, params)
        found = [[answer.logprobs[0][token].logprob for token in ids] for answer in done]
        require_finite(torch.tensor(found))
        return [dict(zip(encoded.labels, row, strict=True)) for row in found]

    def generate(
        self, encoded: Encoded, *, max_new_tokens: int, cut_at_blank_line: bool
    ) -> list[Generation]:
        params = self._vllm.SamplingParams(
            temperature=0.0,
            max_tokens=max_new_tokens,
            stop=[SEPARATOR] if cut_at_blank_line else None,
            stop_token_ids=sorted(self._stops),
        )
        with clock.part("decode"):
            done = self._complete(encoded.prompts, params)
        finish = Ending(self.tokenizer, self._stops, max_new_tokens, cut_at_blank_line)
        return [_ended(answer, finish) for answer in done]

    def _complete(self, prompts: Sequence[Sequence[int]], params: Any) -> list[Any]:
        """The completion of each prompt."""
        asked = [self._vllm.TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts]
        done = self._llm.generate(asked, params, use_tqdm=False)
        for prompt, request in zip(asked, done, strict=True):
            assert request.prompt_token_ids == prompt["prompt_token_ids"], "vLLM changed a prompt"
        answers = [request.outputs[0] for request in done]
        for answer in answers:
            if answer.finish_reason not in ("stop", "length"):
                raise _given_up(answer)
        return answers


def _ended(answer: Any, finish: Ending) -> Generation:
    """The generation by the kit's own rules, which end it no later than vLLM does."""
    tokens = list(answer.token_ids)
    for count in range(1, len(tokens) + 1):
        found = finish(tokens[:count])
        if found:
            return found
    raise _given_up(answer)


def _given_up(answer: Any) -> ReproError:
    return ReproError(
        f"vLLM ended a text that is not at its end: {answer.finish_reason} "
        f"({answer.stop_reason!r}) after {len(answer.token_ids)} tokens",
        hint="evaluate with the kit's own engine: --engine torch",
        exit_code=EXIT_FAILED,
    )


def _import_vllm() -> Any:
    """The package; says nothing to the user but errors, and nothing to its makers."""
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    # Forking would copy a process in which torch has threads.
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    try:
        return import_module("vllm")
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        raise ReproError(
            "the package vllm is not installed", hint=VLLM_REMEDY, exit_code=EXIT_MISSING
        ) from None
