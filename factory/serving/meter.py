"""The account of one replica: GPU-seconds by ledger state, tokens and joules, by window.

A meter is lazy: it is told of a span when the span is over (or its line ends), and cuts it at
window edges. Windows therefore cost nothing until a span crosses one, and create no events.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq

from factory.facility import Windows
from factory.records.codes import (
    STATE_DECODE,
    STATE_FETCH_CACHED,
    STATE_POWER_CAPPED,
    STATE_PREFILL_NEW,
    STATE_PREFILL_RECOMPUTED,
    STATE_WAITING_PEERS,
)
from factory.serving.batch import ENDLESS
from factory.serving.leap import Leap
from factory.serving.sequence import Sequence
from factory.serving.speculative import SpeculativeBatch

Marks = tuple[float, float, float, float, float, float]
"""Integrators of a meter at one moment (see `Meter`)."""

COMPUTED = 0
RECOMPUTED = 1
CACHED = 2
OUTPUT = 3
OUTPUT_GOOD = 4
STATES = 5
ENERGY = STATES + 17
ENERGY_IDLE = ENERGY + 1
STEPS = ENERGY_IDLE + 1
LEAPS = STEPS + 1
PROVISIONED_LESS = LEAPS + 1
FIELDS = PROVISIONED_LESS + 1

RELEASED = PROVISIONED_LESS - STATES
"""What stands in the place of a ledger state for GPUs that were given back: they are not paid for,
draw nothing, and are taken off the provisioned GPU-seconds."""

OFFERED = 0
FINISHED = 1
GOOD = 2
REFUSED = 3
TENANT_INPUT = 4
TENANT_OUTPUT = 5
TENANT_OUTPUT_GOOD = 6
TIMED = 7
LOST = 8
RETRIED = 9
TENANT_FIELDS = 10

_PREFILL_NEW = STATES + STATE_PREFILL_NEW
_PREFILL_RECOMPUTED = STATES + STATE_PREFILL_RECOMPUTED
_DECODE = STATES + STATE_DECODE
_CAPPED = STATES + STATE_POWER_CAPPED
_WAITING = STATES + STATE_WAITING_PEERS


class Meter:
    """The account of one replica up to `until_s`.

    The integrators let a sequence know its cost as a difference between joining and leaving:
    seconds per member, seconds per token of context, the same weighted with the step index, and
    these three in joules.

    Attributes:
        until_s: How far the account has come, seconds.
        edge_s: End of the window that `until_s` is in, seconds.
        gpus: GPUs of the replica.

    Args:
        windows: Sums of the replica's pool.
        tenants: Sums per tenant.
        gpus: GPUs of the replica.
        drafting: Batches of its ranks, if their steps verify drafts. What such a batch emits is not
            in proportion to its steps: it is counted when a sequence leaves or a window ends.
    """

    __slots__ = (
        "_drafting",
        "_emits_evenly",
        "_row",
        "_tenant_rows",
        "_tenants",
        "_window",
        "_windows",
        "edge_s",
        "gpus",
        "member_j",
        "member_s",
        "token_j",
        "token_s",
        "token_step_j",
        "token_step_s",
        "until_s",
    )

    def __init__(
        self,
        windows: Windows,
        tenants: list[Windows],
        gpus: int,
        drafting: Seq[SpeculativeBatch] = (),
    ) -> None:
        self._windows = windows
        self._drafting = drafting
        self._emits_evenly = not drafting
        self._tenants = tenants
        self.gpus = gpus
        self._window = 0
        self.edge_s = windows.window_s
        self._row = windows.row(0)
        self._tenant_rows = [tenant.row(0) for tenant in tenants]
        self.until_s = 0.0
        self.member_s = 0.0
        self.token_s = 0.0
        self.token_step_s = 0.0
        self.member_j = 0.0
        self.token_j = 0.0
        self.token_step_j = 0.0

    def _next_window(self, step: int) -> None:
        """Turns to the next window; the steps before ``step`` belong to those so far."""
        for batch in self._drafting:
            for tenant, tokens in batch.emissions(ENDLESS if batch.is_paused else step - batch.lag):
                self.emitted(tenant, tokens)
        self._window += 1
        index = self._window
        self.edge_s = (index + 1) * self._windows.window_s
        self._row = self._windows.row(index)
        self._tenant_rows = [tenant.row(index) for tenant in self._tenants]

    def rest(self, until_s: float, state: int, watts: float) -> None:
        """The replica did nothing up to ``until_s``.

        Args:
            until_s: End of the span, seconds.
            state: Ledger state of the span.
            watts: Draw of one GPU.
        """
        while until_s >= self.edge_s:
            self._rest(self.edge_s, state, watts)
            self._next_window(ENDLESS)
        if until_s > self.until_s:
            self._rest(until_s, state, watts)

    def _rest(self, until_s: float, state: int, watts: float) -> None:
        gpu_s = (until_s - self.until_s) * self.gpus
        row = self._row
        row[STATES + state] += gpu_s
        self.until_s = until_s
        if state != RELEASED:
            row[ENERGY] += gpu_s * watts
            if state != STATE_FETCH_CACHED:  # that is charged to those who wait for their KV
                row[ENERGY_IDLE] += gpu_s * watts

    def work(self, leap: Leap, k: int, part: float, end_s: float) -> None:
        """The replica has come to ``k`` steps and the fraction ``part`` of the next in its leap.

        Tokens belong to the end of their step; those of a step that ends exactly on a window's edge
        belong to the later window.

        Args:
            leap: What the replica does.
            k: Whole steps done.
            part: Fraction of the next one.
            end_s: The time of that, seconds.
        """
        segment = leap.segment
        while end_s >= self.edge_s:
            edge_s = self.edge_s
            done = segment.steps_by(leap.anchor_s, edge_s)
            boundary_s = leap.anchor_s + segment.elapsed(done)
            if done > leap.k and boundary_s == edge_s:
                self.add_work(leap, done - 1, 1.0, edge_s)
            elif done >= segment.steps:
                self.add_work(leap, k, part, edge_s)
            else:
                length = segment.base_s + segment.slope_s * done
                self.add_work(leap, done, (edge_s - boundary_s) / length, edge_s)
            self._next_window(leap.step + leap.k)
        if k > leap.k or part != leap.part:
            self.add_work(leap, k, part, end_s)

    def add_work(self, leap: Leap, k: int, part: float, end_s: float) -> None:
        """`work` of a span that does not go past `edge_s`, the end of the window."""
        segment = leap.segment
        k0 = leap.k
        steps = k - k0
        if k0 == 0 and part == 0.0 and leap.part == 0.0:
            span = float(steps)
            ramp = steps * (steps - 1) * 0.5
        else:
            # Σ over whole steps of (1, index), with fractions of the first and the last.
            span = steps + part - leap.part
            ramp = (k * (k - 1) - k0 * (k0 - 1)) * 0.5 + part * k - leap.part * k0
        seconds = end_s - self.until_s
        gpus = self.gpus
        watts = leap.watts
        row = self._row
        uncapped = leap.uncapped
        prefill_s = segment.prefill_base_s * span + segment.prefill_slope_s * ramp
        wait_s = segment.wait_base_s * span + segment.wait_slope_s * ramp
        working_s = seconds - wait_s
        if wait_s:
            row[_WAITING] += wait_s * gpus
        if uncapped != 1.0:
            row[_CAPPED] += working_s * (1.0 - uncapped) * gpus
            working_s *= uncapped
            prefill_s *= uncapped
        if leap.shares:
            if not leap.size:
                prefill_s = working_s
            self._prefill(leap, prefill_s, span, ramp, steps, 0.0 if leap.size else wait_s)
            row[_DECODE] += (working_s - prefill_s) * gpus
        else:
            row[_DECODE] += working_s * gpus
        row[ENERGY] += watts * seconds * gpus
        row[STEPS] += steps
        if k0 == 0 and leap.part == 0.0:
            row[LEAPS] += 1.0
        size = leap.size
        if size:
            member_s = uncapped * gpus * segment.decode_fixed_s * span / size
            token_s = uncapped * gpus * segment.decode_token_s
            token_step_s = token_s * (ramp + leap.step * span)
            token_s *= span
            self.member_s += member_s
            self.token_s += token_s
            self.token_step_s += token_step_s
            # What is drawn in a cap's extra time, or while ranks wait, is drawn for them too.
            self.member_j += watts * (member_s / uncapped + wait_s * gpus / size)
            self.token_j += watts * token_s / uncapped
            self.token_step_j += watts * token_step_s / uncapped
            if steps and self._emits_evenly:
                row[OUTPUT] += steps * size
                tenant_rows = self._tenant_rows
                if len(tenant_rows) == 1:
                    tenant_rows[0][TENANT_OUTPUT] += steps * size
                else:
                    for tenant, count in leap.by_tenant.items():
                        tenant_rows[tenant][TENANT_OUTPUT] += steps * count
        leap.k = k
        leap.part = part
        self.until_s = end_s

    def _prefill(
        self, leap: Leap, prefill_s: float, span: float, ramp: float, steps: int, wait_s: float
    ) -> None:
        """Splits the prefill part of a span over its sequences, and counts their tokens.

        What ranks draw in ``wait_s``, while they wait for others, goes by tokens.
        """
        row = self._row
        gpus = self.gpus
        shares = leap.shares
        pair_s = leap.segment.prefill_pair_s * leap.uncapped
        tokens = pairs = recomputed = 0.0
        for share in shares:
            tokens += share.tokens
            recomputed += share.recomputed
            pairs += share.pairs * span + share.pairs_slope * ramp
        token_s = (prefill_s - pair_s * pairs) / tokens
        again = recomputed / tokens
        row[_PREFILL_NEW] += prefill_s * gpus * (1.0 - again)
        if again:
            row[_PREFILL_RECOMPUTED] += prefill_s * gpus * again
        row[COMPUTED] += (tokens - recomputed) * steps
        row[RECOMPUTED] += recomputed * steps
        for share in shares:
            sequence = share.sequence
            cached_s = gpus * pair_s * share.cached * share.tokens * span
            own_pairs = share.pairs * span + share.pairs_slope * ramp
            all_s = gpus * (token_s * share.tokens + pair_s * own_pairs)
            sequence.gpu_s_cached += cached_s
            sequence.gpu_s_computed += all_s - cached_s
            sequence.energy_input_j += leap.watts * (
                all_s / leap.uncapped + gpus * wait_s * share.tokens / tokens
            )

    def add(self, field: int, amount: float) -> None:
        """Adds to a sum of the window that `until_s` is in."""
        self._row[field] += amount

    def delivered(self, tenant: int) -> None:
        """One token of a prefill reaches its client now (`until_s` is now)."""
        self._row[OUTPUT] += 1.0
        rows = self._tenant_rows
        rows[tenant if len(rows) > 1 else 0][TENANT_OUTPUT] += 1.0

    def emitted(self, tenant: int, tokens: int) -> None:
        """Decode steps have given tokens in the window that `until_s` is in."""
        self._row[OUTPUT] += tokens
        rows = self._tenant_rows
        rows[tenant if len(rows) > 1 else 0][TENANT_OUTPUT] += tokens

    def mark(self) -> Marks:
        """The integrators now, for a sequence that joins."""
        return (
            self.member_s,
            self.token_s,
            self.token_step_s,
            self.member_j,
            self.token_j,
            self.token_step_j,
        )


def charge(sequence: Sequence, marks: Marks, rate: float = 1.0) -> None:
    """Charges a sequence that leaves its batch with its decode GPU-seconds and joules.

    Args:
        sequence: Who leaves; its ``cost_mark`` is of when it joined.
        marks: The integrators now.
        rate: Tokens by which its context grew per step.
    """
    member_s, token_s, token_step_s, member_j, token_j, token_step_j = sequence.cost_mark
    offset: float = sequence.join_context - rate * sequence.join_step
    sequence.gpu_s_output += (
        marks[0] - member_s + offset * (marks[1] - token_s) + rate * (marks[2] - token_step_s)
    )
    sequence.energy_output_j += (
        marks[3] - member_j + offset * (marks[4] - token_j) + rate * (marks[5] - token_step_j)
    )
