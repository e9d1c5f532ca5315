"""Fine-tuning against the trainer of transformers with padded micro-batches of 2.

Both train the same small Llama (4 layers, width 256, 4 heads, vocabulary 2,000: 4.2 million
weights, of which 3.2 million in the layers) in float32 on the same made-up rows in the same order,
16 a step, from tokens to weights: `Trainer` with micro-batches of 2 and 8 accumulated, fused AdamW.
Its loss is the mean over a step's label tokens, hence `step-tokens` here. The largest difference
between the two models' weights afterwards is shown; Adam's first steps move a weight by the rate of
1e-4 whatever its gradient, so that where a gradient is mere rounding they may differ by that.
Lengths follow the authors' rows (AUDIT C), cut at 1,024 tokens, so that samples with two XSum
demonstrations lose targets as there. The two take turns, from rows to weights; the first turn is
not counted. `finetuning` has the authors' rows and SmolLM2-135M.
"""

import random
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks._small import Times, interleaved
from repro.spec.tasks import Task
from repro.studies.paper.tasks import TASKS

Row = dict[str, object]

_WORDS = 1980


@dataclass(frozen=True)
class _Lengths:
    """A training set: its demonstrations, and tokens of a row.

    Attributes:
        shots: number of demonstrations; context: their tokens together.
        middle, most: tokens of a row with its target, at the 50th and 95th percentile.
        target: tokens of the target.
        goal: how many times as fast as the trainer it should be.
    """

    shots: int
    context: int
    middle: int
    most: int
    target: int
    goal: float


SETS = {
    "XSum": _Lengths(0, 0, 411, 771, 31, 1.5),
    "Amazon": _Lengths(0, 0, 75, 163, 2, 1.5),
    "XSum, 2 shots": _Lengths(2, 608, 411, 771, 31, 3.0),
    "Amazon, 4 shots": _Lengths(4, 270, 75, 163, 2, 3.0),
    "MNLI, 5 shots": _Lengths(5, 327, 64, 104, 3, 3.0),
}


def rows(lengths: _Lengths, count: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Made-up rows and demonstrations, the same whenever asked for."""
    rng = random.Random(0)
    around = 9  # tokens of the prompt's own words, and of the beginning and end

    def words(number: int) -> str:
        return " ".join(f"w{rng.randrange(_WORDS)}" for _ in range(number))

    def row(tokens: float) -> dict[str, str]:
        text = words(max(4, round(tokens) - lengths.target - around))
        return {"input": text, "output": words(lengths.target)}

    spread = (lengths.most / lengths.middle - 1) / 1.645
    shown = [row(lengths.context / lengths.shots) for _ in range(lengths.shots)]
    sizes = [lengths.middle * max(0.3, rng.gauss(1, spread)) for _ in range(count)]
    return [row(size) for size in sizes], shown


def tokenizer() -> Any:
    """One token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", "<s>", "</s>", "[PAD]", "###", "Input", "Summary", ":"]
    names += [f"w{number}" for number in range(_WORDS)]
    inner = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="[PAD]",
    )


def model() -> Any:
    """The untrained Llama, always the same."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=_WORDS + 8,
            hidden_size=256,
            intermediate_size=688,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=1024,
        )
    )


class Case(NamedTuple):
    """What both train on.

    Attributes:
        name: of the rows.
        train, shown: rows, and demonstrations that stand before each of them.
        task: of all of them.
        goal: how many times as fast as the trainer the kit should be.
    """

    name: str
    train: list[dict[str, Any]]
    shown: list[dict[str, Any]]
    task: Task
    goal: float


def by_trainer(model: Any, tokenizer: Any, samples: list[Any], rate: float) -> None:
    """One epoch of transformers' trainer."""
    from torch.utils.data import SequentialSampler
    from transformers import (
        DataCollatorForSeq2Seq,
        PrinterCallback,
        Trainer,
        TrainingArguments,
    )

    class InOrder(Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return SequentialSampler(train_dataset)

    encoded = [
        {
            "input_ids": list(sample.ids),
            "attention_mask": [1] * len(sample.ids),
            "labels": [-100] * sample.masked + list(sample.ids[sample.masked :]),
        }
        for sample in samples
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = InOrder(
            model,
            TrainingArguments(
                folder,
                per_device_train_batch_size=2,
                gradient_accumulation_steps=8,
                num_train_epochs=1,
                learning_rate=rate,
                max_grad_norm=0.0,
                optim="adamw_torch_fused",
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                dataloader_pin_memory=False,
            ),
            data_collator=DataCollatorForSeq2Seq(tokenizer),
            train_dataset=encoded,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def by_kit(model: Any, tokenizer: Any, case: Case, recipe: Any) -> None:
    """One epoch of the kit."""
    from repro.finetune import finetune
    from repro.studies.paper.prompts import training_template

    finetune(
        model,
        tokenizer,
        case.train,
        case.shown,
        training_template(case.task),
        recipe,
        order=[list(range(len(case.train)))],
        token_budget=2048,  # as in the profile small-cpu: longer passes leave the caches
    )


def compare(case: Case, fresh: Callable[[], Any], tokenizer: Any, repeats: int) -> Row:
    """A row of the table.

    Args:
        fresh: gives the model to train, always the same.
    """
    from repro.finetune import Recipe
    from repro.finetune.encode import encode
    from repro.studies.paper.prompts import training_template

    recipe = Recipe(
        learning_rate=1e-4,
        epochs=1,
        max_length=1024,
        truncation_side="right",
        loss_weighting="step-tokens",
        clip_norm=0.0,
        label_boundary="joint",
        seed=0,
        dtype="float32",
    )
    samples = encode(case.train, case.shown, training_template(case.task), tokenizer, recipe)
    tokens = sum(len(sample.ids) for sample in samples)
    models: dict[str, Any] = {}

    def theirs() -> None:
        by_trainer(models["Trainer"], tokenizer, samples, recipe.learning_rate)

    def ours() -> None:
        by_kit(models["repro"], tokenizer, case, recipe)

    found = {"Trainer": Times([], []), "repro": Times([], [])}
    apart = 0.0
    for _ in range(repeats):
        models |= {name: fresh() for name in found}
        for name, times in interleaved({"Trainer": theirs, "repro": ours}, 1).items():
            found[name].wall.extend(times.wall)
            found[name].cpu.extend(times.cpu)
        weights = zip(*(model.parameters() for model in models.values()), strict=True)
        apart = max(apart, *((a - b).abs().max().item() for a, b in weights))
    theirs_, ours_ = found.values()
    ratios = sorted(a / b for a, b in zip(theirs_.cpu, ours_.cpu, strict=True))
    return {
        "rows like": case.name,
        "tokens": tokens,
        "dead": sum(not sample.labels for sample in samples),
        "tokens/s: Trainer": f"{tokens / theirs_.median:.0f}",
        "repro": f"{tokens / ours_.median:.0f}",
        "ratio": f"{theirs_.median / ours_.median:.2f}",
        "of CPU time": f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})",
        "target": case.goal,
        "weights apart": f"{apart:.0e}",
    }


def run(*, small: bool = False, repeats: int = 5) -> list[Row]:
    """Rows of the table, a training set each."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    repeats, count = (1, 16) if small else (repeats, 48)
    words = tokenizer()
    compare(Case("", *rows(SETS["Amazon"], 16), TASKS["summary"], 0), model, words, 1)  # warms up
    return [
        compare(
            Case(name, *rows(SETS[name], count), TASKS["summary"], SETS[name].goal),
            model,
            words,
            repeats,
        )
        for name in (list(SETS)[1:2] if small else SETS)
    ]
