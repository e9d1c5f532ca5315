"""The code for GPUs on a stand-in for one; skipped where no C++ compiler can make it."""

import os
import shutil
import subprocess
import sys
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


@pytest.mark.parametrize("recomputed", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("way", ["flex", "grouped"])
def test_steps_mix_no_devices_and_compile_few_graphs(
    library: Path, way: str, recomputed: bool
) -> None:
    words = [sys.executable, str(HERE / "steps.py"), str(library), way, str(int(recomputed))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    graphs = int(done.stdout.split()[-1])
    assert (1 <= graphs <= 4) if way == "flex" else graphs == 0
