"""Which errors mean that memory ran out: messages as torch and its libraries write them."""

import pytest
import torch

from repro.evaluate.batches import Budget, in_batches
from repro.machine.exhausted import out_of_memory

CUBLAS = (
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasLtMatmul( ltHandle, "
    "computeDesc.descriptor(), &alpha_val, mat1_ptr, Adesc.descriptor()...`"
)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate "
                     "memory: you tried to allocate 4 bytes."),
        RuntimeError(CUBLAS),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(h)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=str,
)  # fmt: skip
def test_memory_ran_out(error: Exception) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasSgemm(h)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
        ValueError("out of memory"),
    ],
    ids=str,
)
def test_something_else_went_wrong(error: Exception) -> None:
    assert not out_of_memory(error)


def test_a_batch_that_cublas_has_no_memory_for_is_halved() -> None:
    sizes: list[int] = []

    def work(rows: list[int]) -> list[int]:
        sizes.append(len(rows))
        if len(rows) > 4:
            raise RuntimeError(CUBLAS)
        return rows

    budget = Budget(80)
    assert in_batches([10] * 8, budget, work) == list(range(8))
    assert sizes == [8, 4, 4]
    assert (budget.first, budget.tokens) == (80, 40)
