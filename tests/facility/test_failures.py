"""Failures, spares and planned work over machines that do nothing else."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from factory.facility.agenda import Agenda
from factory.facility.failures import Failures, Process, Scripted
from factory.facility.faults import RackShape, Topology
from factory.facility.spares import SpareUnits
from factory.facility.tree import PowerNode
from factory.facility.upgrades import Rolling, Window
from factory.kernel import Kernel
from factory.records.codes import STATE_FAILED, STATE_MAINTENANCE, STATE_PAUSED
from factory.statistics import stream
from factory.workload.lengths.distributions import Distribution
from factory.workload.lengths.laws import Constant, Exponential

BARE_W, LOADED_W = 70.0, 120.0


class Toy:
    """A machine that stops and starts at once, and counts the seconds for which it was held."""

    def __init__(self, kernel: Kernel, number: int, rack: PowerNode, gpus: tuple[int, ...]) -> None:
        self.kernel = kernel
        self.number = number
        self.name = f"m-{number}"
        self.rack = rack
        self.gpus = gpus
        self.bare_watts, self.loaded_watts = BARE_W, LOADED_W
        self.watchers = []
        self.holds: list[tuple[int, str]] = []
        self.watts: list[float] = []
        self.log: list[tuple[float, bool]] = []
        self.down_s = 0.0
        self.since_s = 0.0
        self.starting = False

    is_up = property(lambda self: not self.holds and not self.starting)
    is_down = property(lambda self: bool(self.holds))
    is_starting = property(lambda self: self.starting)

    def shut(self) -> None:
        pass

    def fail(self, now_s, state, watts_per_gpu, cause="", *, keeps_weights=False) -> None:
        del keeps_weights
        self.watts.append(watts_per_gpu)
        self._hold(now_s, (state, cause))

    def pause(self, now_s, state=STATE_PAUSED, cause="", drain_timeout_s=None) -> None:
        del drain_timeout_s
        self._hold(now_s, (state, cause))

    def _hold(self, now_s, cause) -> None:
        if not self.holds:
            self.since_s = now_s
            self.log.append((now_s, False))
        self.holds.append(cause)
        for told in self.watchers:
            told(now_s)

    def repair(self, now_s, state=STATE_FAILED, cause="") -> None:
        self.holds.remove((state, cause))
        if not self.holds:
            self.down_s += now_s - self.since_s
            self.log.append((now_s, True))
        for told in self.watchers:
            told(now_s)

    def resume(self, now_s, state=STATE_PAUSED, cause="") -> None:
        self.repair(now_s, state, cause)


class Hall:
    """Racks of 32 GPUs in servers of 8, a machine on every server."""

    def __init__(self, racks: int = 1, until_s: float = 1e9, spares: int | None = None) -> None:
        self.kernel = Kernel()
        self.agenda = Agenda(self.kernel, until_s, lambda: False)
        self.until_s = until_s
        root = PowerNode("hall", 0, "facility", None, 32 * racks, math.inf, 1e9)
        law = lambda gpu_w, _present: (0.1 * gpu_w, 0.0)  # noqa: E731
        self.racks = [
            PowerNode(f"r-{i}", i + 1, "rack", root, 32, math.inf, 1e9, law) for i in range(racks)
        ]
        stands = [(rack, tuple(range(8 * n, 8 * n + 8))) for rack in range(racks) for n in range(4)]
        self.machines = [
            Toy(self.kernel, number, self.racks[rack], gpus)
            for number, (rack, gpus) in enumerate(stands)
        ]
        self.topology = Topology(
            tuple(RackShape(f"r-{i}", "r", 32, 8, 8) for i in range(racks)),
            (),
            tuple(stands),
            tuple(machine.name for machine in self.machines),
        )
        self.events: list[tuple[float, str, str, float]] = []
        self.spares = {}
        if spares is not None:
            self.spares["r", False] = SpareUnits(self.agenda, spares, 5.0)
        self.failures = Failures(
            self.agenda, self.topology, self.machines, self.racks, [], self.spares, self.note
        )

    def note(self, now_s: float, kind: str, subject: str, value: float, _detail: str) -> None:
        self.events.append((now_s, kind, subject, value))

    def script(self, *faults: tuple[float, float, str, int, int], replaced: bool = False) -> None:
        """Faults as (at, for how long, level, rack, part)."""
        self.failures.script(
            [
                Scripted(at_s, for_s, self.topology.component(level, rack, part), replaced)
                for at_s, for_s, level, rack, part in faults
            ]
        )

    def run(self) -> None:
        while self.kernel.run_events(10_000, math.inf):
            pass


def test_a_server_fails_and_comes_back() -> None:
    hall = Hall()
    hall.script((10.0, 4.0, "node", 0, 2), (3.0, 1.0, "gpu", 0, 9))
    hall.run()
    assert [machine.log for machine in hall.machines] == [
        [],
        [(3.0, False), (4.0, True)],
        [(10.0, False), (14.0, True)],
        [],
    ]
    assert hall.events == [
        (3.0, "failed", "r-0/gpu-9", 8.0),
        (4.0, "repaired", "r-0/gpu-9", 1.0),
        (10.0, "failed", "r-0/node-2", 8.0),
        (14.0, "repaired", "r-0/node-2", 4.0),
    ]
    # The seven GPUs that are well have lost their work; a server that is out draws nothing.
    assert hall.machines[1].watts == [pytest.approx(BARE_W * 7 / 8)]
    assert hall.machines[2].watts == [0.0]


def test_causes_overlap() -> None:
    hall = Hall()
    hall.script((10.0, 10.0, "gpu", 0, 0), (15.0, 10.0, "gpu", 0, 1), (16.0, 1.0, "network", 0, 0))
    hall.run()
    assert hall.machines[0].log == [(10.0, False), (25.0, True)]
    assert hall.machines[3].log == [(16.0, False), (17.0, True)]
    assert hall.machines[3].watts == [LOADED_W]


def test_a_rack_without_power_is_dark() -> None:
    hall = Hall(racks=2)
    seen: list[tuple[float, bool]] = []
    hall.racks[1].resized.append(lambda now_s: seen.append((now_s, hall.racks[1].is_dark)))
    hall.script((5.0, 2.0, "rack", 1, 0))
    hall.run()
    assert seen == [(5.0, True), (7.0, False)]
    assert [len(machine.log) for machine in hall.machines] == [0] * 4 + [2] * 4
    assert hall.machines[4].watts == [0.0]


def test_spares_take_the_place_of_what_broke() -> None:
    """One spare server, three broken ones: each waits for a swap or for the first that is back."""
    hall = Hall(spares=1)
    hall.script(
        (10.0, 100.0, "node", 0, 0),
        (20.0, 100.0, "node", 0, 1),
        (30.0, 300.0, "node", 0, 2),
        replaced=True,
    )
    hall.run()
    assert hall.machines[0].log == [(10.0, False), (15.0, True)]  # the spare, 5 s for the swap
    assert hall.machines[1].log == [(20.0, False), (115.0, True)]  # what broke first is back at 110
    assert hall.machines[2].log == [(30.0, False), (125.0, True)]  # what broke second, at 120
    assert hall.spares["r", False].free == 1  # what broke last
    kinds = [kind for _, kind, _, _ in hall.events]
    assert kinds == ["failed", "swapped", "failed", "failed", "swapped", "swapped"]


def test_without_a_spare_a_replacement_takes_its_repair() -> None:
    hall = Hall(spares=0)
    hall.script((10.0, 100.0, "node", 0, 0), replaced=True)
    hall.run()
    assert hall.machines[0].log == [(10.0, False), (110.0, True)]


def test_a_gpu_is_replaced_by_a_server_where_there_are_only_those() -> None:
    hall = Hall(spares=1)
    hall.script((10.0, 100.0, "gpu", 0, 3), replaced=True)
    hall.run()
    assert hall.machines[0].log == [(10.0, False), (15.0, True)]


@pytest.mark.parametrize("shape", [1.0, 3.0])
def test_time_lost_is_mttr_over_mtbf_and_mttr(shape: float) -> None:
    """Availability of alternating renewals: within 2 %, pooled over 200 servers."""
    hall = Hall(racks=50, until_s=200_000.0)
    mtbf_s, mttr_s = 2000.0, 150.0
    process = Process("p", mtbf_s, shape, Distribution(Exponential(mttr_s)))
    draws = partial(stream, 7, 0)
    hall.failures.run(process, list(hall.topology.components("node")), draws)
    hall.run()
    ends = [
        machine.down_s + (hall.until_s - machine.since_s if machine.holds else 0.0)
        for machine in hall.machines
    ]
    lost = sum(ends) / (len(ends) * hall.until_s)
    assert lost == pytest.approx(mttr_s / (mtbf_s + mttr_s), rel=0.02)


def test_designs_share_their_failures() -> None:
    """What breaks a server does not depend on what else there is."""
    logs = []
    for racks in (1, 3):
        hall = Hall(racks=racks, until_s=50_000.0)
        process = Process("p", 3000.0, 1.0, Distribution(Constant(60.0)))
        components = list(hall.topology.components("node"))
        hall.failures.run(process, components[::-1], partial(stream, 3, 1))
        hall.run()
        logs.append([machine.log for machine in hall.machines[:4]])
    assert logs[0] == logs[1]
    assert all(logs[0])


def test_lives_follow_their_law() -> None:
    process = Process("p", 100.0, 2.0, Distribution(Exponential(5.0)))
    lives = process.lives("r-0/gpu-1", partial(stream, 1, 0))
    works, repairs = np.array([next(lives) for _ in range(20_000)]).T
    assert works.mean() == pytest.approx(100.0, rel=0.02)
    # Weibull of shape 2: the square of its variation is 4/pi - 1.
    assert works.var() / works.mean() ** 2 == pytest.approx(4 / math.pi - 1, rel=0.05)
    assert repairs.mean() == pytest.approx(5.0, rel=0.03)


def test_what_hits_nobody_does_not_keep_a_run_alive() -> None:
    hall = Hall(until_s=100.0)
    hall.script((40.0, 1.0, "node", 0, 0), (99.0, 10.0, "node", 0, 1), (200.0, 1.0, "node", 0, 2))
    hall.run()
    assert hall.kernel.acted_s == 99.0
    assert hall.machines[1].log == [(99.0, False)]
    assert not hall.machines[2].log


def test_a_repair_that_somebody_waits_for_comes() -> None:
    kernel = Kernel()
    inside = [True]
    agenda = Agenda(kernel, 0.0, lambda: bool(inside))
    fired: list[float] = []

    def repaired(now_s: float) -> None:
        fired.append(now_s)
        inside.clear()
        agenda.rest()

    agenda.at(50.0, 1, repaired)
    agenda.at(60.0, 1, fired.append)
    called_off = agenda.at(10.0, 1, fired.append)
    called_off.call_off()
    while kernel.run_events(100, math.inf):
        pass
    assert fired == [50.0]
    assert kernel.acted_s == 50.0


def test_a_window_waits_for_all_and_comes_again() -> None:
    hall = Hall(until_s=250.0)
    Window(hall.agenda, 1 << 28, "r-0", hall.machines[:2], 10.0, 20.0, 100.0, None, hall.note)
    hall.script((5.0, 50.0, "node", 0, 1))
    hall.run()
    held = [(10.0, False), (30.0, True), (110.0, False), (130.0, True)]
    assert hall.machines[0].log == [*held, (210.0, False), (230.0, True)]
    # The second one was down already; its failure outlasts the first window.
    assert hall.machines[1].log[:2] == [(5.0, False), (55.0, True)]


def test_an_upgrade_rolls() -> None:
    hall = Hall()
    hall.script((0.5, 100.0, "node", 0, 2))
    Rolling(hall.agenda, 1 << 28, "pool", hall.machines, 10.0, 2, 7.0, None, hall.note)
    hall.run()
    logs = [machine.log for machine in hall.machines]
    assert logs[0] == logs[1] == [(10.0, False), (17.0, True)]
    assert logs[2] == [(0.5, False), (100.5, True)]  # upgraded while it was broken
    assert logs[3] == [(17.0, False), (24.0, True)]
    done = [(at_s, subject) for at_s, kind, subject, _ in hall.events if kind == "upgraded"]
    assert done == [(17.0, "m-0"), (17.0, "m-1"), (24.0, "m-2"), (24.0, "m-3")]
    assert all(STATE_MAINTENANCE not in [of for of, _ in m.holds] for m in hall.machines)
