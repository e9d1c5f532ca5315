"""The stand-in for a GPU, and scripts on it."""

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.cpp_extension import include_paths, library_paths

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The device guard of `stand_in.cpp`."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler for the stand-in of a GPU")
    if torch.version.cuda is not None:
        pytest.skip("this build of torch has a device guard of its own")
    made = tmp_path_factory.mktemp("device") / "stand_in.so"
    words = [compiler, "-O1", "-shared", "-fPIC", "-std=c++20", str(HERE / "stand_in.cpp")]
    words += [f"-I{folder}" for folder in include_paths()]
    words += [f"-L{folder}" for folder in library_paths()]
    words += [f"-Wl,-rpath,{folder}" for folder in library_paths()]
    words += ["-ltorch_cpu", "-lc10", "-o", str(made)]
    words.append(f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}")
    subprocess.run(words, check=True, capture_output=True)
    return made


@pytest.fixture(scope="session")
def with_library(library: Path) -> Iterator[str]:
    """Python that loaded the stand-in before torch, which asks once whether there is a device."""
    warm = runpy.run_path(str(HERE.parent / "warm.py"))
    modules = ("transformers.models.llama.modeling_llama", "datasets", "torch._dynamo")
    with warm["started"](modules, str(library)) as program:
        yield program


@pytest.fixture
def run(library: Path, with_library: str) -> Callable[..., str]:
    """Runs a script on the stand-in, and gives the last line that it prints."""

    def run(script: str, *words: object) -> str:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        command = [with_library, str(HERE / script), str(library), *map(str, words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    return run
