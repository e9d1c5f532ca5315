"""Telling that memory ran out from all other errors of torch and the libraries below it."""

from collections.abc import Iterator
from contextlib import contextmanager

from repro.errors import EXIT_MISSING, ReproError

_TEXTS = (
    "out of memory",  # torch's own error, CUDA, NCCL, and allocators of main memory
    "DefaultCPUAllocator: can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "cudaErrorMemoryAllocation",
)
"""cuBLAS and cuDNN allocate workspaces past torch's allocator and name a status instead."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, so that less work at once may succeed."""
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    if not isinstance(error, RuntimeError):
        return False
    # The first handle of cuBLAS is what needs memory first on a full GPU.
    if "CUBLAS_STATUS_NOT_INITIALIZED" in text:
        return "cublasCreate" in text
    return any(part in text for part in _TEXTS)


@contextmanager
def explained() -> Iterator[None]:
    """A block whose lack of memory is the user's to mend.

    Raises:
        ReproError: memory ran out, in the block's own words (3).
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        told = next(iter(str(error).splitlines()), "")
        raise ReproError(
            f"out of memory: {told}" if told else "out of memory",
            hint="take fewer --workers or a machine with more memory, then run the same command: "
            "finished steps are kept",
            exit_code=EXIT_MISSING,
        ) from error
