"""Verdicts on stored values, and files that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from repro.audit.command import EXPECTED
from repro.audit.compare import Agreement, Stored, compare, load
from repro.audit.findings import FINDINGS
from repro.errors import ReproError


@pytest.mark.parametrize(
    ("stored", "tolerance", "value", "verdict"),
    [
        (7, 0, 7, Agreement.EQUAL),
        (7, 0, 8, Agreement.DIFFERS),
        (0.52, 0, 130 / 250, Agreement.EQUAL),
        (0.419, 0.0005, 0.4194, Agreement.EQUAL),
        (0.419, 0.0005, 0.4196, Agreement.DIFFERS),
        ("1, 835", 0, "1, 835", Agreement.EQUAL),
        ("1, 835", 0, "835", Agreement.DIFFERS),
        ("1", 0, 1, Agreement.DIFFERS),
        (0, 0.5, float("nan"), Agreement.DIFFERS),
    ],
)
def test_verdict(stored: Any, tolerance: float, value: Any, verdict: Agreement) -> None:
    (comparison,) = compare({("f", "x"): value}, [Stored("A1", "f", "x", stored, tolerance)])
    assert comparison.verdict is verdict


def test_what_is_no_longer_measured_differs_and_what_was_not_asked_for_is_left_out() -> None:
    stored = [Stored("A1", "f", "gone", 1), Stored("A1", "other", "x", 1)]
    (comparison,) = compare({("f", "kept"): 1}, stored)
    assert (comparison.stored.what, comparison.verdict) == ("gone", Agreement.DIFFERS)
    assert comparison.recomputed is None


def test_findings_without_their_tokenizer_are_not_run() -> None:
    lacking = next(finding for finding in FINDINGS if finding.needs_tokenizer)
    (comparison,) = compare({}, [Stored("A2", lacking.id, "x", 1)], not_run=[lacking])
    assert comparison.verdict is Agreement.NOT_RUN


def _file(**changes: Any) -> dict[str, Any]:
    value = {"finding": "f", "what": "x", "value": 1, "within": "tenth"}
    tolerances = {"tenth": {"absolute": 0.05, "reason": "one decimal"}}
    return {
        "format": 1, "section": "A1", "tolerances": tolerances,
        "values": [{**value, **changes.pop("entry", {})}], **changes,
    }  # fmt: skip


def test_a_stored_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "A1.json").write_text(json.dumps(_file()))
    assert load(tmp_path) == [Stored("A1", "f", "x", 1, 0.05, "one decimal")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        (json.dumps([]), "an object"),
        (json.dumps(_file(format=2)), "'format'"),
        (json.dumps(_file(section=None)), "'section'"),
        (json.dumps(_file(entry={"value": None})), "field 'values[0].value'"),
        (json.dumps(_file(entry={"value": True})), "field 'values[0].value'"),
        (json.dumps(_file(entry={"value": float("nan")})), "field 'values[0].value'"),
        (json.dumps(_file(entry={"vlaue": 1})), "unknown field 'vlaue': values[0].vlaue"),
        (json.dumps(_file(entry={"within": "inch"})), "no tolerance 'inch'"),
        (json.dumps(_file(entry={"value": "text"})), "a text has no tolerance"),
        (json.dumps(_file(values=[3])), "field 'values[0]' is 3"),
        (json.dumps(_file(values=_file()["values"] * 2)), "stored twice"),
    ],
)
def test_a_malformed_file_is_refused_with_its_field(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "A1.json").write_text(content)
    with pytest.raises(ReproError) as error:
        load(tmp_path)
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReproError) as error:
        load(tmp_path)
    assert error.value.exit_code == 3


def test_every_finding_has_stored_values_and_every_value_a_finding() -> None:
    stored = load(EXPECTED)
    assert {value.finding for value in stored} == {finding.id for finding in FINDINGS}
    assert all(value.note for value in stored if value.audit_says is not None)
    assert all(value.reason for value in stored if value.tolerance)
