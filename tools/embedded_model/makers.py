"""What pre-training documents are about: examples of many kinds of tasks.

What a document asks for (label words, output style) is drawn with its maker, and can only be told
from its examples. The generators of the out-of-domain sets never occur.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from repro.data.embedded import families as f
from repro.data.embedded import words as w
from repro.data.embedded.rows import fact_sides, side, written
from tools.embedded_model import carriers
from tools.embedded_model import words as own
from tools.embedded_model.carriers import CATEGORIES, Example, Maker


@dataclass(frozen=True, kw_only=True)
class Options:
    """What documents are like.

    Attributes:
        meaning: probability that label words have a fixed meaning; at 1 always the same words.
        known: probability that label words are those of the paper's tasks, with their meaning.
        terse: probability of a format without cue words.
        words: of a longer text, as a rule.
        examples: how many at least and at most, with the end token behind them; (0, 0) fills
            the length.
    """

    meaning: float
    known: float = 0.0
    terse: float = 0.2
    words: float = 12.0
    examples: tuple[int, int] = (0, 0)


EVENT_QUESTIONS = {
    "who": ("who {past} the {thing}",),
    "thing": ("what did {who} {lemma}",),
    "place": ("where did {who} {lemma} the {thing}",),
    "day": ("when did {who} {lemma} the {thing}",),
    "colour": ("which colour was the {thing}",),
}


def person_pair(rng: Random, label: str) -> tuple[str, str]:
    """As `families.claim_pair`, on a person; its words are those of held-out sets."""
    premise, name, value = f.choose_facts(rng, w.PERSON_ATTRIBUTES, label, told=2)
    told = list(premise)
    rng.shuffle(told)
    who = rng.choice(w.PEOPLE)
    one, two = (told_of_person(attribute, premise[attribute]) for attribute in told)
    return (
        f"{who} {one} and {two} .",
        f"{who} {told_of_person(name, value)} .",
    )


def told_of_person(name: str, value: str) -> str:
    """A verb phrase for a person's attribute."""
    return {
        "job": f"works as a {value}",
        "home": f"lives in {value}",
        "mood": f"feels {value}",
        "hobby": f"plays {value}",
        "venue": f"is at the {value}",
        "action": f"was {value}",
        "clothes": f"wears {value}",
    }[name]


def _fresh(task: str, inputs: Mapping[str, str]) -> bool:
    """Whether these inputs belong to pre-training, so to no row of any set."""
    return side(task, {k: written(v) for k, v in inputs.items()}) == "pretraining"


def _label_words(rng: Random, kind: str, count: int, options: Options) -> Sequence[str]:
    """Label words: the tasks' own, always the same, with a fixed meaning, or given out anew."""
    meaning = options.meaning
    if options.known and rng.random() < options.known:
        return own.KNOWN_LABELS[kind]
    if meaning == 1.0:
        return own.MEANING_LABELS[kind][0]
    if rng.random() < meaning:
        return rng.choice(own.MEANING_LABELS[kind])
    return rng.sample(own.ARBITRARY_LABELS, count)


def sentiment(rng: Random, options: Options) -> Maker:
    """Opinions and label words."""
    labels = _label_words(rng, "sentiment", 2, options)
    nouns = rng.choice((*w.NOUNS.values(), w.VENUES, w.JOBS))

    def make(rng: Random) -> Example:
        positive = rng.random() < 0.5
        while True:
            words = f.word_count(rng, options.words, 0.5, 60)
            text = f.opinion(rng, positive, words, nouns)
            if _fresh("sentiment", {"input": text}):
                return Example((text,), labels[0 if positive else 1])

    return make


def paraphrase(rng: Random, options: Options) -> Maker:
    """Pairs that say the same or not, and label words."""
    labels = _label_words(rng, "paraphrase", 2, options)
    draw = rng.choice((f.exchange, f.change))

    def make(rng: Random) -> Example:
        same = rng.random() < 0.5
        facts = draw(rng)
        while fact_sides(facts) != {"pretraining"}:
            facts = draw(rng)
        two = facts.one if same else facts.two
        texts = f.two_wordings(rng, facts.templates, facts.one, two)
        return Example(texts, labels[0 if same else 1])

    return make


_RELATIONS = (f.ENTAILMENT, f.NEUTRAL, f.CONTRADICTION)


def nli(rng: Random, options: Options) -> Maker:
    """Pairs with their relation, three or two of them, and label words."""
    labels = dict(zip(_RELATIONS, _label_words(rng, "nli", 3, options), strict=True))
    relations = _RELATIONS if rng.random() < 0.75 else rng.sample(_RELATIONS, 2)
    kind = rng.choice(("people", *w.NOUNS))

    def make(rng: Random) -> Example:
        relation = rng.choice(relations)
        while True:
            if kind == "people":
                one, two = person_pair(rng, relation)
            else:
                one, two = f.claim_pair(rng, relation, kind)
            if _fresh("nli", {"input_1": one, "input_2": two}):
                return Example((one, two), labels[relation])

    return make


_EVENT_STYLES = (
    "{who} {past} the {thing}",
    "the {thing} was {part}",
    "{place} : {thing} {part} by {who}",
    "{who} in {place}",
    "the {colour} {thing} of {who}",
    "on {day} : {who} and the {thing}",
)


def draw_style(rng: Random, slots: Sequence[str], natural: Sequence[str]) -> str:
    """A template for outputs: one of the natural ones, or slots and connectors at random."""
    if natural and rng.random() < 0.4:
        style = rng.choice(natural)
    else:
        parts = [f"{{{slot}}}" for slot in rng.sample(list(slots), rng.randint(1, 4))]
        joint = rng.choice(("", "", "mark", "word"))
        if joint == "mark":
            parts = [f"{part} {rng.choice(own.CONNECTORS)}" for part in parts[:-1]] + parts[-1:]
        elif joint == "word":
            parts = [f"{rng.choice(('', rng.choice(own.GRAMMAR)))} {part}" for part in parts]
        style = " ".join(parts)
    if rng.random() < 0.25:
        style = f"{rng.choice(own.LITERALS)} {rng.choice((':', '-', ''))} {style}"
    return style + rng.choice((" .", "", "", " !"))


def summary(rng: Random, options: Options) -> Maker:
    """Stories and what a style keeps of them."""
    if rng.random() < 0.6:
        nouns = rng.choice(tuple(w.NOUNS.values()))
        style = draw_style(rng, ("who", "past", "thing", "colour", "place", "day"), _EVENT_STYLES)

        def told(rng: Random) -> tuple[f.Slots, str]:
            slots = f.event(rng, nouns)
            return slots, f.story(rng, slots, f.word_count(rng, options.words, 0.4, 150))

        told_by: Callable[[Random], tuple[f.Slots, str]] = told
        task = "summary"
    else:
        style = draw_style(
            rng, ("who", "past", "whom", "mood"), ("{who} {past} {whom}", "{whom} {part} by {who}")
        )

        def met(rng: Random) -> tuple[f.Slots, str]:
            slots = f.social(rng)
            return slots, rng.choice(f.SOCIAL_TEMPLATES).format(**slots)

        told_by, task = met, "question"

    def make(rng: Random) -> Example:
        while True:
            slots, text = told_by(rng)
            if _fresh(task, {"input": text}):
                return Example((text,), style.format(**slots))

    return make


_ECHOES = {
    "who": "who {past} {object}",
    "whom": "{who} {past} who",
    "thing": "{who} {past} what",
    "place": "{who} {past} {object} where",
    "day": "{who} {past} {object} when",
    "mood": "{other} felt how",
    "colour": "{thing} of which colour",
}
_SHORT = {
    "who": "who did it",
    "whom": "{who} and who",
    "thing": "{who} and what",
    "place": "{who} in which place",
    "day": "{who} on which day",
    "mood": "{other} felt what",
    "colour": "which colour of {thing}",
}


def question(rng: Random, options: Options) -> Maker:
    """Texts with an answer, and the question to it in a style."""
    is_social = rng.random() < 0.5
    plain: Mapping[str, Sequence[str]] = f.SOCIAL_QUESTIONS if is_social else EVENT_QUESTIONS
    others = rng.choice((None, None, _ECHOES, _SHORT))
    forms = {slot: (others[slot],) if others else plain[slot] for slot in plain}
    if rng.random() < 0.3:
        forms = {slot: forms[slot] for slot in rng.sample(list(forms), 2)}
    start = rng.choice(("", "", "", "say", "tell me", "quiz :", "so ,", "now tell :", "ask"))
    end = rng.choice(("", " ?", " ?", " !"))
    nouns = rng.choice(tuple(w.NOUNS.values()))

    def make(rng: Random) -> Example:
        while True:
            if is_social:
                slots = f.social(rng)
                slots["object"] = slots["whom"]
                text = rng.choice(f.SOCIAL_TEMPLATES).format(**slots)
            else:
                slots = f.event(rng, nouns)
                slots["object"] = "the " + slots["thing"]
                text = f.story(rng, slots, f.word_count(rng, options.words, 0.4, 60))
            if not _fresh("question" if is_social else "summary", {"input": text}):
                continue
            if not any(slots[slot] in text.split() for slot in forms):
                continue
            row = f.question(rng, slots, text, forms)
            return Example((text, row["answer"]), f"{start} {row['output']}{end}")

    return make


_KINDS = (
    "people",
    "place",
    "day",
    "colour",
    "object",
    "food",
    "animal",
    "job",
    "venue",
    "mood",
    "plus",
    "minus",
    "hobby",
    "action",
    "topic",
    "kind",
    "unknown",
    "about",
    "owner",
    "home",
    "size",
    "age",
    "weight",
    "heat",
    "price",
    "deed",
    "act",
)


def category(rng: Random, options: Options) -> Maker:
    """Single words, or short lists of one kind, and a word for the kind."""
    kinds = rng.sample(range(len(CATEGORIES)), rng.choice((2, 2, 2, 3, 3, 4)))
    if rng.random() < options.meaning:
        labels = {kind: _KINDS[kind] for kind in kinds}
    else:
        labels = dict(zip(kinds, rng.sample(own.ARBITRARY_LABELS, len(kinds)), strict=True))
    length = rng.choice((1, 1, 2, 3))
    # Some documents hide the telling word among words of a third kind.
    noise = rng.choice(CATEGORIES) if rng.random() < 0.3 else ()

    def make(rng: Random) -> Example:
        kind = rng.choice(kinds)
        found = [rng.choice(CATEGORIES[kind]) for _ in range(length)]
        if noise:
            found += [rng.choice(noise) for _ in range(2)]
            rng.shuffle(found)
        return Example((" ".join(found),), labels[kind])

    return make


def selection(rng: Random, options: Options) -> Maker:
    """Lists of words, and some of them in a certain order: the least of summaries."""
    length = rng.randint(2, 6)
    kept = rng.sample(range(length), rng.randint(1, min(3, length)))
    kinds = [rng.choice(CATEGORIES) for _ in range(length)]
    mark = rng.choice(("", "", *own.CONNECTORS, *own.LITERALS))

    def make(rng: Random) -> Example:
        found = [rng.choice(kind) for kind in kinds]
        return Example((" ".join(found),), " ".join([mark, *(found[i] for i in kept)]))

    return make


def equal(rng: Random, options: Options) -> Maker:
    """Two lists of words, the same or not, and label words: the least of paraphrases."""
    return carriers.same(rng, _label_words(rng, "paraphrase", 2, options), bare=True)


def same(rng: Random, options: Options) -> Maker:
    """Two sentences about nothing, the same or not, and label words."""
    return carriers.same(rng, _label_words(rng, "paraphrase", 2, options), bare=False)


def praised(rng: Random, options: Options) -> Maker:
    """Sentences about nothing that praise or damn, and label words: the least of opinions."""
    return carriers.praised(rng, _label_words(rng, "sentiment", 2, options))


def follows(rng: Random, options: Options) -> Maker:
    """A sentence about nothing, whether another follows from it, and label words."""
    return carriers.follows(rng, _label_words(rng, "nli", 3, options))


TASKS: dict[str, tuple[Callable[[Random, Options], Maker], int]] = {
    "sentiment": (sentiment, 1),
    "praised": (praised, 1),
    "paraphrase": (paraphrase, 2),
    "nli": (nli, 2),
    "summary": (summary, 1),
    "question": (question, 2),
    "category": (category, 1),
    "selection": (selection, 1),
    "equal": (equal, 2),
    "same": (same, 2),
    "follows": (follows, 2),
    "shared": (lambda rng, options: carriers.shared(rng), 2),
    "changed": (lambda rng, options: carriers.changed(rng), 2),
    "kept": (lambda rng, options: carriers.kept(rng), 1),
    "asked": (lambda rng, options: carriers.asked(rng), 2),
}
"""Kinds of task documents: what makes them, and how many input fields they have."""
