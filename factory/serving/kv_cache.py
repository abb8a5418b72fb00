"""The KV cache of one replica rank: shared prefix blocks, private blocks and eviction.

A prompt is a tuple of *runs* of blocks, `(first, count, first, count, …)`. Block ids are chained
(an id determines every block before it) and a run never starts inside another run, so the blocks
present form a tree of runs. Three facts keep every operation O(runs), whatever the number of
blocks:

* *present*: leading blocks only, so a run needs one integer;
* *pinned*: a pin covers the first blocks of a prompt, so a run is pinned up to its largest pin. A
  run that is pinned at all is one pin on the run it hangs from, and there a walk may stop;
* *evictable*: what one release lets go of is one stretch of each run. Later prompts take blocks
  from a stretch's head and eviction only from its tail, so stretches never split.

Eviction takes the blocks released longest ago, and of one release the deepest first: a chain loses
its tail before its head (vLLM frees the blocks of a sequence in reverse to the same end). So what
has been idle for longest stands first in one queue, and expiry takes from there too.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from math import inf

PrefixListener = Callable[[int, int, int], None]
"""Called as `(first, before, after)` when a cache that held `before` leading blocks of the run that
starts with block `first` now holds `after` of them (0: none)."""

Spill = Callable[[tuple[int, ...], int], None]
"""Called as `(blocks, start)` for what eviction takes: `blocks` are the runs of its whole chain, as
far as the last block taken, of which those from number `start` on were taken. Called once per run
that loses blocks, deepest first, in the middle of an eviction: it may not touch the cache."""

# Stretches that lost all their blocks stay in the eviction queue until they are over half of it.
_FEWEST_DEAD = 256


class _Run:
    """A run of which at least one block is present."""

    __slots__ = ("base", "first", "fork", "held", "idle", "kept", "parent", "pins")

    def __init__(self, first: int, parent: _Run | None, base: int, held: int) -> None:
        self.first = first
        self.parent = parent  # the run it hangs from
        self.base = base  # blocks before it, counted from the start of the prompt
        self.fork = 0 if parent is None else base - parent.base  # blocks of the parent before it
        self.held = held  # leading blocks present
        self.pins: list[int] = []  # sorted: how many leading blocks each pin covers
        self.idle: list[_Stretch] = []  # evictable stretches, deepest (oldest) first
        self.kept = 0  # leading blocks that are pinned for ever


class _Stretch:
    """Blocks `start` to `stop` (excluded) of a run: released at `since_s`, pinned by nobody."""

    __slots__ = ("run", "since_s", "start", "stop")

    def __init__(self, run: _Run, start: int, stop: int, since_s: float) -> None:
        self.run = run
        self.start = start
        self.stop = stop
        self.since_s = since_s


class KVCache:
    """Blocks of KV memory, shared by prefix, evicted least recently released first.

    A block is in one of four states: *private* to one running sequence, *pinned* (shared, and in
    use by at least one sequence), *evictable* (shared, in use by none) or free. The cache counts
    private blocks and does not name them. It knows no sequences: the caller passes a sequence's
    `blocks` again with every call and keeps two numbers for it, `pinned` (leading blocks it has
    pinned) and `private`. Its life is

        hit = cache.match(blocks)                      # blocks it need not compute
        cache.admit(blocks, hit, new)                  # pinned = hit, private = new
        private -= cache.commit(blocks, hit, upto)     # pinned = upto
        cache.grow(1)                                  # private += 1
        cache.release(blocks, pinned, private, now_s)

    It knows no time beyond what it is told: with a `ttl_s`, `expire(now_s)` comes before `match`,
    and every release says when it is. A cache for one tier of memory (host, disk) is the same
    object, filled by `touch`; `listener` reports what it gains and loses.

    Attributes:
        capacity: Blocks in all (`sys.maxsize`: unbounded).
        used: Blocks in use: `private + pinned + evictable`, never above `capacity`.
        pinned: Shared blocks held by at least one sequence.
        evictable: Shared blocks held by none.
        private: Blocks that belong to one sequence each.
        kept: Blocks, of those pinned, that `hold` pins for ever.
        most_kept: Blocks that `hold` may pin.
        ttl_s: Seconds after which an idle block is gone; infinite: never.
    """

    __slots__ = (
        "_dead", "_listener", "_lru", "_runs", "_spill", "capacity", "evictable", "kept",
        "most_kept", "pinned", "private", "ttl_s", "used",
    )  # fmt: skip

    def __init__(
        self,
        capacity_blocks: int,
        listener: PrefixListener | None = None,
        *,
        ttl_s: float = inf,
        most_kept: int = 0,
        spill: Spill | None = None,
    ) -> None:
        """Makes an empty cache.

        Args:
            capacity_blocks: Blocks in all, ≥ 0.
            listener: Told about every change of the blocks present, once per run that changes.
            ttl_s: Seconds for which a shared block that nobody uses stays, > 0.
            most_kept: Blocks that `hold` may pin for ever; that much less is left for the rest.
            spill: Told what eviction takes, but not what expires.

        Raises:
            ValueError: The capacity is negative.
        """
        if capacity_blocks < 0:
            raise ValueError(f"KVCache: capacity_blocks must be >= 0, got {capacity_blocks}")
        self.capacity = capacity_blocks
        self.used = 0
        self.pinned = 0
        self.evictable = 0
        self.private = 0
        self.kept = 0
        self.most_kept = most_kept
        self.ttl_s = ttl_s
        self._listener = listener
        self._spill = spill
        self._runs: dict[int, _Run] = {}
        self._lru: deque[_Stretch] = deque()
        self._dead = 0

    def match(self, blocks: tuple[int, ...]) -> int:
        """Returns how many leading blocks of a prompt are present; changes nothing."""
        runs = self._runs
        for i in range(len(blocks) - 2, -1, -2):
            run = runs.get(blocks[i])
            if run is not None:
                held = run.held
                count = blocks[i + 1]
                if held < count:
                    return run.base + held
                return run.base + count
        return 0

    def available(self, blocks: tuple[int, ...], hit: int) -> int:
        """Returns how many blocks `admit` could take besides pinning the first `hit` blocks.

        Args:
            blocks: Runs of the prompt.
            hit: Leading blocks to pin; at most `match(blocks)`.
        """
        room = self.capacity - self.used + self.evictable
        if not hit:
            return room
        run: _Run | None = self._run_at(blocks, hit)
        assert run is not None
        stop = hit - run.base
        while run is not None:
            if run.pins:
                top = run.pins[-1]
                return room - (stop - top) if stop > top else room
            room -= stop
            stop = run.fork
            run = run.parent
        return room

    def admit(self, blocks: tuple[int, ...], hit: int, new: int) -> bool:
        """Pins the first `hit` blocks of a prompt and takes `new` private ones for its sequence.

        Args:
            blocks: Runs of the prompt; may be empty when `hit` is 0.
            hit: Leading blocks to pin; at most `match(blocks)`.
            new: Private blocks to take, ≥ 0. What is evicted for them is never of the first `hit`.

        Returns:
            Whether it was done. False changes nothing.
        """
        short = self.used + new - self.capacity
        if short > self.evictable - hit and short > 0 and new > self.available(blocks, hit):
            return False
        if hit:
            run = self._runs.get(blocks[-2])
            if run is None or run.base >= hit:
                run = self._run_at(blocks, hit)
            self._pin(run, hit - run.base)
        if short > 0:
            self._evict(short, self._spill)
        self.used += new
        self.private += new
        return True

    def grow(self, new: int) -> bool:
        """Takes `new` more private blocks for running sequences.

        Returns:
            Whether it was done. False changes nothing.
        """
        short = self.used + new - self.capacity
        if short > 0:
            if short > self.evictable:
                return False
            self._evict(short, self._spill)
        self.used += new
        self.private += new
        return True

    def commit(self, blocks: tuple[int, ...], hit: int, upto: int) -> int:
        """Shares blocks `hit` to `upto` (excluded), which a sequence has just computed.

        They become present and pinned by the sequence. Of blocks that another sequence has
        committed meanwhile the other's copy is pinned and ours is freed.

        Args:
            blocks: Runs of the prompt (or of prompt and answer), at least `upto` blocks.
            hit: Leading blocks that the sequence has pinned already.
            upto: Leading blocks that it has pinned afterwards, ≥ `hit`.

        Returns:
            Private blocks that the sequence no longer has, `upto - hit`: those that are shared now
            and those that were freed.
        """
        runs = self._runs
        i = len(blocks) - 2
        run: _Run | None = None
        while i >= 0:
            run = runs.get(blocks[i])
            if run is not None and run.base < upto:
                break
            run = None
            i -= 2
        base = stored = 0
        if run is not None:
            base = run.base
            stop = blocks[i + 1]
            end = base + stop
            if end > upto:
                stop = upto - base
            held = run.held
            if held < stop:
                run.held = stop
                stored = stop - held
                if self._listener is not None:
                    self._listener(run.first, held, stop)
            if hit > base:
                self._move_pin(run, hit - base, stop)
            else:
                self._pin(run, stop)
                if hit:
                    other = self._run_at(blocks, hit)
                    del other.pins[bisect_left(other.pins, hit - other.base)]
            base = end
        while base < upto:
            i += 2
            first, count = blocks[i], blocks[i + 1]
            end = base + count
            if end > upto:
                count = upto - base
            run = runs[first] = _Run(first, run, base, count)
            run.pins.append(count)
            self.pinned += count
            stored += count
            if self._listener is not None:
                self._listener(first, 0, count)
            base = end
        computed = upto - hit
        self.private -= computed
        self.used += stored - computed
        return computed

    def release(
        self, blocks: tuple[int, ...], pinned: int, private: int, now_s: float = 0.0
    ) -> None:
        """Lets a sequence go: its pinned blocks become evictable unless another one pins them.

        They become the most recently used, the head of the prompt the very last to be evicted.

        Args:
            blocks: Runs of the prompt, as committed.
            pinned: Leading blocks that the sequence has pinned.
            private: Private blocks that it has; they are freed.
            now_s: Time, never before that of an earlier call; it counts only where blocks expire.
        """
        self.used -= private
        self.private -= private
        if not pinned:
            return
        lru = self._lru
        run = self._runs.get(blocks[-2])
        if run is None or run.base >= pinned:
            run = self._run_at(blocks, pinned)
        stop = pinned - run.base
        while run is not None:
            pins = run.pins
            if pins[-1] != stop:
                del pins[bisect_left(pins, stop)]
                return
            pins.pop()
            top = pins[-1] if pins else 0
            if top < stop:
                stretch = _Stretch(run, top, stop, now_s)
                run.idle.append(stretch)
                lru.append(stretch)
                self.pinned -= stop - top
                self.evictable += stop - top
            if top:
                return
            stop = run.fork
            run = run.parent

    def expire(self, now_s: float) -> int:
        """Drops the blocks that nobody has used for longer than `ttl_s`; says how many."""
        oldest_s = now_s - self.ttl_s
        count = 0
        for stretch in self._lru:
            if stretch.since_s >= oldest_s:
                break
            count += stretch.stop - stretch.start
        if count:
            self._evict(count, None)
        return count

    def oldest_s(self) -> float:
        """When the block that would be evicted next was let go of, seconds; infinite for none."""
        for stretch in self._lru:
            if stretch.stop > stretch.start:
                return stretch.since_s
        return inf

    def hold(self, blocks: tuple[int, ...], upto: int | None = None) -> int:
        """Pins the first `upto` blocks (by default all) for ever, as far as they are present.

        Holding the same prefix again changes nothing. Where `most_kept` is reached, the blocks
        beyond it stay as they were.

        Returns:
            Leading blocks that are pinned for ever, at most `upto`.
        """
        present = self.match(blocks)
        upto = present if upto is None else min(upto, present)
        if upto <= 0:
            return 0
        run: _Run | None = self._run_at(blocks, upto)
        assert run is not None
        stop = upto - run.base
        while run is not None and not run.kept:
            stop = run.fork
            run = run.parent
        held = 0 if run is None else run.base + min(run.kept, stop)
        new = min(upto - held, self.most_kept - self.kept)
        if new <= 0:
            return held
        upto = held + new
        run = self._run_at(blocks, upto)
        stop = upto - run.base
        self._pin(run, stop)
        self.kept += new
        while run is not None and run.kept < stop:
            run.kept = stop
            stop = run.fork
            run = run.parent
        return upto

    def lose(self) -> None:
        """The memory is gone, and with it all shared blocks; no sequence may have any."""
        if self.private or self.pinned != self.kept:
            raise ValueError(f"KVCache: lost with {self.private} private and {self.pinned} pinned")
        if self._listener is not None:
            for run in reversed(self._runs.values()):
                self._listener(run.first, run.held, 0)
        self._runs.clear()
        self._lru.clear()
        self.used = self.pinned = self.evictable = self.kept = self._dead = 0

    def touch(self, blocks: tuple[int, ...], now_s: float = 0.0) -> int:
        """Looks a whole prompt up and inserts it at once, as a cache study without time does.

        Of a prompt that does not fit, the leading blocks that do are inserted.

        Returns:
            The leading blocks that were present before.
        """
        hit = self.match(blocks)
        new = min(sum(blocks[1::2]) - hit, self.available(blocks, hit))
        self.admit(blocks, hit, new)
        self.commit(blocks, hit, hit + new)
        self.release(blocks, hit + new, 0, now_s)
        return hit

    def _run_at(self, blocks: tuple[int, ...], depth: int) -> _Run:
        """Returns the run that has the last of the first `depth` blocks (present, `depth` > 0)."""
        runs = self._runs
        i = len(blocks) - 2
        while True:
            run = runs.get(blocks[i])
            if run is not None and run.base < depth:
                return run
            i -= 2

    def _pin(self, run: _Run, stop: int) -> None:
        """Pins the first `stop` blocks of `run` and all before them."""
        at: _Run | None = run
        while at is not None:
            pins = at.pins
            if pins:
                top = pins[-1]
                if stop <= top:
                    insort(pins, stop)
                else:
                    pins.append(stop)
                    self.pinned += stop - top
                    if at.idle:
                        self._wake(at, stop)
                return
            pins.append(stop)
            self.pinned += stop
            if at.idle:
                self._wake(at, stop)
            stop = at.fork
            at = at.parent

    def _move_pin(self, run: _Run, old: int, new: int) -> None:
        """Makes a pin on the first `old` blocks of a run one on its first `new` (`new` ≥ `old`)."""
        if new == old:
            return
        pins = run.pins
        top = pins[-1]
        del pins[bisect_left(pins, old)]
        insort(pins, new)
        if new > top:
            self.pinned += new - top
            if run.idle:
                self._wake(run, new)

    def _wake(self, run: _Run, stop: int) -> None:
        """Takes the first `stop` blocks of a run out of its evictable stretches."""
        idle = run.idle
        taken = 0
        while idle:
            stretch = idle[-1]
            start = stretch.start
            if stretch.stop > stop:
                if start < stop:
                    taken += stop - start
                    stretch.start = stop
                break
            taken += stretch.stop - start
            stretch.start = stretch.stop
            self._dead += 1
            idle.pop()
        self.evictable -= taken
        if self._dead > _FEWEST_DEAD and self._dead * 2 > len(self._lru):
            self._lru = deque(s for s in self._lru if s.stop > s.start)
            self._dead = 0

    def _evict(self, count: int, spill: Spill | None) -> None:
        """Frees `count` evictable blocks (there are as many), and tells `spill` which."""
        lru = self._lru
        listener = self._listener
        self.used -= count
        self.evictable -= count
        while count:
            stretch = lru[0]
            start, stop = stretch.start, stretch.stop
            size = stop - start
            if not size:
                lru.popleft()
                self._dead -= 1
                continue
            run = stretch.run
            if size > count:
                start = stretch.stop = stop - count
                count = 0
            else:
                lru.popleft()
                del run.idle[0]
                count -= size
            run.held = start
            if not start:
                del self._runs[run.first]
            if listener is not None:
                listener(run.first, stop, start)
            if spill is not None:
                spill(_chain(run, stop), run.base + start)


def _chain(run: _Run, stop: int) -> tuple[int, ...]:
    """The runs of a prompt that ends with the first `stop` blocks of a run."""
    chain = [stop, run.first]
    while run.parent is not None:
        chain += (run.fork, run.parent.first)
        run = run.parent
    chain.reverse()
    return tuple(chain)
