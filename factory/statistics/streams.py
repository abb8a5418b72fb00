"""Named random streams: one per source of chance, the same in every process."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b

import numpy as np


@cache
def name_key(name: str) -> tuple[int, int]:
    """Two 32-bit words that stand for a name, the same in every process (BLAKE2b, 8 bytes)."""
    digest = blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def stream(seed: int, replication: int, name: str, index: int = 0) -> np.random.Generator:
    """Returns the random stream of one named source.

    Streams of different names, indices, replications or seeds are independent; the same four
    arguments always give the same numbers.

    Args:
        seed: Root of every stream of a run, ≥ 0.
        replication: Repetition under the same seed, ≥ 0.
        name: What the numbers are for, e.g. `workload/chat/arrivals`.
        index: Part of the stream, e.g. the chunk of rows drawn from it, ≥ 0.

    Returns:
        A generator (PCG64) seeded by numpy's `SeedSequence` with spawn key
        (replication, name, index).
    """
    key = (replication, *name_key(name), index)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
