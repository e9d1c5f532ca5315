"""Python processes that start warm: forks of one that has torch, transformers and the kit loaded.

Loading these takes 4 s of CPU in every process, and many tests start several. `started` gives a
program that takes the words of `python` (-c CODE, -m MODULE or a script) and stands for the process
that does them: its ends, exit code, signals and environment are that process's. Only variables that
libraries read while they are loaded come too late, so what is tested of a cold start, such as the
order of imports, needs Python itself.

Run as a program: `warm.py serve NUMBER LIBRARY MODULES...` loads these and forks, where NUMBER is a
listening socket's and LIBRARY may be empty; `warm.py SOCKET PROGRAM WORDS...` asks it to.
"""

import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

KIT = (
    "torch.distributed.run",
    "transformers.models.llama.modeling_llama",
    "repro.cli.main",
    "repro.evaluate",
    "repro.execute.run",
    "repro.execute.training",
    "repro.finetune.offload",
    "repro.machine.peak",
    "repro.report.commands",
)


@contextmanager
def started(modules: Sequence[str] = KIT, library: str = "") -> Iterator[str]:
    """A program that is Python with these modules loaded, after a shared library."""
    # Under /tmp, since a socket's path has 107 characters at most.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        address, program = f"{folder}/socket", Path(folder, "python")
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(address)
            door.listen(99)
            server = subprocess.Popen(
                [sys.executable, __file__, "serve", str(door.fileno()), library, *modules],
                env=environment, pass_fds=[door.fileno()], stdin=subprocess.PIPE,
            )  # fmt: skip
        with server:
            asking = shlex.join([sys.executable, "-IS", __file__, address])
            program.write_text(f'#!/bin/sh\nexec {asking} "$0" "$@"\n', encoding="utf-8")
            program.chmod(0o755)
            yield str(program)
            assert server.stdin is not None
            server.stdin.close()


def ask(address: str, program: str, words: list[str]) -> int:
    """Have the words done by a fork, with this process's streams; its exit code."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        told = json.dumps([program, words, os.getcwd(), dict(os.environ)]).encode()
        socket.send_fds(server, [len(told).to_bytes(8, "big")], [0, 1, 2])
        server.sendall(told)
        code = int(server.recv(99) or b"1")
    if code < 0:
        os.kill(os.getpid(), -code)
    return code


def serve(door: socket.socket, library: str, modules: Sequence[str]) -> None:
    """Fork for whoever asks, until standard input ends; a fork whose asker is gone is killed."""
    import ctypes
    import importlib
    import select
    import signal

    if library:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    for name in modules:
        importlib.import_module(name)
    woken, wakes = os.pipe2(os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes)
    poll = select.poll()
    for source in (0, woken, door):
        poll.register(source, select.POLLIN)
    running: dict[int, tuple[socket.socket, int]] = {}
    while 0 not in (ready := {number for number, _ in poll.poll()}):
        if woken in ready:
            os.read(woken, 99)
            for number, (asker, pid) in [*running.items()]:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    with asker, suppress(OSError):
                        asker.send(str(os.waitstatus_to_exitcode(status)).encode())
                    poll.unregister(number)
                    del running[number]
        for number in ready & running.keys():
            os.kill(running[number][1], signal.SIGKILL)  # its asker is gone
        if door.fileno() in ready:
            asker, _ = door.accept()
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (door, *(one for one, _ in running.values())):
                    other.close()
                os.close(woken)
                os.close(wakes)
                try:
                    do(asker)
                finally:
                    os._exit(1)
            running[asker.fileno()] = asker, pid
            poll.register(asker, select.POLLRDHUP)
    for _, pid in running.values():
        os.kill(pid, signal.SIGKILL)


def do(asker: socket.socket) -> None:
    """Become the process that was asked for, and end as it ends."""
    import runpy
    import traceback
    import types
    import warnings

    size, streams, _, _ = socket.recv_fds(asker, 8, 3)
    told = b""
    while len(told) < int.from_bytes(size, "big"):
        piece = asker.recv(1 << 16)
        if not piece:  # whoever asked is gone
            os._exit(1)
        told += piece
    asker.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.executable, words, folder, environment = json.loads(told)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    words = words[1:] if words[0] == "-u" else words
    warnings.filterwarnings("ignore", module="runpy")  # a module that it runs is loaded already
    code = 0
    try:
        if words[0] == "-c":
            sys.argv = ["-c", *words[2:]]
            sys.modules["__main__"] = main = types.ModuleType("__main__")
            exec(compile(words[1], "<string>", "exec"), vars(main))
        elif words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        for end in (sys.stdout, sys.stderr):
            if not end.closed:
                end.flush()
    except OSError:
        code = 120  # as Python ends
    os._exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(socket.socket(fileno=int(sys.argv[2])), sys.argv[3], sys.argv[4:])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2], sys.argv[3:]))
