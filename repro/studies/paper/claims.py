"""The paper's findings, read from `claims.toml` beside this file."""

import tomllib
from functools import cache
from pathlib import Path

from repro.spec.claims import Claim
from repro.studies.schema import ClaimTable, claim_of


@cache
def claims() -> dict[str, Claim]:
    """All claims by id, in the paper's order."""
    tables = tomllib.loads(Path(__file__).with_name("claims.toml").read_text(encoding="utf-8"))
    return {n: claim_of(n, ClaimTable.model_validate(table)) for n, table in tables.items()}
