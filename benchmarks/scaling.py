"""Tokens a second over batch budget and context length, for the embedded and the 135M model.

Random tokens behind a shared context: classification (prefill of what a row has for itself) and
generation (16 tokens a row). Tokens are those that a row has for itself or generates, so that
longer contexts cost and add none.
"""

import itertools
from typing import Any

from benchmarks._small import Endless, interleaved, load_small

Row = dict[str, object]
OWN, NEW = 32, 16


def _rates(name: str, model: Any, rows: int, repeats: int, grid: Any) -> list[Row]:
    import torch

    from repro.evaluate.batches import Budget
    from repro.evaluate.forward import label_logits
    from repro.evaluate.generate import generate
    from repro.evaluate.prefix import sharing

    generator = torch.Generator().manual_seed(0)

    model.generation_config.eos_token_id = None
    found: list[Row] = []
    with sharing(model) as prefix:
        for context, batch in grid:
            ids = torch.randint(5, 500, (rows, context + OWN), generator=generator)
            ids[:, :context] = ids[0, :context]
            prompts = ids.tolist()
            prefix.move_to((tuple(prompts[0][:context]),))
            # As many tokens as this number of rows takes.
            labels = Budget(batch * prefix.cost(prompts[0]))
            texts = Budget(batch * (prefix.cost(prompts[0]) + NEW))

            def score(prompts: Any = prompts, budget: Budget = labels) -> Any:
                return label_logits(model, prompts, {"a": 5}, budget, pad=0, prefix=prefix)

            def write(prompts: Any = prompts, budget: Budget = texts) -> Any:
                return generate(
                    model,
                    Endless(),
                    prompts,
                    budget,
                    max_new_tokens=NEW,
                    cut_at_blank_line=False,
                    prefix=prefix,
                )

            score()
            times = interleaved({"score": score, "write": write}, repeats)
            row: Row = {"model": name, "context": context, "rows a batch": batch}
            row["prefill, tokens/s"] = f"{rows * OWN / times['score'].median:,.0f}"
            row["generation, new tokens/s"] = f"{rows * NEW / times['write'].median:,.0f}"
            found.append(row)
    return found


def run(*, small: bool = False, repeats: int = 5) -> list[Row]:
    """Rows of the table, a model, context length and batch size each."""
    from repro.machine import numerics as machine
    from repro.models.load import load
    from repro.models.spec import EMBEDDED

    machine.prepare(1, device="cpu")
    embedded, _ = load(EMBEDDED)
    if small:
        return _rates("embedded", embedded, 4, 1, [(16, 2)])
    micro = itertools.product((32, 128, 512), (1, 4, 16, 64, 256))
    table = _rates("embedded", embedded, 256, repeats, micro)
    _, model, _ = load_small(1)
    return table + _rates(
        "135M", model, 32, repeats, itertools.product((128, 1024), (1, 4, 16, 32))
    )
