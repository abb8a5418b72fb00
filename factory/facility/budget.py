"""A rack's power budget, enforced by clocks before a higher draw begins.

The control is ideal: it knows every draw and acts at once. All replicas of a rack run at one of a
few clock levels, the highest at which the rack stays within its budget; a level is looked for
whenever one of them is about to change its work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from factory.facility.metering import Windows
from factory.kernel import CLASS_POWER, Kernel


class PowerLoad(Protocol):
    """What the facility sees of a replica."""

    def watts_at(self, clock: float) -> float:
        """Draw at ``clock`` with the work it has or is about to begin, watts."""

    def set_clock(self, now_s: float, clock: float) -> None:
        """Runs at ``clock`` from now on."""

    def resume(self, now_s: float) -> None:
        """Asks for a grant again."""


class RackBudget:
    """The budget of one rack (see the module).

    Args:
        budget_w: IT power that the rack may draw, watts.
        fixed_w: Part of it that does not depend on the replicas' work, watts.
        levels: Clock ratios, rising.
        windows: Sums of the rack; field 1 takes the seconds below the highest level.
        kernel, number: The environment, and a stable number for its timer.
        note: Told as ``(now_s, kind, clock)`` when capping begins and ends.
    """

    __slots__ = (
        "_held",
        "_levels",
        "_loads",
        "_note",
        "_retry",
        "_since_s",
        "_windows",
        "budget_w",
        "fixed_w",
        "level",
    )

    def __init__(
        self,
        budget_w: float,
        fixed_w: float,
        levels: Sequence[float],
        windows: Windows,
        note: Callable[[float, str, float], None],
        kernel: Kernel,
        number: int,
    ) -> None:
        self._note = note
        self._held: dict[PowerLoad, None] = {}
        self._retry = kernel.timer(CLASS_POWER, number, self._resume)
        self.budget_w = budget_w
        self.fixed_w = fixed_w
        self._levels = levels
        self._loads: list[PowerLoad] = []
        self._windows = windows
        self._since_s = 0.0
        self.level = len(levels) - 1

    def add(self, load: PowerLoad) -> None:
        """A replica stands in this rack."""
        self._loads.append(load)

    def draw_w(self, level: int) -> float:
        """Draw of the rack at a level with the work that its replicas have, watts."""
        clock = self._levels[level]
        return self.fixed_w + sum(load.watts_at(clock) for load in self._loads)

    def grant(self, now_s: float, load: PowerLoad) -> float:
        """The clock at which ``load`` may begin its new work; the others are set to it first.

        Args:
            now_s: Time, seconds.
            load: A replica whose `watts_at` speaks of the work it is about to begin.

        Returns:
            The clock ratio of the rack from now on; 0 if no clock keeps the budget. Then the load
            waits, drawing what it draws idle, and is resumed when there is power.
        """
        level = self.level
        top = len(self._levels) - 1
        if self.draw_w(level) > self.budget_w:
            while level > 0:
                level -= 1
                if self.draw_w(level) <= self.budget_w:
                    break
            else:
                self._held[load] = None
                return 0.0
        else:
            while level < top and self.draw_w(level + 1) <= self.budget_w:
                level += 1
        clock = self._levels[level]
        if level != self.level:
            self.account(now_s)
            if self.level == top:
                self._note(now_s, "cap_began", clock)
            elif level == top:
                self._note(now_s, "cap_ended", clock)
            self.level = level
            for other in self._loads:
                if other is not load:
                    other.set_clock(now_s, clock)
        if self._held:
            self._retry.set(now_s)
        return clock

    def _resume(self, now_s: float) -> None:
        """Lets the load that has waited longest try again."""
        if not self._held:
            return
        load = next(iter(self._held))
        del self._held[load]
        load.resume(now_s)
        if load in self._held:
            del self._held[load]
            self._held = {load: None, **self._held}

    def account(self, until_s: float) -> None:
        """Books the time up to ``until_s`` as capped if the level is below the highest."""
        if self.level < len(self._levels) - 1:
            window_s = self._windows.window_s
            start_s = self._since_s
            index = int(start_s / window_s)
            while start_s < until_s:
                end_s = min(until_s, (index + 1) * window_s)
                if end_s > start_s:
                    self._windows.row(index)[1] += end_s - start_s
                    start_s = end_s
                index += 1
        self._since_s = until_s
