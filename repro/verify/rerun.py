"""What a run lacks, and the command that runs exactly that into the same results folder."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from repro import studies
from repro.results.runs import Run, is_imported
from repro.spec.cells import BASE, Cell
from repro.spec.protocol import typed
from repro.spec.study import Study

FEW = 8
"""Cells that are named one by one, whatever shorter options would select them."""
_OPTIONS = ("model", "data-dir", "store", "checkpoints", "engine", "attention")
"""Options of `repro run` that run.json records where they were given."""


@dataclass(frozen=True, kw_only=True)
class Lack:
    """Something that is missing.

    Attributes:
        text: what, in words.
        cells: the cells that it concerns; none where it is not about single cells.
        command: what runs or records it; empty if no command does.
    """

    text: str
    cells: tuple[Cell, ...] = ()
    command: str = ""


def command_for(run: Run, cells: Sequence[Cell], seeds: Sequence[int] | None = None) -> str:
    """The command that runs these cells as the run would have, into its own folder.

    Args:
        cells: exactly these are selected.
        seeds: of the fine-tunes; by default those that any of the cells lacks.
    """
    if is_imported(run.record):
        return "repro import-upstream DIR -o NEW_FOLDER"  # after running the authors' scripts
    recorded = run.record.get("options")
    options = recorded if isinstance(recorded, dict) else {}
    words = ["repro", "run", "--profile", str(options.get("profile", run.profile))]
    if run.study.name != studies.DEFAULT:
        words += ["--study", str(options.get("study", run.study.name))]
    words += ["--protocol", run.protocol]
    for name, value in run.overrides.items():
        words += ["--set", f"{name}={typed(value)}"]
    words += _selection(run, cells)
    limit = run.identity.get("test_limit")
    if isinstance(limit, int):
        words += ["--rows", str(limit)]
    wanted = lacking_seeds(run, cells) if seeds is None else seeds
    if wanted and any(cell.variant != BASE for cell in cells):
        words += ["--seeds", ",".join(map(str, wanted))]
    if "engine" not in options and isinstance(engine := run.identity.get("engine"), str):
        options = {**options, "engine": engine.split()[0].rstrip(",")}
    for name in _OPTIONS:
        given = options.get(name, ())
        for value in given if isinstance(given, list | tuple) else [given]:
            words += [f"--{name}", str(value)]
    return shlex.join([*words, "--out", str(run.folder)])


def asked_seeds(run: Run) -> tuple[int, ...]:
    """The seeds that a run was asked for; those that it has where it does not tell."""
    return tuple(run.record.get("asked", {}).get("seeds", ())) or run.seeds


def lacking_seeds(run: Run, cells: Sequence[Cell]) -> tuple[int, ...]:
    """The asked-for seeds that some of these cells lacks; all of them if none lacks any."""
    tuned = [cell for cell in cells if cell.variant != BASE]
    lost = [seed for seed in asked_seeds(run) if any(seed not in run.of(cell) for cell in tuned)]
    return tuple(lost) or asked_seeds(run)


def _selection(run: Run, cells: Sequence[Cell]) -> list[str]:
    """Options that select exactly these cells, the shortest if there are many."""
    wanted = set(cells)
    named = ["--cells", ",".join(cell.name for cell in dict.fromkeys(cells))]
    if len(wanted) <= FEW:
        return named
    candidates = _candidates(run.study, wanted, run.every_shot)
    found = [words for words, chosen in candidates if chosen == wanted]
    return min([*found, named], key=lambda words: len(" ".join(words)))


def _candidates(
    study: Study, wanted: set[Cell], every_shot: bool
) -> Iterator[tuple[list[str], set[Cell]]]:
    """Selections by figure, variant and test set, each with the cells that it selects."""
    figures = {name: study.cells((name,), every_shot=every_shot) for name in study.figures}
    variants, tests = {cell.variant for cell in wanted}, {cell.dataset for cell in wanted}
    every = study.cells(every_shot=every_shot)
    named = dict.fromkeys(cell.variant.name for cell in every if cell.variant in variants)
    tested = dict.fromkeys(cell.dataset for cell in every if cell.dataset in tests)
    for by_variant, by_test in product((False, True), repeat=2):
        by_figure = {
            figure: {
                cell
                for cell in cells
                if (not by_variant or cell.variant in variants)
                and (not by_test or cell.dataset in tests)
            }
            for figure, cells in figures.items()
        }
        words = ["--variants", ",".join(named)] if by_variant else []
        words += ["--tests", ",".join(tested)] if by_test else []
        yield words, set().union(*by_figure.values())
        if inside := [name for name, own in by_figure.items() if own and own <= wanted]:
            chosen = set().union(*(by_figure[name] for name in inside))
            yield ["--figures", ",".join(inside), *words], chosen
