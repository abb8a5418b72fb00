"""Routers: which slot a request goes to.

A router is an object with one method. It sees a prompt's length and blocks, and the columns of
`Slots`; never how long the answer will be. A new one is a class here and a line in `build`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from factory.errors import FactoryError
from factory.serving.prefix_index import PrefixIndex
from factory.serving.slots import Slots

Blocks = tuple[int, ...]


class Router(Protocol):
    """Chooses a slot for a request."""

    def choose(self, input_tokens: int, blocks: Blocks, slots: Slots) -> int:
        """The slot, from 0, that a prompt of ``input_tokens`` tokens with ``blocks`` goes to."""
        ...


class Random:
    """Any slot, uniformly."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self._draw = draw

    def choose(self, input_tokens: int, blocks: Blocks, slots: Slots) -> int:
        return self._draw(slots.count)


class RoundRobin:
    """Every slot in turn."""

    def __init__(self) -> None:
        self._next = 0

    def choose(self, input_tokens: int, blocks: Blocks, slots: Slots) -> int:
        slot = self._next
        self._next = (slot + 1) % slots.count
        return slot


class LeastLoaded:
    """The slot with the fewest requests, waiting and running; among equals the next in turn."""

    def __init__(self) -> None:
        self._last = -1

    def choose(self, input_tokens: int, blocks: Blocks, slots: Slots) -> int:
        requests = slots.requests
        self._last = slot = next_least(requests, self._last)
        return slot


class KvAware:
    """The slot with the least work for this prompt: what it must compute, and the load it joins.

    The cost of a slot, in tokens, is ``overlap_weight * (prompt tokens not cached there + prompt
    tokens queued there) + load_weight * KV tokens in use there``. Dynamo's router has the same
    terms, in blocks.

    Args:
        index: Which slots hold the start of a prompt.
        block_size: Tokens per block.
        overlap_weight: Weight of prompt tokens to compute.
        load_weight: Weight of KV tokens in use.
    """

    def __init__(
        self, index: PrefixIndex, block_size: int, overlap_weight: float, load_weight: float
    ) -> None:
        self._index = index
        self._block = block_size
        self._overlap = overlap_weight
        self._load = load_weight
        self._last = -1

    def choose(self, input_tokens: int, blocks: Blocks, slots: Slots) -> int:
        overlap_weight = self._overlap
        load_weight = self._load
        cost = [
            overlap_weight * queued + load_weight * used
            for queued, used in zip(slots.prefill_tokens, slots.kv_tokens, strict=False)
        ]
        saved = overlap_weight * self._block
        for slot, hit in self._index.match(blocks).items():
            cost[slot] -= saved * hit
        least = min(cost)
        slot = cost.index(least)
        if slot <= self._last and cost.count(least) > 1:
            slot = next_least(cost, self._last)
        self._last = slot
        return slot


def next_least(values: Sequence[float], last: int) -> int:
    """Position of the least value; among equals the next one after ``last``, cyclically."""
    least = min(values)
    slot = values.index(least)
    if slot <= last and values.count(least) > 1 and least in values[last + 1 :]:
        return values.index(least, last + 1)
    return slot


def drawer(stream: np.random.Generator) -> Callable[[int], int]:
    """A function that draws integers below its argument from a named stream, in blocks."""
    buffer: list[float] = []

    def draw(below: int) -> int:
        if not buffer:
            buffer.extend(stream.random(4096).tolist()[::-1])
        return int(buffer.pop() * below)

    return draw


def build(
    policy: str,
    stream: np.random.Generator,
    index: PrefixIndex,
    block_size: int,
    overlap_weight: float,
    load_weight: float,
) -> Router:
    """The router of a scenario's ``router`` section.

    Raises:
        FactoryError: If the policy is not known.
    """
    if policy == "random":
        return Random(drawer(stream))
    if policy == "round_robin":
        return RoundRobin()
    if policy == "least_loaded":
        return LeastLoaded()
    if policy == "kv_aware":
        return KvAware(index, block_size, overlap_weight, load_weight)
    raise FactoryError(f"router policy {policy!r} is not known")
