"""The locks hold what pyproject.toml asks for, at the versions of constraints.txt, with hashes."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from repro.container import lock
from repro.errors import ReproError

ROOT = Path(__file__).parents[2]
LOCKS = {name: (ROOT / "docker" / f"{name}.lock").read_text() for name in lock.VARIANTS}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(text: str) -> set[tuple[str, str]]:
    """Name and version of every line of a requirements file, by eye and not by `lock`."""
    return {(m[1], m[2]) for m in re.finditer(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.M)}


@pytest.mark.parametrize("variant", lock.VARIANTS)
def test_locks_were_made_from_what_is_asked_for(variant: str) -> None:
    script = ROOT / "docker" / "inputs.py"
    digest = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    head = LOCKS[variant].splitlines()[1]
    assert head == f"# inputs sha256: {digest.stdout.strip()}", "try: docker/lock.sh"


@pytest.mark.parametrize("variant", lock.VARIANTS)
def test_every_requirement_is_locked_at_its_version(variant: str) -> None:
    extras = PYPROJECT["optional-dependencies"]
    asked = [*PYPROJECT["dependencies"], *extras["run"], *extras["report"], *extras["small"]]
    asked += extras["vllm"] if variant == "vllm" else []
    locked = {canonicalize_name(name): version for name, version in pins(LOCKS[variant])}
    for line in asked:
        requirement = Requirement(line)
        if requirement.name != PYPROJECT["name"]:
            found = locked[canonicalize_name(requirement.name)].partition("+")[0]
            assert str(requirement.specifier) == f"=={found}"


@pytest.mark.parametrize("variant", ["cuda", "cpu"])
def test_images_and_environments_have_the_same_versions(variant: str) -> None:
    shared = pins((ROOT / "constraints.txt").read_text())
    plain = {(name, version.partition("+")[0]) for name, version in pins(LOCKS[variant])}
    assert plain <= shared


def test_what_reads_exports_is_pinned_alike() -> None:
    text = (ROOT / "tests" / "export" / "packages.txt").read_text()
    found = {canonicalize_name(name): version for name, version in pins(text)}
    for requirement in map(Requirement, PYPROJECT["optional-dependencies"]["interop"]):
        assert str(requirement.specifier) == f"=={found[canonicalize_name(requirement.name)]}"


def test_variants_differ_by_torch_and_its_cuda_libraries_alone() -> None:
    cuda, cpu = pins(LOCKS["cuda"]), pins(LOCKS["cpu"])
    assert {name for name, _ in cpu - cuda} == {"torch"}
    only = {name for name, _ in cuda - cpu}
    assert {"torch", "triton", "nvidia-cudnn-cu13", "nvidia-nccl-cu13"} <= only
    assert all(re.match(r"torch$|triton$|nvidia-|cuda-", name) for name in only)
    assert ("cuda-toolkit", "13.0.3.0") in cuda


def test_vllm_adds_to_the_cuda_image_and_moves_two_packages() -> None:
    cuda, vllm = pins(LOCKS["cuda"]), pins(LOCKS["vllm"])
    assert {name for name, _ in cuda - vllm} == {"cuda-bindings", "setuptools"}
    assert ("vllm", "0.32.0") in vllm - cuda
    # One setuptools for every Python: what is not built yet is installed after it.
    assert len(re.findall("^setuptools==", LOCKS["vllm"], re.M)) == 1


@pytest.mark.parametrize("variant", lock.VARIANTS)
def test_every_package_has_hashes(variant: str) -> None:
    packages = lock.read(variant)
    assert {(p.requirement.name, p.version) for p in packages} == pins(LOCKS[variant])
    for package in packages:
        assert package.hashes
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in package.hashes)


def test_markers_choose_by_python() -> None:
    assert lock.expected("cpu", "3.11.2")["networkx"] == "3.6.1"
    assert lock.expected("cpu", "3.12.3")["networkx"] == "3.7"
    assert lock.expected("cpu", "3.12.3")["torch"] == "2.13.0+cpu"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("numpy>=2 --hash=sha256:00", "'numpy>=2' needs one exact version and a hash"),
        ("numpy==2.4.6", "'numpy==2.4.6' needs one exact version and a hash"),
        ("numpy=2 --hash=sha256:00", "'numpy=2' is no requirement"),
    ],
)
def test_a_damaged_lock_is_refused(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "cpu.lock").write_text(text)
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    with pytest.raises(ReproError, match=re.escape(said)) as caught:
        lock.read("cpu")
    assert caught.value.hint == "make it anew: docker/lock.sh"
    with pytest.raises(ReproError, match=r"cuda\.lock is not there") as caught:
        lock.read("cuda")
    assert caught.value.exit_code == 3
