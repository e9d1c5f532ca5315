"""Per-row outcomes: scores, outputs, and how near a classification was to a tie."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repro.errors import EXIT_FAILED, ReproError
from repro.metrics import summarise
from repro.spec.tasks import Kind, Task

Floats = NDArray[np.float64]

DIGITS = 8
"""Hex digits of a digest. One changed text goes unnoticed with a probability of 16^-8 = 2e-10."""


@dataclass(frozen=True)
class Outcomes:
    """The rows of a cell, in ascending order of their position in the test file.

    Attributes:
        rows: positions, int64 [n].
        scores: 0 or 1, or ROUGE-L F1, float64 [n].
        outputs: the predicted label, or a digest of the generated text.
        gaps: best logit minus the next, float64 [n]; None for generation, and where unknown.
        inputs: a digest of prompt and gold, bytes [n]: equal for the same data and encoding; None
            where the prompts are unknown.
    """

    rows: NDArray[np.int64]
    scores: Floats
    outputs: tuple[str, ...]
    gaps: Floats | None
    inputs: NDArray[np.bytes_] | None

    def at(self, rows: NDArray[np.int64]) -> "Outcomes":
        """The outcomes of some of its rows, given in ascending order."""
        if len(rows) == len(self.rows):
            return self
        index = np.searchsorted(self.rows, rows)
        return Outcomes(
            rows,
            self.scores[index],
            tuple(self.outputs[i] for i in index),
            None if self.gaps is None else self.gaps[index],
            None if self.inputs is None else self.inputs[index],
        )


def text_digest(text: str) -> str:
    """What stands for a text when texts are compared."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


class _BadSampleError(Exception):
    """What is wrong with a sample, in words."""


def _gap(sample: dict[str, Any]) -> float:
    logits, label = sample.get("logits"), sample.get("prediction")
    if not isinstance(logits, dict) or not isinstance(label, str) or label not in logits:
        raise _BadSampleError("field 'logits' lacks the prediction")
    values = list(logits.values())
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise _BadSampleError("field 'logits' holds something else than numbers")
    values.sort(reverse=True)
    if logits[label] != values[0]:
        raise _BadSampleError("field 'prediction' is not the label with the largest logit")
    return float(values[0] - values[1]) if len(values) > 1 else math.inf


_Row = tuple[int, float, str, float, str, str]


def _sample(text: bytes, task: Task, imported: bool) -> _Row:
    """Row, score, output, gap, digest of the inputs and gold of a line."""
    try:
        sample = json.loads(text)
        row, score = sample["row"], sample["score"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _BadSampleError(f"not a sample: {error!r}") from None
    if type(row) is not int or not 0 <= row < 2**31:
        raise _BadSampleError(f"field 'row' is {row!r}")
    if not isinstance(score, int | float) or not 0 <= score <= 1:
        raise _BadSampleError(f"field 'score' is {score!r}, not between 0 and 1")
    gap, inputs = 0.0, ""
    if task.kind is Kind.CLASSIFICATION:
        gap = 0.0 if imported else _gap(sample)
        output = sample.get("prediction")
        if output not in task.labels:
            raise _BadSampleError(f"field 'prediction' is {output!r}")
        if score != int(output == sample.get("gold")):
            raise _BadSampleError(f"field 'score' is {score}, unlike prediction and gold")
    elif isinstance(sample.get("text"), str):
        output = text_digest(sample["text"])
    else:
        raise _BadSampleError("field 'text' is missing")
    if not imported:
        for name in ("prompt_sha256", "gold"):
            if not isinstance(sample.get(name), str):
                raise _BadSampleError(f"field '{name}' is {sample.get(name)!r}")
        inputs = text_digest(f"{sample['prompt_sha256']} {sample['gold']}")
    return row, float(score), output, gap, inputs, str(sample.get("gold"))


def read_samples(
    path: Path, task: Task, *, imported: bool = False
) -> tuple[Outcomes, dict[str, Any]]:
    """The rows of a samples file, and what `summarise` makes of them.

    Args:
        imported: of the authors' scripts, which tell neither logits nor prompts.

    Raises:
        ReproError: a line is malformed, or a row stands there twice (1), with file and line.
    """
    found: dict[int, _Row] = {}
    number = 1
    try:
        for number, text in enumerate(path.read_bytes().splitlines(), 1):  # noqa: B007
            sample = _sample(text, task, imported)
            if found.setdefault(sample[0], sample) is not sample:
                raise _BadSampleError(f"row {sample[0]} stands here a second time")
        if not found:
            raise _BadSampleError("the file is empty")
    except _BadSampleError as bad:
        raise ReproError(
            f"{path}, line {number}: {bad}",
            hint="the samples were changed or cut; run again into a new folder",
            exit_code=EXIT_FAILED,
        ) from None
    rows, scores, outputs, gaps, inputs, golds = zip(*sorted(found.values()), strict=True)
    told = zip(scores, outputs, golds, strict=True)
    samples = [{"score": s, "prediction": output, "gold": gold} for s, output, gold in told]
    known = task.kind is Kind.CLASSIFICATION and not imported
    outcomes = Outcomes(
        np.array(rows, dtype=np.int64),
        np.array(scores, dtype=np.float64),
        outputs,
        np.array(gaps) if known else None,
        None if imported else np.array(inputs, dtype=f"S{DIGITS}"),
    )
    return outcomes, summarise(task, samples)


def common_rows(several: Sequence[Outcomes]) -> NDArray[np.int64]:
    """Rows that all of them have, ascending."""
    rows = several[0].rows
    for other in several[1:]:
        if len(other.rows) != len(rows) or (other.rows != rows).any():
            rows = np.intersect1d(rows, other.rows)
    return rows


def changed_inputs(several: Sequence[Outcomes]) -> NDArray[np.bool_]:
    """Which of their common rows do not have the same prompt and gold everywhere, bool [rows].

    Outcomes of unknown prompts agree with all others.
    """
    if not several:
        return np.zeros(0, dtype=bool)
    rows = common_rows(several)
    changed = np.zeros(len(rows), dtype=bool)
    known = [inputs for one in several if (inputs := one.at(rows).inputs) is not None]
    for inputs in known[1:]:
        changed |= inputs != known[0]
    return changed


SCORE_TIE = 1e-3
"""Texts whose scores are nearer than this differ in nothing that counts."""


def differing_rows(ours: Outcomes, theirs: Outcomes, tie: float) -> int:
    """On how many of the same rows two outcomes differ beyond ties.

    Args:
        tie: labels whose best two logits are nearer than this on both sides are tied: rounding
            that changes the label moves the logits by both distances together. Where the logits of
            a side are unknown, no row is tied.
    """
    if ours.gaps is None and theirs.gaps is None:
        return int((np.abs(ours.scores - theirs.scores) > SCORE_TIE).sum())
    other = np.array([a != b for a, b in zip(ours.outputs, theirs.outputs, strict=True)])
    if ours.gaps is not None and theirs.gaps is not None:
        other &= np.maximum(ours.gaps, theirs.gaps) >= tie
    return int(other.sum())
