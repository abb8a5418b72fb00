"""The books of a deployment: what its tenants asked for and got, and a row for every attempt."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from math import isnan
from typing import Any

from factory.facility import Windows
from factory.records.codes import REJECTED, TIMED_OUT
from factory.serving.meter import (
    FINISHED,
    GOOD,
    LOST,
    OFFERED,
    OUTPUT,
    OUTPUT_GOOD,
    REFUSED,
    RETRIED,
    TENANT_INPUT,
    TENANT_OUTPUT,
    TENANT_OUTPUT_GOOD,
    TIMED,
)
from factory.serving.sequence import NO_TIERS, Sequence
from factory.workload import Request

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """Limits of a tenant, seconds; infinite where there is none."""

    ttft_s: float
    itl_s: float
    e2e_s: float


class Accounts:
    """Books of one deployment; calls come in order of time.

    A logical request is offered once, with its first attempt, and is good at most once: its time to
    the end counts from the first attempt.

    Args:
        windows: Sums of the pool in which answers are generated.
        tenants: Sums of each tenant of the run.
        levels: Service level of each tenant.
        write: Takes a finished row of `fact_requests`.

    Attributes:
        completed: Requests completed so far.
    """

    __slots__ = (
        "_edge_s", "_levels", "_pool_row", "_tenant_rows", "_tenants", "_windows", "_write",
        "completed",
    )  # fmt: skip

    def __init__(
        self,
        windows: Windows,
        tenants: Seq[Windows],
        levels: Seq[ServiceLevel],
        write: Callable[[Row], None],
    ) -> None:
        self._windows = windows
        self._tenants = tenants
        self._levels = levels
        self._write = write
        self.completed = 0
        self._edge_s = 0.0
        self._turn(0.0)

    def _turn(self, now_s: float) -> None:
        """Finds the rows of the window that holds ``now_s``."""
        windows = self._windows
        index = windows.index(now_s)
        self._pool_row = windows.row(index)
        self._tenant_rows = [tenant.row(index) for tenant in self._tenants]
        self._edge_s = (index + 1) * windows.window_s

    def arrived(self, request: Request, now_s: float) -> None:
        """A request has come."""
        if now_s >= self._edge_s:
            self._turn(now_s)
        row = self._tenant_rows[request.tenant]
        if request.attempt:
            row[RETRIED] += 1
        else:
            row[OFFERED] += 1
            row[TENANT_INPUT] += request.input_tokens

    def first_token(self, sequence: Sequence, now_s: float) -> None:
        """A first token reaches its client from the pool that decodes, which did not compute it."""
        if now_s >= self._edge_s:
            self._turn(now_s)
        self._pool_row[OUTPUT] += 1
        self._tenant_rows[sequence.request.tenant][TENANT_OUTPUT] += 1

    def finished(self, sequence: Sequence, elsewhere: Windows | None, now_s: float) -> None:
        """A request has all its tokens; its last was generated in the pool ``elsewhere``, if so."""
        if now_s >= self._edge_s:
            self._turn(now_s)
        request = sequence.request
        level = self._levels[request.tenant]
        row = self._tenant_rows[request.tenant]
        row[FINISHED] += 1
        self.completed += 1
        tokens = sequence.limit
        first_s = sequence.first_token_s
        if (
            first_s - request.arrival_s <= level.ttft_s
            and now_s - request.first_s <= level.e2e_s
            and (tokens < 2 or (now_s - first_s) / (tokens - 1) <= level.itl_s)
        ):
            row[GOOD] += 1
            row[TENANT_OUTPUT_GOOD] += tokens
            pool = self._pool_row if elsewhere is None else elsewhere.at(now_s)
            pool[OUTPUT_GOOD] += tokens

    def unserved(self, request: Request, outcome: int, now_s: float) -> None:
        """A request leaves without its answer."""
        if now_s >= self._edge_s:
            self._turn(now_s)
        row = self._tenant_rows[request.tenant]
        if outcome == REJECTED:
            row[REFUSED] += 1
        else:
            row[TIMED if outcome == TIMED_OUT else LOST] += 1

    def record(self, sequence: Sequence, outcome: int, now_s: float, is_split: bool) -> None:
        """Writes the row of an attempt.

        Args:
            sequence: The attempt.
            outcome: What became of it, a code.
            now_s: When it ended, seconds; NaN if it has not.
            is_split: Whether a pool of its own decodes.
        """
        request = sequence.request
        prefill = sequence.prefill_rank
        decode = sequence.decode_rank
        if decode is None and not is_split:
            decode = prefill
        prefilled_s = sequence.prefill_end_s
        # Cached tokens count when the prompt is done, here as in the sums of the pool.
        cached = 0 if isnan(prefilled_s) else sequence.first_cached
        self._write(
            (
                request.index,
                request.root,
                request.attempt,
                request.session,
                request.turn,
                request.parent,
                request.deployment,
                request.tenant,
                -1 if prefill is None else prefill.replica.name,
                -1 if prefill is None else prefill.name,
                -1 if decode is None else decode.replica.name,
                -1 if decode is None else decode.name,
                outcome,
                request.first_s,
                request.arrival_s,
                sequence.prefill_start_s,
                prefilled_s,
                sequence.first_token_s,
                now_s,
                request.input_tokens,
                sequence.computed_tokens,
                sequence.recomputed_tokens,
                cached,
                *(sequence.cached_by_tier if cached else NO_TIERS),
                request.output_tokens,
                sequence.generated,
                sequence.decode_steps,
                sequence.preemptions,
                int(sequence.transfer_bytes),
                sequence.transfer_s,
                sequence.gpu_s_computed,
                sequence.gpu_s_cached,
                sequence.gpu_s_output,
                sequence.energy_input_j,
                sequence.energy_output_j,
                request.task,
                request.agent,
            )
        )
