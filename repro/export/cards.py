"""A data set and model cards for the Hugging Face hub, with hashes and licences; their upload."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from repro.api import FineTune, Results, Score
from repro.errors import EXIT_MISSING, EXIT_USAGE, ReproError
from repro.export.tables import PAPER, TABLES, about, base, models, write_lines
from repro.files import file_sha256

_OWN_DATA = (
    "Prompts and answers are of a synthetic world that the reproduction kit makes (Apache-2.0)."
)
_DATA = (
    "Prompts and reference answers are rows of public data sets, as the authors of the paper "
    "published them. Each set has a licence of its own, which this export does not change: read "
    "them before you share this."
)
_OWN_MODEL = "The base model is part of the reproduction kit (Apache-2.0)."
_MODEL = (
    "The licence of the base model holds for its fine-tunes, and may hold for their outputs: read "
    "it before you share this."
)


def write_dataset(results: Results, folder: Path) -> None:
    """`README.md`, the card, and `data/` with a file of JSON lines a table."""
    data = folder / "data"
    data.mkdir()
    write_lines(results, data)
    configs = [
        {"config_name": name, "data_files": [{"split": "train", "path": f"data/{name}.jsonl"}]}
        | ({"default": True} if name == "cells" else {})
        for name in TABLES
        if (data / f"{name}.jsonl").stat().st_size
    ]
    own = _is_own(results)
    head = {
        "license": "apache-2.0" if own else "other",
        "pretty_name": f"Reproduction of {PAPER}: {results.cells[0].profile}",
        "tags": ["evaluation", PAPER.lower()],
        "configs": configs,
    }
    hashes = [(path.name, file_sha256(path)) for path in sorted(data.iterdir())]
    text = (
        f"Results of a reproduction of {PAPER}: {len(results.cells)} cells, a model on a test set "
        "each, with every sample.\n\n"
        + _run(about(results))
        + _table("Files", ("file", "sha256"), hashes)
        + _licences(own, own)
    )
    _write(folder, head, "Reproduction results", text)


def write_model_cards(results: Results, folder: Path) -> None:
    """`MODEL/README.md` for every fine-tune that has cells, or the base alone."""
    tuned = {f"{one.variant}-seed{one.seed}": one for one in results.finetunes}
    for name, cells in models(results):
        if name in tuned or not tuned:
            (folder / name).mkdir()
            _card(results, name, cells, tuned.get(name), folder / name)


def _card(
    results: Results, name: str, cells: list[Score], tuned: FineTune | None, folder: Path
) -> None:
    own = base(results).get("kind") == "embedded"
    scores = [
        {
            "task": {"type": "text-generation"},
            "dataset": {"name": cell.dataset, "type": cell.dataset, "args": _place(cell)},
            "metrics": [{"type": cell.metric, "value": cell.value, "name": _place(cell)}],
        }
        for cell in cells
    ]
    head = {
        "license": "apache-2.0" if own else "other",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": [PAPER.lower()],
        "model-index": [{"name": name, "results": scores}],
    }
    if repo := base(results).get("repo"):
        head["base_model"] = repo
    text = (
        f"A model of a reproduction of {PAPER}. It serves research on what fine-tuning does to "
        "generalisation, and nothing else.\n\n"
        + _run(about(results) | {"weights": cells[0].model_key})
    )
    if tuned is not None:
        facts = tuned.facts
        text += _table("Training", ("setting", "value"), dict(facts.get("recipe", {})).items())
        told = ("samples", "steps", "input_tokens", "label_tokens")
        known = {name: facts[name] for name in told if name in facts}
        known["last loss"] = next((x for x in reversed(tuned.losses) if x is not None), None)
        known["mean absolute weight change"] = tuned.weight_change
        known |= {n: value for n, value in facts.items() if n.endswith("_sha256")}
        text += _table("Facts of the training", ("fact", "value"), known.items())
    rows = []
    for c in cells:
        interval = "" if c.low is None else f"{c.low:.3f} to {c.high:.3f}"
        rows.append((c.cell, f"{c.value:.3f}", interval, c.n, c.key))
    columns = ("cell", "score", "95 % interval", "rows", "content key")
    text += _table("Evaluation", columns, rows) + _licences(_is_own(results), own)
    _write(folder, head, name, text)


def _is_own(results: Results) -> bool:
    (record,) = results.records
    return record.get("data") == "embedded" and base(results).get("kind") == "embedded"


def _place(cell: Score) -> str:
    return f"{cell.prompt}, {cell.shots}-shot"


def _run(facts: Mapping[str, Any]) -> str:
    return _table("Run", ("what", "value"), facts.items())


def _licences(own_data: bool, own_model: bool) -> str:
    notes = (_OWN_DATA if own_data else _DATA, _OWN_MODEL if own_model else _MODEL)
    return "## Licences\n\n" + "\n\n".join(notes) + "\n"


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *([_shown(one) for one in row] for row in rows)]
    return f"## {title}\n\n" + "".join(f"| {' | '.join(x)} |\n" for x in lines) + "\n"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _write(folder: Path, head: Mapping[str, Any], title: str, text: str) -> None:
    # JSON is YAML, too.
    front = "".join(f"{name}: {json.dumps(value)}\n" for name, value in head.items())
    (folder / "README.md").write_text(f"---\n{front}---\n\n# {title}\n\n{text}", encoding="utf-8")


def push(
    folder: Path, repo: str, kind: Literal["dataset", "model"], say: Callable[[str], None]
) -> None:
    """Put a folder's files into a repository, which is made if it is not there, and then private.

    Raises:
        ReproError: the hub refuses, or cannot be reached (3).
    """
    from huggingface_hub import HfApi, errors  # not part of the light install

    api, exit_code = HfApi(), EXIT_MISSING
    try:
        api.create_repo(repo, repo_type=kind, private=True, exist_ok=True)
        done = api.upload_folder(
            folder_path=folder, repo_id=repo, repo_type=kind, commit_message="Export of repro"
        )
        say(f"{repo} on the hub, private: {done.commit_url}")
        return
    except errors.HfHubHTTPError as error:
        what = f"the hub does not take {repo}: HTTP {error.response.status_code}"
        hint = "name a repository of yours as OWNER/NAME, and set HF_TOKEN to a token that may "
        hint += "write, or run: hf auth login"
    except errors.HFValidationError as error:
        what, hint, exit_code = str(error), "--push OWNER/NAME", EXIT_USAGE
    except (errors.HTTPError, errors.OfflineModeIsEnabled, errors.LocalTokenNotFoundError):
        what = f"the hub cannot be reached for {repo}"
        hint = "check the connection (and HF_HUB_OFFLINE, HF_ENDPOINT) and HF_TOKEN; or upload "
        hint += f"the folder elsewhere: hf upload {repo} {folder} --repo-type {kind}"
    raise ReproError(what, hint=hint, exit_code=exit_code)
