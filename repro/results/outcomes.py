"""Per-row outcomes: scores, outputs, and how near a classification was to a tie."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from repro.errors import EXIT_FAILED, ReproError
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


def _bad(path: Path, number: int, what: str) -> NoReturn:
    raise ReproError(
        f"{path}, line {number}: {what}",
        hint="the samples were changed or cut; run again into a new folder",
        exit_code=EXIT_FAILED,
    )


def _gap(sample: dict[str, Any], path: Path, number: int) -> float:
    logits, label = sample.get("logits"), sample.get("prediction")
    if not isinstance(logits, dict) or not isinstance(label, str) or label not in logits:
        _bad(path, number, "field 'logits' lacks the prediction")
    values = list(logits.values())
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        _bad(path, number, "field 'logits' holds something else than numbers")
    values.sort(reverse=True)
    if logits[label] != values[0]:
        _bad(path, number, "field 'prediction' is not the label with the largest logit")
    return float(values[0] - values[1]) if len(values) > 1 else math.inf


def _label(sample: dict[str, Any], task: Task, path: Path, number: int) -> str:
    label = sample.get("prediction")
    if label not in task.labels:
        _bad(path, number, f"field 'prediction' is {label!r}")
    if sample["score"] != int(label == sample.get("gold")):
        _bad(path, number, f"field 'score' is {sample['score']}, unlike prediction and gold")
    return str(label)


def _inputs(sample: dict[str, Any], path: Path, number: int) -> str:
    for name in ("prompt_sha256", "gold"):
        if not isinstance(sample.get(name), str):
            _bad(path, number, f"field '{name}' is {sample.get(name)!r}")
    return text_digest(f"{sample['prompt_sha256']} {sample['gold']}")


def read_samples(path: Path, task: Task, *, imported: bool = False) -> Outcomes:
    """The rows of a samples file.

    Args:
        imported: of the authors' scripts, which tell neither logits nor prompts.

    Raises:
        ReproError: a line is malformed, or a row stands there twice (1), with file and line.
    """
    classification = task.kind is Kind.CLASSIFICATION
    rows: dict[int, tuple[float, str, float, str]] = {}
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            sample = json.loads(text)
            row, score = sample["row"], sample["score"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            _bad(path, number, f"not a sample: {error!r}")
        if type(row) is not int or not 0 <= row < 2**31:
            _bad(path, number, f"field 'row' is {row!r}")
        if row in rows:
            _bad(path, number, f"row {row} stands here a second time")
        if not isinstance(score, int | float) or not 0 <= score <= 1:
            _bad(path, number, f"field 'score' is {score!r}, not between 0 and 1")
        if classification:
            gap = 0.0 if imported else _gap(sample, path, number)
            output = _label(sample, task, path, number)
        else:
            gap, output = 0.0, sample.get("text")
            if not isinstance(output, str):
                _bad(path, number, "field 'text' is missing")
            output = text_digest(output)
        inputs = "" if imported else _inputs(sample, path, number)
        rows[row] = (float(score), output, gap, inputs)
    if not rows:
        _bad(path, 1, "the file is empty")
    order = sorted(rows)
    return Outcomes(
        np.array(order, dtype=np.int64),
        np.array([rows[row][0] for row in order], dtype=np.float64),
        tuple(rows[row][1] for row in order),
        np.array([rows[row][2] for row in order]) if classification and not imported else None,
        None if imported else np.array([rows[row][3] for row in order], dtype=f"S{DIGITS}"),
    )


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
