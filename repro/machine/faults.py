"""Faults of the system or the GPU, told from bugs of the kit."""

import errno

from repro.errors import EXIT_MISSING, ReproError
from repro.extras import extra_of, install_command
from repro.printable import printable

_HINTS = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room: your quota on that disk is used up",
    errno.EFBIG: "the system limits the size of files: ulimit -f unlimited",
    errno.EACCES: "let your user read and write there, or name another folder",
    errno.EPERM: "let your user read and write there, or name another folder",
    errno.EROFS: "name a folder on a disk that can be written",
    errno.EMFILE: "the system limits the number of open files: ulimit -n 4096",
    errno.ENOENT: "make that folder first",
    errno.ENOTDIR: "name a folder, not a file",
    errno.ENAMETOOLONG: "name a folder with a shorter path",
}


def machine_fault(error: Exception) -> ReproError | None:
    """What the system or the GPU refused, in words (3); None for what is a bug."""
    hint, text = "mend it", str(error)
    if isinstance(error, OSError):
        where = f": {printable(error.filename)}" if error.filename else ""
        told = f"{error.strerror or error}{where}"
        hint = _HINTS.get(error.errno or 0, hint)
    elif isinstance(error, RuntimeError) and ("CUDA error" in text or "CUDA driver" in text):
        told = f"the GPU failed: {text.splitlines()[0]}"
    elif isinstance(error, ModuleNotFoundError) and (extra := extra_of(error.name or "")):
        told = f"the package {error.name} is not installed; it is part of the extra '{extra}'"
        return ReproError(told, hint=install_command(extra), exit_code=EXIT_MISSING)
    else:
        return None
    hint += ", then run the same command: finished steps are kept"
    return ReproError(told, hint=hint, exit_code=EXIT_MISSING)
