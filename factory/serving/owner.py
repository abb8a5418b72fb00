"""Whom a replica tells what happens in it, and who may wait for its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from factory.serving.sequence import Sequence

if TYPE_CHECKING:
    from factory.serving.rank import Rank
    from factory.serving.replica import Replica


class Owner(Protocol):
    """What a replica tells the deployment it belongs to."""

    def begun(self, sequence: Sequence, rank: Rank, now_s: float) -> None:
        """The next step is the first of a prompt."""

    def admitted(self, sequence: Sequence, now_s: float) -> None:
        """A request that waited has been let into a batch."""

    def prefilled(self, sequence: Sequence, now_s: float) -> None:
        """The step that ends now completed the prompt, and with it gave the next token."""

    def finished(self, sequence: Sequence, now_s: float) -> None:
        """The sequence has all its tokens; it has left its batch but still holds its blocks."""

    def room(self, rank: Rank, now_s: float) -> None:
        """A rank for which sequences wait has been through a boundary."""

    def gone(self, sequence: Sequence, rank: Rank, now_s: float) -> None:
        """A doomed sequence has left its rank."""

    def rested(self, replica: Replica, now_s: float) -> None:
        """A draining replica has nothing left to do."""


class Draining(Protocol):
    """What may let a replica drain beside its pool's autoscaler.

    Attributes:
        drains: Whether it does so now.
    """

    drains: bool

    def rested(self, now_s: float) -> None:
        """The replica has drained."""
