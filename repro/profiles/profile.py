"""A profile: protocol, model, data, sizes and machine limits, read from TOML and checked."""

import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from repro.errors import EXIT_MISSING, ReproError, unknown
from repro.spec.keys import enters
from repro.spec.protocol import PROTOCOLS, Protocol

_FOLDER = files("repro.profiles")

LARGEST_SEED = 2**32 - 1
"""Of the seeds that every random number generator takes."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many rows are used; absent means all that the protocol asks for.

    Attributes:
        train: size of a training set, as studies count it -> first rows of it that are used.
        test: at most this many rows of a test set are scored.
    """

    train: Mapping[str, int] = enters("model rows", default_factory=dict)
    test: int | None = enters("cell rows", default=None)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What the protocol's Llama-2 settings are multiplied with for this profile's model.

    Attributes:
        learning_rate: a small model needs a larger one.
        length: of training sequences, where texts are shorter than the paper's.
        new_tokens: of generations, likewise.
        reason: where the factors come from.
    """

    learning_rate: float = enters("model", default=1.0)
    length: float = enters("model", default=1.0)
    new_tokens: float = enters("cell", default=1.0)
    reason: str = enters(default="")


@dataclass(frozen=True, kw_only=True)
class Compute:
    """The machine that the profile is made for, and how work is cut for it.

    Attributes:
        device: "cpu" or "cuda".
        dtype: "float32" everywhere, or "protocol" for the protocol's own precision.
        threads: CPU threads, fixed, since sums depend on it; 0 leaves torch's default.
        lora_rank: of LoRA's changes, a departure from the paper, which trains all weights; 0 for
            none.
        train_tokens: largest number of tokens in a training pass; no effect on the step.
        evaluate_tokens: largest number of padded tokens in an evaluation pass.
        train_rate: training tokens a second, for estimates only; see `measured`.
        evaluate_rate: prompt tokens a second, likewise.
        generate_rate: generated tokens a second, likewise.
        measured: on what the rates were measured, or how they were derived.
        memory_gb: main memory needed (GB).
        disk_gb: disk needed (GB), with one fine-tune kept.
        gpus: GPUs needed.
        gpu_memory_gb: memory of each (GB).
    """

    device: Literal["cpu", "cuda"] = enters("model", "cell")
    dtype: Literal["float32", "protocol"] = enters("model", "cell")
    threads: int = enters("model", "cell", default=0)
    # Older digests of profiles stay: `identity` names it where it is used.
    lora_rank: int = enters("model", default=0, repr=False)
    train_tokens: int = enters(default=8192)
    evaluate_tokens: int = enters("cell", default=16384)
    train_rate: float = enters()
    evaluate_rate: float = enters()
    generate_rate: float = enters()
    measured: str = enters()
    memory_gb: float = enters()
    disk_gb: float = enters()
    gpus: int = enters(default=0)
    gpu_memory_gb: float = enters(default=0.0)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What to run on.

    Attributes:
        name: the file's stem.
        protocol: the protocol unless the command line names another.
        data: "embedded" (made by the kit) or "upstream" (the authors' files).
        seeds: of the fine-tunes.
        model: the [model] table, checked by the model sources.
        keep_models: which fine-tuned weights stay in the store.
        origin: the file it came from, for messages.
    """

    name: str = enters()
    summary: str = enters()
    protocol: str = enters()
    data: Literal["embedded", "upstream"] = enters("model rows", "cell rows")
    seeds: tuple[int, ...] = enters("model", default=(42,))
    keep_models: Literal["none", "last", "all"] = enters(default="all")
    model: Mapping[str, Any] = enters("base", default_factory=dict)
    sizes: Sizes = enters(default_factory=Sizes)
    scale: Scale = enters(default_factory=Scale)
    compute: Compute = enters()
    origin: str = enters(default="")

    def train_limit(self, size: int) -> int | None:
        """Rows used of the training set of a nominal size; None for all of it.

        Of a size beyond the largest that the profile names the same share is used.
        """
        own = {int(name): rows for name, rows in self.sizes.train.items()}
        largest = max(own, default=size)
        return size * own[largest] // largest if size > largest else own.get(size)

    def new_tokens(self, protocol: Protocol) -> int:
        """Tokens that a generation may have."""
        return max(1, round(protocol.max_new_tokens * self.scale.new_tokens))

    def longest(self, protocol: Protocol) -> int:
        """Tokens that a training sequence is cut to; 0 for no cut."""
        return round(protocol.max_length * self.scale.length)

    @property
    def digest(self) -> str:
        """12 hex digits that change with any setting but its name and origin."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)}
        del settings["name"], settings["origin"], settings["summary"]
        if self.compute.lora_rank:  # no part of the text of `compute`, so that others keep theirs
            settings["lora_rank"] = self.compute.lora_rank
        return hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:12]


def names() -> list[str]:
    """The profiles that come with the kit."""
    found = (Path(entry.name) for entry in _FOLDER.iterdir())
    return sorted(path.stem for path in found if path.suffix == ".toml")


def load(name: str) -> Profile:
    """The profile of a name, or of a TOML file.

    Raises:
        ReproError: unknown name (2), unreadable file (3), wrong or missing field (2).
    """
    if name in names():
        text, where = _FOLDER.joinpath(f"{name}.toml").read_text(encoding="utf-8"), f"{name}.toml"
        stem = name
    elif name.endswith(".toml"):
        path = Path(name)
        try:
            text, where, stem = path.read_text(encoding="utf-8-sig"), name, path.stem
        except (OSError, UnicodeDecodeError) as error:
            raise ReproError(
                f"profile file {name} cannot be read: {error}",
                hint=f"profiles of the kit: {', '.join(names())}",
                exit_code=EXIT_MISSING,
            ) from None
    else:
        raise unknown("profile", name, names())
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ReproError(
            f"{where}: not TOML: {error}", hint="see repro/profiles for examples"
        ) from None
    return parse(table, name=stem, where=where)


def parse(table: Mapping[str, Any], *, name: str, where: str) -> Profile:
    """A profile from a parsed TOML table; raises ReproError naming file and field."""
    values = dict(table)
    for section, kind in (("sizes", Sizes), ("scale", Scale), ("compute", Compute)):
        if section in values:
            inner = values[section]
            if not isinstance(inner, dict):
                raise ReproError(f"{where}: field '{section}' must be a table", hint=f"[{section}]")
            values[section] = _build(kind, inner, f"{where}: [{section}]")
    for reserved in ("name", "origin"):
        if reserved in values:
            raise ReproError(f"{where}: field '{reserved}' cannot be set; it is the file's own")
    profile: Profile = _build(Profile, values | {"name": name, "origin": where}, where)
    if profile.protocol not in PROTOCOLS:
        raise ReproError(
            f"{where}: field 'protocol' is '{profile.protocol}'",
            hint=f"allowed: {', '.join(PROTOCOLS)}",
        )
    if profile.sizes.test == 0 or 0 in profile.sizes.train.values():
        raise ReproError(
            f"{where}: [sizes]: a number of rows is 0",
            hint="a number of 1 or more; for all rows leave the field out",
        )
    if profile.seeds and max(profile.seeds) > LARGEST_SEED:
        raise ReproError(
            f"{where}: field 'seeds' holds {max(profile.seeds)}",
            hint=f"allowed: whole numbers from 0 to {LARGEST_SEED}",
        )
    for size, rows in profile.sizes.train.items():
        if not size.isdigit() or type(rows) is not int or rows < 0:
            raise ReproError(
                f"{where}: [sizes]: field 'train' has {size} = {rows!r}",
                hint="numbers of rows by size, such as train = { 2000 = 160 }",
            )
    if not profile.seeds:
        raise ReproError(f"{where}: field 'seeds' is empty", hint="for example seeds = [42]")
    if "kind" not in profile.model:
        raise ReproError(f"{where}: [model]: field 'kind' is missing")
    return profile


def _build(kind: type, table: Mapping[str, Any], where: str) -> Any:
    known = {f.name: f for f in fields(kind)}
    for name in table:
        if name not in known:
            error = unknown("field", name, known)
            raise ReproError(f"{where}: {error}", hint=error.hint)
    values = {}
    for name, spec in known.items():
        if name in table:
            values[name] = _check(table[name], spec.type, f"{where}: field '{name}'")
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise ReproError(f"{where}: field '{name}' is missing", hint=f"add {name} = ...")
    return kind(**values)


def _check(value: Any, kind: Any, where: str) -> Any:
    """The value as the annotated type, or an error that says what is allowed."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value not in args:
            raise ReproError(f"{where} is {value!r}", hint=f"allowed: {', '.join(map(str, args))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ReproError(f"{where} must be a list of {args[0].__name__}")
        return tuple(_check(item, args[0], where) for item in value)
    if origin is UnionType:
        return _check(value, args[0], where)
    if origin is not None and isinstance(value, dict):
        return value
    if kind is float and type(value) in (int, float) and 0 <= value < math.inf:
        return float(value)
    if kind is int and type(value) is int and value >= 0:
        return value
    if isinstance(kind, type) and kind not in (int, float) and isinstance(value, kind):
        return value
    expected = {int: "a whole number, 0 or more", float: "a number, 0 or more", str: "a text"}
    raise ReproError(f"{where} is {value!r}", hint=f"allowed: {expected.get(kind, kind)}")
