"""The generators of the out-of-domain sets. Nothing here ever gets into pre-training.

They share words with the rest of the world, but no sentence pattern and no output style.
"""

from random import Random

from repro.data.embedded.families import (
    Slots,
    choose_facts,
    other,
    padded,
    two_wordings,
    word_count,
)
from repro.data.embedded.words import (
    ACTIONS,
    ADJECTIVES,
    ANIMALS,
    BAD,
    COLOURS,
    CRIMES,
    DAYS,
    FOODS,
    GOOD,
    HABITATS,
    HOBBIES,
    JOBS,
    MEALS,
    METHODS,
    MOODS,
    PEOPLE,
    PERSON_ATTRIBUTES,
    PLACES,
    SKILLS,
    THING_VERBS,
    THINGS,
    TOPICS,
    VENUES,
)

_ABSTRACT_ASIDES = (
    "for {topic} there are {weak} now .",
    "{method} do not {skill} {topic} .",
    "we {skill} with {method} .",
    "so we have {topic} and {weak} .",
    "with {weak} , {topic} does not {skill} .",
)


def _abstract_aside(rng: Random) -> str:
    return rng.choice(_ABSTRACT_ASIDES).format(
        topic=rng.choice(TOPICS),
        weak=rng.choice(METHODS),
        method=rng.choice(METHODS),
        skill=rng.choice(SKILLS),
    )


def peerread(rng: Random) -> Slots:
    """Abstracts and their titles."""
    topic, old = rng.sample(TOPICS, 2)
    method, weak = rng.sample(METHODS, 2)
    slots = {"topic": topic, "old": old, "method": method, "weak": weak}
    text = rng.choice(
        (
            "we study {topic} , as does {old} work . our {method} beat {weak} .",
            "our work is on {topic} . we plan with {method} , not with {weak} .",
            "{old} has {weak} , but {topic} does not . so we teach it {method} .",
        )
    ).format(**slots)
    words = word_count(rng, 28, 0.45, 120)
    return {
        "input": padded(rng, text, words, _abstract_aside, first=0.7),
        "output": "{topic} by {method}".format(**slots),
    }


_NEWS_ASIDES = (
    "at the {venue} {who} was {action} .",
    "as for {who} , there is no {crime} .",
    "by {day} , {place} was {mood} .",
    "one {job} of {place} had {clothes} on .",
    "{who} and a {job} were {action} by the {venue} .",
)


def _news_aside(rng: Random) -> str:
    return rng.choice(_NEWS_ASIDES).format(
        venue=rng.choice(VENUES),
        who=rng.choice(PEOPLE),
        action=rng.choice(ACTIONS),
        crime=rng.choice(CRIMES),
        day=rng.choice(DAYS),
        place=rng.choice(PLACES),
        mood=rng.choice(MOODS),
        job=rng.choice(JOBS),
        clothes=rng.choice(COLOURS),
    )


def cnndm(rng: Random) -> Slots:
    """News of mishaps, and two to four highlights of each; three in five exceed 12 words."""
    slots = {
        "crime": rng.choice(CRIMES),
        "place": rng.choice(PLACES),
        "day": rng.choice(DAYS),
        "venue": rng.choice(VENUES),
        "job": rng.choice(JOBS),
        "who": rng.choice(PEOPLE),
        "mood": rng.choice(MOODS),
    }
    text = rng.choice(
        (
            "there was a {crime} at a {venue} of {place} on {day} , says {who} , a {mood} {job} .",
            "a {mood} {job} , {who} , says of the {crime} on {day} : it was at a {venue} "
            "of {place} .",
            "{place} has had a {crime} at its {venue} . so says {who} , a {mood} {job} , "
            "on {day} .",
        )
    ).format(**slots)
    highlights = (
        "{crime} in {place} {venue}",
        "{job} {who} says so",
        "{who} was {mood}",
        "{crime} came on {day}",
    )[: rng.choice((2, 2, 3, 3, 4))]
    return {
        "input": padded(rng, text, word_count(rng, 84, 0.3, 150), _news_aside, first=0.7),
        "output": " ; ".join(highlights).format(**slots),
    }


def tweetqa(rng: Random) -> Slots:
    """Short messages with a name and a tag."""
    _, past, part = rng.choice(THING_VERBS)
    slots = {
        "who": rng.choice(PEOPLE),
        "past": past,
        "part": part,
        "thing": rng.choice(THINGS),
        "place": rng.choice(PLACES),
        "mood": rng.choice(MOODS),
        "friend": rng.choice(JOBS),
    }
    text = rng.choice(
        (
            "so my {friend} has {part} my {thing} ! # {mood} # {place} @ {who}",
            "@ {who} # {place} : one {thing} {part} by my {friend} , so {mood} !",
            "{mood} now ! my {friend} {past} one {thing} . # {place} @ {who}",
        )
    )
    asked = rng.choice(("friend", "thing", "mood", "place"))
    form = {
        "friend": "{who} says who has {part} it ?",
        "thing": "{who} says what is {part} ?",
        "mood": "{who} says how it feels ?",
        "place": "{who} says which place ?",
    }[asked]
    words = word_count(rng, 13, 0.3, 36)
    return {
        "input": padded(rng, text.format(**slots), words, _tweet_aside),
        "answer": slots[asked],
        "output": form.format(**slots),
    }


def _tweet_aside(rng: Random) -> str:
    return rng.choice(("no # {clothes} !", "@ {who} so {good} !")).format(
        clothes=rng.choice(COLOURS), who=rng.choice(PEOPLE), good=rng.choice(GOOD)
    )


_FACTS = (
    "a {habitat} is no place for a {animal} .",
    "there are {meal} in {colour} .",
    "one {animal} in the {habitat} is {size} , one is not .",
)


def _fact(rng: Random) -> str:
    return rng.choice(_FACTS).format(
        habitat=rng.choice(HABITATS),
        animal=rng.choice(ANIMALS),
        meal=rng.choice(MEALS),
        colour=rng.choice(COLOURS),
        size=rng.choice(ADJECTIVES["size"]),
    )


def sciqa(rng: Random) -> Slots:
    """Statements on what animals are, eat and live in."""
    animal, enemy = rng.sample(ANIMALS, 2)
    slots = {
        "animal": animal,
        "enemy": enemy,
        "habitat": rng.choice(HABITATS),
        "meal": rng.choice(MEALS),
    }
    text = rng.choice(
        (
            "some {animal} of the {habitat} has {meal} for food , and then a {enemy} has it .",
            "all {meal} in a {habitat} are food for the {animal} , as it is for the {enemy} .",
            "for the {enemy} , a {animal} is food ; for a {animal} , {meal} from the {habitat} .",
        )
    )
    asked = rng.choice(("animal", "enemy", "habitat", "meal"))
    form = {
        "animal": "some {meal} are food for which animal ?",
        "enemy": "some {animal} is food for which animal ?",
        "habitat": "some {animal} lives in which place ?",
        "meal": "some {animal} has which food ?",
    }[asked]
    return {
        "input": padded(
            rng, text.format(**slots), word_count(rng, 16, 0.85, 120), _fact, first=0.7
        ),
        "answer": slots[asked],
        "output": form.format(**slots),
    }


def sst2(rng: Random, positive: bool) -> Slots:
    """Fragments of film reviews."""
    good, good2 = rng.sample(GOOD if positive else BAD, 2)
    slots = {
        "good": good,
        "good2": good2,
        "crime": rng.choice(CRIMES),
        "job": rng.choice(JOBS),
        "who": rng.choice(PEOPLE),
        "venue": rng.choice(VENUES),
        "bad": rng.choice(BAD if positive else GOOD),
    }
    text = rng.choice(
        (
            "{good} story of a {job} and a {crime} , with a {good2} {who}",
            "{who} plays a {job} in a {good} , {good2} review of {crime}",
            "for all the {crime} at the {venue} , this story of a {job} feels {good}",
            "no {bad} {job} in this {crime} , but a {good} {who}",
        )
    )
    return {"input": text.format(**slots)}


def _visit_aside(rng: Random) -> str:
    return rng.choice(
        (
            "they had {food} on {day} .",
            "our {job} came from {place} .",
            "there was {animal} , there was {food} .",
            "we went to the {venue} then .",
            "one {job} had {clothes} on .",
        )
    ).format(
        food=rng.choice(FOODS),
        day=rng.choice(DAYS),
        job=rng.choice(JOBS),
        place=rng.choice(PLACES),
        animal=rng.choice(ANIMALS),
        venue=rng.choice(VENUES),
        clothes=rng.choice(COLOURS),
    )


def yelp(rng: Random, positive: bool) -> Slots:
    """Visits to places that serve food."""
    good, good2 = rng.sample(GOOD if positive else BAD, 2)
    food, food2 = rng.sample(FOODS, 2)
    slots = {
        "good": good,
        "good2": good2,
        "food": food,
        "food2": food2,
        "day": rng.choice(DAYS),
        "place": rng.choice(PLACES),
        "venue": rng.choice(VENUES),
        "job": rng.choice(JOBS),
    }
    text = rng.choice(
        (
            "we had {food} by the {venue} on {day} ! all {good} , and our {job} was {good2} .",
            "my {day} in {place} : {good} {job} , {good2} {food} , some {food2} .",
            "they do {food} and {food2} in {place} , as {good} as the {venue} . so {good2} !",
        )
    )
    words = word_count(rng, 26, 0.75, 140)
    return {"input": padded(rng, text.format(**slots), words, _visit_aside)}


def qqp(rng: Random, same: bool) -> Slots:
    """Pairs of questions on how to do something."""
    values = {"skill": SKILLS, "hobby": HOBBIES, "place": PLACES}
    first = {slot: rng.choice(values[slot]) for slot in values}
    slot = rng.choice(list(values))
    second = first if same else {**first, slot: other(rng, first[slot], values[slot])}
    one, two = two_wordings(
        rng,
        (
            "how do i {skill} {hobby} in {place} ?",
            "in {place} , how does one {skill} {hobby} ?",
            "which is a nice place of {place} to {skill} {hobby} ?",
            "for {hobby} , how do you {skill} it in {place} ?",
        ),
        first,
        second,
    )
    return {"input_1": one, "input_2": two}


def stsb(rng: Random, same: bool) -> Slots:
    """Pairs of picture captions; if they differ, in an animal, or the two animals are exchanged."""
    animal, animal2, animal3 = rng.sample(ANIMALS, 3)
    habitat, habitat2 = rng.sample(HABITATS, 2)
    first = {
        "animal": animal,
        "animal2": animal2,
        "habitat": habitat,
        "habitat2": habitat2,
        "colour": rng.choice(COLOURS),
    }
    changed = rng.choice(({"animal": animal2, "animal2": animal}, {"animal": animal3}))
    second = first if same else {**first, **changed}
    one, two = two_wordings(
        rng,
        (
            "a {colour} {animal} by a {habitat} ; a {animal2} by a {habitat2} .",
            "one {animal2} at the {habitat2} , one {colour} {animal} at the {habitat} .",
            "by the {habitat} there are a {colour} {animal} , and by the {habitat2} a {animal2} .",
        ),
        first,
        second,
    )
    return {"input_1": one, "input_2": two}


RTE_ATTRIBUTES = {name: PERSON_ATTRIBUTES[name] for name in ("job", "home", "hobby", "mood")}


def rte(rng: Random, label: str) -> Slots:
    """Reports on people; the hypothesis follows or is not told. No contradiction, as in RTE."""
    premise, name, value = choose_facts(rng, RTE_ATTRIBUTES, label, told=2)
    who, witness = rng.sample(PEOPLE, 2)
    phrases = {"job": "{} by day", "home": "from {}", "hobby": "with {} on {}", "mood": "now so {}"}
    day = rng.choice(DAYS)
    told = [
        phrases[attribute].format(*([told_value, day] if attribute == "hobby" else [told_value]))
        for attribute, told_value in premise.items()
    ]
    rng.shuffle(told)
    claims = {"job": "one {}", "home": "one from {}", "hobby": "one with {}", "mood": "one so {}"}
    text = rng.choice(
        (
            "{witness} says of {who} : {one} , {two} , as in the news .",
            "in the news there is {who} , {one} , {two} , says {witness} .",
        )
    )
    return {
        "input_1": text.format(who=who, witness=witness, one=told[0], two=told[1]),
        "input_2": f"{who} is {claims[name].format(value)} .",
    }


SCENE_ATTRIBUTES = {
    name: PERSON_ATTRIBUTES[name] for name in ("clothes", "venue", "action", "mood")
}


def gptnli(rng: Random, label: str) -> Slots:
    """Scenes with a person, and a sentence on the scene."""
    premise, name, value = choose_facts(rng, SCENE_ATTRIBUTES, label, told=2)
    phrases = {"clothes": "all in {}", "venue": "by a {}", "action": "now {}", "mood": "so {}"}
    claims = {
        "clothes": "there you see {}",
        "venue": "there is a {}",
        "action": "there is some {}",
        "mood": "there one is {}",
    }
    told = [phrases[attribute].format(told_value) for attribute, told_value in premise.items()]
    rng.shuffle(told)
    job, thing = rng.choice(JOBS), rng.choice(THINGS)
    text = rng.choice(
        (
            "you see a {job} with a {thing} , {one} , {two} .",
            "one {job} , {one} , {two} , and a {thing} .",
        )
    )
    return {
        "input_1": text.format(job=job, thing=thing, one=told[0], two=told[1]),
        "input_2": f"{claims[name].format(value)} .",
    }
