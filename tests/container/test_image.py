"""What the kit says of images: their build arguments, and how they differ from the checkout."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from repro import __version__
from repro.container import image, lock
from repro.container.image import Difference
from repro.errors import ReproError

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    # git refuses a checkout of another user unless it is told that it may be read.
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "safe.directory")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "*")
    return image.build_arguments("cpu")


@pytest.fixture
def labels(arguments: dict[str, str]) -> dict[str, str]:
    """The labels that the Dockerfile gives an image that is built with the arguments."""
    block = DOCKERFILE[DOCKERFILE.index("\nLABEL") :].split("\nUSER")[0]
    found = dict(re.findall(r'([\w.]+)="([^"]*)"', block))
    return {
        name: re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], value)
        for name, value in found.items()
    }


@pytest.fixture
def listing() -> dict[str, object]:
    return {
        "python": "3.12.3",
        "packages": {**lock.expected("cpu", "3.12.3"), "repro-2403-09162": "0.1.0"},
    }


def test_every_argument_is_one_of_the_dockerfile(arguments: dict[str, str]) -> None:
    known = {*re.findall(r"^ARG (\w+)", DOCKERFILE, re.M)}
    assert {*arguments} <= known
    digest = hashlib.sha256((ROOT / "docker" / "cpu.lock").read_bytes()).hexdigest()
    assert arguments["LOCK_SHA256"] == digest
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    assert arguments["REVISION"].split("+")[0] == head


def test_an_image_as_built_does_not_differ(
    labels: dict[str, str], listing: dict[str, object]
) -> None:
    assert image.differences(labels, listing) == []


def test_what_differs_is_named(labels: dict[str, str], listing: dict[str, object]) -> None:
    packages = dict(listing["packages"])  # type: ignore[call-overload]
    numpy = packages["numpy"]
    del packages["safetensors"]
    packages |= {"numpy": "1.0", "Left_Pad": "3", "packaging": packages["packaging"]}
    labels = labels | {image.VERSION_LABEL: "0.0.9"}
    assert image.differences(labels, {"python": "3.12.3", "packages": packages}) == [
        Difference(f"label {image.VERSION_LABEL}", "0.0.9", __version__),
        Difference("left-pad", "3", None),
        Difference("numpy", "1.0", numpy),
        Difference("safetensors", None, lock.expected("cpu", "3.12.3")["safetensors"]),
    ]


def test_images_of_others_are_refused(listing: dict[str, object]) -> None:
    with pytest.raises(ReproError, match=r"no label 'repro\.variant'"):
        image.differences({}, listing)


def test_the_listing_is_what_python_has_installed() -> None:
    run = [sys.executable, "-c", image.LISTING]
    found = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["packages"]["pytest"] == pytest.__version__


def test_the_bill_lists_python_packages_with_hashes_and_system_packages(
    listing: dict[str, object],
) -> None:
    system = "tini\t0.19.0-1\tamd64\nlibstdc++6\t14.2.0-4\tamd64\nlibc6\t2.39\tamd64\n"
    bill = image.bill("cpu", listing, system)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    components = {part["purl"]: part for part in bill["components"]}
    assert len(components) == len(bill["components"])
    assert {"pkg:deb/tini@0.19.0-1?arch=amd64", "pkg:deb/libc6@2.39?arch=amd64"} <= {*components}
    assert "pkg:deb/libstdc%2B%2B6@14.2.0-4?arch=amd64" in components
    python = {part["name"]: part["version"] for url, part in components.items() if ":pypi/" in url}
    # Of networkx the lock has two versions; one is for this Python.
    assert python == lock.expected("cpu", "3.12.3")
    text = (ROOT / "docker" / "cpu.lock").read_text().split("\nnumpy==")[1]
    wanted = re.findall(r"sha256:([0-9a-f]{64})", text.split("\n\n")[0].split("==")[0])
    (source,) = components[f"pkg:pypi/numpy@{python['numpy']}"]["externalReferences"]
    assert [one["content"] for one in source["hashes"]] == wanted
    (source,) = components["pkg:pypi/torch@2.13.0%2Bcpu"]["externalReferences"]
    assert source["url"] == "https://download.pytorch.org/whl/cpu/torch/"
