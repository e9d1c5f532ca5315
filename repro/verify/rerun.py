"""What a run lacks, and the command that runs exactly that into the same results folder."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from repro import studies
from repro.results.runs import AUTHORS_SCRIPTS, Run
from repro.spec.cells import BASE, Cell
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
    if run.record.get("origin") == AUTHORS_SCRIPTS:
        return "repro import-upstream DIR -o NEW_FOLDER"  # after running the authors' scripts
    recorded = run.record.get("options")
    options = recorded if isinstance(recorded, dict) else {}
    words = ["repro", "run", "--profile", str(options.get("profile", run.profile))]
    if run.study.name != studies.DEFAULT:
        words += ["--study", str(options.get("study", run.study.name))]
    words += ["--protocol", run.protocol]
    for name, value in run.overrides.items():
        words += ["--set", f"{name}={_setting(value)}"]
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


def _setting(value: object) -> str:
    """A switch as `--set` reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def asked_seeds(run: Run) -> tuple[int, ...]:
    """The seeds that a run was asked for; those that it has where it does not tell."""
    asked = run.record.get("asked")
    seeds = asked.get("seeds") if isinstance(asked, dict) else None
    return tuple(seeds) if isinstance(seeds, list) and seeds else run.seeds


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
    variants = dict.fromkeys(cell.variant for cell in study.cells(every_shot=every_shot))
    variants = dict.fromkeys(v for v in variants if any(cell.variant == v for cell in wanted))
    tests = dict.fromkeys(cell.dataset for cell in study.cells(every_shot=every_shot))
    tests = dict.fromkeys(t for t in tests if any(cell.dataset == t for cell in wanted))
    for by_variant in (False, True):
        for by_test in (False, True):
            by_figure = {
                figure: {
                    cell
                    for cell in study.cells((figure,), every_shot=every_shot)
                    if (not by_variant or cell.variant in variants)
                    and (not by_test or cell.dataset in tests)
                }
                for figure in study.figures
            }
            words: list[str] = []
            if by_variant:
                words += ["--variants", ",".join(variant.name for variant in variants)]
            if by_test:
                words += ["--tests", ",".join(tests)]
            yield words, set().union(*by_figure.values())
            inside = [name for name, own in by_figure.items() if own and own <= wanted]
            if inside:
                chosen = set().union(*(by_figure[name] for name in inside))
                yield ["--figures", ",".join(inside), *words], chosen
