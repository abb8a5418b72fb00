from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

import pytest

from factory.serving.kv_cache import KVCache
from factory.serving.prefix_index import PrefixIndex
from factory.serving.slots import Slots

Pool = Callable[..., Slots]


@pytest.fixture
def pool() -> Pool:
    """Slots with columns as given, `pool(requests=[3, 0])`; those not given are 0."""

    def made(capacity_tokens: int = 0, **columns: Sequence[int]) -> Slots:
        (count,) = {len(column) for column in columns.values()}
        slots = Slots(count, capacity_tokens)
        for name, column in columns.items():
            getattr(slots, name)[:] = array("q", column)
        return slots

    return made


@pytest.fixture
def holding() -> Callable[..., PrefixIndex]:
    """An index of caches that hold what is given, `holding(3, {1: (0, 4)})`: slot 1 four blocks."""

    def made(slots: int, held: dict[int, tuple[int, ...]]) -> PrefixIndex:
        index = PrefixIndex(slots)
        for slot, blocks in held.items():
            KVCache(10_000, index.listener(slot)).touch(blocks)
        return index

    return made
