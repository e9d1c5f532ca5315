"""Rows of a cell: selected, compared, and checked when they are read."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from repro.verify.outcomes import Outcomes, changed_inputs, text_digest

Inputs = dict[int, str]
"""What stands for prompt and gold of a row, by its position."""
INPUTS = st.dictionaries(st.integers(0, 12), st.sampled_from("ab"), min_size=1)


def outcomes(inputs: Inputs, *, known: bool = True) -> Outcomes:
    rows = sorted(inputs)
    digests = np.array([text_digest(inputs[row]) for row in rows], dtype="S8")
    return Outcomes(
        np.array(rows, dtype=np.int64),
        np.array(rows) / 100,
        tuple(f"text {row}" for row in rows),
        np.array(rows) / 10,
        digests if known else None,
    )


@given(INPUTS, st.data())
def test_a_selection_has_all_of_its_rows_and_no_other(inputs: Inputs, data: st.DataObject) -> None:
    chosen = sorted(data.draw(st.sets(st.sampled_from(sorted(inputs)))))
    some = outcomes(inputs).at(np.array(chosen, dtype=np.int64))
    wanted = outcomes({row: inputs[row] for row in chosen})
    assert some.rows.tolist() == chosen
    assert some.outputs == wanted.outputs
    for name in ("scores", "gaps", "inputs"):
        assert getattr(some, name).tolist() == getattr(wanted, name).tolist()


@given(st.lists(INPUTS, max_size=4))
def test_the_common_rows_that_are_not_alike_everywhere_are_found(several: list[Inputs]) -> None:
    common = sorted(set.intersection(*map(set, several))) if several else []
    expected = [len({inputs[row] for inputs in several}) > 1 for row in common]
    assert changed_inputs([outcomes(inputs) for inputs in several]).tolist() == expected


@given(INPUTS, INPUTS)
def test_unknown_prompts_differ_from_nothing(one: Inputs, other: Inputs) -> None:
    assert not changed_inputs([outcomes(one), outcomes(other, known=False)]).any()
