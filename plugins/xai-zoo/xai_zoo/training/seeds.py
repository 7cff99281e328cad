"""Seeds that are derived from other numbers, identical on every machine."""

import numpy as np


def seed_of(*key: int) -> int:
    """Return the seed for a key of numbers."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
