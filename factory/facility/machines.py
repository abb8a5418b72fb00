"""A replica as breakers, failures, maintenance and curtailment see it: up, down, or at rest.

Several causes may hold a machine at once (a rack trips while a GPU of it is being repaired): it is
up when none does. A cause is a ledger state and a name; the same one may come several times, and
each time must end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from factory.facility.tree import PowerNode
from factory.records.codes import STATE_PAUSED, STATE_TRIPPED

Watcher = Callable[[float], None]


class Machine(Protocol):
    """The GPUs of one replica and what runs on them (see the module).

    Attributes:
        number: Number of the replica in the run.
        name: Its name in the tables.
        rack: Where it stands.
        gpus: Its GPUs, by number within the rack.
        bare_watts, loaded_watts: Draw of one GPU with nothing loaded, and with the model loaded and
            idle, watts.
        watchers: Called as ``(now_s)`` when it has come to rest, or is up again.
    """

    number: int
    name: str
    rack: PowerNode
    gpus: tuple[int, ...]
    bare_watts: float
    loaded_watts: float
    watchers: list[Watcher]

    @property
    def is_up(self) -> bool:
        """Whether it takes requests."""
        ...

    @property
    def is_down(self) -> bool:
        """Whether something holds it, and nothing runs on it any more."""
        ...

    @property
    def is_starting(self) -> bool:
        """Whether nothing holds it and it is about to be up."""
        ...

    def shut(self) -> None:
        """Takes no more requests: `fail` or `pause` follows at the same instant."""
        ...

    def fail(
        self,
        now_s: float,
        state: int,
        watts_per_gpu: float,
        cause: str = "",
        *,
        keeps_weights: bool = False,
    ) -> None:
        """Stops at once: the step is lost, and all requests that have anything here fail.

        Args:
            now_s: The time, seconds.
            state: Ledger state from now on, `STATE_TRIPPED` or `STATE_FAILED`.
            watts_per_gpu: What a GPU of it draws meanwhile, mean over them.
            cause: Tells causes of one state apart.
            keeps_weights: Whether it need not start again after: it runs and cannot be reached.
        """
        ...

    def repair(self, now_s: float, state: int = STATE_TRIPPED, cause: str = "") -> None:
        """A cause of `fail` is over; it begins to start if it was the last one."""
        ...

    def pause(
        self,
        now_s: float,
        state: int = STATE_PAUSED,
        cause: str = "",
        drain_timeout_s: float | None = None,
    ) -> None:
        """Takes no more requests, finishes those it has, then rests with nothing loaded.

        Args:
            now_s: The time, seconds.
            state: Ledger state of its rest, `STATE_PAUSED` or `STATE_MAINTENANCE`.
            cause: Tells causes of one state apart.
            drain_timeout_s: What it has not finished so soon fails; by default it is waited for.
        """
        ...

    def resume(self, now_s: float, state: int = STATE_PAUSED, cause: str = "") -> None:
        """A cause of `pause` is over; it begins to start if it was the last one."""
        ...


def fail_together(
    machines: Sequence[Machine],
    now_s: float,
    state: int,
    watts_per_gpu: Sequence[float],
    cause: str = "",
    *,
    keeps_weights: bool = False,
) -> None:
    """Machines that stop at one instant: what the first one loses is not sent to the second."""
    for machine in machines:
        machine.shut()
    for machine, watts in zip(machines, watts_per_gpu, strict=True):
        machine.fail(now_s, state, watts, cause, keeps_weights=keeps_weights)
