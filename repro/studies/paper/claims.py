"""The paper's findings, read from `claims.toml` beside this file."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from repro.spec.claims import Claim
from repro.spec.points import Point
from repro.studies.paper.figures import points
from repro.studies.schema import ClaimTable, claim_of


def _read(name: str) -> dict[str, Any]:
    text = files("repro.studies.paper").joinpath(name).read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def claims() -> dict[str, Claim]:
    """All claims by id, in the paper's order."""
    return {
        name: claim_of(name, ClaimTable.model_validate(table))
        for name, table in _read("claims.toml").items()
    }


@cache
def unclaimed() -> dict[Point, str]:
    """The plotted points that no finding rests on, with the reason."""
    return {
        point: table["reason"]
        for table in _read("unclaimed.toml")["unclaimed"]
        for point in points()
        if point.figure + point.panel in table["panels"] and point.series in table["series"]
    }
