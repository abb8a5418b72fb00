"""Longest prefix first: the order of SGLang's ``schedule_policy: lpm``.

SGLang (2024; ``lpm`` was its default then) sorts its queue before every batch by the tokens of each
prompt that the radix cache holds, without regard to priorities, and falls back to first come, first
served while more than 128 wait. Here the cache is looked up when a sequence comes and whenever the
scheduler says that prompts were committed, which are events of both engines; an eviction in between
is seen at the next such event. Its second rule, to hold back prompts that share their start with
one that waits before them, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from factory.serving.queues import FirstCome
from factory.serving.sequence import Sequence


class LongestPrefix:
    """Most cached tokens first, then as `FirstCome`; wholly as that while too many wait.

    Args:
        cached: Tokens of a sequence's prompt in the KV cache, tokens.
        most: Waiting sequences up to which prefixes are compared.
    """

    __slots__ = ("_cached", "_first", "_line", "_most", "_tokens", "count")

    def __init__(self, cached: Callable[[Sequence], int], most: int) -> None:
        self.count = 0
        self._cached = cached
        self._most = most
        self._line = FirstCome()
        # Cached tokens of all that wait; kept only while few enough do.
        self._tokens: dict[Sequence, int] = {}
        self._first: Sequence | None = None

    def add(self, sequence: Sequence, now_s: float = 0.0) -> bool:
        """Takes in a sequence; says whether another one is first now, which it need not be."""
        self._line.add(sequence, now_s)
        return self._entered(sequence)

    def put_back(self, sequence: Sequence, last: bool = False) -> bool:
        """Takes back a sequence; says as `add` does."""
        self._line.put_back(sequence, last)
        return self._entered(sequence)

    def discard(self, sequence: Sequence) -> bool:
        """A waiting sequence leaves; says whether another one is first now."""
        self._line.discard(sequence)
        return self._went(sequence)

    def first(self) -> Sequence:
        """The next one, which stays."""
        if self._first is None:
            raise IndexError("nothing waits")
        return self._first

    def take(self) -> Sequence:
        """The next one, which leaves."""
        sequence = self.first()
        self._line.discard(sequence)
        self._went(sequence)
        return sequence

    def served(self, tenant: int, tokens: int) -> bool:  # noqa: ARG002
        """Changes nothing."""
        return False

    def refresh(self) -> bool:
        """Looks up every prefix again; says whether another one is first now."""
        if self.count <= self._most:
            self._tokens = {sequence: self._cached(sequence) for sequence in self._line}
        return self._choose()

    def outranks(self, sequence: Sequence, other: Sequence) -> bool:  # noqa: ARG002
        """Never: priorities do not count."""
        return False

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._line)

    def _entered(self, sequence: Sequence) -> bool:
        self.count += 1
        if self.count <= self._most:
            self._tokens[sequence] = self._cached(sequence)
        else:
            self._tokens.clear()
        return self._choose()

    def _went(self, sequence: Sequence) -> bool:
        self.count -= 1
        self._tokens.pop(sequence, None)
        return self.refresh() if self.count == self._most else self._choose()

    def _choose(self) -> bool:
        before = self._first
        if not self.count:
            self._first = None
        elif self.count > self._most:
            self._first = self._line.first()
        else:
            self._first = max(self._line, key=self._tokens.__getitem__)
        return self._first is not before
