"""Loads what worker processes need, once for all of them: see `repro.execute.forked`."""

import gc

gc.disable()  # all of it stays

import rouge_score.rouge_scorer  # noqa: E402, F401
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402, F401
from transformers.models.llama import modeling_llama  # noqa: E402, F401

from repro.evaluate import TorchEngine, evaluate  # noqa: E402, F401
from repro.execute.worker import Worker  # noqa: E402, F401
from repro.finetune import finetune, save  # noqa: E402, F401

gc.freeze()  # workers share this memory as long as nothing is written to it
gc.enable()
