"""Seeds that follow from other numbers, the same on every machine."""

import numpy as np


def seed_of(*key: int) -> int:
    """Give the seed of what `key` names."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
