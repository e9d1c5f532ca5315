"""Which base model a profile asks for: the [model] table, checked, with the kit's pins filled in.

Imports neither torch nor transformers.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
)

from repro.errors import ReproError, missing, unknown
from repro.models.files import check_folder, combined, model_digest, tokenizer_digest
from repro.tables import checked, like

_NAME = r"[A-Za-z0-9][\w-]*(\.[\w-]+)*"
_REPO = f"{_NAME}/{_NAME}"

EMBEDDED = Path(__file__).parent / "embedded"
"""Where the micro Llama lies that comes with the kit."""
_LLAMA = {
    "vocabulary": "vocab_size",
    "hidden": "hidden_size",
    "intermediate": "intermediate_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "context": "max_position_embeddings",
    "tied": "tie_word_embeddings",
}
"""Fields of `Architecture` as transformers' LlamaConfig has them."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The sizes of a Llama.

    Attributes:
        hidden: width of the residual stream.
        intermediate: width inside the MLP.
        heads: query heads; each is hidden / heads wide.
        kv_heads: key and value heads.
        context: tokens it can see (Llama-2: 4,096).
        tied: whether input and output embeddings are one matrix.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    layers: PositiveInt
    hidden: PositiveInt
    intermediate: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    vocabulary: PositiveInt
    context: PositiveInt
    tied: bool = False

    @property
    def parameters(self) -> int:
        """Number of weights: embeddings, attention, gated MLP and norms, without biases."""
        kv_width = self.kv_heads * self.hidden // self.heads
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * kv_width
        layer = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden
        embeddings = (1 if self.tied else 2) * self.vocabulary * self.hidden
        return embeddings + self.layers * layer + self.hidden

    @property
    def llama(self) -> dict[str, Any]:
        """The same as arguments of transformers' LlamaConfig."""
        return {theirs: getattr(self, ours) for ours, theirs in _LLAMA.items()}

    @classmethod
    def from_config(cls, path: Path) -> Self | None:
        """From a config.json; None when it is not there or not that of a Llama."""
        try:
            config: dict[str, Any] = {"num_key_value_heads": None, "tie_word_embeddings": False}
            config |= json.loads(path.read_text(encoding="utf-8"))
            if config["model_type"] != "llama":
                return None
            sizes = {ours: config[theirs] for ours, theirs in _LLAMA.items()}
            return cls(**sizes | {"kv_heads": sizes["kv_heads"] or sizes["heads"]})
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _fits(sizes: Architecture) -> Architecture:
    if sizes.hidden % (2 * sizes.heads) or sizes.heads % sizes.kv_heads:
        raise ValueError("hidden must be an even multiple of heads, heads a multiple of kv_heads")
    return sizes


Text = Annotated[str, StringConstraints(min_length=1)]
Sizes = Annotated[Architecture, AfterValidator(_fits)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class EmbeddedTable(Table):
    """The micro Llama that comes with the kit."""

    kind: Literal["embedded"]


class PackageTable(Table):
    """A GGUF file in a Python package that pins.toml knows."""

    kind: Literal["package"]
    package: Text


class HubTable(Table):
    """A repository of the Hugging Face hub at a commit (40 hex digits: branches and tags move).

    `architecture` is a name of pins.toml or a table; `sha256` has hashes by file name.
    """

    kind: Literal["hub"]
    repo: Annotated[str, like(_REPO, "give owner/name")]
    revision: Annotated[str, like(r"[0-9a-f]{40}", "give the commit as 40 hex digits")] = ""
    architecture: Text | Sizes | None = None
    sha256: dict[str, Annotated[str, like(r"[0-9a-f]{64}", "give 64 hex digits")]] = {}


class FolderTable(Table):
    """A model folder on this machine, as transformers saves it."""

    kind: Literal["folder"]
    path: Text


class RandomTable(Table):
    """An untrained Llama, for tests; `tokenizer` is a folder."""

    kind: Literal["random"]
    tokenizer: Text
    architecture: Sizes
    seed: NonNegativeInt = 0


ModelTable = EmbeddedTable | PackageTable | HubTable | FolderTable | RandomTable
"""What a profile's [model] table may hold, by its `kind`."""
_TABLES = {get_args(t.model_fields["kind"].annotation)[0]: t for t in get_args(ModelTable)}


@cache
def pins() -> dict[str, dict[str, dict[str, Any]]]:
    """The tables of pins.toml: "architecture", "hub" and "package", by name."""
    return tomllib.loads(Path(__file__).with_name("pins.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A base model and where its weights come from.

    Attributes:
        kind: of its table, see `ModelTable`.
        revision: the commit; empty where nobody named one yet.
        sha256: pinned hashes by file name: of the repository's or the package's files.
        gated: whether the hub asks for a licence to be accepted first.
        alternative: a repository with the same weights that is not gated; may be empty.
        path: the model folder, or for "random" the folder of the tokenizer.
        architecture: sizes, where they are known: pinned, or those of a model folder.
        stored: dtype of the weights as they lie in the model folder.
    """

    kind: Literal["embedded", "package", "hub", "folder", "random"]
    repo: str = ""
    revision: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    gated: bool = False
    alternative: str = ""
    package: str = ""
    version: str = ""
    path: Path | None = None
    seed: int = 0
    architecture: Architecture | None = None
    stored: str = "float32"

    @classmethod
    def from_table(cls, table: Mapping[str, Any], where: str) -> Self:
        """The spec of a profile's [model] table, with the kit's pins filled in.

        Args:
            where: the profile's file, for messages.

        Raises:
            ReproError: exit code 2, naming file and field and what is allowed.
        """
        where = f"{where}: [model]"
        kind = table.get("kind")
        if kind not in _TABLES:
            what = "is missing" if kind is None else f"is {kind!r}"
            raise ReproError(f"{where}: field 'kind' {what}", hint=f"allowed: {', '.join(_TABLES)}")
        told: ModelTable = checked(_TABLES[kind], table, where)
        if isinstance(told, PackageTable):
            return cls(kind=told.kind, package=told.package, **_package(told.package, where))
        if isinstance(told, HubTable):
            return cls(kind=told.kind, **_hub(told, where))
        if isinstance(told, FolderTable):
            path = Path(told.path).expanduser()
            return cls(
                kind=told.kind,
                path=path,
                architecture=Architecture.from_config(path / "config.json"),
            )
        if isinstance(told, RandomTable):
            path = Path(told.tokenizer).expanduser()
            return cls(kind=told.kind, path=path, seed=told.seed, architecture=told.architecture)
        return cls(kind="embedded")

    def describe(self) -> str:
        """The model in a few words, for people."""
        return {
            "embedded": "the kit's embedded micro Llama",
            "package": f"weights in the Python package {self.package} {self.version}",
            "hub": f"{self.repo} at {self.revision[:12] or 'no revision'} from the hub",
            "folder": f"the model folder {self.path}",
            "random": f"an untrained Llama, seed {self.seed}",
        }[self.kind]

    def identity(self) -> dict[str, Any]:
        """All that can change the weights, config or tokenizer, for content keys; no path in it.

        Hashes a model folder's files, which takes a while for large ones.

        Raises:
            ReproError: exit code 3, when a folder that it names is not there or no model.
        """
        if self.kind == "embedded":
            return {"kind": self.kind, "digest": combined(embedded_hashes())}
        if self.kind == "package":
            return {"kind": self.kind, "package": self.package, "sha256": dict(self.sha256)}
        if self.kind == "hub":
            pinned = {"revision": self.revision, "sha256": dict(self.sha256)}
            return {"kind": self.kind, "repo": self.repo} | pinned
        assert self.path is not None
        if self.kind == "folder":
            check_folder(self.path, what=f"[model] path {self.path}")
            return {"kind": self.kind, "digest": model_digest(self.path)}
        assert self.architecture is not None
        require_tokenizer(self.path)
        made = {"seed": self.seed, "sizes": asdict(self.architecture)}
        return {"kind": self.kind, **made, "tokenizer": tokenizer_digest(self.path)}


def embedded_hashes() -> dict[str, str]:
    """The recorded sha256 of each file of the embedded model.

    Raises:
        ReproError: exit code 3, when this copy of the kit has no embedded model.
    """
    try:
        found = json.loads((EMBEDDED / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise missing(
            "the embedded model is not in this copy of the kit",
            "install it again; in a checkout: git checkout repro/models/embedded",
        ) from None
    return {str(name): str(digest) for name, digest in found.items()}


def require_tokenizer(folder: Path) -> None:
    """Raise ReproError (exit code 3) unless the folder holds a tokenizer."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise missing(
                f"[model] tokenizer {folder}: {name} is missing",
                "give a folder that a tokenizer was saved in",
            )


def _pinned(what: str, name: str, where: str) -> dict[str, Any]:
    known = pins()[what]
    if name not in known:
        error = unknown(what, name, known)
        raise ReproError(f"{where}: field '{what}': {error}", hint=error.hint)
    return known[name]


def _package(name: str, where: str) -> dict[str, Any]:
    pin = _pinned("package", name, where)
    return {
        "version": pin["version"],
        "sha256": {pin["file"]: pin["sha256"]},
        "architecture": Architecture(**pins()["architecture"][pin["architecture"]]),
    }


def _hub(told: HubTable, where: str) -> dict[str, Any]:
    pin = pins()["hub"].get(told.repo, {})
    at_pin = told.revision in ("", pin.get("revision", ""))
    sizes = told.architecture or pin.get("architecture")
    if isinstance(sizes, str):
        sizes = Architecture(**_pinned("architecture", sizes, where))
    return {
        "repo": told.repo,
        "revision": told.revision or pin.get("revision", ""),
        "sha256": told.sha256 or (dict(pin.get("sha256", {})) if at_pin else {}),
        "gated": pin.get("gated", False),
        "alternative": pin.get("alternative", ""),
        "architecture": sizes,
        "stored": pin.get("stored", "float32"),
    }
