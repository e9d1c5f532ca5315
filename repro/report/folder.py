"""Folders with all faces of a report, written whole or not at all."""

import os
import shutil
from collections.abc import Callable, Collection
from fnmatch import fnmatch
from pathlib import Path

from repro.errors import EXIT_MISSING, ReproError
from repro.report.export import tables, to_json
from repro.report.junit import junit
from repro.report.markdown import markdown
from repro.report.model import Report

JSON = "report.json"


def is_current(report: Report, out: Path) -> bool:
    """Whether the folder holds this very report, made by this very kit.

    The JSON covers all that the faces show, and has a hash over the files that make them.
    """
    path = out / JSON
    return path.is_file() and path.read_bytes() == to_json(report).encode()


def write_folder(report: Report, out: Path) -> tuple[Path, ...]:
    """Write every face of a report; see `replace_folder`."""
    # They need matplotlib and jinja2, which the other faces do without.
    from repro.report.charts import write_figures
    from repro.report.html import page
    from repro.report.summarycharts import write_summaries

    def fill(folder: Path) -> None:
        texts = {"report.html": page(report), "report.md": markdown(report)}
        texts |= {JSON: to_json(report), **tables(report)}
        for name, text in texts.items():
            # Names may hold half a surrogate pair, which UTF-8 does not.
            (folder / name).write_bytes(text.encode("utf-8", "backslashreplace"))
        (folder / "junit.xml").write_bytes(junit(report))
        for number, run in enumerate(report.runs, 1):
            drawings, own = folder / "figures", run.verified.run
            if len(report.runs) > 1:
                drawings /= f"{number}-{own.profile}-{own.protocol}"
            drawings.mkdir(parents=True)
            write_figures(run, drawings)
            write_summaries(run, drawings)

    return replace_folder(out, JSON, fill, own=("*.csv", "figures"))


def replace_folder(
    out: Path, marker: str, fill: Callable[[Path], None], *, own: Collection[str] = ()
) -> tuple[Path, ...]:
    """Fill a folder beside `out`, and put it in place when all is written.

    Args:
        marker: the file by which an older folder of the same kind is known, and replaced.
        fill: writes into an empty folder.
        own: patterns of names that the older folder may hold beside those that are written now.

    Returns:
        The files written, under `out`.

    Raises:
        ReproError: `out` holds something else (2), or cannot be written (3).
    """
    if out.is_symlink():
        raise ReproError(
            f"{out} is a symbolic link, so it is not replaced",
            hint=f"remove the link, or name another folder with -o: rm {out}",
        )
    if out.exists() and not (out / marker).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ReproError(
            f"{out} exists and has no {marker}, so it is not replaced",
            hint="name another folder: -o",
        )
    temporary = out.absolute().with_name(f".{out.absolute().name}.{os.getpid()}.tmp")
    old = temporary.with_suffix(".old")
    try:
        temporary.mkdir(parents=True)
        fill(temporary)
        if out.exists():
            _check_own(out, {path.name for path in temporary.iterdir()} | {*own})
            os.rename(out, old)
        os.rename(temporary, out)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        at = Path(os.fsdecode(error.filename or out)).absolute()
        if not any(own == at or own in at.parents for own in (temporary, old, out.absolute())):
            raise  # something that was to be read
        raise ReproError(
            f"the folder {out} cannot be written: {error.strerror}",
            hint="name another folder: -o",
            exit_code=EXIT_MISSING,
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return tuple(path for path in sorted(out.rglob("*")) if path.is_file())


def _check_own(out: Path, patterns: Collection[str]) -> None:
    """Nobody's files are deleted with an older folder."""
    for path in sorted(out.iterdir()):
        if not any(fnmatch(path.name, pattern) for pattern in patterns):
            raise ReproError(
                f"{out} also holds {path.name}, so it is not replaced",
                hint="move that away, or name another folder: -o",
            )
