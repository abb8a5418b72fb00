"""What every router must hold, as checks for a test of one's own.

from factory.testing import check_router

def test_my_router() -> None:
    check_router(MyRouter)
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from factory.serving.kv_cache import KVCache
from factory.serving.prefix_index import PrefixIndex
from factory.serving.routers import REJECT, Ask, Router, Surroundings, drawer, uniform_from
from factory.serving.slots import Slots
from factory.statistics import stream

RouterMaker = Callable[[Surroundings], Router]

BLOCK = 16
"""Tokens of a KV block in these checks."""

_PREFILL_S = 1e-3  # per token
_BUSY = 8  # requests that a slot has on average
_CACHE_BLOCKS = 64


@dataclass(frozen=True, slots=True)
class Played:
    """What a router did in one play.

    Attributes:
        choices: The slot of each request; `REJECT` where it was turned away.
        prompt_tokens: Prompt tokens that each slot got.
    """

    choices: tuple[int, ...]
    prompt_tokens: tuple[int, ...]

    @property
    def imbalance(self) -> float:
        """Prompt tokens of the slot that got most, over the mean."""
        total = sum(self.prompt_tokens)
        return max(self.prompt_tokens) * len(self.prompt_tokens) / total if total else 1.0


def check_router(
    make: RouterMaker, *, rejects: bool = False, most_imbalance: float | None = None
) -> None:
    """Asserts what every router must hold; say in a test of your own which ones you add.

    * It chooses a live slot, whatever the loads, prompts and caches: one slot or many, all equal,
      slots that go away and come back, prompts without blocks and prompts larger than a cache.
    * It changes neither the columns that it is shown nor the prompt; in `Ask` only `copy_from`.
    * It is a function of what it is shown and of its own random stream: two of them do the same.
    * It needs no attribute of a request but those of `Ask`, which has no length of an answer.
    * With all slots equal none is preferred: over 50 requests for each slot, the busiest gets at
      most three times its share.
    * With ten times the slots a choice runs at most ten times the lines of Python.

    Args:
        make: Makes the router for a pool, e.g. its class.
        rejects: Whether it may turn requests away; otherwise `REJECT` is an error.
        most_imbalance: Most that the busiest slot may get over the mean, in prompt tokens, when
            every prompt begins alike and requests leave at a fixed pace; None for no such check.

    Raises:
        AssertionError: Something does not hold.
    """
    for slots, seed in ((1, 1), (2, 2), (3, 3), (20, 4)):
        first = play(make, slots, 30 * slots, seed=seed, rejects=rejects)
        again = play(make, slots, 30 * slots, seed=seed, rejects=rejects)
        assert first.choices == again.choices, "the same pool and stream, other choices"
    _check_equal_slots(make)
    few, many = lines_per_choice(make, 20), lines_per_choice(make, 200)
    assert many <= 10 * few, f"{few:.0f} lines a choice with 20 slots, {many:.0f} with 200"
    if most_imbalance is not None:
        found = play(make, 4, 2_000, seed=5, rejects=rejects, comes_and_goes=False).imbalance
        assert found <= most_imbalance, (
            f"imbalance {found:.3f} of prompts that begin alike, at most {most_imbalance:g} wanted"
        )


def play(
    make: RouterMaker,
    slots: int,
    requests: int,
    *,
    seed: int = 0,
    rejects: bool = False,
    comes_and_goes: bool = True,
) -> Played:
    """Sends requests through a router to slots with real caches, and asserts what it may not do.

    Args:
        make: Makes the router.
        slots: Number of slots.
        requests: Number of requests.
        seed: Root of the random prompts, arrivals and stays, and of the router's stream.
        rejects: Whether the router may turn requests away.
        comes_and_goes: Whether slots stop taking requests, lose their caches and return.

    Raises:
        AssertionError: The router did what it may not do.
    """
    pool = _Pool(make, slots, seed)
    random = stream(seed, 0, "testing/requests")
    got = [0] * slots
    choices: list[int] = []
    for number in range(requests):
        if comes_and_goes and slots > 1 and number % 7 == 3:
            pool.toggle(int(random.integers(slots)))
        ask = _some_prompt(random, pool.now_s, number, alike=not comes_and_goes)
        slot = pool.send(ask, rejects=rejects)
        choices.append(slot)
        if slot != REJECT:
            got[slot] += ask.input_tokens
        pool.wait(float(random.exponential(1.0)) / (slots * _BUSY))
    return Played(tuple(choices), tuple(got))


def surroundings(slots: int, seed: int = 0, **changed: Any) -> Surroundings:
    """A pool for tests: blocks of 16 tokens, 1 ms to prefill a token, 1 µs to copy it.

    Args:
        slots: Number of slots.
        seed: Root of the router's stream.
        changed: Fields of `Surroundings` to set otherwise.
    """
    uniform = uniform_from(stream(seed, 0, "testing/router"))
    fields: dict[str, Any] = {
        "slots": slots,
        "block_size": BLOCK,
        "draw": drawer(uniform),
        "uniform": uniform,
        "index": PrefixIndex(slots),
        "prefill_s": lambda new_tokens, _cached_tokens: new_tokens * _PREFILL_S,
        "transfer_s": lambda tokens: tokens * _PREFILL_S / 1000,
        "headroom": lambda _rack: 1.0,
        "ttft_limits_s": (float("inf"), 0.5),
    }
    return Surroundings(**{**fields, **changed})


def lines_per_choice(make: RouterMaker, slots: int, requests: int = 20) -> float:
    """Lines of Python that a choice runs, on average: a measure of its cost that never varies.

    Args:
        make: Makes the router.
        slots: Number of slots, each of which holds the first block of every prompt.
        requests: Number of choices.
    """
    index = PrefixIndex(slots)
    for slot in range(slots):
        KVCache(_CACHE_BLOCKS, index.listener(slot)).touch((0, 1))
    router = make(surroundings(slots, 7, index=index))
    pool = Slots(slots, _CACHE_BLOCKS * BLOCK)
    pool.requests[:] = pool.waiting[:] = array("q", range(slots))
    random = stream(7, 0, "testing/requests")
    asks = [_some_prompt(random, float(n), n, alike=True) for n in range(requests)]
    lines = 0

    def count(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    tracing = sys.gettrace()
    sys.settrace(count)
    try:
        for ask in asks:
            router.choose(ask, pool)
    finally:
        sys.settrace(tracing)
    return lines / requests


class _Pool:
    """Slots with caches, in which a request stays one second of its own clock."""

    def __init__(self, make: RouterMaker, slots: int, seed: int) -> None:
        index = PrefixIndex(slots)
        self.now_s = 0.0
        self._index = index
        self._caches = [KVCache(_CACHE_BLOCKS, index.listener(slot)) for slot in range(slots)]
        self._slots = Slots(slots, _CACHE_BLOCKS * BLOCK)
        self._router = make(surroundings(slots, seed, index=index))
        self._inside: list[tuple[float, int, int]] = []  # leaves at, slot, tokens

    def send(self, ask: Ask, *, rejects: bool) -> int:
        slots = self._slots
        before, asked = _content(slots), _content(ask)
        slot = self._router.choose(ask, slots)
        assert _content(slots) == before, "the router changed what it was shown"
        copied, ask.copy_from = ask.copy_from, None
        assert _content(ask) == asked, "the router changed the request"
        if slot == REJECT:
            assert rejects, "the router turned a request away (rejects=True allows it)"
            return slot
        assert type(slot) is int, f"a slot is an int, got {slot!r}"
        assert slot in slots.live, f"slot {slot} takes no requests, live are {slots.live}"
        self._check_copy(copied, ask, slot)
        self._caches[slot].touch(ask.blocks)
        slots.requests[slot] += 1
        slots.waiting[slot] += 1
        slots.prefill_tokens[slot] += ask.input_tokens
        slots.kv_tokens[slot] += ask.input_tokens
        self._inside.append((self.now_s + 1.0, slot, ask.input_tokens))
        return slot

    def _check_copy(self, copied: tuple[int, int] | None, ask: Ask, slot: int) -> None:
        if copied is None:
            return
        source, blocks = copied
        assert source != slot, "a slot need not copy from itself"
        assert source in self._slots.live, f"slot {source}, to copy from, is not live"
        most = sum(ask.blocks[1::2])
        assert 0 < blocks <= most, f"{blocks} blocks to copy of a prompt of {most}"

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        slots = self._slots
        while self._inside and self._inside[0][0] <= self.now_s:
            _, slot, tokens = self._inside.pop(0)
            slots.requests[slot] -= 1
            slots.waiting[slot] -= 1
            slots.prefill_tokens[slot] -= tokens
            slots.kv_tokens[slot] -= tokens

    def toggle(self, slot: int) -> None:
        """A slot goes away, and its cache with it, or returns; one always stays."""
        slots = self._slots
        if slot not in slots.live:
            slots.open([slot])
        elif len(slots.live) > 1:
            slots.shut([slot])
            cache = self._caches[slot]
            cache.grow(cache.capacity)
            self._caches[slot] = KVCache(cache.capacity, self._index.listener(slot))


def _check_equal_slots(make: RouterMaker, slots: int = 5, each: int = 50) -> None:
    """Nothing tells the slots apart, so none may be preferred."""
    router = make(surroundings(slots, 6))
    idle = Slots(slots, _CACHE_BLOCKS * BLOCK)
    got = [0] * slots
    for number in range(slots * each):
        got[router.choose(Ask(float(number), 100, session=number), idle)] += 1
    assert max(got) <= 3 * each, f"equal slots got {got} requests"


def _some_prompt(random: np.random.Generator, now_s: float, number: int, *, alike: bool) -> Ask:
    """A prompt of one of a few families, or of none."""
    family = int(random.integers(12))
    if family == 11 and not alike:
        return Ask(now_s, int(random.integers(1, 200)), (), number, number % 2)
    # All share block 0, a family shares 9 more, and each prompt has up to 19 of its own; one in
    # twelve is larger than a cache.
    own = int(random.integers(0, 20)) if family or alike else 3 * _CACHE_BLOCKS
    runs = [0, 1, 1_000 * (family + 1), 9]
    if own:
        runs += [1_000_000 * (number + 1), own]
    tokens = BLOCK * sum(runs[1::2]) - int(random.integers(BLOCK))
    return Ask(now_s, tokens, tuple(runs), family * 100 + number % 5, number % 2)


def _content(thing: Slots | Ask) -> Sequence[Any]:
    return [copy(getattr(thing, name)) for name in type(thing).__slots__]
