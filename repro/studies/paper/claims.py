"""The paper's findings, read from `claims.toml` beside this file."""

import tomllib
from functools import cache
from importlib.resources import files

from repro.spec.claims import Claim
from repro.studies.schema import ClaimTable, claim_of


@cache
def claims() -> dict[str, Claim]:
    """All claims by id, in the paper's order."""
    text = files("repro.studies.paper").joinpath("claims.toml").read_text(encoding="utf-8")
    return {
        name: claim_of(name, ClaimTable.model_validate(table))
        for name, table in tomllib.loads(text).items()
    }
