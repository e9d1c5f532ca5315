"""A profile: protocol, model, data, sizes and machine limits, read from TOML and checked."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from repro.errors import ReproError, unknown
from repro.spec.keys import enters
from repro.spec.protocol import Protocol, ProtocolName
from repro.tables import checked, read_toml

_FOLDER = Path(__file__).parent
_CHECKS = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

LARGEST_SEED = 2**32 - 1
"""Of the seeds that every random number generator takes."""

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Size = Annotated[str, Field(pattern=r"^[1-9]\d*$")]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many rows are used; absent means all that the protocol asks for.

    Attributes:
        train: size of a training set, as studies count it -> first rows of it that are used.
        test: at most this many rows of a test set are scored.
    """

    __pydantic_config__ = _CHECKS

    train: Mapping[Size, PositiveInt] = enters("model rows", default_factory=dict)
    test: PositiveInt | None = enters("cell rows", default=None)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What the protocol's Llama-2 settings are multiplied with for this profile's model.

    Attributes:
        learning_rate: a small model needs a larger one.
        length: of training sequences, where texts are shorter than the paper's.
        new_tokens: of generations, likewise.
        reason: where the factors come from.
    """

    __pydantic_config__ = _CHECKS

    learning_rate: NonNegativeFloat = enters("model", default=1.0)
    length: NonNegativeFloat = enters("model", default=1.0)
    new_tokens: NonNegativeFloat = enters("cell", default=1.0)
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
        rated: the kind of GPU that they are of, one of `repro/machine/kinds.toml`.
        memory_gb: main memory needed (GB).
        disk_gb: disk needed (GB), with one fine-tune kept.
        gpus: GPUs needed.
        gpu_memory_gb: memory of each (GB).
    """

    __pydantic_config__ = _CHECKS

    device: Literal["cpu", "cuda"] = enters("model", "cell")
    dtype: Literal["float32", "protocol"] = enters("model", "cell")
    threads: NonNegativeInt = enters("model", "cell", default=0)
    # For plans alone, and in no digest either.
    rated: str = enters(default="", repr=False)
    # Older digests of profiles stay: `identity` names it where it is used.
    lora_rank: NonNegativeInt = enters("model", default=0, repr=False)
    train_tokens: PositiveInt = enters(default=8192)
    evaluate_tokens: PositiveInt = enters("cell", default=16384)
    train_rate: PositiveFloat = enters(repr=False)
    evaluate_rate: PositiveFloat = enters(repr=False)
    generate_rate: PositiveFloat = enters(repr=False)
    measured: str = enters(repr=False)
    memory_gb: NonNegativeFloat = enters()
    disk_gb: NonNegativeFloat = enters()
    gpus: NonNegativeInt = enters(default=0)
    gpu_memory_gb: NonNegativeFloat = enters(default=0.0)

    @property
    def precision(self) -> Literal["float32", "bfloat16"]:
        """Of fine-tuning, and of weights as they are kept."""
        return "float32" if self.dtype == "float32" else "bfloat16"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What to run on.

    Attributes:
        name: the file's stem.
        summary: a line on it, for `repro profiles`.
        protocol: the protocol unless the command line names another.
        data: "embedded" (made by the kit) or "upstream" (the authors' files).
        seeds: of the fine-tunes.
        model: the [model] table, checked by the model sources.
        keep_models: which fine-tuned weights stay in the store.
        origin: the file it came from, for messages.
    """

    __pydantic_config__ = _CHECKS

    name: str = enters()
    summary: str = enters()
    protocol: ProtocolName = enters()
    data: Literal["embedded", "upstream"] = enters("model rows", "cell rows")
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = enters("model", default=(42,))
    keep_models: Literal["none", "last", "all"] = enters(default="all")
    model: Mapping[str, Any] = enters("base")
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
        """12 hex digits that change with any setting but its name, its origin and its rates."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)}
        del settings["name"], settings["origin"], settings["summary"]
        if self.compute.lora_rank:  # no part of the text of `compute`, so that others keep theirs
            settings["lora_rank"] = self.compute.lora_rank
        return hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:12]


def names() -> list[str]:
    """The profiles that come with the kit."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load(name: str) -> Profile:
    """The profile of a name, or of a TOML file.

    Raises:
        ReproError: unknown name (2), unreadable file (3), wrong or missing field (2).
    """
    if name not in names() and not name.endswith(".toml"):
        raise unknown("profile", name, names())
    path = str(_FOLDER / f"{name}.toml") if name in names() else name
    hint = f"profiles of the kit: {', '.join(names())}"
    where = f"{name}.toml" if name in names() else name
    return parse(read_toml(path, what="profile", hint=hint), name=Path(path).stem, where=where)


def parse(table: Mapping[str, Any], *, name: str, where: str) -> Profile:
    """A profile from a parsed TOML table; raises ReproError naming file and field."""
    for reserved in ("name", "origin"):
        if reserved in table:
            raise ReproError(f"{where}: field '{reserved}' cannot be set; it is the file's own")
    own = {"name": name, "origin": where}
    profile: Profile = checked(Profile, {**table, **own}, where)
    if "kind" not in profile.model:
        raise ReproError(f"{where}: field 'model.kind' is missing", hint="add kind = ...")
    return profile
