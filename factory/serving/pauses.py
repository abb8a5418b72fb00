"""Steps that a rank's decoding sequences sit out while others' prompts are computed.

A scheduler that prefills first runs steps without its decoding sequences. These steps are none of
the batch's: it does not advance, and pays for nothing. The integrators of the replica's meter grow
all the same where other ranks decode, so what they grew by is taken off here, and so is the part of
"cost times step index" that comes from counting the batch's own steps: with ``lag`` steps sat out
so far, that index is the replica's less ``lag``.
"""

from __future__ import annotations

from factory.serving.meter import Marks, Meter


class Pauses:
    """The steps that one rank's batch has sat out.

    Attributes:
        lag: How many, so far.
        is_on: Whether it sits the present steps out.
    """

    __slots__ = ("_began", "_held", "_lagged_j", "_lagged_s", "_off", "_since", "is_on", "lag")

    def __init__(self) -> None:
        self.lag = 0
        self.is_on = False
        self._since = 0
        # What the meter showed as the pause began, and what a member's mark was then.
        self._began: Marks = (0.0,) * 6
        self._held: Marks = (0.0,) * 6
        self._off = [0.0] * 6
        # Sums over pauses of their steps times the cost per token of context so far.
        self._lagged_s = 0.0
        self._lagged_j = 0.0

    def begin(self, meter: Meter) -> None:
        """The batch sits out from now on; the account is up to date."""
        self._held = self.marks(meter)
        self._began = meter.mark()
        self._since = self.lag
        self.is_on = True

    def end(self, meter: Meter) -> None:
        """The batch takes part again; the account is up to date."""
        for i, (now, then) in enumerate(zip(meter.mark(), self._began, strict=True)):
            self._off[i] += now - then
        steps = self.lag - self._since
        self._lagged_s += steps * (meter.token_s - self._off[1])
        self._lagged_j += steps * (meter.token_j - self._off[4])
        self.is_on = False

    def marks(self, meter: Meter) -> Marks:
        """The integrators as the batch's members see them."""
        if self.is_on:
            return self._held
        if not self.lag:
            return meter.mark()
        member_s, token_s, token_step_s, member_j, token_j, token_step_j = meter.mark()
        off = self._off
        token_s -= off[1]
        token_j -= off[4]
        return (
            member_s - off[0],
            token_s,
            token_step_s - off[2] - (self.lag * token_s - self._lagged_s),
            member_j - off[3],
            token_j,
            token_step_j - off[5] - (self.lag * token_j - self._lagged_j),
        )
