"""All findings of the audit that need no model, and how they are recomputed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from repro.audit import labels, leaks, prompting, scores, texts, training
from repro.audit.material import Material, Value, Values
from repro.errors import unknown


@dataclass(frozen=True)
class Finding:
    """A finding of the audit that needs no model.

    Attributes:
        id: its name on the command line.
        section: the section of AUDIT.md that states it.
        unit: what its numbers count, or their scale.
        measure: recomputes it.
        needs_tokenizer: whether it counts tokens of Llama-2.
    """

    id: str
    section: str
    title: str
    unit: str
    measure: Callable[[Material], Values]
    needs_tokenizer: bool = False


_F1 = "ROUGE-L F1"

FINDINGS: tuple[Finding, ...] = (
    Finding("xsum-truncation", "A2", "XSum samples cut at 1,024 tokens", "samples",
            training.xsum_truncation, True),
    Finding("xsum-target-loss", "A2", "XSum target tokens cut off", "%",
            training.xsum_target_loss, True),
    Finding("xsum-source-lengths", "A2", "XSum documents that keep or lose their target",
            "tokens", training.xsum_source_lengths, True),
    Finding("xsum-micro-batches", "A2", "XSum micro-batches without a label", "an epoch",
            training.xsum_micro_batches, True),
    Finding("xsum-fit", "A2", "XSum FTICL samples that fit longer maxima", "%",
            training.xsum_fit, True),
    Finding("xsum-test-prompts", "A2", "XSum test prompts of 1,024 tokens or more", "prompts",
            training.xsum_test_prompts, True),
    Finding("first-tokens", "A3", "BOS and blanks that open the prompts", "ids",
            prompting.first_tokens, True),
    Finding("paws-leakage", "A4", "Paws test rows given away by training rows", "rows",
            leaks.paws_leakage),
    Finding("other-leakage", "A4", "Other test rows in training sets", "rows",
            leaks.other_leakage),
    Finding("label-tokens", "A5", "Tokens scored as labels", "id and piece",
            prompting.label_tokens, True),
    Finding("label-matches", "A5", "Labels that begin with the scored token", "labels",
            prompting.label_matches, True),
    Finding("no-majority", "A5", "Test rows without a gold label", "rows", labels.no_majority),
    Finding("constant-class", "A5", "Always answering one class", "accuracy",
            labels.constant_classes),
    Finding("simple-baselines", "A8", "First sentence, constant demonstration", _F1,
            scores.simple_baselines),
    Finding("token-baselines", "A8", "Texts of 60 tokens", _F1, scores.token_baselines, True),
    Finding("reference-lengths", "A8", "References longer than 60 tokens", "rows, tokens",
            scores.reference_lengths, True),
    Finding("socialqa-templates", "A8", "Socialqa questions made of templates", "questions, %",
            scores.socialqa_templates),
    Finding("template-scores", "A8", "One Socialqa template, best of ten", _F1,
            scores.template_scores),
    Finding("empty-inputs", "A8", "Rows with an empty input", "rows", leaks.empty_inputs),
    Finding("demonstrations-in-test", "A9", "Demonstrations among test rows", "row, shots",
            leaks.demonstrations_in_test),
    Finding("demonstrations-in-train", "A9", "Demonstrations among training rows",
            "demonstration", leaks.demonstrations_in_train),
    Finding("context-labels", "A9", "Labels that the contexts show", "labels",
            labels.context_labels),
    Finding("label-boundary", "A11", "Training targets fused with the colon", "samples",
            training.label_boundary, True),
    Finding("label-boundary-test", "A11", "References that would fuse with the colon", "rows",
            training.label_boundary_test, True),
    Finding("row-counts", "G", "Rows of every file", "rows", texts.row_counts),
    Finding("training-truncation", "C", "Samples cut, every training run", "samples",
            training.training_truncation, True),
    Finding("training-lengths", "C", "Lengths of every training run", "tokens",
            training.training_lengths, True),
    Finding("text-lengths", "D1", "Lengths of inputs and outputs", "tokens",
            texts.text_lengths, True),
    Finding("label-balance", "D2", "Labels of every file", "rows", labels.label_balance),
    Finding("nesting", "D3", "Smaller training sets inside larger ones", "rows", leaks.nesting),
    Finding("duplicates", "D3", "Repeated training rows", "rows", leaks.duplicates),
    Finding("repeated-inputs", "D3", "Repeated test inputs", "rows", leaks.repeated_inputs),
    Finding("odd-texts", "D4", "Damaged or uncleaned texts", "rows", texts.odd_texts),
    Finding("prompt-lengths", "E2", "Prompt lengths of every cell", "tokens",
            prompting.prompt_lengths, True),
)  # fmt: skip


def chosen(only: Iterable[str] | None = None) -> tuple[Finding, ...]:
    """The findings of these ids or sections, in the audit's order; all for None or none.

    Raises:
        ReproError: no such finding.
    """
    wanted = {name.casefold(): name for name in only or ()}
    names = {name.casefold(): name for f in FINDINGS for name in (f.id, f.section)}
    for name in sorted(set(wanted) - set(names)):
        raise unknown("finding", wanted[name], dict.fromkeys(names.values()))
    return tuple(
        finding
        for finding in FINDINGS
        if not wanted or finding.id in wanted or finding.section.casefold() in wanted
    )


def audit(
    material: Material,
    findings: Iterable[Finding],
    say: Callable[[int, Finding], None] = lambda done, finding: None,
) -> dict[tuple[str, str], Value]:
    """Recompute findings; the values by the id of their finding and what is measured.

    Args:
        say: called with each finding before it is measured, and how many were before it.

    Raises:
        ReproError: rows are missing or wrong.
    """
    measured: dict[tuple[str, str], Value] = {}
    for done, finding in enumerate(findings):
        say(done, finding)
        for what, value in finding.measure(material).items():
            measured[finding.id, what] = value
    return measured
