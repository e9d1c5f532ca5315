"""A results folder with hostile texts, its HTML report, and a browser without a network."""

import hashlib
import json
import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from repro.report import html
from repro.report.model import Report, report
from repro.studies.paper.figures import cells, points
from repro.verify.reference import record

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
            line |= {"value": 0.0, "stderr": 0.0}
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
    """A results folder of the embedded grid's size, its report, and the page.

    Attributes:
        hostile, constant: cells with texts that attack the page, in its row 3 and in its labels.
        nasty, shown: the text of the former and how it is shown; label: that of the latter.
    """

    hostile, constant = HOSTILE, CONSTANT
    nasty, shown, label = NASTY, SHOWN, LABEL
    own_text = staticmethod(own_text)
    context = staticmethod(context)

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
        self.path = root / "report.html"
        self.path.write_bytes(html.page(self.report).encode("utf-8", "backslashreplace"))
        self.address = self.path.as_uri()

    @property
    def run(self) -> Any:
        return self.report.runs[0]

    def samples(self, cell: str) -> list[dict[str, Any]]:
        (path,) = self.folder.glob(f"samples/{cell}.*")
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("html"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with pytest.MonkeyPatch.context() as patch:
        # Chromium's sockets lie in its profile, and a socket's path has 107 characters at most.
        patch.setenv("TMPDIR", "/tmp")
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


def samples_of(page: Page) -> list[list[str]]:
    """The rows of the opened cell: row, score, gold, prediction, logits."""
    page.wait_for_selector("#cell-samples tbody tr")
    return page.eval_on_selector_all(
        "#cell-samples tbody tr",
        "rows => rows.map(row => [...row.cells].slice(0, 5).map(cell => cell.textContent))",
    )


@pytest.fixture(scope="session")
def open_samples() -> Callable[[Page], list[list[str]]]:
    return samples_of
