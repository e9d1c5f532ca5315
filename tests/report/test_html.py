"""The HTML report in a real browser: Debian's headless Chromium, with the network off."""

import hashlib
import re
import runpy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from repro.report import html
from repro.report.answer import first_line, head
from repro.report.model import report
from repro.report.rows import failed, missing
from repro.studies.paper.figures import PANELS, cells
from repro.verify.verdicts import Verdict

MAKER = runpy.run_path(str(Path(__file__).parents[1] / "verify" / "conftest.py"))
Made = Any
"""What the fixture `made` gives: see conftest.py."""
Samples = Callable[[Page], list[list[str]]]


def visible_cells(page: Page) -> list[str]:
    return page.eval_on_selector_all(
        "#r0-table tbody tr:not([hidden]) th", "rows => rows.map(row => row.textContent)"
    )


def test_the_page_is_small_and_whole(made: Made) -> None:
    assert made.path.stat().st_size < 5_000_000
    text = made.path.read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"(?!#)", text)
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", text)
    # Nothing hostile stands unescaped where a browser reads markup.
    assert "<img" not in text
    assert "\u202e" not in text


def test_all_figures_and_verdicts_are_there(show: Callable[..., Page], made: Made) -> None:
    page = show()
    assert page.locator("details.panel svg").count() == len(PANELS) == 49
    shown = page.eval_on_selector_all(
        "table.claims tbody tr",
        "rows => rows.map(row => [row.cells[0], row.cells[2]].map(cell => cell.textContent))",
    )
    claims = made.run.verified.claims
    assert shown == [[claim.claim.id, claim.verdict.value] for claim in claims]
    assert len(shown) == 18
    counts = page.eval_on_selector_all(
        "table.counts .count",
        "all => all.map(one => [one.dataset.verdict, Number(one.textContent)])",
    )
    found = Counter({verdict: 0 for verdict, _ in counts})
    for verdict, count in counts:
        found[verdict] += count
    assert found == Counter(number.verdict.value for number in made.run.verified.numbers)


def test_the_answer_stands_on_top(show: Callable[..., Page], made: Made) -> None:
    page = show()
    top = head(made.run.verified)
    assert page.locator("h1").inner_text() == top.first == first_line(made.report.verification)
    assert page.title().startswith(top.outcome)
    assert page.locator("#r0 .on-paper").inner_text() == top.on_paper
    facts = page.locator("#r0 > dl.facts").inner_text()
    for name, text in (*top.ran, ("numbers", top.numbers), ("findings", top.findings)):
        assert name in facts
        assert text in facts
    places = [page.locator(f"#r0-{part}").bounding_box()["y"] for part in
              ("differs", "missing", "claims", "numbers", "figures", "cells", "run")]  # fmt: skip
    assert places == sorted(places)
    # Another model than the paper's: no answer on a finding is green or red.
    ink = page.evaluate("getComputedStyle(document.body).color")
    colours = page.eval_on_selector_all(
        "table.claims .v", "all => all.map(one => getComputedStyle(one).color)"
    )
    assert set(colours) == {ink}
    items = failed(made.run.verified)
    assert page.locator("table.differs tbody tr").count() == min(len(items), html.SHOWN)
    command = page.locator("#r0-missing ~ pre.command").first.inner_text()
    assert command == missing(made.run.verified)[0].command


def test_the_base_is_called_by_its_role_and_shots_are_counted(
    show: Callable[..., Page], made: Made
) -> None:
    page = show("#panel=3a")
    rows = page.locator("#r0-panel-3a tbody th").all_inner_texts()
    assert [row for row in rows if row.startswith("base")]
    assert not [row for row in rows if "llama2" in row]
    page = show("#panel=1a")
    rows = page.locator("#r0-panel-1a tbody th").all_inner_texts()
    assert rows[:2] == ["base, 1 shot", "base, 2 shots"]
    text = page.locator("body").inner_text()
    assert not re.search(r"\b1 (models|shots|cells|findings|rows|seeds|comparisons)\b", text)
    assert page.locator("#r0-figures").get_attribute("open") is not None


def test_a_classification_cell_shows_its_labels_and_prompts(
    show: Callable[..., Page], made: Made, open_samples: Samples
) -> None:
    cell = "amazon-ft-2000.amazon.p1.2"
    page = show("#panel=1e")
    page.locator(f'#r0-panel-1e a[href="#cell={cell}"]').click()
    rows, samples = open_samples(page), made.samples(cell)
    assert len(rows) == len(samples) == 100
    for row, sample in zip(rows, samples, strict=True):
        assert row[:4] == [str(sample[name]) for name in ("row", "score", "gold", "prediction")]
        shown = dict(item.rsplit(" ", 1) for item in re.findall(r"\w+ [-\d.]+", row[4]))
        assert {name: float(value) for name, value in shown.items()} == {
            name: pytest.approx(value, abs=5e-5) for name, value in sample["logits"].items()
        }
    for place in (0, 57, 99):
        prompt = page.locator("#cell-samples tbody tr").nth(place).locator("details")
        prompt.locator("summary").click()
        text = prompt.locator("pre").text_content()
        assert text == made.context("p1", 2) + made.own_text("amazon", samples[place]["row"])
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert digest == samples[place]["prompt_sha256"]
    facts = page.locator("#cell-facts").inner_text()
    value = made.run.cells[next(c for c in made.run.cells if c.name == cell)][42].value
    assert f"accuracy {value:.3f}, n = 100" in facts
    page.go_back()
    page.wait_for_selector("#cell", state="hidden")
    page.go_forward()
    page.wait_for_selector("#cell", state="visible")


def test_hostile_texts_are_shown_and_run_nothing(
    show: Callable[..., Page], made: Made, open_samples: Samples
) -> None:
    page = show(f"#cell={made.hostile}")
    row = next(row for row in open_samples(page) if row[0] == "3")
    # Of a pair of surrogates set apart by reversal, each half is shown by its code.
    backwards = made.nasty[::-1]
    for char in "\x00\x1b\x7f\r\u2028\u202e\u200b\ufeff\ud83d":
        backwards = backwards.replace(char, f"U+{ord(char):04X}")
    assert row[2:4] == [made.shown, backwards]
    prompt = page.locator("#cell-samples tbody tr").nth(3).locator("details")
    prompt.locator("summary").click()
    assert prompt.locator("pre").text_content() == made.context("p1", 2) + made.shown
    page.goto(made.address + f"#cell={made.constant}")
    expect(page.locator("#cell-name")).to_have_text(made.constant)
    first = page.locator("#cell-samples tbody tr").first
    expect(first.locator("td:nth-child(3)")).to_contain_text("img")
    shown = made.label.replace("\u202e", "U+202E")
    assert {(row[2], row[3]) for row in open_samples(page)} == {(shown, "negative")}
    assert "every row got the label 'negative'" in page.locator("#cell-facts").inner_text()
    # What the page says of the machine came with the results too.
    identity = page.locator("#r0-run dl.identity").text_content()
    assert made.label.replace("\u202e", "\\u202e") in identity
    assert page.evaluate("[window.hacked, document.querySelectorAll('img').length]") == [None, 0]


def test_filters_leave_the_cells_that_the_data_model_names(
    show: Callable[..., Page], made: Made
) -> None:
    page = show("#r0-cells")
    run, form = made.run, page.locator("form[data-run='0']")
    every = [*run.cells, *(cell for cell in run.by_cell if cell not in run.cells)]
    assert sorted(visible_cells(page)) == sorted(cell.name for cell in every)
    seen = set()
    for verdict in Verdict:
        form.get_by_label("Outcome").select_option(verdict.value)
        wanted = {cell.name for cell, own in run.by_cell.items() if own.verdict is verdict}
        assert set(visible_cells(page)) == wanted
        assert form.locator("output").text_content() == f"{len(wanted)} of {len(every)} cells"
        seen |= {verdict} if wanted else set()
    assert {Verdict.NOT_REPRODUCED, Verdict.NOT_RUN, Verdict.CONSISTENT} <= seen
    form.get_by_label("Outcome").select_option("NOT COMPARED")
    assert set(visible_cells(page)) == {c.name for c in every if c not in run.by_cell}
    form.get_by_role("button").click()
    expect(page.locator("#r0-table tr[hidden]")).to_have_count(0)
    form.get_by_label("Figure").select_option("7")
    wanted = {cell.name for cell in cells(["7"])}
    assert set(visible_cells(page)) == wanted
    form.get_by_label("Task").select_option("nli")
    nli = {name for name in wanted if ".mnli1." in name}
    assert set(visible_cells(page)) == nli
    form.get_by_label("Text").fill("FTICL4 p1.0")
    assert set(visible_cells(page)) == {name for name in nli if "fticl4" in name and "p1.0" in name}
    assert visible_cells(page)
    # The address leads there again.
    again = show("#" + page.url.split("#")[1])
    assert visible_cells(again) == visible_cells(page)


@pytest.mark.usefixtures("undrawn")
def test_two_protocols_are_kept_apart(tmp_path: Path) -> None:
    some = cells(["1"])[:4]
    for protocol in ("published-code", "corrected"):
        MAKER["write_results"](tmp_path / "runs" / protocol, some, n=5, protocol=protocol)
    text = html.page(report(tmp_path / "runs", expected=tmp_path))
    assert text.count('<section class="run"') == 2
    assert 'id="survival">Does each finding survive correction?' in text
    assert "exit code 3, something is missing in 2 of 2 runs" in text
    assert f'href="#cell={some[0].name}&amp;run=1"' in text
    # No reference and no prompts: both are said.
    assert text.count("<p>No reference is stored for this kind of run") == 2
    assert "The prompts of 20 of them were not kept" in text
