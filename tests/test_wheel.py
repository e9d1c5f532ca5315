"""What is built of the kit works without its checkout, and says what a light install lacks."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from repro.errors import EXIT_MISSING

ROOT = Path(__file__).parents[1]
BUILT = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "constraints.txt")
BUILD = "import sys; from setuptools import build_meta as b; b.build_{kind}(sys.argv[1])"
# A light install: what only the extras bring cannot be imported.
LIGHT = """
import sys
HEAVY = {"torch", "transformers", "datasets", "accelerate", "safetensors", "rouge_score",
         "matplotlib", "jinja2", "pandas", "pyarrow", "huggingface_hub", "tokenizers",
         "docker", "requests"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from repro.cli import main
main()
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel that is made from it, unpacked in site/."""
    folder = tmp_path_factory.mktemp("built")
    copy = folder / "checkout"
    passed_over = shutil.ignore_patterns("__pycache__")
    for name in ("repro", "expected_results", "tools", "benchmarks"):
        shutil.copytree(ROOT / name, copy / name, ignore=passed_over)
    for name in (*BUILT, "CITATION.cff"):
        shutil.copy(ROOT / name, copy)
    _build("sdist", copy, folder)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        # Python 3.11.2, which Debian has, knows no filters; newer ones warn without.
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        file.extractall(folder / "sources", **safe)  # type: ignore[arg-type]
    (source,) = (folder / "sources").iterdir()
    _build("wheel", source, folder)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    return folder


def _build(kind: str, source: Path, out: Path) -> None:
    code = BUILD.format(kind=kind)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(out)],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def light(built: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(built / "site")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", LIGHT, *words],
        cwd=built, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def test_references_and_numbers_of_the_paper_are_inside(built: Path) -> None:
    inside = built / "site" / "repro" / "expected_results"
    shipped = {path.relative_to(inside) for path in inside.rglob("*") if path.is_file()}
    home = ROOT / "expected_results"
    assert shipped == {path.relative_to(home) for path in home.rglob("*") if path.is_file()}
    (metadata,) = (built / "site").glob("*.dist-info/METADATA")
    assert "Name: repro-2403-09162" in metadata.read_text(encoding="utf-8")


def test_tools_and_benchmarks_stay_in_the_checkout(built: Path) -> None:
    (metadata,) = (built / "site").glob("*.dist-info")
    assert {path.name for path in (built / "site").iterdir()} == {"repro", metadata.name}


def test_claims_and_profiles_need_no_checkout(built: Path) -> None:
    done = light(built, "claims")
    assert done.returncode == 0, done.stderr
    assert "from its figures" in done.stdout
    assert light(built, "profiles").returncode == 0


def test_verifying_a_reference_against_itself_ends_well(built: Path) -> None:
    done = light(built, "expected", "show", "site/repro/expected_results/small/published-code")
    assert done.returncode == 0, done.stderr
    assert light(built, "verify", "nothing").returncode == EXIT_MISSING


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("run", "run"),
        ("models fetch", "run"),
        ("docker build", "docker"),
        ("docker run", "docker"),
        ("docker verify", "docker"),
        ("docker save -o archive", "docker"),
    ],
)
def test_what_a_light_install_lacks_is_named_with_its_extra(
    built: Path, command: str, extra: str
) -> None:
    done = light(built, *command.split())
    assert done.returncode == EXIT_MISSING
    assert f"it is part of the extra '{extra}'" in done.stderr
    assert f"pip install 'repro-2403-09162[{extra}]'" in done.stderr


def test_plans_need_no_torch_and_no_data(built: Path) -> None:
    done = light(built, "plan", "--profile", "llama2-7b", "--data-dir", "nothing")
    assert done.returncode == 0, done.stderr
    assert "26 models" in done.stdout
