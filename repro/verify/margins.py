"""The registered margins, from `margins.toml` beside this file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from repro.results.machines import device_of
from repro.results.runs import Run
from repro.spec.tasks import METRICS


@dataclass(frozen=True)
class Margins:
    """Fixed tolerances; each dict is by metric, "accuracy" and "rougeL".

    Attributes:
        same_weights: share of a cell's rows that may differ at L1; all_rows: of all rows of a run.
        first_step: relative difference of the first step's loss and gradient norm, same seed.
        same_training: of every loss and the weight change, for trainings equal but for rounding.
        retrained: for L2; paper: for L3; claims: for claims of equality.
        logit_tie: labels whose logits are nearer than this are tied.
        rouge_spread: assumed spread of the paper's ROUGE-L rows, see the file.
        comparable: profiles that can be held against the paper's numbers; models: with weights
            from these repositories.
        seed_spread: of claims and L3 on runs of few seeds: standard deviations by metric and by
            fact, the degrees of freedom that they count for (df), and the correlation within a
            fine-tune, test set and prompt (shared).
    """

    same_weights: Mapping[str, float]
    all_rows: float
    first_step: float
    same_training: float
    retrained: Mapping[str, float]
    paper: Mapping[str, float]
    claims: Mapping[str, float]
    logit_tie: float
    rouge_spread: float
    comparable: tuple[str, ...]
    models: tuple[str, ...]
    seed_spread: Mapping[str, float]


def _by_metric(table: Mapping[str, Any]) -> dict[str, float]:
    return {metric: float(table[metric]) for metric in METRICS.values()}


def margins_of(reference: Run) -> Margins:
    """The margins for what is held against a run: as its fine-tunes round, or else as its device.

    Profiles for GPUs follow the precisions of the protocol, which have 16 bits.
    """
    recipes = [tuned.raw.get("recipe") for tuned in reference.tuned.values()]
    told = {str(recipe.get("dtype")) for recipe in recipes if isinstance(recipe, dict)}
    half = told != {"float32"} if told else (device_of(reference.record) or "").startswith("cuda")
    return margins("bfloat16" if half else "float32")


@cache
def margins(dtype: str = "float32") -> Margins:
    """The margins as registered, of runs that were computed in a dtype."""
    text = files("repro.verify").joinpath("margins.toml").read_text(encoding="utf-8")
    table = {name: part | part.get(dtype, {}) for name, part in tomllib.loads(text).items()}
    return Margins(
        _by_metric(table["same_weights"]),
        table["same_weights"]["all_rows"],
        table["training"]["first_step"],
        table["training"]["same_training"],
        _by_metric(table["retrained"]),
        _by_metric(table["paper"]),
        _by_metric(table["claims"]),
        table["rows"]["logit_tie"],
        table["rows"]["rouge_spread"],
        tuple(table["comparable"]["profiles"]),
        tuple(table["comparable"]["models"]),
        table["seed_spread"],
    )


def is_papers(run: Run) -> bool:
    """Whether a run's model and data are the paper's own, so that it is evidence on the paper.

    A profile's name is not enough: it can be a user's own, or have got another model.
    """
    model = run.record.get("model")
    if run.profile not in margins().comparable:
        return False
    if not isinstance(model, Mapping):  # imported results tell no more than their profile
        return True
    return run.record.get("data") == "upstream" and model.get("repo") in margins().models
