"""What a run's steps took of devices, and what that costs where somebody says what an hour does."""

from dataclasses import dataclass

from repro.printable import counted
from repro.results.reading import check_line, json_lines
from repro.results.runs import Run, named
from repro.results.schema import TIMINGS, TimingLine


@dataclass(frozen=True)
class Rates:
    """Of a device's hour.

    Attributes:
        price: in dollars; carbon: in kilograms of CO2 equivalents, which is the power in kW times
            what a kWh of its grid emits. None where nobody said.
    """

    price: float | None = None
    carbon: float | None = None


@dataclass(frozen=True)
class Spent:
    """Device hours of all steps that were done, in all starts of the command together."""

    hours: float
    steps: int
    rates: Rates

    def __str__(self) -> str:
        parts = [f"{self.hours:.3g} device hours for {counted(self.steps, 'step')}"]
        if self.rates.price is not None:
            price = self.rates.price
            parts.append(f"{self.hours * price:,.2f} dollars at {price:g} an hour")
        if self.rates.carbon is not None:
            carbon = self.rates.carbon
            parts.append(f"{self.hours * carbon:.3g} kg of CO2e at {carbon:g} kg an hour")
        return "; ".join(parts)


def spent_by(run: Run, rates: Rates) -> Spent | None:
    """From timings.jsonl, if there is one. A fine-tune in several processes has a device each.

    Raises:
        ReproError: a line is malformed (1), with file and line.
    """
    path = run.folder / TIMINGS
    lines = list(json_lines(path)) if path.is_file() else []
    for where, line in lines:
        check_line(TimingLine, where, line)
    steps = [line for _, line in lines if line["step"] != "run"]
    if not steps:
        return None
    machines = {
        f"finetune {named(variant.name, seed)}": (tuned.raw.get("machine") or {})
        for (variant, seed), tuned in run.tuned.items()
    }
    seconds = sum(x["seconds"] * machines.get(x["step"], {}).get("processes", 1) for x in steps)
    return Spent(seconds / 3600, len(steps), rates)
