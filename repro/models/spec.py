"""Which base model a profile asks for: the [model] table, checked, with the kit's pins filled in.

Imports neither torch nor transformers.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_args

from repro.errors import EXIT_MISSING, ReproError, unknown
from repro.models.files import check_folder, combined, model_digest, tokenizer_digest

Kind = Literal["embedded", "package", "hub", "folder", "random"]
KINDS: tuple[str, ...] = get_args(Kind)

EMBEDDED = Path(__file__).parent / "embedded"
"""Where the micro Llama lies that comes with the kit."""
EMBEDDED_HASHES = "manifest.json"
"""Its recorded hashes: {file name: sha256}."""

_FIELDS = {
    "embedded": (),
    "package": ("package",),
    "hub": ("repo", "revision", "architecture", "sha256"),
    "folder": ("path",),
    "random": ("tokenizer", "seed", "architecture"),
}
_REQUIRED = {
    "package": ("package",),
    "hub": ("repo",),
    "folder": ("path",),
    "random": ("tokenizer", "architecture"),
}
_REVISION = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


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

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
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
        return {
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "max_position_embeddings": self.context,
            "tie_word_embeddings": self.tied,
        }

    @classmethod
    def from_table(cls, table: object, where: str) -> Self:
        """From a TOML table; raises ReproError naming the field, introduced by `where`."""
        if not isinstance(table, Mapping):
            raise ReproError(f"{where} must be a table", hint=f"fields: {_names(cls)}")
        for name in table:
            if name not in _names(cls).split(", "):
                error = unknown("field", str(name), _names(cls).split(", "))
                raise ReproError(f"{where}: {error}", hint=error.hint)
        for spec in fields(cls):
            value = table.get(spec.name, spec.default)
            if value is MISSING:
                raise ReproError(f"{where}: field '{spec.name}' is missing", hint="a whole number")
            if spec.type is bool:
                if not isinstance(value, bool):
                    raise ReproError(f"{where}: field '{spec.name}' is {value!r}", hint="a boolean")
            elif type(value) is not int or value < 1:
                raise ReproError(
                    f"{where}: field '{spec.name}' is {value!r}", hint="a whole number, 1 or more"
                )
        found = cls(**table)
        if found.hidden % (2 * found.heads) or found.heads % found.kv_heads:
            raise ReproError(
                f"{where}: {found.heads} heads, {found.kv_heads} key-value heads and width "
                f"{found.hidden} do not go together",
                hint="hidden must be an even multiple of heads, and heads a multiple of kv_heads",
            )
        return found

    @classmethod
    def from_config(cls, path: Path) -> Self | None:
        """From a config.json; None when it is not there or not that of a Llama."""
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            if config["model_type"] != "llama":
                return None
            return cls(
                layers=config["num_hidden_layers"],
                hidden=config["hidden_size"],
                intermediate=config["intermediate_size"],
                heads=config["num_attention_heads"],
                kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
                vocabulary=config["vocab_size"],
                context=config["max_position_embeddings"],
                tied=config.get("tie_word_embeddings", False),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _names(kind: type) -> str:
    return ", ".join(spec.name for spec in fields(kind))


@cache
def pins() -> dict[str, dict[str, dict[str, Any]]]:
    """The tables of pins.toml: "architecture", "hub" and "package", by name."""
    text = Path(__file__).with_name("pins.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A base model and where its weights come from.

    Attributes:
        kind: "embedded" (comes with the kit), "package" (in a Python package), "hub" (a pinned
            commit of a repository), "folder" (on this machine), "random" (untrained, for tests).
        repo: of the hub, "owner/name".
        revision: its commit, 40 hex digits; empty where nobody named one yet.
        sha256: pinned hashes by file name: of the repository's or the package's files.
        gated: whether the hub asks for a licence to be accepted first.
        alternative: a repository with the same weights that is not gated; may be empty.
        package: name of the Python package.
        version: its version.
        path: the model folder, or for "random" the folder of the tokenizer.
        seed: of the random weights.
        architecture: sizes, where they are known without looking at a folder.
        stored: dtype of the weights as they lie in the model folder.
    """

    kind: Kind
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
            table: `kind`, and by kind: package: `package`; hub: `repo`, `revision`, `architecture`
                (a name of pins.toml or a table), `sha256` (hashes by file name); folder: `path`;
                random: `tokenizer` (a folder), `architecture` (a table), `seed`.
            where: the profile's file, for messages.

        Raises:
            ReproError: exit code 2, naming file and field and what is allowed.
        """
        where = f"{where}: [model]"
        kind = table.get("kind")
        if kind not in KINDS:
            what = "is missing" if kind is None else f"is {kind!r}"
            raise ReproError(f"{where}: field 'kind' {what}", hint=f"allowed: {', '.join(KINDS)}")
        for name in table:
            if name != "kind" and name not in _FIELDS[kind]:
                allowed = ", ".join(("kind", *_FIELDS[kind]))
                raise ReproError(
                    f"{where}: unknown field '{name}' for kind '{kind}'",
                    hint=f"allowed: {allowed}",
                )
        for name in _REQUIRED.get(kind, ()):
            if name not in table:
                raise ReproError(f"{where}: field '{name}' is missing", hint=f"add {name} = ...")
        for name in ("repo", "revision", "package", "path", "tokenizer"):
            if name in table and (not isinstance(table[name], str) or not table[name]):
                raise ReproError(f"{where}: field '{name}' is {table[name]!r}", hint="give a text")
        if kind == "package":
            return cls(kind=kind, **_package(table, where))
        if kind == "hub":
            return cls(kind=kind, **_hub(table, where))
        if kind == "folder":
            return cls(kind=kind, path=Path(table["path"]).expanduser())
        if kind == "random":
            return cls(kind=kind, **_random(table, where))
        return cls(kind=kind)

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
        sizes = asdict(self.architecture)
        tokenizer = tokenizer_digest(self.path)
        return {"kind": self.kind, "seed": self.seed, "sizes": sizes, "tokenizer": tokenizer}

    def sizes(self) -> Architecture | None:
        """The architecture, read from config.json where need be; None when it is not known."""
        if self.architecture is not None:
            return self.architecture
        folder = EMBEDDED if self.kind == "embedded" else self.path
        return Architecture.from_config(folder / "config.json") if folder else None


def embedded_hashes() -> dict[str, str]:
    """The recorded sha256 of each file of the embedded model.

    Raises:
        ReproError: exit code 3, when this copy of the kit has no embedded model.
    """
    try:
        found = json.loads((EMBEDDED / EMBEDDED_HASHES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ReproError(
            "the embedded model is not in this copy of the kit",
            hint="install it again; in a checkout: git checkout repro/models/embedded",
            exit_code=EXIT_MISSING,
        ) from None
    return {str(name): str(digest) for name, digest in found.items()}


def require_tokenizer(folder: Path) -> None:
    """Raise ReproError (exit code 3) unless the folder holds a tokenizer."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise ReproError(
                f"[model] tokenizer {folder}: {name} is missing",
                hint="give a folder that a tokenizer was saved in",
                exit_code=EXIT_MISSING,
            )


def _package(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    name = table["package"]
    known = pins()["package"]
    if name not in known:
        error = unknown("package", name, known)
        raise ReproError(f"{where}: field 'package': {error}", hint=error.hint)
    pin = known[name]
    return {
        "package": name,
        "version": pin["version"],
        "sha256": {pin["file"]: pin["sha256"]},
        "architecture": Architecture(**pins()["architecture"][pin["architecture"]]),
    }


def _hub(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    repo, revision = table["repo"], table.get("revision", "")
    if not _REPO.fullmatch(repo) or ".." in repo:
        raise ReproError(f"{where}: field 'repo' is '{repo}'", hint="give owner/name")
    if revision and not _REVISION.fullmatch(revision):
        raise ReproError(
            f"{where}: field 'revision' is '{revision}'",
            hint="give the commit as 40 hex digits; branches and tags can move",
        )
    pin = pins()["hub"].get(repo, {})
    own = table.get("sha256", {})
    if not isinstance(own, Mapping) or not all(
        isinstance(value, str) and _SHA256.fullmatch(value) for value in own.values()
    ):
        raise ReproError(f"{where}: field 'sha256'", hint='a table: "file name" = "64 hex digits"')
    at_pin = revision in ("", pin.get("revision", ""))
    sizes = table.get("architecture", pin.get("architecture"))
    if isinstance(sizes, str):
        if sizes not in pins()["architecture"]:
            error = unknown("architecture", sizes, pins()["architecture"])
            raise ReproError(f"{where}: field 'architecture': {error}", hint=error.hint)
        sizes = pins()["architecture"][sizes]
    if sizes is not None:
        sizes = Architecture.from_table(sizes, f"{where}: field 'architecture'")
    return {
        "repo": repo,
        "revision": revision or pin.get("revision", ""),
        "sha256": dict(own) or (dict(pin.get("sha256", {})) if at_pin else {}),
        "gated": pin.get("gated", False),
        "alternative": pin.get("alternative", ""),
        "architecture": sizes,
        "stored": pin.get("stored", "float32"),
    }


def _random(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    seed = table.get("seed", 0)
    if type(seed) is not int or seed < 0:
        raise ReproError(f"{where}: field 'seed' is {seed!r}", hint="a whole number, 0 or more")
    return {
        "path": Path(table["tokenizer"]).expanduser(),
        "seed": seed,
        "architecture": Architecture.from_table(
            table["architecture"], f"{where}: field 'architecture'"
        ),
    }
