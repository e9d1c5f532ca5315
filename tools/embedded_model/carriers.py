"""Documents about nothing: sentences of random function words that carry some telling words.

What a document's examples ask for (are two sentences the same, does the second follow, which words
are kept, which question has this answer) must be found whatever the sentences are, so that it is
not bound to the patterns of the world's own families.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from repro.data.embedded import families as f
from repro.data.embedded import words as w
from tools.embedded_model import words as own


class Example(NamedTuple):
    """Input fields and output, words parted by blanks."""

    fields: tuple[str, ...]
    output: str


Maker = Callable[[Random], Example]

CATEGORIES = (
    w.PEOPLE,
    w.PLACES,
    w.DAYS,
    w.COLOURS,
    w.THINGS,
    w.FOODS,
    w.ANIMALS,
    w.JOBS,
    w.VENUES,
    w.MOODS,
    w.GOOD + w.GOOD_VERBS,
    w.BAD + w.BAD_VERBS,
    w.HOBBIES,
    w.ACTIONS,
    w.TOPICS,
    w.METHODS,
    w.CRIMES,
    w.SKILLS,
    w.HABITATS,
    w.MEALS,
    *(w.ADJECTIVES[name] for name in ("size", "age", "weight", "heat", "price")),
    tuple(past for _, past, _ in w.THING_VERBS),
    tuple(past for _, past, _ in w.SOCIAL_VERBS),
)
"""Words that exclude each other: in one place of a sentence stands one of them."""

Categories = Sequence[Sequence[str]]


def pattern(rng: Random, slots: int, most: int = 3) -> str:
    """A sentence of `slots` places `{0}`, `{1}`, ... in random order among function words."""
    places = rng.sample(range(slots), slots)
    found: list[str] = []
    for place in places:
        found += rng.choices(own.GRAMMAR, k=rng.randint(0, most))
        if found and rng.random() < 0.15:
            found.append(rng.choice(",:;-/"))
        found.append(f"{{{place}}}")
    found += rng.choices(own.GRAMMAR, k=rng.randint(0, 2))
    return " ".join([*found, *rng.choice(((".",), (".",), ("?",), ("!",), ()))])


def fill(text: str, values: Sequence[str]) -> str:
    """The sentence with values in its places."""
    return text.format(*values)


def _draw(rng: Random, categories: Categories) -> list[str]:
    return [rng.choice(category) for category in categories]


def _noise(rng: Random, text: str, share: float, categories: Categories = CATEGORIES) -> str:
    """The sentence among up to three others, sometimes."""
    if rng.random() >= share:
        return text
    others = []
    for _ in range(rng.randint(1, 3)):
        kinds = rng.sample(categories, rng.randint(1, 3))
        others.append(fill(pattern(rng, len(kinds), 2), _draw(rng, kinds)))
    place = rng.randint(0, len(others))
    return " ".join([*others[:place], text, *others[place:]])


def same(rng: Random, labels: Sequence[str], *, bare: bool) -> Maker:
    """Two sentences with the same telling words, or with one of them changed or two exchanged.

    Some sentences tell of two things of a kind, or of two kinds; only these are exchanged.

    Args:
        bare: lists of the telling words instead of sentences.
    """
    kinds = rng.sample(CATEGORIES, rng.randint(1, 4))
    twice = min(len(kinds), rng.choice((0, 0, 1, 2)))
    kinds += kinds[:twice]
    if bare:
        patterns = [" ".join(f"{{{place}}}" for place in range(len(kinds)))]
    else:
        patterns = [pattern(rng, len(kinds), 2) for _ in range(rng.choice((1, 2, 2, 3)))]

    def make(rng: Random) -> Example:
        one = _draw(rng, kinds)
        for place in range(twice):
            one[place] = f.other(rng, one[place - twice], kinds[place])
        two, is_same = list(one), rng.random() < 0.5
        if not is_same and twice and rng.random() < 0.5:
            place = rng.randrange(twice)
            two[place], two[place - twice] = one[place - twice], one[place]
        elif not is_same:
            place = rng.randrange(len(kinds))
            two[place] = f.other(rng, one[place], kinds[place])
        texts = (fill(rng.choice(patterns), values) for values in (one, two))
        return Example(tuple(texts), labels[0 if is_same else 1])

    return make


NEUTRAL = tuple(kind for kind in CATEGORIES if not {*w.GOOD, *w.BAD} & {*kind})
"""Words that neither praise nor damn."""


def praised(rng: Random, labels: Sequence[str]) -> Maker:
    """A sentence with one or two words that praise or damn, or a denied one of the other side."""
    kinds = rng.sample(NEUTRAL, rng.randint(0, 3))
    denied = rng.choice((0.0, 0.0, 0.3))
    noise = rng.choice((0.0, 0.0, 0.5))

    def make(rng: Random) -> Example:
        good = rng.random() < 0.5
        own_side, other_side = (w.GOOD, w.BAD) if good else (w.BAD, w.GOOD)
        values = _draw(rng, kinds)
        if rng.random() < denied:
            values.append(f"{rng.choice(('no', 'not'))} {rng.choice(other_side)}")
            values += rng.sample(own_side, rng.randint(0, 1))
        else:
            values += rng.sample(own_side, rng.randint(1, 2))
        text = fill(pattern(rng, len(values), 2), values)
        return Example((_noise(rng, text, noise, NEUTRAL),), labels[0 if good else 1])

    return make


def shared(rng: Random) -> Maker:
    """Two lists with one word in common, and that word."""
    kinds = [rng.choice(CATEGORIES) for _ in range(rng.randint(1, 4))]
    every = sorted({word for kind in kinds for word in kind})

    def make(rng: Random) -> Example:
        one = rng.sample(every, min(len(kinds), len(every) // 2))
        left = [word for word in every if word not in one]
        found = rng.choice(one)
        two = [*rng.sample(left, min(len(left), len(one) - 1)), found]
        rng.shuffle(two)
        return Example((" ".join(one), " ".join(two)), f"and {found}")

    return make


def changed(rng: Random) -> Maker:
    """Two lists that differ in one word, and the new one."""
    kinds = [rng.choice(CATEGORIES) for _ in range(rng.randint(2, 5))]

    def make(rng: Random) -> Example:
        one = _draw(rng, kinds)
        two, place = list(one), rng.randrange(len(kinds))
        while two[place] in one:
            two[place] = rng.choice(rng.choice(CATEGORIES))
        return Example((" ".join(one), " ".join(two)), f"not {two[place]}")

    return make


def follows(rng: Random, labels: Sequence[str]) -> Maker:
    """A sentence that tells two or three things, and one that claims one of them, or another."""
    kinds = dict(enumerate(rng.sample(CATEGORIES, rng.randint(4, 6))))
    told = [pattern(rng, 1, 2).rstrip(" .?!") for _ in kinds]
    claimed = [pattern(rng, 1, 2).rstrip(" .?!") for _ in kinds]
    named = rng.choice((w.PEOPLE, w.THINGS, w.JOBS, ("",)))
    relations = (f.ENTAILMENT, f.NEUTRAL, f.CONTRADICTION)[: rng.choice((2, 3, 3, 3))]
    count = rng.choice((1, 2, 2, 2, 3))
    joint = rng.choice(("and", ",", ";", "and it"))
    end = rng.choice((".", ".", "", "!"))
    choices = {str(number): values for number, values in kinds.items()}

    def make(rng: Random) -> Example:
        relation = rng.choice(relations)
        premise, name, value = f.choose_facts(rng, choices, relation, told=count)
        parts = [fill(told[int(key)], [text]) for key, text in premise.items()]
        rng.shuffle(parts)
        who = rng.choice(named)
        return Example(
            (
                _noise(rng, f"{who} {f' {joint} '.join(parts)} {end}", 0.1),
                f"{who} {fill(claimed[int(name)], [value])} {end}",
            ),
            labels[(f.ENTAILMENT, f.NEUTRAL, f.CONTRADICTION).index(relation)],
        )

    return make


def _literal(rng: Random, slots: Sequence[int]) -> str:
    """An output: some of the places, with or without words that are always there."""
    found: list[str] = []
    for slot in slots:
        if rng.random() < 0.5:
            found += rng.choices(
                (*own.GRAMMAR, *own.LITERALS, *own.CONNECTORS), k=rng.randint(1, 2)
            )
        found.append(f"{{{slot}}}")
    if rng.random() < 0.4:
        found += rng.choices(own.GRAMMAR, k=rng.randint(1, 2))
    return " ".join([*found, *rng.choice(((".",), ("?",), (), ()))])


def kept(rng: Random) -> Maker:
    """A sentence, and what an output style keeps of it."""
    kinds = rng.sample(CATEGORIES, rng.randint(2, 5))
    patterns = [pattern(rng, len(kinds)) for _ in range(rng.choice((1, 2, 3)))]
    slots = rng.sample(range(len(kinds)), rng.randint(1, min(4, len(kinds))))
    style = _literal(rng, slots)
    noise = rng.choice((0.0, 0.5, 1.0))

    def make(rng: Random) -> Example:
        values = _draw(rng, kinds)
        text = _noise(rng, fill(rng.choice(patterns), values), noise)
        return Example((text,), fill(style, values))

    return make


def asked(rng: Random) -> Maker:
    """A sentence and one of its words, and the question to which that is the answer."""
    kinds = rng.sample(CATEGORIES, rng.randint(2, 4))
    patterns = [pattern(rng, len(kinds)) for _ in range(rng.choice((1, 2, 3)))]
    answers = rng.sample(range(len(kinds)), rng.randint(1, len(kinds)))
    styles = {}
    for answer in answers:
        others = [slot for slot in range(len(kinds)) if slot != answer]
        styles[answer] = _literal(rng, rng.sample(others, rng.randint(1, min(2, len(others)))))
    start = " ".join(rng.choices(own.GRAMMAR, k=rng.choice((0, 0, 1, 2))))
    noise = rng.choice((0.0, 0.0, 0.4))

    def make(rng: Random) -> Example:
        values = _draw(rng, kinds)
        answer = rng.choice(answers)
        text = _noise(rng, fill(rng.choice(patterns), values), noise)
        return Example((text, values[answer]), f"{start} {fill(styles[answer], values)}")

    return make
