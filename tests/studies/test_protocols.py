"""Protocols: the facts of the audit, and what single switches accept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.spec.protocol import PROTOCOLS
from repro.studies.paper.protocols import protocol, switches


def test_published_code_is_what_the_audit_found() -> None:
    """Audit A1 to A3, A5 to A8, A10: values stated there."""
    code = protocol("published-code")
    assert (code.learning_rate, code.max_length, code.truncation_side) == (2e-5, 1024, "right")
    assert (code.bos_zero_shot_generation, code.bos_few_shot_classification) == (2, 0)
    assert (code.rows, code.max_new_tokens, code.clip_norm) == (250, 60, 0.0)
    assert protocol("paper-text").learning_rate == 2e-3


def test_corrected_fits_every_training_sample() -> None:
    """The longest FTICL sample has 2,121 tokens (audit A2)."""
    assert protocol("corrected").max_length >= 2121


def test_every_switch_says_why() -> None:
    for switch in switches().values():
        assert switch.audit.startswith("A")
        assert len(switch.reason) > 20
        assert set(switch.values) == set(PROTOCOLS)


@pytest.mark.parametrize("switch", switches().values(), ids=lambda s: s.name)
def test_switches_read_their_own_values_and_refuse_nonsense(switch) -> None:
    for value in switch.values.values():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        assert switch.parse(text) == value
    with pytest.raises(ValueError, match=switch.name):
        switch.parse("nonsense")


@given(st.sampled_from(sorted(switches())), st.sampled_from(PROTOCOLS))
def test_an_override_changes_that_switch_alone(name: str, base: str) -> None:
    other = next(p for p in PROTOCOLS if p != base)
    value = switches()[name].values[other]
    changed = protocol(base, {name: value})
    plain = vars(protocol(base))
    assert {k: v for k, v in vars(changed).items() if v != plain[k]} == (
        {} if plain[name] == value else {name: value}
    )
