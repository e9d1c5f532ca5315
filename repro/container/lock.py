"""Lock files: every package of an image, with the hashes of its files."""

import platform
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from repro.errors import EXIT_MISSING, ReproError
from repro.files import file_sha256

ROOT = Path(__file__).parents[2]
VARIANTS = ("cuda", "cpu", "vllm")


@dataclass(frozen=True)
class Locked:
    """One package of a lock file."""

    requirement: Requirement  # name, exact version, and the marker where only some Pythons need it
    hashes: tuple[str, ...]  # sha256 (hex) of the files that may be installed

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        """The one version that the lock allows."""
        return str(self.requirement.specifier).removeprefix("==")


def path(variant: str) -> Path:
    """The lock file of a variant; raises ReproError (3) where the kit has no checkout."""
    found = ROOT / "docker" / f"{variant}.lock"
    if not found.is_file():
        raise ReproError(
            f"{found.name} is not there: images need a checkout of the kit",
            hint="git clone the kit, and there: pip install -e '.[docker]'",
            exit_code=EXIT_MISSING,
        )
    return found


def sha256(variant: str) -> str:
    """The hash (hex) of a variant's lock file, which its image carries as a label."""
    return file_sha256(path(variant))


def read(variant: str) -> list[Locked]:
    """All packages of a variant's lock file; raises ReproError (2) for a line without a pin."""
    found = path(variant)
    packages = []
    for line in found.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pin, *hashes = line.split("--hash=sha256:")
        try:
            requirement = Requirement(pin)
        except InvalidRequirement as error:
            raise _wrong(found, f"'{pin.strip()}' is no requirement: {error}") from None
        pinned = [part.operator == "==" for part in requirement.specifier]
        if pinned != [True] or not hashes:
            raise _wrong(found, f"'{pin.strip()}' needs one exact version and a hash")
        packages.append(Locked(requirement, tuple(part.strip() for part in hashes)))
    return packages


def _wrong(found: Path, what: str) -> ReproError:
    return ReproError(f"docker/{found.name}: {what}", hint="make it anew: docker/lock.sh")


def expected(variant: str, python: str) -> dict[str, str]:
    """Versions by package name that the image of a variant holds for a Python ("3.12.3")."""
    environment = {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "sys_platform": "linux",
        "platform_machine": platform.machine(),
    }
    return {
        package.name: package.version
        for package in read(variant)
        if not (marker := package.requirement.marker) or marker.evaluate(dict(environment))
    }
