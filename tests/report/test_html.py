"""The HTML report in a real browser: Debian's headless Chromium, with the network off."""

import hashlib
import json
import re
import runpy
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from repro.paper.figures import PANELS, cells, points
from repro.report import charts, html
from repro.report.model import Report, report
from repro.verify.reference import record
from repro.verify.verdicts import Verdict

TESTS = Path(__file__).parents[1]
MAKER = runpy.run_path(str(TESTS / "verify" / "conftest.py"))
NASTY = (
    '</script></pre><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    "&lt;b&gt; \x00\x1b[31m\x7f a\r\nb\tc\u2028\u202egnp.exe\u200b\ufeff {{ 7 * 7 }} ${1} \ud83d"
)
SHOWN = (
    NASTY.replace("\x00", "U+0000").replace("\x1b", "U+001B").replace("\x7f", "U+007F")
    .replace("\r", "U+000D").replace("\u2028", "U+2028").replace("\u202e", "U+202E")
    .replace("\u200b", "U+200B").replace("\ufeff", "U+FEFF").replace("\ud83d", "U+D83D")
)  # fmt: skip
HOSTILE = "base.xsum.p1.2"
LABEL = "<img src=x onerror='window.hacked=1'>\u202e"
CONSTANT = "base.sst2.p1.0"
"""A cell whose rows all got the same label, and have a hostile gold."""


def own_text(dataset: str, row: int) -> str:
    return NASTY if (dataset, row) == ("xsum", 3) else f"### Input:\n{dataset} text {row}\n### Out:"


def context(prompt: str, shots: int) -> str:
    return "".join(f"{prompt} example {shot}\nits output {shot}\n\n" for shot in range(shots))


def dress(folder: Path) -> None:
    """Give a made-up results folder prompts, and some hostile texts."""
    texts: dict[tuple[object, ...], dict[str, Any]] = {}
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    for line in lines:
        path = folder / line["samples"]
        samples = [json.loads(text) for text in path.read_text().splitlines()]
        place = {"dataset": line["dataset"], "prompt": line["prompt"]}
        before = context(line["prompt"], line["shots"])
        texts[(*place.values(), "shots", line["shots"])] = place | {
            "shots": line["shots"], "text": before,
        }  # fmt: skip
        for sample in samples:
            own = own_text(line["dataset"], sample["row"])
            whole = (before + own).encode("utf-8", "surrogatepass")
            sample["prompt_sha256"] = hashlib.sha256(whole).hexdigest()
            texts[(*place.values(), "row", sample["row"])] = place | {
                "row": sample["row"], "text": own,
            }  # fmt: skip
            if line["cell"] == HOSTILE and sample["row"] == 3:
                sample |= {"gold": NASTY, "text": NASTY[::-1]}
            if line["cell"] == CONSTANT:
                sample |= {"gold": LABEL, "prediction": "negative", "score": 0}
                sample["logits"] = {"positive": -1.25, "negative": 2.5}
        if line["cell"] == CONSTANT:
            line["value"] = 0.0
        text = "".join(json.dumps(sample) + "\n" for sample in samples)
        path.write_text(text)
        line["samples_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = json.loads((folder / "run.json").read_text())
    run["machine"] = {"cpu": LABEL}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "prompts.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in texts.values())
    )


class Made:
    """A results folder of the embedded grid's size, its report, and the page."""

    def __init__(self, root: Path) -> None:
        every = [cell for cell in cells() if cell.name != "xsum-ft-2000.xsum.p1.1"]
        self.folder = MAKER["write_results"](root / "run", every, n=100)
        dress(self.folder)
        # Some cells alike, some far off, one that the run lacks; most are not stored.
        some = [point.cells[0] for point in points(["1"]) if point.panel in "ae"]
        some += [point.cells[0] for point in points(["2"]) if point.panel in "ae"]
        skill = {
            cell: value * (0.3 if cell.dataset == "peerread" else 1)
            for cell, value in MAKER["SKILL"].items()
        }
        seeds = MAKER["write_results"](
            root / "stored", some, n=100, seeds=range(1, 6), noise="other", machine="B", skill=skill
        )
        dress(seeds)
        record([seeds], root / "expected" / "embedded")
        self.report: Report = report(self.folder, expected=root / "expected")
        self.path = html.write(self.report, root / "report.html")
        self.address = self.path.as_uri()

    @property
    def run(self) -> Any:
        return self.report.runs[0]

    def samples(self, cell: str) -> list[dict[str, Any]]:
        (path,) = self.folder.glob(f"samples/{cell}.*")
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("html"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def show(browser: Browser, made: Made) -> Iterator[Callable[..., Page]]:
    """Opens the page; at the end nothing may have complained, or asked for another address."""
    contexts, wrong = [], []

    def open_page(address: str = "", *, width: int = 1280, **options: Any) -> Page:
        own = browser.new_context(offline=True, viewport={"width": width, "height": 800}, **options)
        contexts.append(own)
        page = own.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda request: wrong.append(request.url)
                if request.url.split("#")[0] != made.address else None)  # fmt: skip
        page.goto(made.address + address)
        return page

    yield open_page
    for own in contexts:
        own.close()
    assert wrong == []


def visible_cells(page: Page) -> list[str]:
    return page.eval_on_selector_all(
        "#r0-table tbody tr:not([hidden]) th", "rows => rows.map(row => row.textContent)"
    )


def open_samples(page: Page) -> list[list[str]]:
    """The rows of the opened cell: row, score, gold, prediction, logits."""
    page.wait_for_selector("#cell-samples tbody tr")
    return page.eval_on_selector_all(
        "#cell-samples tbody tr",
        "rows => rows.map(row => [...row.cells].slice(0, 5).map(cell => cell.textContent))",
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
    assert len(shown) == 16
    counts = page.eval_on_selector_all(
        "table.counts tbody td", "cells => cells.map(cell => Number(cell.textContent))"
    )
    assert sum(counts) == len(made.run.verified.numbers)
    expected = {verdict.value for verdict in Verdict}
    assert {n.verdict.value for n in made.run.verified.numbers} <= expected


def test_it_can_be_read_by_a_screen_reader(show: Callable[..., Page]) -> None:
    page = show()
    assert page.get_attribute("html", "lang") == "en"
    facts = page.evaluate(
        """() => {
          const all = (selector) => [...document.querySelectorAll(selector)];
          const ids = all("[id]").map((element) => element.id);
          const named = (svg) => document.getElementById(svg.getAttribute("aria-labelledby"));
          return {
            twice: ids.filter((id, index) => ids.indexOf(id) !== index),
            dangling: all("[aria-labelledby]").filter((element) =>
              !document.getElementById(element.getAttribute("aria-labelledby"))).length,
            unnamed: all("svg").filter((svg) => !named(svg)?.textContent).length,
            scopeless: all("th:not([scope])").length,
            captionless: all("table").filter((table) => !table.caption?.textContent).length,
            unlabelled: all("input, select").filter((input) => !input.labels.length).length,
            landmarks: ["header", "nav", "main", "footer"].map((name) => all(name).length),
            levels: all("body > :not(dialog) h1, h1, main h2, main h3, main h4, main h5")
              .map((heading) => Number(heading.tagName[1])),
            tabbed: all("[tabindex]").filter((element) => element.tabIndex > 0).length,
            live: all("output[aria-live], [role=status]").length,
          };
        }"""
    )
    levels = facts.pop("levels")
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert facts == {
        "twice": [], "dangling": 0, "unnamed": 0, "scopeless": 0, "captionless": 0,
        "unlabelled": 0, "landmarks": [1, 1, 1, 1], "tabbed": 0, "live": 2,
    }  # fmt: skip


def test_by_keyboard_from_panel_to_sample_and_back(show: Callable[..., Page], made: Made) -> None:
    page = show()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#r0-panel-1a > summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#r0-panel-1a table").is_visible()
    link = page.locator(f'#r0-panel-1a a[href="#cell={HOSTILE}"]')
    for _ in range(20):
        page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    rows = open_samples(page)
    assert page.locator("#cell").is_visible()
    assert page.evaluate("document.activeElement.closest('dialog').id") == "cell"
    samples = made.samples(HOSTILE)
    assert [row[0] for row in rows] == [str(sample["row"]) for sample in samples]
    scores = [sample["score"] for sample in samples]
    assert [float(row[1]) for row in rows] == pytest.approx(scores, abs=5e-5)
    for row, sample in zip(rows, samples, strict=True):
        if sample["row"] != 3:
            assert row[2:4] == [sample["gold"], sample["text"]]
    page.keyboard.press("Escape")
    expect(page.locator("#cell")).to_be_hidden()
    expect(page).to_have_url(re.compile("^[^#]*#?$"))
    assert link.evaluate("link => link === document.activeElement")


def test_a_classification_cell_shows_its_labels_and_prompts(
    show: Callable[..., Page], made: Made
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
        assert text == context("p1", 2) + own_text("amazon", samples[place]["row"])
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert digest == samples[place]["prompt_sha256"]
    facts = page.locator("#cell-facts").inner_text()
    value = made.run.cells[next(c for c in made.run.cells if c.name == cell)][42].value
    assert f"accuracy {value:.3f}, n = 100" in facts
    page.go_back()
    page.wait_for_selector("#cell", state="hidden")
    page.go_forward()
    page.wait_for_selector("#cell", state="visible")


def test_hostile_texts_are_shown_and_run_nothing(show: Callable[..., Page], made: Made) -> None:
    page = show(f"#cell={HOSTILE}")
    row = next(row for row in open_samples(page) if row[0] == "3")
    # Of a pair of surrogates set apart by reversal, each half is shown by its code.
    backwards = NASTY[::-1]
    for char in "\x00\x1b\x7f\r\u2028\u202e\u200b\ufeff\ud83d":
        backwards = backwards.replace(char, f"U+{ord(char):04X}")
    assert row[2:4] == [SHOWN, backwards]
    prompt = page.locator("#cell-samples tbody tr").nth(3).locator("details")
    prompt.locator("summary").click()
    assert prompt.locator("pre").text_content() == context("p1", 2) + SHOWN
    page.goto(made.address + f"#cell={CONSTANT}")
    expect(page.locator("#cell-name")).to_have_text(CONSTANT)
    first = page.locator("#cell-samples tbody tr").first
    expect(first.locator("td:nth-child(3)")).to_contain_text("img")
    shown = LABEL.replace("\u202e", "U+202E")
    assert {(row[2], row[3]) for row in open_samples(page)} == {(shown, "negative")}
    assert "every row got the label 'negative'" in page.locator("#cell-facts").inner_text()
    # What the page says of the machine came with the results too.
    assert LABEL.replace("\u202e", "\\u202e") in page.locator("#r0 > dl.facts").text_content()
    assert page.evaluate("[window.hacked, document.querySelectorAll('img').length]") == [None, 0]


def test_filters_leave_the_cells_that_the_data_model_names(
    show: Callable[..., Page], made: Made
) -> None:
    page = show()
    run, form = made.run, page.locator("form[data-run='0']")
    every = [*run.cells, *(cell for cell in run.by_cell if cell not in run.cells)]
    assert sorted(visible_cells(page)) == sorted(cell.name for cell in every)
    seen = set()
    for verdict in Verdict:
        form.get_by_label("Verdict").select_option(verdict.value)
        wanted = {cell.name for cell, own in run.by_cell.items() if own.verdict is verdict}
        assert set(visible_cells(page)) == wanted
        assert form.locator("output").text_content() == f"{len(wanted)} of {len(every)} cells"
        seen |= {verdict} if wanted else set()
    assert {Verdict.NOT_REPRODUCED, Verdict.NOT_RUN, Verdict.CONSISTENT} <= seen
    form.get_by_label("Verdict").select_option("NOT COMPARED")
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


def test_a_phone_shows_all_without_scrolling_sideways(show: Callable[..., Page]) -> None:
    page = show("#panel=6b", width=360)
    wide = "document.documentElement.scrollWidth"
    assert page.locator("#r0-panel-6b table").is_visible()
    assert page.evaluate(wide) <= 360
    page.goto(page.url.split("#")[0] + f"#cell={HOSTILE}")
    open_samples(page)
    page.locator("#cell-samples details summary").nth(3).click()
    assert page.evaluate(wide) <= 360
    assert page.evaluate("(box => box.scrollWidth - box.clientWidth)(document.all.cell)") <= 0


def test_print_shows_the_claims_whole_on_white(show: Callable[..., Page]) -> None:
    page = show(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("table.claims details:not([open])").count() == 0
    assert not page.locator("nav").is_visible()
    assert not page.locator("form.filters").first.is_visible()
    assert page.locator("#r0-panel-7f svg").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("table.claims details[open]").count() == 0


def test_without_scripts_verdicts_figures_and_points_can_be_read(
    show: Callable[..., Page], made: Made
) -> None:
    page = show(java_script_enabled=False)
    assert page.locator("table.claims tbody tr").count() == 16
    page.locator("#r0-panel-3e > summary").click()
    assert page.locator("#r0-panel-3e table").is_visible()
    assert not page.locator("form.filters").first.is_visible()
    assert page.locator("#r0-table tbody tr").count() == len({*made.run.cells, *made.run.by_cell})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_ground(show: Callable[..., Page], scheme: str) -> None:
    page = show(color_scheme=scheme)
    colours = page.evaluate(
        """() => {
          const seen = ["body", "a", ".interval", ".tally", "caption", "dt", "button",
            ...[...new Set([...document.querySelectorAll(".v")].map((v) => "." + v.classList[1]))]];
          const ground = getComputedStyle(document.body).backgroundColor;
          return [ground, seen.map((one) => getComputedStyle(document.querySelector(one)).color)];
        }"""
    )

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    ground, texts = luminance(colours[0]), [luminance(colour) for colour in colours[1]]
    assert len(texts) > 10
    for text in texts:
        assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5


def test_two_protocols_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "svg_text", lambda canvas: '<svg viewBox="0 0 1 1"></svg>')
    monkeypatch.setattr(charts, "draw_panel", lambda panel: None)
    monkeypatch.setattr(charts, "draw_swatch", lambda look: None)
    some = cells(["1"])[:4]
    for protocol in ("published-code", "corrected"):
        MAKER["write_results"](tmp_path / "runs" / protocol, some, n=5, protocol=protocol)
    text = html.page(report(tmp_path / "runs", expected=tmp_path))
    assert text.count('<section class="run"') == 2
    assert 'id="survival">Does each claim survive correction?' in text
    assert f'href="#cell={some[0].name}&amp;run=1"' in text
    # No reference and no prompts: both are said.
    assert text.count("No reference is stored for this kind of run") == 2
    assert "The prompts of 20 of them were not kept" in text
