"""Fine-tuned models that the user has already, to be evaluated and not trained."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from repro.errors import EXIT_MISSING, ReproError
from repro.models.files import check_folder
from repro.spec.cells import BASE, Variant

Given = Mapping[tuple[Variant, int], Path]
"""Model folders by variant and seed."""


def find(folder: Path, variants: Iterable[Variant], seeds: Collection[int]) -> Given:
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
    found = {}
    for variant in tuned:
        for seed in seeds:
            names = [f"{variant.name}.seed{seed}", variant.name][: 2 if len(seeds) == 1 else 1]
            there = next((folder / name for name in names if (folder / name).is_dir()), None)
            if there is not None:
                check_folder(there, what=f"checkpoint {there}")
                found[variant, seed] = there
    if not found:
        example = tuned[0].name if tuned else "xsum-ft-2000"
        name = example if len(seeds) == 1 else f"{example}.seed{min(seeds)}"
        raise ReproError(
            f"--checkpoints {folder}: no folder in it is named like a selected model",
            hint=f"name them as the models are named, such as {folder / name}",
        )
    return found
