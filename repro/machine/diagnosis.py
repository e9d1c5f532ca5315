"""What checks of the machine found, and the causes that several findings share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]

IMAGE = "REPRO_IMAGE"
"""Environment variable that the kit's container image sets."""

_INSTALL = "pip install "


@dataclass(frozen=True)
class Diagnosis:
    """The outcome of one check.

    Attributes:
        level: "ok"; "warn": it will run, but look at it; "fail": it cannot finish.
        remedy: the next command or step; empty when all is well.
    """

    what: str
    level: Level
    found: str
    needed: str
    remedy: str = ""


def diagnosed(
    what: str, right: bool, found: str, needed: str, remedy: str, *, wrong: Level = "fail"
) -> Diagnosis:
    """The outcome of a check that holds or does not; only then it has a remedy."""
    return Diagnosis(what, "ok" if right else wrong, found, needed, "" if right else remedy)


def failed(findings: Iterable[Diagnosis]) -> list[Diagnosis]:
    """Those that keep a run from finishing."""
    return [finding for finding in findings if finding.level == "fail"]


@dataclass(frozen=True)
class Cause:
    """Findings that one remedy mends.

    Attributes:
        remedy: a whole command or step.
        level: the worst of its findings.
    """

    remedy: str
    level: Level
    findings: tuple[Diagnosis, ...]

    @property
    def summary(self) -> Diagnosis:
        """All of them in one finding."""
        first = self.findings[0]
        if len(self.findings) == 1:
            return first
        if len({finding.what for finding in self.findings}) == 1:
            what, found = first.what, f"{len(self.findings)}, such as: {first.found}"
        else:
            what = f"{first.what.split()[0]}s"
            found = ", ".join(f"{f.what.split()[-1]} {f.found}" for f in self.findings)
        needed = first.needed if len({f.needed for f in self.findings}) == 1 else "as pinned"
        return Diagnosis(what, self.level, found, needed, self.remedy)


def causes(findings: Sequence[Diagnosis]) -> list[Cause]:
    """What is wrong, by remedy, failures first; packages of pip go into one command."""
    by_remedy: dict[str, list[Diagnosis]] = {}
    for finding in findings:
        if finding.level != "ok":
            key = _INSTALL if _is_install(finding.remedy) else finding.remedy
            by_remedy.setdefault(key, []).append(finding)
    found = []
    for remedy, own in by_remedy.items():
        if remedy == _INSTALL:
            remedy += " ".join(finding.remedy.removeprefix(_INSTALL) for finding in own)
        found.append(Cause(remedy, "fail" if failed(own) else "warn", tuple(own)))
    return sorted(found, key=lambda cause: cause.level != "fail")


def _is_install(remedy: str) -> bool:
    """Whether it is a plain pip command, of packages alone."""
    return remedy.startswith(_INSTALL) and "==" in remedy and " " not in remedy[len(_INSTALL) :]
