"""The HTML report for everyone: by keyboard or ear, on a phone, on paper, without scripts."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page, expect

Made = Any
"""What the fixture `made` gives: see conftest.py."""
Samples = Callable[[Page], list[list[str]]]


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


def test_by_keyboard_from_panel_to_sample_and_back(
    show: Callable[..., Page], made: Made, open_samples: Samples
) -> None:
    page = show()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#r0-figures > summary").focus()
    page.keyboard.press("Enter")
    page.locator("#r0-panel-1a > summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#r0-panel-1a table").is_visible()
    link = page.locator(f'#r0-panel-1a a[href="#cell={made.hostile}"]')
    for _ in range(20):
        page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    rows = open_samples(page)
    assert page.locator("#cell").is_visible()
    assert page.evaluate("document.activeElement.closest('dialog').id") == "cell"
    samples = made.samples(made.hostile)
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


def test_a_phone_shows_all_without_scrolling_sideways(
    show: Callable[..., Page], made: Made, open_samples: Samples
) -> None:
    page = show(width=360)
    assert page.evaluate("document.documentElement.scrollHeight") < 20_000  # sections fold
    page = show("#panel=6b", width=360)
    wide = "document.documentElement.scrollWidth"
    assert page.locator("#r0-panel-6b table").is_visible()
    assert page.evaluate(wide) <= 360
    page.goto(page.url.split("#")[0] + f"#cell={made.hostile}")
    open_samples(page)
    page.locator("#cell-samples details summary").nth(3).click()
    assert page.evaluate(wide) <= 360
    assert page.evaluate("(box => box.scrollWidth - box.clientWidth)(document.all.cell)") <= 0


def test_one_page_of_paper_has_the_answer_what_differs_and_the_findings(
    show: Callable[..., Page],
) -> None:
    page = show("#panel=7f", color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for shown in ("h1", "#r0 .on-paper", "table.differs", "#r0-missing", "table.claims"):
        assert page.locator(shown).first.is_visible(), shown
    for hidden in ("nav", "form.filters", "#r0-panel-7f svg", "table.cells", "table.claims ul"):
        assert not page.locator(hidden).first.is_visible(), hidden
    assert len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(prefer_css_page_size=True))) == 1


def test_without_scripts_verdicts_figures_and_points_can_be_read(
    show: Callable[..., Page], made: Made
) -> None:
    page = show(java_script_enabled=False)
    assert page.locator("table.claims tbody tr").count() == 18
    page.locator("#r0-figures > summary").click()
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
