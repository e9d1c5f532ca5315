"""What an image is built from, and what is in one."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

from repro import __version__
from repro.container import lock
from repro.errors import EXIT_MISSING, ReproError
from repro.extras import DISTRIBUTION

VERSION_LABEL = "org.opencontainers.image.version"
REVISION_LABEL = "org.opencontainers.image.revision"
VARIANT_LABEL = "repro.variant"
LOCK_LABEL = "repro.lock.sha256"

# Printed by the image's own Python: its version, and name and version of all that it can import.
LISTING = """
import json, platform
from importlib.metadata import distributions
found = {d.metadata["Name"]: d.version for d in distributions()}
print(json.dumps({"python": platform.python_version(), "packages": found}))
"""
# The kit itself is no part of its lock.
_OWN = {DISTRIBUTION}


def default_tag(variant: str) -> str:
    """What an image is called unless the user names it."""
    return f"repro:{__version__}-{variant}"


def build_arguments(variant: str) -> dict[str, str]:
    """The Dockerfile's arguments for this checkout.

    Raises:
        ReproError: this is no git checkout (3).
    """
    return {
        "VARIANT": variant,
        "VERSION": __version__,
        "REVISION": revision(),
        "LOCK_SHA256": lock.sha256(variant),
    }


def revision() -> str:
    """The checkout's commit, "+changed" behind it where tracked files differ."""
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return _git("rev-parse", "HEAD") + ("+changed" if changed else "")


def _git(*words: str) -> str:
    command = ["git", "-C", str(lock.ROOT), *words]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise ReproError(
            f"git cannot tell the commit to build: {getattr(error, 'stderr', '') or error}",
            hint="pip install --editable . in a git checkout of the kit, with git installed",
            exit_code=EXIT_MISSING,
        ) from None


@dataclass(frozen=True)
class Difference:
    """A thing in an image that is not as it should be; None: not there at all."""

    what: str
    found: str | None
    expected: str | None


def differences(labels: Mapping[str, str], listing: Mapping[str, Any]) -> list[Difference]:
    """Compares an image with its lock and with this checkout.

    Args:
        labels: of the image.
        listing: what `LISTING` printed in it.

    Raises:
        ReproError: the image says of no variant that it is one of it (2).
    """
    variant = labels.get(VARIANT_LABEL)
    if variant not in lock.VARIANTS:
        raise ReproError(
            f"the image has no label '{VARIANT_LABEL}' with a variant of the kit: {variant}",
            hint="name an image of the kit, or make one: repro docker build",
        )
    wanted = {
        VERSION_LABEL: __version__,
        REVISION_LABEL: revision(),
        LOCK_LABEL: lock.sha256(variant),
    }
    found = [
        Difference(f"label {name}", labels.get(name), value)
        for name, value in wanted.items()
        if labels.get(name) != value
    ]
    expected = lock.expected(variant, listing["python"])
    installed: dict[str, str] = {
        canonicalize_name(name): version for name, version in listing["packages"].items()
    }
    for name in sorted({*expected, *installed} - _OWN):
        if expected.get(name) != installed.get(name):
            found.append(Difference(name, installed.get(name), expected.get(name)))
    return found


def bill(variant: str, listing: Mapping[str, Any], system: str) -> dict[str, Any]:
    """The CycloneDX bill of materials of one image: the lock's, plus its system packages.

    Args:
        listing: what `LISTING` printed in the image.
        system: lines "name<tab>version<tab>architecture" of dpkg-query.
    """
    text = (lock.path(variant).parent / f"{variant}.cdx.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    installed = {
        (canonicalize_name(name), version) for name, version in listing["packages"].items()
    }
    found["components"] = [
        part
        for part in found["components"]
        if (canonicalize_name(part["name"]), part["version"]) in installed
    ]
    for line in sorted(filter(None, system.splitlines())):
        name, version, architecture = line.split("\t")
        found["components"].append(
            {
                "type": "library",
                "bom-ref": f"deb-{name}-{architecture}",
                "name": name,
                "version": version,
                "purl": f"pkg:deb/{name}@{version}?arch={architecture}",
            }
        )
    # Its dependency graph speaks of the lock's components alone.
    found.pop("dependencies", None)
    return found
