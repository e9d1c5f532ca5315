"""How the embedded micro Llama is pre-trained: phases, mixes of documents, rates."""

from dataclasses import dataclass, field, replace

Mix = dict[str, float]

# First phase. Lists and repeats come first: copying, and looking back for a label, are learnt
# from them.
EARLY: Mix = {
    "repeats": 3.0,
    "selection": 2.0,
    "category": 4.0,
    "equality": 2.0,
    "sentiment": 1.0,
    "summary": 0.5,
    "lookup": 0.5,
}
BROAD: Mix = {
    "repeats": 0.3,
    "selection": 0.7,
    "category": 1.0,
    "equality": 0.8,
    "sentiment": 1.5,
    "paraphrase": 2.5,
    "nli": 2.5,
    "summary": 1.5,
    "question": 1.5,
    "rewrite": 0.8,
    "lookup": 1.0,
}
# Single examples, whose labels always mean the same, teach what a pair is about: in longer
# documents every word has occurred before, which hides whether two sentences share it. Nearly all
# of them must be pairs; where a third was, nothing was learnt.
FIRST_PAIRS: Mix = {
    "equality": 3.0,
    "nli": 4.0,
    "paraphrase": 4.0,
    "sentiment": 0.5,
    "lookup": 0.5,
}
EQUALITY: Mix = {"equality": 1.0}
PAIRS: Mix = {"equality": 2.0, "nli": 3.0, "paraphrase": 4.0, "sentiment": 0.5, "lookup": 0.5}
# Kept up while few-shot documents come back: two to five examples whose labels keep a fixed
# meaning, then long ones of all kinds, most of whose labels are given out anew, then long ones
# nearly all of pairs: among all kinds, labels of pairs that are given out anew were not learnt.
KEPT_PAIRS: Mix = {"nli": 3.0, "paraphrase": 3.0, "equality": 1.0, "sentiment": 0.5, "lookup": 0.5}
FEW: Mix = {
    "selection": 0.2,
    "category": 1.0,
    "equality": 1.0,
    "sentiment": 1.0,
    "paraphrase": 3.0,
    "nli": 4.0,
    "summary": 0.5,
    "question": 0.5,
    "lookup": 0.3,
}
MANY: Mix = {
    "repeats": 0.2,
    "selection": 0.4,
    "category": 1.5,
    "equality": 1.0,
    "sentiment": 2.5,
    "paraphrase": 2.5,
    "nli": 3.0,
    "summary": 1.2,
    "question": 1.2,
    "rewrite": 0.3,
    "lookup": 0.3,
}
MANY_PAIRS: Mix = {
    "equality": 3.0,
    "paraphrase": 3.0,
    "nli": 3.0,
    "sentiment": 0.5,
    "lookup": 0.3,
    "summary": 0.3,
    "question": 0.3,
}


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Size of steps and rates of a phase; each phase has optimisers of its own.

    Attributes:
        steps: optimiser steps; tokens: about so many a step.
        learning_rate: peak for embeddings and norms (AdamW); muon_rate: for all other matrices.
        warmup: steps up to the peak; horizon: step at which the rates would be down to 2 %, after
            falling linearly over `decay` steps; 0 keeps them at their peak.
    """

    steps: int
    tokens: int
    learning_rate: float
    muon_rate: float
    warmup: int
    horizon: int = 0
    decay: int = 0


@dataclass(frozen=True, kw_only=True)
class Broad:
    """A phase on rows packed with few-shot documents, from easy kinds to all.

    Attributes:
        length: tokens a row; early_length: in the first `early_steps` steps. In twice as many the
            easy mix turns into the broad one.
        meaning: share of documents whose label words keep a fixed meaning, at the start and at
            the horizon.
    """

    pace: Pace
    length: int
    early_length: int
    early_steps: int
    meaning: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """A phase on one document a row: in each step either single examples or few-shot documents.

    Attributes:
        single, many: kinds of documents in either.
        single_length, many_length: tokens a row, at most.
        single_terse, terse: share of documents without cue words, in either.
        singles: share of steps with single examples.
        meaning: share of few-shot documents whose label words keep a fixed meaning.
        examples: of few-shot documents, at least and at most; (0, 0) fills the length.
    """

    pace: Pace
    single: Mix
    single_length: int
    single_terse: float = 0.5
    singles: float = 1.0
    many: Mix = field(default_factory=dict)
    many_length: int = 0
    meaning: float = 1.0
    terse: float = 0.2
    examples: tuple[int, int] = (0, 0)


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
    phases: tuple[Broad | Mixed, ...]
    weight_decay: float = 0.05
    beta2: float = 0.98
    clip_norm: float = 1.0
    seed: int = 1
    threads: int = 1


RECIPE = Pretraining(
    phases=(
        Broad(
            pace=Pace(
                steps=1600,
                tokens=4096,
                learning_rate=3e-3,
                muon_rate=0.02,
                warmup=100,
                horizon=3000,
                decay=2100,
            ),
            length=256,
            early_length=96,
            early_steps=250,
            meaning=(0.6, 0.35),
        ),
        Mixed(
            pace=Pace(steps=600, tokens=6144, learning_rate=2e-3, muon_rate=0.01, warmup=30),
            single=FIRST_PAIRS,
            single_length=48,
            single_terse=0.7,
        ),
        Mixed(
            pace=Pace(steps=200, tokens=4000, learning_rate=2e-3, muon_rate=0.01, warmup=30),
            single=EQUALITY,
            single_length=20,
            single_terse=1.0,
        ),
        Mixed(
            pace=Pace(steps=1000, tokens=6144, learning_rate=2e-3, muon_rate=0.01, warmup=30),
            single=PAIRS,
            single_length=48,
            single_terse=0.7,
        ),
        Mixed(
            pace=Pace(steps=500, tokens=4608, learning_rate=1.5e-3, muon_rate=0.007, warmup=50),
            single=KEPT_PAIRS,
            single_length=48,
            singles=0.4,
            many=FEW,
            many_length=144,
            meaning=0.999999,
            terse=0.4,
            examples=(2, 5),
        ),
        Mixed(
            pace=Pace(steps=1000, tokens=4608, learning_rate=2e-3, muon_rate=0.01, warmup=50),
            single=KEPT_PAIRS,
            single_length=48,
            singles=0.2,
            many=MANY,
            many_length=288,
            meaning=0.35,
            terse=0.3,
        ),
        Mixed(
            pace=Pace(steps=800, tokens=4608, learning_rate=2e-3, muon_rate=0.01, warmup=50),
            single=KEPT_PAIRS,
            single_length=48,
            singles=0.2,
            many=MANY_PAIRS,
            many_length=288,
            meaning=0.1,
            terse=0.3,
        ),
        Mixed(
            pace=Pace(
                steps=400,
                tokens=4608,
                learning_rate=2e-3,
                muon_rate=0.01,
                warmup=20,
                horizon=400,
                decay=400,
            ),
            single=KEPT_PAIRS,
            single_length=48,
            singles=0.2,
            many=MANY,
            many_length=288,
            meaning=0.2,
            terse=0.3,
        ),
    )
)


def _hurried(phase: Broad | Mixed) -> Broad | Mixed:
    pace = replace(phase.pace, steps=12, tokens=600, warmup=4, horizon=12, decay=6)
    if isinstance(phase, Broad):
        return replace(phase, pace=pace, early_steps=8)
    return replace(phase, pace=pace)


SMOKE = replace(
    RECIPE, layers=2, width=64, phases=tuple(_hurried(phase) for phase in RECIPE.phases)
)
"""The same code in a few seconds."""
