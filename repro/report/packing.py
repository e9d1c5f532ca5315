"""The samples of a run, packed small enough to travel inside a page.

A packet a test set: JSON, deflated, base64. Texts stand in it once, prompts as a part that all rows
of a shot count share and the rest. Logits are rounded to four decimals; all else is as in the
samples files, but prompts longer than LONGEST characters lose their beginning.
"""

import base64
import json
import os.path
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from repro.report.model import RunReport
from repro.results.reading import json_lines
from repro.results.runs import CellResult
from repro.results.texts import Lookup
from repro.spec.cells import Cell

LONGEST = 20_000


@dataclass(frozen=True)
class Packets:
    """Packed samples.

    Attributes:
        by_dataset: base64 of the deflated JSON of each test set.
        without_text: samples whose prompt is not known; cut: whose prompt was too long.
        total: all samples.
    """

    by_dataset: Mapping[str, str]
    without_text: int
    cut: int
    total: int


def _numbers() -> defaultdict[Any, int]:
    """Values with their numbers: a new value gets the next one."""
    return defaultdict(count().__next__)


def pack(run: RunReport, lookup: Lookup) -> Packets:
    """Pack all samples that the run's folder still has.

    Raises:
        ReproError: a samples file cannot be read, or a prompt is not the one that was used (1).
    """
    by_dataset: dict[str, list[tuple[Cell, int | None, CellResult]]] = {}
    for cell, results in run.cells.items():
        for seed, result in results.items():
            if result.outcomes is not None:
                by_dataset.setdefault(cell.dataset, []).append((cell, seed, result))
    packets, total, known, cut = {}, 0, 0, 0
    for dataset, own in by_dataset.items():
        content, prompts = _pack(run.verified.run.folder, own, lookup)
        # ASCII, so that half a surrogate pair, which no encoding holds, survives.
        text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        packed = zlib.compress(text.encode("ascii"), level=9, wbits=-zlib.MAX_WBITS)
        packets[dataset] = base64.b64encode(packed).decode("ascii")
        total += sum(result.n for _, _, result in own)
        known += prompts.uses.total()
        cut += sum(prompts.uses[key] for key, text in prompts.texts.items() if len(text) > LONGEST)
    return Packets(packets, without_text=total - known, cut=cut, total=total)


@dataclass(frozen=True)
class _Prompts:
    """Texts by hash; hashes by prompt and shots; how many samples have each; their numbers."""

    texts: dict[str, str] = field(default_factory=dict)
    groups: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    uses: Counter[str] = field(default_factory=Counter)
    order: defaultdict[str, int] = field(default_factory=_numbers)

    def number(self, cell: Cell, sample: Mapping[str, Any], lookup: Lookup) -> int | None:
        """The number of a sample's prompt; None if its text is not known."""
        digest = str(sample.get("prompt_sha256"))
        if digest not in self.uses:
            text = lookup(cell, sample["row"], digest)
            if text is None:
                return None
            self.texts[digest] = text
            self.groups.setdefault((cell.prompt, cell.shots), []).append(digest)
        self.uses[digest] += 1
        return self.order[digest]

    def split(self) -> dict[str, Any]:
        """Each prompt as [characters left out, shared part, rest], by number of the part."""
        parts, split = _numbers(), {}
        for digests in self.groups.values():
            texts = [self.texts[digest][-LONGEST:] for digest in digests]
            # Of any strings, in spite of where it lives.
            shared = os.path.commonprefix(texts) if len(texts) > 1 else ""  # noqa: RUF071
            for digest, text in zip(digests, texts, strict=True):
                left_out = len(self.texts[digest]) - len(text)
                split[digest] = [left_out, parts[shared], parts[text[len(shared) :]]]
        return {"prompts": [split[digest] for digest in self.order], "parts": list(parts)}


def _pack(
    folder: Path, results: Sequence[tuple[Cell, int | None, CellResult]], lookup: Lookup
) -> tuple[dict[str, Any], _Prompts]:
    """The content of a test set's packet, and its prompts."""
    strings, prompts = _numbers(), _Prompts()
    packed: dict[str, dict[str, Any]] = {}
    for cell, seed, result in results:
        samples = [sample for _, sample in json_lines(folder / result.raw["samples"])]
        output = "prediction" if "prediction" in samples[0] else "text"
        packed.setdefault(cell.name, {})[str(seed)] = {
            "row": [sample["row"] for sample in samples],
            "prompt": [prompts.number(cell, sample, lookup) for sample in samples],
            "gold": [strings[str(sample.get("gold"))] for sample in samples],
            "output": [strings[str(sample[output])] for sample in samples],
            "score": [sample["score"] for sample in samples],
            "logits": {
                label: [_rounded(sample["logits"].get(label)) for sample in samples]
                for label in samples[0].get("logits", ())
            },
        }
    return {"strings": list(strings), **prompts.split(), "cells": packed}, prompts


def _rounded(logit: float | None) -> float | None:
    return None if logit is None else round(logit, 4)
