"""The published numbers: complete, checked, and matched to the points of the figures."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.studies.paper.figures import points
from repro.verify.published import default_folder, load_paper, point_key

FOLDER = default_folder() / "paper"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "paper"))


def resum(folder: Path) -> None:
    """Make the list of hashes agree with the files again."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.glob("*.json"))
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


def edit(folder: Path, name: str, change: object) -> None:
    table = json.loads((folder / name).read_text())
    change(table)  # type: ignore[operator]
    (folder / name).write_text(json.dumps(table))
    resum(folder)


def test_every_published_number_is_exactly_one_point_and_back() -> None:
    plotted = load_paper().plotted
    keys = [point_key(point) for point in points()]
    assert len(keys) == len(set(keys)) == 578
    assert set(keys) == set(plotted)


def test_counts_by_metric_and_known_values() -> None:
    plotted = load_paper().plotted
    metrics = [number.metric for number in plotted.values()]
    assert (metrics.count("accuracy"), metrics.count("rougeL")) == (368, 210)
    assert plotted["1", "d", "4k", 0].value == 0.928
    assert plotted["1", "d", "6k", 0].value == 0.932
    assert sum(number.occluded for number in plotted.values()) == 69  # 65 on lines, 4 absent bars
    loose = [key for key, n in plotted.items() if n.metric == "accuracy" and not n.exact]
    assert loose == [("2", "f", "6k", 6), ("2", "h", "6k", 6)]


def test_a_base_cell_reads_the_same_in_every_panel() -> None:
    """The same cell is plotted several times; accuracies agree exactly, ROUGE-L to .0012."""
    seen: dict[object, float] = {}
    paper = load_paper()
    for point in points():
        if len(point.cells) == 1:
            value = paper.of(point).value
            first = seen.setdefault(point.cells[0], value)
            bound = 0 if paper.of(point).metric == "accuracy" else 0.0012
            assert abs(first - value) <= bound, point


def test_the_text_says_932_where_the_figure_has_928_and_means_the_6k_model() -> None:
    ((stated, shown, twin),) = load_paper().text_conflicts
    assert (stated.value, shown.value, twin) == (0.932, 0.928, ("1", "d", "6k", 0))


def test_a_changed_byte_is_seen(copy: Path) -> None:
    path = copy / "figure4.json"
    path.write_text(path.read_text().replace("0.4006", "0.4106"))
    with pytest.raises(ReproError, match=r"figure4\.json.*changed"):
        load_paper(copy)


def test_missing_file_and_folder(copy: Path, tmp_path: Path) -> None:
    (copy / "figure2.json").unlink()
    with pytest.raises(ReproError, match=r"figure2\.json: missing") as missing:
        load_paper(copy)
    assert missing.value.exit_code == 3
    with pytest.raises(ReproError, match="SHA256SUMS"):
        load_paper(tmp_path)


def _set(index: int, field: str, value: object):
    return lambda table: table["points"][index].__setitem__(field, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(0, "value", 1.5), r"points\[0\].*'value'"),
        (_set(0, "value", float("nan")), r"points\[0\].*'value'.*finite"),
        (_set(3, "value", "0.3"), r"points\[3\].*'value'"),
        (_set(2, "error", 0.5), r"points\[2\].*'error'"),
        (_set(1, "shots", 3), r"points\[1\].*no such point"),
        (_set(1, "series", "8k"), r"points\[1\].*no such point"),
        (_set(1, "metric", "accuracy"), r"points\[1\].*'metric'"),
        (_set(1, "exact", True), r"points\[1\].*'value'.*1/250"),
        (lambda table: table["points"].pop(), "'points' lacks 1"),
        (lambda table: table["points"].append(table["points"][0]), "second time"),
        (lambda table: table["points"][0].pop("error"), "'error' is missing"),
        (lambda table: table.update(format=2), "'format'"),
        (lambda table: table.update(n=0), "'n'"),
        (lambda table: table.update(figure="2"), "'figure'"),
    ],
)
def test_malformed_files_are_refused_with_file_and_field(
    copy: Path, change: object, message: str
) -> None:
    edit(copy, "figure1.json", change)
    with pytest.raises(ReproError, match=r"figure1\.json") as caught:
        load_paper(copy)
    assert caught.match(message)
