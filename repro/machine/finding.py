"""The outcome of a check of the machine."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]

IMAGE = "REPRO_IMAGE"
"""Environment variable that the kit's container image sets."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        what: what was looked at.
        level: "ok"; "warn": it will run, but look at it; "fail": it cannot finish.
        found: what is there.
        needed: what must be there.
        remedy: the next command or step; empty when all is well.
    """

    what: str
    level: Level
    found: str
    needed: str
    remedy: str = ""
