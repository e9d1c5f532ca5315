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


def test_a_fine_tune_mixes_no_devices_and_waits_for_the_device_once_a_step(library: Path) -> None:
    """And trains as on the CPU; FT and FTICL, both ways to attend, moments here and there."""
    told = json.loads(run("waits.py", library, "train"))
    assert told["mixed"] == {}
    assert len(told["outcome"]) == 5
    for name, found in told["outcome"].items():
        assert found["device"] == "stand-in"
        assert found["waits"] == [1] * 4, (name, found["where"])
        (here, norms, moved), (there, others, moved_there) = found["here"], found["there"]
        bound = 1e-5 if "float32" in name else 1e-2
        assert there == pytest.approx(here, abs=bound)
        assert others == pytest.approx(norms, rel=10 * bound)
        assert moved_there == pytest.approx(moved, rel=bound)


def test_an_evaluation_mixes_no_devices_and_waits_once_a_token(library: Path) -> None:
    """Without a shared prefix twice: transformers asks whether anything is masked."""
    told = json.loads(run("waits.py", library, "evaluate"))
    assert told["mixed"] == {}
    assert len(told["outcome"]) == 4
    for name, found in told["outcome"].items():
        shared = "shared" in name
        if "generation" in name:
            assert set(found["a_token"]) == {1 if shared else 2}, found["where"]
        else:  # a batch a cell
            assert found["waits"] <= (4 if shared else 8), found["where"]
        for cell, other in zip(found["here"], found["there"], strict=True):
            assert len(cell) == 12
            for record, again in zip(cell, other, strict=True):
                logits, also = record.pop("logits", {}), again.pop("logits", {})
                assert also == pytest.approx(logits, abs=1e-4)
                assert again == record
