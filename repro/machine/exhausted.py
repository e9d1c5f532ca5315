"""Telling that memory ran out from all other errors of torch and the libraries below it."""

import torch

_TEXTS = (
    "out of memory",  # CUDA, NCCL, and allocators of main memory
    "DefaultCPUAllocator: can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "cudaErrorMemoryAllocation",
)
"""cuBLAS and cuDNN allocate workspaces past torch's allocator and name a status instead."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, so that less work at once may succeed."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    if not isinstance(error, RuntimeError):
        return False
    # The first handle of cuBLAS is what needs memory first on a full GPU.
    if "CUBLAS_STATUS_NOT_INITIALIZED" in text:
        return "cublasCreate" in text
    return any(part in text for part in _TEXTS)
