"""The root of the command, and how errors end it."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import click
from rich.console import Console
from rich.markup import escape

from repro import __version__
from repro.cli.data import data
from repro.cli.docker import docker
from repro.cli.import_upstream import import_upstream
from repro.cli.models import doctor, models
from repro.cli.paper import profiles, protocols
from repro.cli.report import report
from repro.cli.run import plan, run
from repro.cli.verify import audit, claims, compare, expected, verify
from repro.errors import EXIT_INTERRUPTED, EXIT_MISSING, ReproError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def cli() -> None:
    """Reproduce arXiv 2403.09162, "Unveiling the Generalization Power of Fine-Tuned LLMs".

    First `repro run` (minutes on a CPU, no downloads), then `repro plan --profile llama2-7b`.

    Exit codes: 0 done or verified, 1 verification failed, 2 wrong usage, 3 something is missing,
    130 interrupted.
    """


for command in (
    *(run, plan, doctor, verify, report, compare, claims, expected, import_upstream, audit),
    *(protocols, profiles, data, models, docker),
):
    cli.add_command(command)


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def _machine_fault(error: Exception) -> str | None:
    """A full or broken disk or a lost GPU in words; None for what is a bug."""
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}" if error.errno in _DISK else None
    text = str(error)
    lost = "CUDA error" in text or "CUDA driver" in text
    return f"the GPU failed: {text.splitlines()[0]}" if lost else None


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _lost(
    others: Callable[["sys.UnraisableHookArgs"], object], error: "sys.UnraisableHookArgs"
) -> None:
    """Interrupt again: one that comes while a finaliser runs ends there, and would not be heard."""
    if error.exc_type is KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
    else:
        others(error)


def main() -> None:
    """Run the command line and exit with its code."""
    sys.unraisablehook = partial(_lost, sys.unraisablehook)
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGALRM, _terminate)
    console = Console(stderr=True, highlight=False)
    try:
        code = cli.main(standalone_mode=False)
    except ReproError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        if error.hint:
            console.print(f"[bold]try:[/] {escape(error.hint)}", soft_wrap=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.print(
            "interrupted; finished steps are kept, and the same command goes on from there"
        )
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left; nothing is wrong with the run.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (OSError, RuntimeError) as error:
        told = _machine_fault(error)
        if told is None:
            raise
        console.print(f"[bold red]error:[/] {escape(told)}", soft_wrap=True)
        console.print("[bold]try:[/] mend it and run the same command: finished steps are kept")
        code = EXIT_MISSING
    sys.exit(code if isinstance(code, int) else 0)
