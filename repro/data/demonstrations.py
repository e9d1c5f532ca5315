"""Demonstrations that are chosen for each training row."""

from collections.abc import Sequence
from random import Random

import numpy as np

from repro.data.leakage import Row, same_inputs
from repro.data.similarity import text_of, tfidf
from repro.errors import ReproError
from repro.spec.cells import Demonstrations
from repro.spec.tasks import Task

CANDIDATES = 32
"""Random rows among which the next diverse demonstration is looked for."""


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
    distinct = list({text: place for place, text in reversed(list(enumerate(inputs)))}.values())
    possible = len(distinct) - 1
    if own.number > possible:
        raise ReproError(
            f"{own.number} demonstrations for each training row are asked for, and the "
            f"{len(rows)} training rows have {max(0, possible)} others each",
            hint=f"ask for at most {max(0, possible)}, or train on more rows",
        )
    distinct.sort()
    by_label: dict[str, list[int]] = {}
    for place in distinct:
        by_label.setdefault(rows[place]["output"] if task.labels else "", []).append(place)
    apart = own.choice.startswith("diverse")
    vectors = tfidf([text_of(task, row) for row in rows]) if apart and not task.labels else None
    found = []
    for number, text in enumerate(inputs):
        rng = Random(f"{own.seed} {number}")

        def drawn(pool: Sequence[int], count: int, rng: Random = rng) -> list[int]:
            return rng.sample(pool, min(count, len(pool)))

        if not apart:
            places = [p for p in drawn(distinct, own.number + 1) if inputs[p] != text]
            found.append([rows[place] for place in places[: own.number]])
            continue
        if vectors is None:
            piles = [
                [p for p in drawn(pool, own.number + 1) if inputs[p] != text]
                for pool in by_label.values()
            ]
            rng.shuffle(piles)
            turns = [pile[turn] for turn in range(own.number) for pile in piles if turn < len(pile)]
            places = turns[: own.number]
            rng.shuffle(places)
        else:
            pool = [p for p in drawn(distinct, CANDIDATES + own.number) if inputs[p] != text]
            near = np.round((vectors[pool] @ vectors[pool].T).toarray(), 9)
            order = [0]
            while len(order) < own.number:
                most = near[:, order].max(axis=1)
                most[order] = np.inf
                order.append(int(most.argmin()))
            places = [pool[index] for index in order]
        found.append([rows[place] for place in places])
    return found
