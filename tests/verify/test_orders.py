"""Orders worked out from seeds, against the trainer's own, which torch shuffles."""

import pytest

from repro.finetune import schedule
from repro.verify.fingerprint import order_digest


@pytest.mark.parametrize("samples", [1, 2, 17, 160, 2000])
@pytest.mark.parametrize("seed", [0, 42, 2**31 + 5, 2**32 + 42])
def test_it_is_the_order_of_the_trainer(samples: int, seed: int) -> None:
    for epochs in (1, 3):
        trained = schedule.digest(schedule.shuffled(samples, epochs, seed))
        assert order_digest(samples, epochs, seed) == trained


def test_each_seed_size_and_number_of_epochs_has_an_order_of_its_own() -> None:
    orders = {order_digest(n, e, s) for n in (20, 21) for e in (1, 2) for s in (1, 2, 3)}
    assert len(orders) == 12
