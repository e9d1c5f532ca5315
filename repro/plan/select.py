"""What a command asks for: study, profile, protocol, and which of the study's cells."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from repro.errors import EXIT_MISSING, ReproError, unknown
from repro.models.files import check_folder
from repro.models.spec import ModelSpec
from repro.profiles import Profile
from repro.spec.cells import BASE, Cell, Variant
from repro.spec.protocol import Protocol
from repro.spec.study import Grid, Study

Given = Mapping[tuple[Variant, int], Path]
"""Folders of models that are there already, by variant and seed: evaluated and not trained."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for, checked as far as that goes without reading data.

    Attributes:
        protocol: the study's of that name, with the switches of `overrides`.
        rows: of a test set that are scored, at most, besides what profile and protocol say.
        engine: what evaluates, "torch" or "vllm".
        chosen: why `auto` took this profile; empty where it was named.
        options: of those that say where things are, and the model, what was given other than the
            default: whoever runs missing cells later needs them again.
    """

    study: Study
    profile: Profile
    protocol_name: str
    protocol: Protocol
    overrides: Mapping[str, object] = field(default_factory=dict)
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    rows: int | None = None
    given: Given = field(default_factory=dict)
    skip_missing: bool = False
    engine: str = "torch"
    data_dir: Path | None = None
    store: Path = Path("store")
    chosen: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> ModelSpec:
        """The profile's base model."""
        return ModelSpec.from_table(self.profile.model, self.profile.origin)

    @property
    def test_limit(self) -> int | None:
        """Rows of a test set to score, at most; None for the protocol's number."""
        return min(filter(None, (self.rows, self.profile.sizes.test)), default=None)

    @property
    def trained(self) -> list[Variant]:
        """Variants to be fine-tuned: all but the base and those that are given for every seed."""
        found = dict.fromkeys(cell.variant for cell in self.cells if cell.variant != BASE)
        return [v for v in found if any((v, seed) not in self.given for seed in self.seeds)]

    def under(self, name: str, overrides: Mapping[str, object]) -> "Request":
        """The same under another protocol."""
        protocol = self.study.protocol(name, overrides)
        return replace(self, protocol_name=name, overrides=overrides, protocol=protocol)


def split_names(text: str | None) -> tuple[str, ...]:
    """The names of a comma-separated option; none where it is not given.

    Raises:
        ReproError: it is given and names nothing, as by a shell variable that is not set (2).
    """
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if text is not None and not names:
        raise ReproError(
            f"an option that takes a list of names got none: '{text}'",
            hint="leave the option out to take all",
        )
    return names


def claim_names(text: str | None) -> tuple[str, ...]:
    """The same for ids of claims and findings, which are upper case whatever is typed."""
    return tuple(name.upper() for name in split_names(text))


def select(
    study: Study,
    *,
    grid: Grid = "figures",
    figures: Sequence[str] = (),
    claims: Sequence[str] = (),
    variants: Sequence[str] = (),
    tests: Sequence[str] = (),
    cells: Sequence[str] = (),
) -> tuple[Cell, ...]:
    """The distinct cells asked for, in the study's order; without names all of the grid.

    Args:
        grid: "figures" (574 cells), "every-shot" (616: bars over all shot counts) or "full"
            (3,744: the cross product).
        figures, claims: cells of these figures and of these claims, together.
        variants, tests: then only cells of these.
        cells: exactly these cells, or those of a pattern, whatever the rest says.

    Raises:
        ReproError: a name does not exist (with the nearest ones), or nothing is left (2).
    """
    for what, names, valid in (
        ("figure", figures, study.figures),
        ("claim", claims, study.claims),
        ("dataset", tests, study.datasets),
        ("variant", () if cells else variants, [variant.name for variant in study.variants]),
    ):
        for name in names:
            if name not in valid:
                raise unknown(what, name, valid)
    if cells:
        return tuple(dict.fromkeys(cell for name in cells for cell in _cells(name, study)))
    every_shot = grid == "every-shot"
    if figures or claims:
        chosen = list(study.cells(figures, every_shot=every_shot))
        for name in claims:
            chosen += study.claim_cells(study.claims[name], every_shot=every_shot)
    else:
        chosen = list(study.everything if grid == "full" else study.cells(every_shot=every_shot))
    kept = tuple(
        cell
        for cell in dict.fromkeys(chosen)
        if (not variants or cell.variant.name in variants) and (not tests or cell.dataset in tests)
    )
    if not kept:
        raise ReproError(
            "no cell is left by this selection",
            hint="the options --figures, --claims, --variants and --tests narrow each other; "
            "drop one, or use --grid full",
        )
    return kept


def _cells(name: str, study: Study) -> list[Cell]:
    """The cells of a name, which may be a pattern over the study's, or one beyond them."""
    if any(sign in name for sign in "*?["):
        found = [cell for cell in study.everything if fnmatchcase(cell.name, name)]
        if not found:
            raise ReproError(f"no cell is like '{name}'", hint="for example base.*.*.0")
        return found
    try:
        cell = Cell.parse(name)
        study.evaluation(cell)
    except ValueError as error:
        wrong = unknown("cell", name, [cell.name for cell in study.everything])
        raise ReproError(f"{wrong}: {error}", hint=wrong.hint) from None
    return [cell]


def find_given(folder: Path, variants: Iterable[Variant], seeds: Collection[int]) -> Given:
    """The model folders below `folder` that are named like models of a selection.

    A name is that of the variant, such as xsum-ft-2000, or with its seed xsum-ft-2000.seed43.
    Without one, it stands for the only seed that is asked for.

    Raises:
        ReproError: the folder is not there, or a model in it is not complete (3); none of its
            folders is named like a selected model (2).
    """
    if not folder.is_dir():
        raise ReproError(
            f"--checkpoints {folder} is no folder",
            hint="name one that holds a folder for every model, such as xsum-ft-2000",
            exit_code=EXIT_MISSING,
        )
    tuned = [variant for variant in variants if variant != BASE]
    alone = len(seeds) == 1
    found = {}
    for variant in tuned:
        for seed in seeds:
            names = [f"{variant.name}.seed{seed}", *([variant.name] if alone else [])]
            there = next((folder / name for name in names if (folder / name).is_dir()), None)
            if there is not None:
                check_folder(there, what=f"checkpoint {there}")
                found[variant, seed] = there
    if not found:
        example = tuned[0].name if tuned else "xsum-ft-2000"
        example += "" if alone else f".seed{min(seeds)}"
        raise ReproError(
            f"--checkpoints {folder}: no folder in it is named like a selected model",
            hint=f"name them as the models are named, such as {folder / example}",
        )
    return found
