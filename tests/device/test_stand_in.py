"""The code for GPUs on a stand-in for one; skipped where no C++ compiler can make it."""

import json
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


def run(script: str, *words: object) -> str:
    """What a script prints on the stand-in."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / script), *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("recomputed", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("way", ["flex", "grouped"])
def test_steps_mix_no_devices_and_compile_few_graphs(
    library: Path, way: str, recomputed: bool
) -> None:
    graphs = int(run("steps.py", library, way, int(recomputed)))
    assert (1 <= graphs <= 4) if way == "flex" else graphs == 0


def test_a_step_mixes_no_devices_and_waits_for_the_device_once(library: Path) -> None:
    """And computes what the CPU computes; FT and FTICL, in both precisions."""
    told = json.loads(run("waits.py", library, "train"))
    assert told["mixed"] == {}
    assert len(told["outcome"]) == 4
    for name, found in told["outcome"].items():
        assert found["waits"] == 1, (name, found["where"])
        assert found["there"] == pytest.approx(found["here"], abs=1e-5 if "32" in name else 3e-3)


def test_evaluation_mixes_no_devices_and_waits_once_a_token(library: Path) -> None:
    """Without a shared prefix twice: transformers asks whether anything is masked."""
    told = json.loads(run("waits.py", library, "evaluate"))
    assert told["mixed"] == {}
    for name, most in (("shared", 1), ("plain", 2)):
        found = told["outcome"][name]
        a_token = (found["waits"]["12"] - found["waits"]["2"]) / 10
        assert 1 <= a_token <= most, (name, found["where"])
        assert found["waits"]["2"] <= 2 * most + 2, (name, found["where"])
        (here, texts), (there, others) = found["here"], found["there"]
        assert texts == others
        for one, other in zip(here, there, strict=True):
            assert other == pytest.approx(one, abs=1e-4)
