"""The stored positions of dropped rows, against the authors' data."""

import json
import os
from pathlib import Path

import pytest

from repro.data.upstream import UpstreamData
from repro.studies.paper.study import study
from repro.verify.published import default_folder
from repro.verify.survival import DROPPED
from tools.dropped_rows import dropped, to_json

STORED = default_folder() / DROPPED
DATA = os.environ.get("REPRO_UPSTREAM_DATA", "")


def test_flaws_have_the_rows_that_the_audit_counts() -> None:
    """AUDIT A4, A5 and A8: counts among the first 250 rows, and of empty inputs in all 500."""
    found = json.loads(STORED.read_text(encoding="utf-8"))
    assert set(found["leaked_rows"]) == {"paws"}
    assert set(found["gold_dash"]) == {"mnli1", "mnli2"}
    empty = {name: len(rows) for name, rows in found["empty_inputs"].items()}
    assert empty == {"tweetqa": 20, "gptnli": 6}


@pytest.mark.skipif(not Path(DATA, "sentiment").is_dir(), reason="needs the authors' data")
def test_stored_positions_are_those_of_the_data() -> None:
    assert to_json(dropped(UpstreamData(Path(DATA)), study())) == STORED.read_text(encoding="utf-8")
