"""Planned work: maintenance of what stands somewhere, and rolling upgrades of a pool.

Both drain first: a replica takes no more requests, finishes those it has and then rests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from factory.facility.agenda import Agenda
from factory.facility.failures import Note
from factory.facility.machines import Machine
from factory.records.codes import STATE_MAINTENANCE


class Window:
    """Maintenance of one component: its machines drain, all rest for the work, all start again.

    Args:
        agenda: Keeps the times.
        owner: Order among what happens at one instant.
        name: What is worked on.
        machines: The machines there.
        duration_s: The work, from when the last machine rests, seconds.
        every_s: Seconds from one beginning to the next; None for once.
        drain_timeout_s: What has not ended so soon fails; None: it is waited for.
        note: Takes ``fact_events``.
    """

    __slots__ = (
        "_agenda", "_at_s", "_cause", "_count", "_drain_timeout_s", "_duration_s", "_every_s",
        "_is_working", "_machines", "_name", "_note", "_owner",
    )  # fmt: skip

    def __init__(
        self,
        agenda: Agenda,
        owner: int,
        name: str,
        machines: Sequence[Machine],
        at_s: float,
        duration_s: float,
        every_s: float | None,
        drain_timeout_s: float | None,
        note: Note,
    ) -> None:
        self._agenda = agenda
        self._owner = owner
        self._name = name
        self._machines = machines
        self._at_s = at_s
        self._duration_s = duration_s
        self._every_s = every_s
        self._drain_timeout_s = drain_timeout_s
        self._note = note
        self._count = 0
        self._cause = f"maintenance {owner}"
        self._is_working = False
        for machine in machines:
            machine.watchers.append(self._look)
        agenda.at(at_s, owner, self._begin)

    def _begin(self, now_s: float) -> None:
        self._is_working = False
        gpus = float(sum(len(machine.gpus) for machine in self._machines))
        self._note(now_s, "maintenance_began", self._name, gpus, "GPUs to drain and rest")
        for machine in self._machines:
            machine.shut()
        for machine in self._machines:
            machine.pause(now_s, STATE_MAINTENANCE, self._cause, self._drain_timeout_s)
        self._count += 1
        self._look(now_s)

    def _look(self, now_s: float) -> None:
        """The work begins when all machines rest."""
        due = self._count and not self._is_working
        if due and all(machine.is_down for machine in self._machines):
            self._is_working = True
            self._agenda.at(now_s + self._duration_s, self._owner, self._end)

    def _end(self, now_s: float) -> None:
        gpus = float(sum(len(machine.gpus) for machine in self._machines))
        self._note(now_s, "maintenance_ended", self._name, gpus, "GPUs that start again")
        if self._every_s is not None:
            while self._at_s <= now_s:
                self._at_s += self._every_s
            self._agenda.at(self._at_s, self._owner, self._begin)
        for machine in self._machines:
            machine.resume(now_s, STATE_MAINTENANCE, self._cause)


class Rolling:
    """An upgrade of a pool's machines, a few at a time, in order.

    One that is down already is upgraded where it is, and one that something else holds when it is
    done is not waited for.

    Args:
        agenda: Keeps the times.
        owner: Order among what happens at one instant.
        name: What is upgraded.
        machines: The machines, in order.
        at_once: How many are out at a time.
        duration_s: From drained until one begins to start again, seconds.
        drain_timeout_s: What has not ended so soon fails; None: it is waited for.
        note: Takes ``fact_events``.
    """

    __slots__ = (
        "_agenda", "_at_once", "_cause", "_drain_timeout_s", "_duration_s", "_left", "_name",
        "_note", "_out", "_owner", "_resting", "_total",
    )  # fmt: skip

    def __init__(
        self,
        agenda: Agenda,
        owner: int,
        name: str,
        machines: Sequence[Machine],
        at_s: float,
        at_once: int,
        duration_s: float,
        drain_timeout_s: float | None,
        note: Note,
    ) -> None:
        self._agenda = agenda
        self._owner = owner
        self._name = name
        self._at_once = at_once
        self._duration_s = duration_s
        self._drain_timeout_s = drain_timeout_s
        self._note = note
        self._cause = f"upgrade {owner}"
        self._left = deque(machines)
        self._total = len(machines)
        # Those that are out, and whether their work has begun or they start again.
        self._out: dict[int, Machine] = {}
        self._resting: dict[int, bool] = {}
        for machine in machines:
            machine.watchers.append(self._watcher(machine))
        agenda.at(at_s, owner, self._begin)

    def _begin(self, now_s: float) -> None:
        count = float(len(self._left))
        self._note(now_s, "upgrade_began", self._name, count, "replicas to upgrade")
        self._next(now_s)

    def _next(self, now_s: float) -> None:
        while self._left and len(self._out) < self._at_once:
            machine = self._left.popleft()
            self._out[machine.number] = machine
            machine.shut()
            machine.pause(now_s, STATE_MAINTENANCE, self._cause, self._drain_timeout_s)
            self._look(machine, now_s)

    def _watcher(self, machine: Machine) -> Callable[[float], None]:
        def changed(now_s: float) -> None:
            if machine.number in self._out:
                self._look(machine, now_s)

        return changed

    def _look(self, machine: Machine, now_s: float) -> None:
        number = machine.number
        started = self._resting.get(number)
        if started is None:
            if machine.is_down:
                self._resting[number] = False

                def end(at_s: float) -> None:
                    self._resting[number] = True
                    machine.resume(at_s, STATE_MAINTENANCE, self._cause)
                    if number in self._out:
                        self._look(machine, at_s)

                self._agenda.at(now_s + self._duration_s, self._owner, end)
        elif started and not machine.is_starting:
            del self._out[number]
            self._note(now_s, "upgraded", machine.name, float(self._total - len(self._left)), "")
            self._next(now_s)
