"""How the embedded micro Llama is pre-trained: phases, mixes of documents, rates, criteria."""

from dataclasses import dataclass, replace

Mix = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Documents:
    """Documents of a phase, one a row.

    Attributes:
        mix: kinds ("repeats", keys of `makers.TASKS`) and their weights.
        length: tokens at most.
        examples: at least and at most; (0, 0) fills the length.
        meaning: share of documents whose label words keep a fixed meaning.
        known: share of documents whose label words are the paper's, before that.
        terse: share of documents without cue words.
        words: of a longer text, as a rule.
        share: of the phase's steps.
        watched: kinds of which held-out documents are read to tell how far the phase is.
    """

    mix: Mix
    length: int
    examples: tuple[int, int] = (0, 0)
    meaning: float = 1.0
    known: float = 0.0
    terse: float = 0.3
    words: float = 10.0
    share: float = 1.0
    watched: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A phase; it has optimisers of its own.

    Attributes:
        documents: what is read; each step draws one of them by its share.
        most: steps at most; tokens: about so many a step.
        until: loss of outputs, in nats a token, mean over the watched kinds of held-out documents;
            the phase ends when it is met twice in succession. None: after all its steps.
        learning_rate: peak for embeddings and norms (AdamW); muon_rate: for all other matrices.
        warmup: steps up to the peak; decay: steps at the end in which rates fall to 2 %.
    """

    name: str
    documents: tuple[Documents, ...]
    most: int
    tokens: int = 4096
    until: float | None = None
    learning_rate: float = 2e-3
    muon_rate: float = 0.01
    warmup: int = 30
    decay: int = 0


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The recipe: all that can change the weights, besides the generator and the versions.

    Attributes:
        layers, width, inner, heads: shape of the Llama; input and output embeddings are one.
        phases: what is trained on, in this order.
        seed: of the weights and of each phase's documents.
        threads: CPU threads; the last bits of sums depend on their number.
    """

    layers: int = 4
    width: int = 128
    inner: int = 344
    heads: int = 4
    phases: tuple[Phase, ...]
    weight_decay: float = 0.05
    beta2: float = 0.98
    clip_norm: float = 1.0
    seed: int = 1
    threads: int = 1


# Lists and repeats come first: copying, and looking back for a label, are learnt from them.
LISTS: Mix = {
    "repeats": 4.0,
    "selection": 2.0,
    "category": 4.0,
    "kept": 1.0,
    "sentiment": 0.5,
    "praised": 0.5,
    "shared": 1.0,
    "changed": 1.0,
}
# Single examples whose labels always mean the same teach what a pair is about: in longer documents
# every word has occurred before, which hides whether two sentences share it. Nearly all of them
# must be pairs. To find the word that two lists share, or the one that is new, is learnt in a few
# hundred steps, and with it whether lists and sentences are the same, which without it was not
# learnt in 4 M tokens.
PAIRS: Mix = {
    "shared": 2.0,
    "changed": 2.0,
    "equal": 3.0,
    "same": 2.0,
    "follows": 2.0,
    "paraphrase": 2.0,
    "nli": 1.0,
    "sentiment": 0.3,
    "praised": 0.3,
}
ALL: Mix = {
    "repeats": 0.2,
    "selection": 0.3,
    "category": 1.0,
    "sentiment": 2.0,
    "praised": 2.0,
    "shared": 0.3,
    "changed": 0.3,
    "equal": 1.0,
    "same": 2.0,
    "follows": 2.0,
    "paraphrase": 2.0,
    "nli": 2.0,
    "kept": 1.5,
    "asked": 2.0,
    "summary": 1.5,
    "question": 2.0,
}
MANY_PAIRS: Mix = {**ALL, "equal": 3.0, "same": 4.0, "follows": 5.0, "paraphrase": 5.0, "nli": 4.0}
# Pairs keep labels with a known meaning; words and opinions learn labels that are given out anew.
SEVERAL: Mix = {"equal": 1.0, "same": 2.0, "follows": 3.0, "paraphrase": 3.0, "nli": 3.0}
LABELS: Mix = {"category": 3.0, "sentiment": 3.0, "praised": 2.0, "selection": 0.3}
TEXTS: Mix = {"summary": 1.0, "kept": 0.5, "asked": 0.4, "question": 0.5, "sentiment": 0.4}

SINGLE_PAIRS = Documents(mix=PAIRS, length=64, examples=(1, 1), terse=0.6, words=8.0)

EVERYTHING = (
    Documents(
        mix=ALL,
        length=288,
        meaning=0.1,
        known=0.1,
        terse=0.2,
        share=0.35,
        watched=("category", "sentiment", "praised"),
    ),
    Documents(
        mix=SEVERAL,
        length=288,
        meaning=0.7,
        known=0.6,
        terse=0.2,
        share=0.3,
        watched=("paraphrase", "nli"),
    ),
    Documents(
        mix=TEXTS,
        length=448,
        meaning=0.15,
        terse=0.2,
        words=45.0,
        share=0.25,
        watched=("summary", "question"),
    ),
    replace(SINGLE_PAIRS, known=0.7, share=0.1),
)

RECIPE = Pretraining(
    phases=(
        Phase(
            name="lists",
            documents=(
                Documents(
                    mix=LISTS,
                    length=64,
                    meaning=0.5,
                    terse=0.0,
                    watched=("category", "selection"),
                ),
            ),
            most=3000,
            tokens=2048,
            until=1.07,
            learning_rate=3e-3,
            muon_rate=0.02,
        ),
        Phase(
            name="pairs",
            documents=(
                replace(SINGLE_PAIRS, watched=("equal", "same", "follows", "paraphrase", "nli")),
            ),
            most=6000,
            tokens=1536,
            until=0.3,
            muon_rate=0.015,
        ),
        Phase(
            name="few",
            documents=(
                Documents(
                    mix=MANY_PAIRS,
                    length=160,
                    examples=(2, 5),
                    meaning=0.6,
                    terse=0.3,
                    share=0.7,
                    watched=("sentiment", "paraphrase", "nli"),
                ),
                replace(SINGLE_PAIRS, share=0.3),
            ),
            most=3000,
            tokens=2048,
            until=1.4,
        ),
        Phase(
            name="labels",
            documents=(
                Documents(
                    mix=LABELS,
                    length=128,
                    meaning=0.05,
                    words=7.0,
                    share=0.5,
                    watched=("category", "sentiment", "praised"),
                ),
                Documents(mix=SEVERAL, length=192, meaning=0.7, known=0.5, words=8.0, share=0.4),
                replace(SINGLE_PAIRS, known=0.5, share=0.1),
            ),
            most=3000,
            tokens=2048,
            until=0.8,
            muon_rate=0.015,
        ),
        Phase(
            name="many",
            documents=EVERYTHING,
            most=3000,
            tokens=3072,
            until=0.6,
        ),
        Phase(
            name="settle",
            documents=EVERYTHING,
            most=4000,
            tokens=3072,
            decay=4000,
        ),
    )
)


def _hurried(phase: Phase) -> Phase:
    decay = 6 if phase.decay else 0
    return replace(phase, most=12, tokens=600, warmup=4, decay=decay, until=None)


SMOKE = replace(
    RECIPE, layers=2, width=64, phases=tuple(_hurried(phase) for phase in RECIPE.phases)
)
"""The same code in a few seconds."""
