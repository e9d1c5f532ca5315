"""A small plan of the embedded model."""

import pytest

from repro import studies
from repro.cli.options import build_plan, parse
from repro.plan.plan import Plan

CELLS = "base.amazon.p1.0,base.socialqa.p1.1,amazon-ft-16.amazon.p1.0,amazon-ft-32.sst2.p1.0"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    names = ["figures", "claims", "variants", "tests", "grid", "seeds", "data_dir"]
    request = parse(
        **dict.fromkeys([*names, "protocol_name", "checkpoints"]),
        study=studies.DEFAULT,
        profile="embedded",
        overrides=(),
        cells=CELLS,
        rows=4,
        store=tmp_path_factory.mktemp("store"),
        skip_missing=False,
        engine="torch",
        model=(),
    )
    return build_plan(request, print)
