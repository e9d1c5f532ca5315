"""What a run's content keys hold of the processor."""

from pathlib import Path

import pytest

from repro.machine.numerics import cpu_name, numerics

CPUINFO = "processor\t: 0\nvendor_id\t: {maker}\nmodel name\t: {name}\nflags\t\t: fpu avx512f\n"


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch):
    """Make the machine's first processor another one."""
    whole = Path.read_text

    def put(maker: str, name: str) -> None:
        def read(path: Path, *words: object, **more: object) -> str:
            told = str(path) == "/proc/cpuinfo"
            return CPUINFO.format(maker=maker, name=name) if told else whole(path, *words, **more)

        monkeypatch.setattr(Path, "read_text", read)

    return put


def test_processors_of_two_makers_are_two_kinds_of_machine(on) -> None:
    """Their matrix products differ in last bits, with the same instructions."""
    kinds = []
    for maker, name in (
        ("AuthenticAMD", "AMD EPYC"),
        ("AuthenticAMD", "AMD EPYC 9654 96-Core Processor"),
        ("GenuineIntel", "Intel(R) Xeon(R) Processor"),
    ):
        on(maker, name)
        assert cpu_name() == name
        kinds.append(numerics(1, device="cpu")["device"])
    assert kinds[0] == kinds[1] != kinds[2]
