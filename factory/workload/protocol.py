"""What the simulation asks of a workload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from factory.workload.request import Request


class Workload(Protocol):
    """Demand that answers back: open loop, closed loop, sessions and retries in one interface."""

    @property
    def block_size(self) -> tuple[int, ...]:
        """Tokens per block, one number per deployment."""
        ...

    @property
    def skipped_rows(self) -> int:
        """Malformed rows of traces left out so far."""
        ...

    @property
    def session_tenants(self) -> frozenset[int]:
        """Positions of the tenants whose sessions can have more than one request."""
        ...

    def cut_tasks(self, session: int) -> Sequence[int]:
        """Tasks for which a session had more to send when demand ended; to be asked once."""
        ...

    def start(self) -> Iterator[Request]:
        """Yields the requests that wait for no answer, lazily, by (arrival_s, index)."""
        ...

    def on_done(self, request: Request, time_s: float, outcome: int) -> Sequence[Request]:
        """Tells the workload that a request left, and takes what follows from it.

        Args:
            request: The request that left.
            time_s: When it left, simulated seconds.
            outcome: A code of `factory.records.codes`.

        Returns:
            Later requests, each with `arrival_s >= time_s`; the shared empty tuple if none.
        """
        ...
