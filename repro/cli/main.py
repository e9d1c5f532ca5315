"""The root of the command, and how errors end it."""

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from rich.text import Text

from repro import __version__
from repro.cli.paper import audit, claims, findings, flaws, protocols
from repro.cli.results import compare, expected, export, import_upstream, merge, report, verify
from repro.cli.run import doctor, plan, run
from repro.cli.setup import data, docker, models, profiles, schema
from repro.console import new_console, prepare_streams, silence
from repro.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_MISSING, ReproError
from repro.machine.faults import machine_fault
from repro.printable import printable_lines

HEADINGS: dict[str, tuple[click.Command, ...]] = {
    "Run": (run, plan, doctor),
    "Read results": (verify, report, compare, merge, expected, export, import_upstream),
    "The paper": (claims, findings, flaws, audit, protocols),
    "Set up": (profiles, schema, data, models, docker),
}


class _Headed(click.Group):
    """Lists commands under their headings, all columns at one place."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in self.commands)
        limit = formatter.width - 6 - width
        for heading, commands in HEADINGS.items():
            with formatter.section(heading):
                told = [(str(c.name).ljust(width), c.get_short_help_str(limit)) for c in commands]
                formatter.write_dl(told)


@click.group(
    cls=_Headed,
    commands=[command for commands in HEADINGS.values() for command in commands],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
    Examples:
      repro run --verify                      the paper's design on the embedded model
      repro plan --profile llama2-7b          what the real thing takes
      repro doctor --profile llama2-7b        what is missing for it here
      repro run --claims C9 --rows 50         a part of it
      repro verify results/embedded-published-code

    Completion in bash (zsh and fish alike): eval "$(_REPRO_COMPLETE=bash_source repro)"

    Exit codes: 0 done or verified, 1 verification failed, 2 wrong usage, 3 something is missing,
    70 a bug of the kit, 130 interrupted.""",
)
@click.version_option(__version__)
def cli() -> None:
    """Reproduce arXiv 2403.09162, "Unveiling the Generalization Power of Fine-Tuned LLMs"."""


def _lost(
    others: Callable[["sys.UnraisableHookArgs"], object], error: "sys.UnraisableHookArgs"
) -> None:
    """Interrupt again: one that comes while a finaliser runs ends there, and would not be heard."""
    if error.exc_type is KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
    else:
        others(error)


def _require_folder() -> None:
    """A working folder that was deleted would fail wherever a relative path is used."""
    try:
        os.getcwd()
    except OSError:
        raise ReproError(
            "the working folder is not there any more",
            hint="cd into another folder, then run the same command",
            exit_code=EXIT_MISSING,
        ) from None


def _require_home() -> None:
    """Give libraries a home folder for their caches where the system names none."""
    try:
        Path.home()
    except RuntimeError:
        folder = Path(tempfile.gettempdir()) / f"repro-home-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise ReproError(
                f"no home folder is known, and {folder} is another user's",
                hint="set HOME to a folder that you can write to",
                exit_code=EXIT_MISSING,
            ) from None
        os.environ["HOME"] = str(folder)
        os.environ.setdefault("USER", str(os.getuid()))
        new_console(stderr=True).print(f"note: HOME is not set; caches go to {folder}")


def _show(error: ReproError) -> None:
    console = new_console(stderr=True)
    for label, style, text in (("error:", "bold red", str(error)), ("try:", "bold", error.hint)):
        if text:
            shown = printable_lines(text)
            console.print(Text(label, style).append(f" {shown}", style="not bold default"),
                          soft_wrap=True)  # fmt: skip


def _run() -> int:
    try:
        _require_folder()
        _require_home()
        code = cli.main(prog_name="repro", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except ReproError as error:
        _show(error)
        return error.exit_code
    except click.ClickException as error:
        error.show(sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        new_console(stderr=True).print(
            "interrupted; finished steps are kept, and the same command goes on from there"
        )
        return EXIT_INTERRUPTED
    except Exception as error:
        told = machine_fault(error)
        if told is not None:
            _show(told)
            return told.exit_code
        traceback.print_exc()
        new_console(stderr=True).print(
            f"this is a bug of the kit {__version__}, and says nothing about the results; "
            "please report it with the lines above",
            soft_wrap=True,
        )
        return EXIT_BUG


def main() -> None:
    """Run the command line and exit with its code."""
    prepare_streams()
    sys.unraisablehook = partial(_lost, sys.unraisablehook)
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.default_int_handler)
    code = _run()
    try:
        sys.stdout.flush()
    except OSError:  # the reader of our output left; nothing is wrong with the work
        silence(sys.stdout)
    sys.exit(code)
