"""Asks PyPI whether every package of the locks can still be had as locked."""

import json
import sys
import urllib.request

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from repro.container import lock

PYTHON = (3, 12)  # of the base image
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(39, 4, -1)] + [
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
    "linux_x86_64",
]


def files(name: str) -> dict[str, str]:
    """File names of a project on PyPI, with their sha256 (hex)."""
    request = urllib.request.Request(
        f"https://pypi.org/simple/{name}/",
        headers={"Accept": "application/vnd.pypi.simple.v1+json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        listed = json.load(answer)["files"]
    return {entry["filename"]: entry["hashes"].get("sha256", "") for entry in listed}


def installable(name: str, tags: set[object]) -> bool:
    """Whether the image's Python takes a file: a wheel for it, or a source archive."""
    if not name.endswith(".whl"):
        return True
    try:
        return bool(parse_wheel_filename(name)[3] & tags)
    except InvalidWheelFilename:
        return False


def main() -> int:
    """Checks each package once; prints what cannot be had."""
    tags: set[object] = {*cpython_tags(PYTHON, platforms=PLATFORMS)}
    tags |= {*compatible_tags(PYTHON, platforms=PLATFORMS)}
    version = ".".join(map(str, (*PYTHON, 0)))
    seen: dict[tuple[str, str], lock.Locked] = {}
    for variant in lock.VARIANTS:
        wanted = lock.expected(variant, version)
        for package in lock.read(variant):
            if wanted.get(package.name) == package.version:
                seen[package.name, package.version] = package
    wrong = 0
    for (name, version), package in sorted(seen.items()):
        if "+" in version:
            print(f"{name} {version}: not on PyPI but on torch's index, not asked")
            continue
        found = files(name)
        fitting = [
            file
            for file, digest in found.items()
            if digest in package.hashes and installable(file, tags)
        ]
        if not fitting:
            wrong += 1
            print(f"{name} {version}: no file with a locked hash")
    print(f"index: {len(seen)} packages, {wrong} cannot be had")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
