"""Curtailments: for a while a site may draw less from the grid, and what is done about that.

Three ways, alone or together. `cap` lowers the limit of the facility's power node, and whoever
controls that lowers clocks. `shed` turns tenants away. `pause` drains machines and rests them,
as many as are predicted to be enough, and looks again while the curtailment lasts: the load of
those that rest moves to the others. A battery gives an even share of what it holds over the whole
time, which lifts the limit for all three. An announcement lets shed and pause begin beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite

from factory.facility.agenda import Agenda
from factory.facility.feed import Feed
from factory.facility.machines import Machine
from factory.facility.site import Site
from factory.facility.tree import CURTAILED_S, PowerNode

ANNOUNCED, BEGAN, ENDED, MISSED, RAMPED = (
    "curtailment_announced",
    "curtailment_began",
    "curtailment_ended",
    "curtailment_missed",
    "curtailment_ramped",
)
"""Kinds of rows of ``fact_events`` that curtailments write."""

CAUSE = "curtailment"

MISSED_RATIO = 1e-9
"""Energy above the limit, over what the limit allows, from which a curtailment counts as missed."""

_OWNER = 1 << 20
"""Its owner among the appointments of an instant: after failures, so that it sees who is up."""

Note = Callable[[float, str, float, str], None]
"""Takes (seconds, kind, value, detail) of an event of the facility."""


@dataclass(frozen=True, slots=True)
class Call:
    """One curtailment, of what is simulated.

    Attributes:
        at_s: When the reduction begins, s.
        duration_s: How long it lasts, s.
        notice_s: How long before it is announced, s.
        limit_w: Grid power meanwhile, W; None if `depth_ratio` says it.
        depth_ratio: Reduction over the baseline.
    """

    at_s: float
    duration_s: float
    notice_s: float = 0.0
    limit_w: float | None = None
    depth_ratio: float = 0.0

    @property
    def end_s(self) -> float:
        """When it ends, s."""
        return self.at_s + self.duration_s

    @property
    def announced_s(self) -> float:
        """When it is announced, s; at the start of the run if that would be before it."""
        return max(self.at_s - self.notice_s, 0.0)


@dataclass(frozen=True, slots=True)
class Rested:
    """A machine that can be rested, and its plug."""

    machine: Machine
    feed: Feed

    @property
    def bare_w(self) -> float:
        """Its draw at rest, W."""
        return self.machine.bare_watts * len(self.machine.gpus)


@dataclass(frozen=True, slots=True)
class Means:
    """What is done about curtailments; what is None is not done.

    Attributes:
        cap: Holds the facility to IT watts from ``(now_s, watts)`` on; infinite ends that.
        shed: Turns tenants away from ``now_s`` on, or no longer: ``(now_s, is_on)``.
        give_up: Gives up the requests inside of tenants turned away, at ``now_s``.
        machines: Those that may be rested.
        battery: Whether the battery helps.
        baseline_s: Time over which the baseline is formed, s.
        check_s: How often it is looked whether enough machines rest, s.
    """

    cap: Callable[[float, float], None] | None = None
    shed: Callable[[float, bool], None] | None = None
    give_up: Callable[[float], None] | None = None
    machines: Sequence[Rested] = ()
    battery: bool = False
    baseline_s: float = 900.0
    check_s: float = 10.0


class Curtailments:
    """Carries curtailments out (see the module).

    Args:
        calls: The curtailments, in the order of time, none over another.
        site: Its meter.
        root: The facility's power node.
        means: What is done.
        agenda: Keeps its appointments.
        note: Takes its events.
    """

    __slots__ = (
        "_agenda", "_begun_excess_j", "_begun_ramped_j", "_by_battery_w", "_limit_w",
        "_means", "_note", "_resting", "_root", "_since", "_site", "_terms", "_wanted",
    )  # fmt: skip

    def __init__(
        self,
        calls: Sequence[Call],
        site: Site,
        root: PowerNode,
        means: Means,
        agenda: Agenda,
        note: Note,
    ) -> None:
        self._site = site
        self._root = root
        self._means = means
        self._agenda = agenda
        self._note = note
        self._resting: list[Rested] = []
        # Those announced and not over.
        self._wanted: list[Call] = []
        # Of each, when its baseline began and the grid energy by then, J; then limit and mean, W.
        self._since: dict[Call, tuple[float, float]] = {}
        self._terms: dict[Call, tuple[float, float]] = {}
        self._limit_w = inf
        self._by_battery_w = 0.0
        self._begun_excess_j = self._begun_ramped_j = 0.0
        for call in calls:
            from_s = max(call.announced_s - means.baseline_s, 0.0)
            agenda.at(from_s, _OWNER, self._bound(self._measure, call))
            agenda.at(call.announced_s, _OWNER + 1, self._bound(self._announce, call))
            agenda.at(call.at_s, _OWNER + 2, self._bound(self._begin, call))

    @staticmethod
    def _bound(act: Callable[[float, Call], None], call: Call) -> Callable[[float], None]:
        return lambda now_s: act(now_s, call)

    # -- a curtailment's course ----------------------------------------------------------------

    def _measure(self, now_s: float, call: Call) -> None:
        """The baseline begins."""
        self._site.account(now_s)
        self._since[call] = (now_s, self._site.energy_j)

    def _announce(self, now_s: float, call: Call) -> None:
        self._wanted.append(call)
        mean_w = self._mean_w(now_s, *self._since.pop(call))
        limit_w = call.limit_w
        if limit_w is None:
            limit_w = (1.0 - call.depth_ratio) * mean_w
        self._terms[call] = (limit_w, mean_w)
        self._note(now_s, ANNOUNCED, limit_w / 1e3, f"kW of grid power from {call.at_s:g} s on")
        means = self._means
        if means.shed is not None and len(self._wanted) == 1:
            means.shed(now_s, True)
        if means.machines:
            self._rest_some(now_s, mean_w, limit_w + self._planned_w(call))

    def _begin(self, now_s: float, call: Call) -> None:
        site, means = self._site, self._means
        limit_w, _ = self._terms[call]
        self._limit_w = limit_w
        site.limit(now_s, limit_w, battery=means.battery)
        self._by_battery_w = self._planned_w(call)
        self._begun_excess_j, self._begun_ramped_j = site.excess_j, site.ramped_j
        for node in self._root.subtree():
            node.mark(now_s, CURTAILED_S, on=True)
        self._note(now_s, BEGAN, limit_w / 1e3, "kW that may be drawn from the grid")
        if means.give_up is not None:
            means.give_up(now_s)
        self._cap(now_s, call)
        if means.machines:
            self._look(now_s, call)
        self._agenda.at(call.end_s, _OWNER - 1, self._bound(self._end, call))

    def _end(self, now_s: float, call: Call) -> None:
        site, means = self._site, self._means
        site.limit(now_s, inf, battery=means.battery)
        self._limit_w = inf
        self._wanted.remove(call)
        limit_w, mean_w = self._terms.pop(call)
        excess_j = site.excess_j - self._begun_excess_j
        for node in self._root.subtree():
            node.mark(now_s, CURTAILED_S, on=False)
        if excess_j > MISSED_RATIO * mean_w * call.duration_s:
            detail = f"kWh drawn above {limit_w / 1e3:.6g} kW"
            self._note(now_s, MISSED, excess_j / 3.6e6, detail)
            ramped_j = site.ramped_j - self._begun_ramped_j
            if ramped_j > 0.0:
                detail = "kWh of it while grid power came down by its ramp limit"
                self._note(now_s, RAMPED, ramped_j / 3.6e6, detail)
        self._note(now_s, ENDED, limit_w / 1e3, "kW that might be drawn from the grid until now")
        if means.cap is not None:
            means.cap(now_s, inf)
        if self._wanted:
            return
        if means.shed is not None:
            means.shed(now_s, False)
        for rested in self._resting:
            rested.machine.resume(now_s, cause=CAUSE)
        self._resting.clear()

    # -- how much ------------------------------------------------------------------------------

    def _mean_w(self, now_s: float, since_s: float, energy_j: float) -> float:
        """Mean grid power since the meter stood at an energy, W."""
        self._site.account(now_s)
        if now_s <= since_s:
            return self._site.facility_w
        return (self._site.energy_j - energy_j) / (now_s - since_s)

    def _planned_w(self, call: Call) -> float:
        """What the battery gives over all of a curtailment, W."""
        if not self._means.battery:
            return 0.0
        return min(self._site.level_j / call.duration_s, self._site.battery_w)

    def _cap(self, now_s: float, call: Call) -> None:
        """Holds IT power to what the limit leaves, at every temperature."""
        cap = self._means.cap
        if cap is None or call not in self._wanted:
            return
        cap(now_s, self._site.it_watts(self._limit_w + self._by_battery_w))
        change_s = self._site.next_warmer(now_s)
        if change_s < call.end_s:
            self._agenda.at(change_s, _OWNER + 3, self._bound(self._recap, call))

    def _recap(self, now_s: float, call: Call) -> None:
        self._site.account(now_s)
        self._cap(now_s, call)

    def _look(self, now_s: float, call: Call, since: tuple[float, float] | None = None) -> None:
        """Rests more machines if those that rest are not enough; looks again later."""
        self._site.account(now_s)
        if since is not None:
            mean_w = self._mean_w(now_s, *since)
            self._rest_some(now_s, mean_w, self._limit_w + self._by_battery_w)
        again_s = now_s + self._means.check_s
        if again_s < call.end_s:
            now = (now_s, self._site.energy_j)
            self._agenda.at(again_s, _OWNER + 4, lambda later_s: self._look(later_s, call, now))

    def _rest_some(self, now_s: float, mean_w: float, limit_w: float) -> None:
        """Rests as many machines as shall bring grid power from a mean to a limit."""
        draining_w = sum(
            max(rested.feed.watts - rested.bare_w, 0.0)
            for rested in self._resting
            if not rested.machine.is_down
        )
        lacking_w = self._site.it_watts(mean_w) - self._site.it_watts(limit_w) - draining_w
        if not isfinite(lacking_w):
            return
        busy = [rested for rested in self._means.machines if rested.machine.is_up]
        gpus = sum(len(rested.machine.gpus) for rested in busy)
        per_gpu_w = sum(rested.feed.watts for rested in busy) / max(gpus, 1)
        while lacking_w > 0.0:
            rested = self._next()
            if rested is None:
                return
            saved_w = (per_gpu_w - rested.machine.bare_watts) * len(rested.machine.gpus)
            lacking_w -= max(saved_w, 1e-3 * limit_w)
            self._resting.append(rested)
            rested.machine.pause(now_s, cause=CAUSE)

    def _next(self) -> Rested | None:
        """Who rests next: of the lowest priority, of the pool with most that work; one stays."""
        resting = {id(rested) for rested in self._resting}
        up: dict[int, list[Rested]] = {}
        for rested in self._means.machines:
            if id(rested) not in resting and rested.machine.is_up:
                up.setdefault(rested.feed.pool, []).append(rested)
        pools = [members for members in up.values() if len(members) > 1]
        if not pools:
            return None
        lowest = min(members[-1].feed.priority for members in pools)
        fitting = [members for members in pools if members[-1].feed.priority == lowest]
        return max(fitting, key=len)[-1]
