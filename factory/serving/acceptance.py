"""How many decode steps an answer takes when every step verifies drafts of its next tokens.

A step emits one token, and one more for each draft accepted; the first draft refused ends it. The
tokens of successive steps are independent, so the steps of an answer are the first at which their
sum reaches it: a renewal process, whose last step is cut at the answer's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

_RING = 1 << 128
_STRIDE = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""From row to row of the stream, in draws: the golden ratio of PCG64's period, as numpy's own
``PCG64.jumped`` steps, so that no two rows ever meet."""

_MARGIN = 3.0
"""Standard deviations beyond the mean number of steps that are drawn at once."""


class Acceptance:
    """Draws the decode steps of answers.

    Attributes:
        drafts: Drafts that a step verifies.
        tokens_per_step: Mean tokens of a step that no answer's end cuts.

    Args:
        probabilities: Of each draft, that it is accepted given that those before it were.
        draws: A named stream of its own. Row ``i`` of it belongs to request ``i``, whatever is
            drawn before: requests keep their luck when others come, go or change places.
    """

    __slots__ = ("_ascending", "_at", "_bits", "_draws", "_spread", "drafts", "tokens_per_step")

    def __init__(self, probabilities: Sequence[float], draws: np.random.Generator) -> None:
        joint = np.cumprod(np.array(probabilities, dtype=np.float64))
        bits = draws.bit_generator
        assert isinstance(bits, np.random.PCG64)
        self.drafts = len(probabilities)
        self.tokens_per_step = 1.0 + float(joint.sum())
        second = 1.0 + float(((2.0 * np.arange(self.drafts) + 3.0) * joint).sum())
        variance = max(second - self.tokens_per_step**2, 0.0)
        self._spread = _MARGIN * sqrt(variance / self.tokens_per_step) / self.tokens_per_step
        self._ascending = joint[::-1].copy()
        self._draws = draws
        self._bits = bits
        self._at = 0

    def steps(self, request: int, tokens: int) -> int:
        """Steps in which ``tokens`` tokens are emitted.

        One number from the stream decides a step, and a higher acceptance never takes one from the
        tokens that it emits: designs that differ in acceptance alone differ by that alone.

        Args:
            request: Index of the request: its row of the stream.
            tokens: Tokens to emit after the first, at least 1.
        """
        row = request * _STRIDE % _RING
        self._bits.advance((row - self._at) % _RING)
        done = used = 0
        while True:
            mean = tokens / self.tokens_per_step
            count = min(tokens, int(mean + self._spread * sqrt(tokens)) + 2)
            # A step emits 1 + (drafts i with draw < p1 … pi) tokens.
            refused = np.searchsorted(self._ascending, self._draws.random(count), side="right")
            emitted = np.cumsum(self.drafts + 1 - refused)
            used += count
            last = int(emitted[-1])
            if last >= tokens:
                self._at = row + used
                return done + int(np.searchsorted(emitted, tokens)) + 1
            done += count
            tokens -= last
