"""Demonstrations that are chosen for each training row."""

from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from repro.data.leakage import Row, same_inputs
from repro.data.similarity import text_of, tfidf
from repro.errors import ReproError
from repro.spec.cells import Demonstrations
from repro.spec.tasks import Task

CANDIDATES = 32
"""Random rows among which the next diverse demonstration is looked for."""

Draw = Callable[[Sequence[int], int], list[int]]
"""So many random places of a pool, without those whose inputs are the row's own."""

Choose = Callable[[Sequence[Sequence[int]], int, Draw, Random], list[int]]
"""Places of demonstrations, from those of all rows by label."""


def chosen_for_each(rows: Sequence[Row], task: Task, own: Demonstrations) -> list[list[Row]]:
    """For each row its demonstrations, which are other rows of the same set.

    No two of a row's demonstrations have the same inputs, nor has one those of the row itself.
    "each": drawn at random. "diverse": spread over the labels, as evenly as their number allows;
    without labels each next one is the row that is least similar (TF-IDF) to those before, among
    `CANDIDATES` random ones.

    Raises:
        ReproError: there are not as many other rows.
    """
    inputs = [same_inputs(task, row) for row in rows]
    first = {text: place for place, text in reversed(list(enumerate(inputs)))}
    pool = sorted(first.values())
    if own.number >= len(pool):
        possible = max(0, len(pool) - 1)
        raise ReproError(
            f"{own.number} demonstrations for each training row are asked for, and the "
            f"{len(rows)} training rows have {possible} others each",
            hint=f"ask for at most {possible}, or train on more rows",
        )
    choose: Choose = _random
    if own.choice.startswith("diverse"):
        choose = _of_labels if task.labels else _unlike([text_of(task, row) for row in rows])
    by_label: dict[str, list[int]] = {}
    for place in pool:
        by_label.setdefault(rows[place]["output"] if task.labels else "", []).append(place)

    def chosen(number: int, text: tuple[str, ...]) -> list[Row]:
        rng = Random(f"{own.seed} {number}")

        def draw(pool: Sequence[int], count: int) -> list[int]:
            # One more, in case the row itself is among them.
            drawn = rng.sample(pool, min(count + 1, len(pool)))
            return [place for place in drawn if inputs[place] != text]

        return [rows[i] for i in choose(list(by_label.values()), own.number, draw, rng)]

    return [chosen(number, text) for number, text in enumerate(inputs)]


def _random(piles: Sequence[Sequence[int]], number: int, draw: Draw, rng: Random) -> list[int]:
    return draw(sorted(place for pile in piles for place in pile), number)[:number]


def _of_labels(piles: Sequence[Sequence[int]], number: int, draw: Draw, rng: Random) -> list[int]:
    """One of each label in turn, then in any order."""
    drawn = [draw(pile, number) for pile in piles]
    rng.shuffle(drawn)
    turns = [pile[turn] for turn in range(number) for pile in drawn if turn < len(pile)]
    places = turns[:number]
    rng.shuffle(places)
    return places


def _unlike(texts: Sequence[str]) -> Choose:
    """Each next one the least similar to those before."""
    vectors = tfidf(texts)

    def chosen(piles: Sequence[Sequence[int]], number: int, draw: Draw, rng: Random) -> list[int]:
        pool = draw(piles[0], CANDIDATES + number - 1)
        near = np.round((vectors[pool] @ vectors[pool].T).toarray(), 9)
        order = [0]
        while len(order) < number:
            most = near[:, order].max(axis=1)
            most[order] = np.inf
            order.append(int(most.argmin()))
        return [pool[index] for index in order]

    return chosen
