"""The families of examples that in-domain sets and pre-training share.

Every function draws from a `random.Random` and gives words parted by single blanks. For tasks
with two inputs both are drawn so that each alone says nothing about the label: facts are drawn
first, the second is the first or a symmetric change of it, and wordings are drawn without regard
to the label.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from repro.data.embedded.words import (
    ADJECTIVES,
    ANIMALS,
    BAD,
    BAD_VERBS,
    COLOURS,
    DAYS,
    DEGREES,
    FOODS,
    GOOD,
    GOOD_VERBS,
    HOBBIES,
    HYPERNYMS,
    JOBS,
    MOODS,
    NOUNS,
    PEOPLE,
    PLACES,
    SOCIAL_VERBS,
    SYNONYMS,
    THING_VERBS,
    THINGS,
    VENUES,
)

Slots = dict[str, str]

EVENT_TEMPLATES = (
    "{who} {past} the {colour} {thing} in {place} on {day} .",
    "on {day} , {who} {past} the {colour} {thing} in {place} .",
    "in {place} , the {colour} {thing} was {part} by {who} on {day} .",
)
ASIDES = (
    "{person} was there .",
    "the {thing} was {size} .",
    "{person} felt {mood} .",
    "it was {heat} .",
    "{person} is a {job} .",
    "{person} lives in {place} .",
    "there is a {animal} at the {venue} .",
    "{person} plays {hobby} on {day} .",
    "{person} had {food} with {person2} .",
    "the {animal} of {person} is {colour} .",
    "{person} came from {place} with {person2} .",
    "the {venue} of {place} is {age} .",
)


def word_count(rng: Random, median: float, sigma: float, most: int) -> int:
    """Words of a text, log-normal as lengths of real texts nearly are, `most` at most."""
    return min(most, round(rng.lognormvariate(math.log(median), sigma)))


def aside(rng: Random) -> str:
    """A sentence of no weight."""
    person, person2 = rng.sample(PEOPLE, 2)
    return rng.choice(ASIDES).format(
        person=person,
        person2=person2,
        thing=rng.choice(THINGS),
        food=rng.choice(FOODS),
        animal=rng.choice(ANIMALS),
        colour=rng.choice(COLOURS),
        place=rng.choice(PLACES),
        venue=rng.choice(VENUES),
        day=rng.choice(DAYS),
        hobby=rng.choice(HOBBIES),
        job=rng.choice(JOBS),
        mood=rng.choice(MOODS),
        **{name: rng.choice(ADJECTIVES[name]) for name in ("size", "heat", "age")},
    )


def padded(
    rng: Random, said: str, words: int, asides: Callable[[Random], str] = aside, first: float = 0.5
) -> str:
    """A sentence among sentences of no weight, of at least so many words together.

    Args:
        first: how often the sentence stands first; else it has any of the later places.
    """
    more: list[str] = []
    length = len(said.split())
    while length < words:
        more.append(asides(rng))
        length += len(more[-1].split())
    place = 0 if not more or rng.random() < first else rng.randint(1, len(more))
    return " ".join([*more[:place], said, *more[place:]])


def event(rng: Random, nouns: Sequence[str] = THINGS) -> Slots:
    """Somebody did something with a thing, somewhere, some day."""
    lemma, past, part = rng.choice(THING_VERBS)
    return {
        "who": rng.choice(PEOPLE),
        "lemma": lemma,
        "past": past,
        "part": part,
        "thing": rng.choice(nouns),
        "colour": rng.choice(COLOURS),
        "place": rng.choice(PLACES),
        "day": rng.choice(DAYS),
    }


def story(rng: Random, slots: Mapping[str, str], words: int) -> str:
    """An event told in one sentence, among others, of some number of words."""
    return padded(rng, rng.choice(EVENT_TEMPLATES).format(**slots), words)


SOCIAL_TEMPLATES = (
    "{who} {past} {whom} in {place} . {other} felt {mood} .",
    "in {place} , {who} {past} {whom} on {day} . {other} felt {mood} .",
    "on {day} , {whom} was {part} by {who} . {other} felt {mood} .",
)


def social(rng: Random) -> Slots:
    """Somebody did something to somebody, and one of them felt some way."""
    lemma, past, part = rng.choice(SOCIAL_VERBS)
    who, whom = rng.sample(PEOPLE, 2)
    return {
        "who": who,
        "whom": whom,
        "lemma": lemma,
        "past": past,
        "part": part,
        "other": rng.choice((who, whom)),
        "mood": rng.choice(MOODS),
        "place": rng.choice(PLACES),
        "day": rng.choice(DAYS),
    }


SOCIAL_QUESTIONS: dict[str, Sequence[str]] = {
    "mood": ("how did {other} feel", "how did {other} feel", "what was the mood of {other}"),
    "whom": ("who else did {who} see", "what did {who} do then"),
    "who": ("who else did {whom} see", "why did {whom} feel so"),
    "place": ("where was {who} then", "where did {whom} go"),
    "day": ("when was {who} there", "when did {whom} see it"),
}
"""Questions are templates, as most of the real set's are; the first of a kind comes most often."""


def question(
    rng: Random, slots: Mapping[str, str], text: str, forms: Mapping[str, Sequence[str]]
) -> Slots:
    """Text, answer and question; the answer is one of the words in the text."""
    words = text.split()
    asked = rng.choice([slot for slot in forms if slots[slot] in words])
    form = rng.choice(forms[asked])
    return {"input": text, "answer": slots[asked], "output": form.format(**slots)}


OPINIONS = (
    "the {noun} is {degree} {good}",
    "i {verb} this {noun}",
    "what a {good} {noun}",
    "this {noun} is {good} and {good2}",
    "it is a {good} {noun} and i {verb} it",
)
NEGATED_OPINIONS = (
    "the {noun} is not {bad}",
    "i do not {unverb} this {noun}",
    "it is not a {bad} {noun}",
)
REMARKS = (
    "i have it from {place}",
    "it came on {day}",
    "{who} has one",
    "it is {colour}",
    "{who} bought it in {place}",
)


def remark(rng: Random) -> str:
    """A sentence on a thing that neither praises nor damns it."""
    return (
        rng.choice(REMARKS).format(
            place=rng.choice(PLACES),
            day=rng.choice(DAYS),
            who=rng.choice(PEOPLE),
            colour=rng.choice(COLOURS),
        )
        + " ."
    )


def opinion(rng: Random, positive: bool, words: int, nouns: Sequence[str] = THINGS) -> str:
    """A remark on a thing that praises or damns it; one in five does so by denying the contrary."""
    adjectives, opposite = (GOOD, BAD) if positive else (BAD, GOOD)
    verbs, unverbs = (GOOD_VERBS, BAD_VERBS) if positive else (BAD_VERBS, GOOD_VERBS)
    good, good2 = rng.sample(adjectives, 2)
    said = rng.choice(NEGATED_OPINIONS if rng.random() < 0.2 else OPINIONS).format(
        noun=rng.choice(nouns),
        good=good,
        good2=good2,
        bad=rng.choice(opposite),
        verb=rng.choice(verbs),
        unverb=rng.choice(unverbs),
        degree=rng.choice(DEGREES),
    )
    return padded(rng, f"{said} .", words, remark)


MEETING_TEMPLATES = (
    "{who} {past} {whom} in {place}",
    "in {place} , {who} {past} {whom}",
    "{whom} was {part} by {who} in {place}",
    "in {place} , {whom} was {part} by {who}",
)
ROUTE_TEMPLATES = (
    "{who} went from {place} to {goal}",
    "from {place} , {who} went to {goal}",
    "{who} went to {goal} from {place}",
)


def reword(rng: Random, text: str) -> str:
    """The text with each word that has a synonym replaced by it half of the time."""
    return " ".join(
        SYNONYMS[word] if word in SYNONYMS and rng.random() < 0.5 else word for word in text.split()
    )


def two_wordings(
    rng: Random, templates: Sequence[str], first: Mapping[str, str], second: Mapping[str, str]
) -> tuple[str, str]:
    """Two facts, each in a template of its own, drawn without regard to what they say."""
    one, two = rng.sample(templates, 2)
    return reword(rng, one.format(**first)), reword(rng, two.format(**second))


def swapped(slots: Mapping[str, str], one: str, two: str) -> Slots:
    """The fact with two roles exchanged: the same words, another meaning."""
    return {**slots, one: slots[two], two: slots[one]}


def other(rng: Random, value: str, values: Sequence[str]) -> str:
    """Another value, each as likely as the next."""
    found = rng.choice(values)
    while found == value:
        found = rng.choice(values)
    return found


PURCHASE_TEMPLATES = (
    "{who} {past} the {colour} {thing} in {place}",
    "in {place} , {who} {past} the {colour} {thing}",
    "the {colour} {thing} was {part} by {who} in {place}",
)


class Facts(NamedTuple):
    """Two facts that are nearly alike, and the sentences that tell either."""

    templates: Sequence[str]
    one: Slots
    two: Slots

    def names(self) -> tuple[str, str]:
        """What tells a fact from all others but the one with its roles exchanged."""
        one, two = (
            " ".join(sorted(self.templates[0].format(**slots).split()))
            for slots in (self.one, self.two)
        )
        return one, two


def exchange(rng: Random) -> Facts:
    """Who did what to whom, or from where to where, and the same with roles exchanged."""
    _, past, part = rng.choice(SOCIAL_VERBS)
    who, whom = rng.sample(PEOPLE, 2)
    place, goal = rng.sample(PLACES, 2)
    slots = {"who": who, "whom": whom, "past": past, "part": part, "place": place, "goal": goal}
    if rng.random() < 0.6:
        return Facts(MEETING_TEMPLATES, slots, swapped(slots, "who", "whom"))
    return Facts(ROUTE_TEMPLATES, slots, swapped(slots, "place", "goal"))


def change(rng: Random) -> Facts:
    """An event, and the same with one thing different."""
    slots = event(rng)
    slot = rng.choice(("who", "thing", "colour", "place"))
    values = {"who": PEOPLE, "thing": THINGS, "colour": COLOURS, "place": PLACES}[slot]
    return Facts(PURCHASE_TEMPLATES, slots, {**slots, slot: other(rng, slots[slot], values)})


ENTAILMENT, NEUTRAL, CONTRADICTION = "entailment", "neutral", "contradiction"


def choose_facts(
    rng: Random, attributes: Mapping[str, Sequence[str]], label: str, told: int
) -> tuple[dict[str, str], str, str]:
    """What the premise tells, and the attribute and value that the hypothesis claims.

    Attributes and values are uniform in both, whatever the label: claimed is a told attribute
    with its value (entailment) or another (contradiction), or one that is not told (neutral).
    """
    names = rng.sample(list(attributes), told + 1)
    premise = {name: rng.choice(attributes[name]) for name in names[:told]}
    if label == NEUTRAL:
        claimed = names[told]
        return premise, claimed, rng.choice(attributes[claimed])
    claimed = names[0]
    value = premise[claimed]
    return (
        premise,
        claimed,
        (value if label == ENTAILMENT else other(rng, value, attributes[claimed])),
    )


THING_ATTRIBUTES: dict[str, Sequence[str]] = {
    **ADJECTIVES,
    "place": PLACES,
    "owner": PEOPLE,
}
PREMISES = ("the {noun} {one} and {two} .", "look : the {noun} {one} and it {two} .")
CLAIMS = ("the {noun} {one} .", "the {noun} {one} , they say .")


def told_of_thing(name: str, value: str) -> str:
    """A verb phrase for a thing's attribute."""
    if name in ("place", "home"):
        return f"is in {value}"
    if name == "owner":
        return f"is with {value}"
    return f"is {value}"


def claim_pair(rng: Random, label: str, kind: str) -> tuple[str, str]:
    """A premise that tells two attributes of a thing, and a hypothesis that claims one.

    Args:
        label: "entailment", "neutral" or "contradiction".
        kind: "things", "foods" or "animals". The hypothesis names the thing, or what it is a
            kind of.
    """
    premise, name, value = choose_facts(rng, THING_ATTRIBUTES, label, told=2)
    told = list(premise)
    rng.shuffle(told)
    noun = rng.choice(NOUNS[kind])
    one, two = (told_of_thing(attribute, premise[attribute]) for attribute in told)
    named = HYPERNYMS[kind] if rng.random() < 0.3 else noun
    told_all = rng.choice(PREMISES).format(noun=noun, one=one, two=two)
    return (
        padded(rng, told_all, word_count(rng, 7, 0.35, 16)),
        rng.choice(CLAIMS).format(noun=named, one=told_of_thing(name, value)),
    )
