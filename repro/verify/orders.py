"""The order in which a fine-tune reads its rows, worked out anew from its seed, without torch."""

import hashlib
import json
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=256)  # fine-tunes of one size have one order in common
def order_digest(samples: int, epochs: int, seed: int) -> str:
    """The `order_sha256` of finetunes.jsonl that a seed gives.

    The same shuffle as `torch.randperm` on a CPU: Fisher and Yates, by the words of a Mersenne
    twister that is seeded once for all epochs.
    """
    words = np.random.RandomState(seed % 2**32)
    order = []
    for _ in range(epochs):
        places = list(range(samples))
        drawn = words.randint(0, 2**32, size=max(0, samples - 1), dtype=np.uint32)
        for i, word in enumerate(drawn.tolist()):
            j = i + word % (samples - i)
            places[i], places[j] = places[j], places[i]
        order.append(places)
    text = json.dumps(order, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
