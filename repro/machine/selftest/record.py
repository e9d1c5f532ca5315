"""What the self-test found on a kind of GPU, kept as JSON, and what follows from it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from repro.errors import missing
from repro.machine.kinds import is_named
from repro.tables import adapter

Way = Literal["flex", "grouped"]

FORMAT = 1
FILE = "selftest.json"


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        right: whether it is within its bound, which `needed` tells.
        where: the worst case, or the reason.
    """

    what: str
    right: bool
    found: str
    needed: str
    where: str = ""

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        return f"{self.what}: {self.found}, allowed {self.needed}{where}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """The outcome of a self-test.

    Attributes:
        key: the kind of GPU, driver and packages that it holds for.
        checks: all comparisons.
        attention: by precision, how packed samples attend.
        share_prefix: whether evaluation computes what prompts begin with once.
        replayed: whether decoding replays a graph.
        memory_factor: largest measured peak memory as a multiple of the planned one, at least 1.
        seconds: of an optimiser step of the test's model, by placement.
        tokens: of such a step; parameters: of that model.
        rates: of the machine, such as "matmul_flops" and "copy_bytes".
        stop: why nothing may be fine-tuned or evaluated here; empty where it may.
    """

    key: Mapping[str, str]
    checks: Sequence[Check]
    attention: Mapping[str, Way]
    share_prefix: bool
    memory_factor: float
    seconds: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    parameters: int = 0
    replayed: bool = False
    rates: Mapping[str, float] = field(default_factory=dict)
    stop: str = ""

    def write(self, path: Path) -> None:
        """As JSON."""
        text = json.dumps({"format": FORMAT} | asdict(self), indent=1) + "\n"
        path.write_text(text, encoding="utf-8")

    def require(self) -> None:
        """Raise ReproError (exit code 3) where the self-test forbids to go on."""
        if self.stop:
            raise missing(
                f"the self-test of {self.key.get('gpu', 'this GPU')} failed: {self.stop}",
                "repro doctor --gpu shows every check; update the driver and try again",
            )


def write_unfinished(path: Path, key: Mapping[str, str], checks: Sequence[Check]) -> None:
    """The checks so far, for people, beside the place of a record; no record is read from it."""
    table = {"format": "unfinished", "key": key, "checks": [asdict(check) for check in checks]}
    unfinished(path).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def unfinished(path: Path) -> Path:
    """Where the checks of a self-test lie that has not come to its end."""
    return path.with_suffix(".unfinished.json")


def read(path: Path, key: Mapping[str, str]) -> Record | None:
    """The record in a file, if it is there and holds for this key."""
    found = _record(path)
    return found if found and found.key == dict(key) else None


def _record(path: Path) -> Record | None:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        found: Record = adapter(Record).validate_python(table)
    except (OSError, ValueError):
        return None
    return found if table.get("format") == FORMAT else None


def of_kind(store: Path, name: str) -> Record | None:
    """The newest record in a store of a GPU whose name holds another one, if there is any."""
    paths = (store / "selftest").glob("*.json")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        if (found := _record(path)) and is_named(name, found.key.get("gpu", "")):
            return found
    return None


def place(store: Path, key: Mapping[str, str]) -> Path:
    """Where the record of a kind lies in a store."""
    name = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:16]
    return store / "selftest" / f"{name}.json"


def conclusions(checks: Sequence[Check], precisions: Sequence[str]) -> dict[str, Any]:
    """What follows from checks: fields of a record.

    The faster way is taken where all checks of it hold, else the exact one; where that fails too,
    everything stops. Determinism is checked with the way that is then used.
    """
    wrong = {check.what: check for check in checks if not check.right}

    def first(*names: str) -> list[str]:
        """The first check that failed of those that begin with each of the names, in words."""
        begun = ([str(c) for what, c in wrong.items() if what.startswith(n)] for n in names)
        return [found[0] for found in begun if found]

    attention: dict[str, Way] = {}
    stops: list[str] = []
    for precision in precisions:
        # Kernels of FlexAttention for float32 use no matrix units.
        flex = (f"attention flex {precision}", f"determinism flex {precision}")
        if precision != "float32" and not first(*flex):
            attention[precision] = "flex"
            continue
        attention[precision] = "grouped"
        stops += first(f"attention grouped {precision}", f"determinism grouped {precision}")
    share = not any(name.endswith("with shared prefix") for name in wrong)
    replays = [check.right for check in checks if check.what.endswith("replayed")]
    stops += [str(wrong[name]) for name in wrong if name.endswith("without shared prefix")]
    return {
        "attention": attention,
        "share_prefix": share,
        "replayed": share and bool(replays) and all(replays),
        "stop": "; ".join(stops),
    }
