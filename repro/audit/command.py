"""What `repro audit` does."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from repro import profiles
from repro.audit import beside, faces
from repro.audit import tokenizer as tokenizers
from repro.audit.compare import Agreement, compare, load
from repro.audit.findings import Finding, audit, chosen
from repro.audit.material import Material
from repro.bars import bars
from repro.data.embedded import EmbeddedData
from repro.data.upstream import UpstreamData, locate
from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError
from repro.models.load import load_tokenizer
from repro.models.spec import EMBEDDED
from repro.resources import expected_results

EXPECTED = expected_results() / "audit"
"""The stored values of this copy of the kit."""


def run(
    data_dir: Path | None,
    tokenizer_dir: Path | None,
    only: Sequence[str] | None,
    out: Path | None,
    console: Console,
    *,
    expected: Path = EXPECTED,
    every: bool = False,
) -> int:
    """Recompute the findings, compare them with the stored values, and print the result.

    Without a tokenizer (neither named nor in the environment) the findings that need one are
    shown as NOT RUN, with the file that is missing.

    Args:
        only: ids of findings, or sections such as A4; all for None or none.
        out: also write the report in every form to this folder.
        expected: the folder of the stored values.
        every: print every stored value, not only those that differ.

    Returns:
        0 if all values are equal, 1 if any differs, 3 if none differs but some could not be run.

    Raises:
        ReproError: unknown finding (2); data, stored values or a named tokenizer missing (3).
    """
    findings = chosen(only)
    stored = load(expected)
    source = UpstreamData(locate(data_dir))
    tokenizer, lacking = None, None
    not_run: tuple[Finding, ...] = ()
    if any(finding.needs_tokenizer for finding in findings):
        try:
            tokenizer = tokenizers.load(tokenizer_dir)
        except ReproError as error:
            if tokenizer_dir is not None:
                raise
            lacking = error
            not_run = tuple(finding for finding in findings if finding.needs_tokenizer)
    possible = [finding for finding in findings if finding not in not_run]
    with bars(console) as progress:
        bar = progress.add_task("reading", total=len(possible))
        measured = audit(
            Material(source, tokenizer),
            possible,
            lambda done, one: progress.update(bar, description=one.title, completed=done),
        )
    comparisons = compare(measured, stored, not_run=not_run)
    console.print(faces.report(findings, comparisons, every=every))
    if lacking is not None:
        console.print(f"NOT RUN: {lacking}; {lacking.hint}", soft_wrap=True)
    if out is not None:
        names = ", ".join(path.name for path in faces.write(findings, comparisons, measured, out))
        console.print(f"{out}: {names}")
    verdicts = {comparison.verdict for comparison in comparisons}
    if Agreement.DIFFERS in verdicts:
        return EXIT_FAILED
    return EXIT_MISSING if not_run else 0


def run_embedded(
    only: Sequence[str] | None, out: Path | None, console: Console, *, every: bool = False
) -> int:
    """Print what the findings come to in the embedded data, beside the stored values.

    There is nothing to be equal to, so that the exit code is 0. The arguments are those of `run`.

    Raises:
        ReproError: unknown finding, or one that is not held against other data (2); stored values
            missing (3).
    """
    material = Material(EmbeddedData(), load_tokenizer(EMBEDDED), profiles.load("embedded"))
    pairs, measured = beside.beside(material, load(EXPECTED), chosen(only))
    console.print(beside.report(pairs, every=every))
    if out is not None:
        names = ", ".join(path.name for path in beside.write(pairs, measured, out))
        console.print(f"{out}: {names}")
    return 0
