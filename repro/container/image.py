"""What an image is built from, and what is in one."""

import subprocess
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from packaging.utils import canonicalize_name

from repro import __version__
from repro.container import lock
from repro.errors import EXIT_MISSING, ReproError
from repro.extras import DISTRIBUTION

VERSION_LABEL = "org.opencontainers.image.version"
REVISION_LABEL = "org.opencontainers.image.revision"
VARIANT_LABEL = "repro.variant"
LOCK_LABEL = "repro.lock.sha256"
PYPI = "https://pypi.org/simple"

# Printed by the image's own Python: its version, and name and version of all that it can import.
LISTING = """
import json, platform
from importlib.metadata import distributions
found = {d.metadata["Name"]: d.version for d in distributions()}
print(json.dumps({"python": platform.python_version(), "packages": found}))
"""


def default_tag(variant: str) -> str:
    """What an image is called unless the user names it."""
    return f"repro:{__version__}-{variant}"


def build_arguments(variant: str) -> dict[str, str]:
    """The Dockerfile's arguments for this checkout; raises ReproError (3) if it is none of git."""
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
            hint="pip install -e '.[docker]' in a git checkout of the kit, with git installed",
            exit_code=EXIT_MISSING,
        ) from None


class Difference(NamedTuple):
    """A thing in an image that is not as it should be; None: not there at all."""

    what: str
    found: str | None
    expected: str | None


def differences(labels: Mapping[str, str], listing: Mapping[str, Any]) -> list[Difference]:
    """Compares an image's labels, and what `LISTING` printed in it, with this checkout.

    Raises ReproError (2) for images that are not of the kit.
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
    pairs = [(name, labels.get(name), value) for name, value in wanted.items()]
    found = [Difference(f"label {name}", own, value) for name, own, value in pairs if own != value]
    expected = lock.expected(variant, listing["python"])
    installed: dict[str, str] = {
        canonicalize_name(name): version for name, version in listing["packages"].items()
    }
    for name in sorted({*expected, *installed} - {DISTRIBUTION}):  # the kit is no part of its lock
        if expected.get(name) != installed.get(name):
            found.append(Difference(name, installed.get(name), expected.get(name)))
    return found


def bill(variant: str, listing: Mapping[str, Any], system: str) -> dict[str, Any]:
    """The CycloneDX 1.6 bill of materials of one image.

    Python packages are those of the lock that are installed, as `LISTING` printed, with the hashes
    of the files that were allowed; `system` packages, lines of dpkg-query, come on top.
    """
    installed = {
        (canonicalize_name(name), version) for name, version in listing["packages"].items()
    }
    packages = [one for one in lock.read(variant) if (one.name, one.version) in installed]
    components = [
        _component(one.name, one.version, "pypi") | {"externalReferences": [_distribution(one)]}
        for one in packages
    ]
    for line in sorted(filter(None, system.splitlines())):
        name, version, architecture = line.split("\t")
        components.append(_component(name, version, "deb", f"?arch={architecture}"))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": DISTRIBUTION,
                "name": DISTRIBUTION,
                "version": __version__,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
    }


def _component(name: str, version: str, kind: str, qualifiers: str = "") -> dict[str, Any]:
    """A package, named by its package URL."""
    url = f"pkg:{kind}/{quote(name, safe='')}@{quote(version, safe='')}{qualifiers}"
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}


def _distribution(package: lock.Locked) -> dict[str, Any]:
    """Where its files come from; CPU builds of torch are not on PyPI."""
    index = "https://download.pytorch.org/whl/cpu" if "+" in package.version else PYPI
    return {
        "type": "distribution",
        "url": f"{index}/{package.name}/",
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in package.hashes],
    }
