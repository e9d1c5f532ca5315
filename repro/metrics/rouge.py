"""ROUGE-L as the paper computes it, without any model library."""

from functools import cache
from typing import TYPE_CHECKING

from repro.errors import EXIT_MISSING, ReproError

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


def rouge_l(reference: str, text: str, *, stemmer: bool) -> float:
    """Sentence-level ROUGE-L F1 of a text, 0 to 1, by `rouge-score`.

    Raises:
        ReproError: that package is not installed (3).
    """
    return float(scorer(stemmer).score(reference, text)["rougeL"].fmeasure)


@cache
def scorer(stemmer: bool) -> "RougeScorer":
    """The scorer of `rouge-score`, made once."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError as error:
        raise ReproError(
            f"ROUGE-L needs the package rouge-score: {error}",
            hint="pip install rouge-score==0.1.2",
            exit_code=EXIT_MISSING,
        ) from None
    return RougeScorer(["rougeL"], use_stemmer=stemmer)
