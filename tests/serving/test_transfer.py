"""Transfers that share links, worked out on paper; then against a solver that knows no tricks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.kernel import CLASS_ARRIVAL, Kernel
from factory.serving.fabric import Fabric
from factory.serving.links import Flow, Link, Path, path


class Bench:
    """A fabric, and when each of its transfers arrives."""

    def __init__(self, latency_s: float = 0.0, most: float = math.inf) -> None:
        self.kernel = Kernel()
        self.arrivals: dict[str, float] = {}
        self.flows: dict[str, Flow] = {}
        self.fabric = Fabric(self.kernel, 0, self._arrived)
        self.latency_s = latency_s
        self.most = most
        self._owners = 0

    def _arrived(self, name: Any, now_s: float) -> None:
        self.arrivals[name] = now_s

    def at(self, at_s: float, act: Callable[[float], None]) -> None:
        timer = self.kernel.timer(CLASS_ARRIVAL, self._owners, act)
        self._owners += 1
        timer.set(at_s)

    def send(self, at_s: float, name: Any, source: Link, sink: Link, size: float) -> None:
        self.send_over(at_s, name, path((source, sink), self.latency_s, self.most), size)

    def send_over(self, at_s: float, name: Any, way: Path, size: float) -> None:
        def act(now_s: float) -> None:
            self.flows[name] = self.fabric.send(name, way, size, now_s)

        self.at(at_s, act)

    def open(
        self, at_s: float, name: Any, way: Path, size: float, last: float, expected_s: float = 0.0
    ) -> None:
        def act(now_s: float) -> None:
            self.flows[name] = self.fabric.open(name, way, size, last, now_s, expected_s)

        self.at(at_s, act)

    def computed(self, at_s: float, name: Any) -> None:
        self.at(at_s, lambda now_s: self.fabric.computed(self.flows[name], now_s))

    def cancel(self, at_s: float, name: Any) -> None:
        self.at(at_s, lambda now_s: self.fabric.cancel(self.flows[name], now_s))

    def run(self) -> dict[str, float]:
        self.kernel.run()
        return self.arrivals


def test_alone_it_takes_latency_and_bytes_over_the_slower_link() -> None:
    bench = Bench(latency_s=0.25)
    bench.send(1.0, "a", Link(100.0), Link(50.0), 200.0)
    assert bench.run() == {"a": pytest.approx(1.0 + 0.25 + 4.0, abs=1e-12)}


def test_alone_it_costs_one_event() -> None:
    bench = Bench(latency_s=0.25)
    bench.send(0.0, "a", Link(100.0), Link(50.0), 200.0)
    bench.run()
    assert bench.kernel.fired == 2  # The sending and the arrival.


def test_three_share_the_link_out() -> None:
    """100 B/s out. a: 300 B from 0 s, b: 100 B from 1 s, c: 100 B from 2 s, to sinks of their own.

    0-1 s: a alone, 200 left. 1-2 s: two at 50, a 150, b 50. From 2 s three at 33.3: b is done after
    1.5 s at 3.5 s, when a has 100 left and c 50. Two at 50: c is done at 4.5 s, a has 50 left and
    takes 0.5 s more.
    """
    bench = Bench()
    source = Link(100.0)
    for at_s, name, size in ((0.0, "a", 300.0), (1.0, "b", 100.0), (2.0, "c", 100.0)):
        bench.send(at_s, name, source, Link(1e9), size)
    assert bench.run() == pytest.approx({"a": 5.0, "b": 3.5, "c": 4.5}, rel=1e-12)


def test_three_into_one_sink_share_that() -> None:
    bench = Bench()
    sink = Link(90.0)
    for name in ("a", "b", "c"):
        bench.send(0.0, name, Link(1000.0), sink, 90.0)
    assert bench.run() == pytest.approx(dict.fromkeys("abc", 3.0))


def test_what_stops_at_another_link_leaves_its_part_to_the_others() -> None:
    """A and b leave by one link of 100 B/s, b and c enter by one of 60: b gets 30 and c 30.

    That leaves a 70, where a plain half of the link out would be 50. 140 B of it take 2 s; b has
    sent 60 by then and c as well.
    """
    bench = Bench()
    out, into = Link(100.0), Link(60.0)
    bench.send(0.0, "a", out, Link(1e9), 140.0)
    bench.send(0.0, "b", out, into, 60.0)
    bench.send(0.0, "c", Link(1e9), into, 60.0)
    assert bench.run() == pytest.approx(dict.fromkeys("abc", 2.0))


def test_when_one_is_done_the_rest_go_faster() -> None:
    bench = Bench()
    source = Link(10.0)
    bench.send(0.0, "small", source, Link(1e9), 10.0)
    bench.send(0.0, "large", source, Link(1e9), 30.0)
    assert bench.run() == pytest.approx({"small": 2.0, "large": 4.0})


def test_arrivals_of_one_instant_come_in_order_of_sending() -> None:
    bench = Bench()
    for name in ("x", "y", "z"):
        bench.send(0.0, name, Link(10.0), Link(10.0), 10.0)
    assert list(bench.run()) == ["x", "y", "z"]


def test_one_transfer_gets_no_more_than_one_rank_can_send() -> None:
    """Two of 20 B/s at most on a link of 100: sharing costs them nothing."""
    bench = Bench(most=20.0)
    source = Link(100.0)
    bench.send(0.0, "a", source, Link(1e9), 40.0)
    bench.send(0.0, "b", source, Link(1e9), 60.0)
    assert bench.run() == pytest.approx({"a": 2.0, "b": 3.0})


def test_a_link_that_carries_all_couples_nobody() -> None:
    """Four of 20 B/s at most on a spine of 100: one event each, as if it were not there."""
    bench = Bench()
    spine = Link(100.0)
    for name in "abcd":
        bench.send_over(0.0, name, path((Link(20.0), spine, Link(50.0))), 40.0)
    assert bench.run() == pytest.approx(dict.fromkeys("abcd", 2.0))
    assert bench.kernel.fired == 4 + 1  # Four sendings; the arrivals share an instant.


def test_the_latency_of_one_holds_up_no_other() -> None:
    """The last byte of a leaves at 1 s and arrives at 11 s; from 1 s on b has the link."""
    bench = Bench(latency_s=10.0)
    source = Link(100.0)
    bench.send(0.0, "a", source, Link(1e9), 50.0)
    bench.send(0.0, "b", source, Link(1e9), 150.0)
    assert bench.run() == pytest.approx({"a": 11.0, "b": 12.0})


def test_nothing_takes_no_time() -> None:
    bench = Bench()
    bench.send(2.0, "a", Link(10.0), Link(10.0), 0.0)
    assert bench.run() == {"a": 2.0}


def test_bytes_that_cross_a_link_by_halves_take_half_of_it() -> None:
    """A rank on two nodes, of 60 and 100 B/s, sends a half over each: 120 B/s fill the first.

    With another on the second node alone, both rise to 66.7 B/s, where the second is full: a half
    of 66.7 and a whole one are 100. The first carries 33.3 then.
    """
    bench = Bench()
    first, second = Link(60.0), Link(100.0)
    bench.send_over(0.0, "striped", Path(((first, 0.5), (second, 0.5))), 240.0)
    assert bench.run() == pytest.approx({"striped": 2.0})
    bench = Bench()
    bench.send_over(0.0, "striped", Path(((first, 0.5), (second, 0.5))), 200.0)
    bench.send_over(0.0, "whole", Path(((second, 1.0),)), 200.0)
    assert bench.run() == pytest.approx(dict.fromkeys(("striped", "whole"), 3.0))


def test_what_is_given_up_arrives_never_and_frees_its_part() -> None:
    """Two halves of 10 B/s for 1 s; then b has all of it for its 15 B left."""
    bench = Bench()
    source = Link(10.0)
    bench.send(0.0, "a", source, Link(1e9), 30.0)
    bench.send(0.0, "b", source, Link(1e9), 20.0)
    bench.cancel(1.0, "a")
    bench.cancel(1.5, "a")
    bench.cancel(9.0, "b")
    assert bench.run() == pytest.approx({"b": 2.5})
    assert source.demand == 0


def test_the_latency_can_be_given_up_too() -> None:
    bench = Bench(latency_s=5.0)
    bench.send(0.0, "a", Link(10.0), Link(10.0), 10.0)
    bench.cancel(3.0, "a")
    assert bench.run() == {}


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, math.nan])
def test_a_link_carries_something(bandwidth: float) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Link(bandwidth)


# -- layer by layer ----------------------------------------------------------------------------


def test_where_compute_binds_the_last_layer_alone_is_late() -> None:
    """1000 B in 10 layers at 1000 B/s; prefill takes 4 s: 900 B are sent by 0.9 s, 100 at 4.1 s."""
    bench = Bench(latency_s=0.5)
    bench.open(0.0, "a", path((Link(1000.0),), 0.5), 1000.0, 100.0)
    bench.computed(4.0, "a")
    assert bench.run() == pytest.approx({"a": 4.0 + 0.1 + 0.5})


def test_where_the_network_binds_all_bytes_count_from_the_first_step() -> None:
    """1000 B at 100 B/s from 0 s, whenever prefill ends before 9 s: max(10, 4 + 1)."""
    bench = Bench()
    bench.open(0.0, "a", path((Link(100.0),)), 1000.0, 100.0)
    bench.computed(4.0, "a")
    assert bench.run() == pytest.approx({"a": 10.0})


def test_while_it_waits_for_its_prefill_its_links_are_free() -> None:
    """A sends 90 B in 0.9 s, alone. B has the link from 2 s and shares its second with a's last 10.

    From 2 s b has 100 B/s. At 3 s a has 10 B more: both at 50, a is done at 3.2 s, and b, with 100
    sent, 10, and 90 to go, at 4.1 s.
    """
    bench = Bench()
    source = Link(100.0)
    bench.open(0.0, "a", path((source, Link(1e9))), 100.0, 10.0)
    bench.send(2.0, "b", source, Link(1e9), 200.0)
    bench.computed(3.0, "a")
    assert bench.run() == pytest.approx({"a": 3.2, "b": 4.1})


def test_paced_by_its_prefill_it_leaves_the_link_to_others() -> None:
    """A's 80 B come over 4 s, 20 B/s; b has the other 80 B/s: 240 B in 3 s."""
    bench = Bench()
    source = Link(100.0)
    bench.open(0.0, "a", path((source, Link(1e9))), 100.0, 20.0, expected_s=4.0)
    bench.send(0.0, "b", source, Link(1e9), 240.0)
    bench.computed(4.0, "a")
    assert bench.run() == pytest.approx({"a": 4.2, "b": 3.0})


def test_a_prefill_faster_than_expected_lets_the_rest_go_at_once() -> None:
    """20 B/s for 2 s; the other 60 B at 100 B/s take 0.6 s."""
    bench = Bench()
    bench.open(0.0, "a", path((Link(100.0),)), 100.0, 20.0, expected_s=4.0)
    bench.computed(2.0, "a")
    assert bench.run() == pytest.approx({"a": 2.6})


def test_all_of_it_may_have_to_wait_for_the_prefill() -> None:
    bench = Bench()
    bench.open(0.0, "a", path((Link(100.0),)), 100.0, 200.0)
    bench.computed(2.0, "a")
    assert bench.run() == pytest.approx({"a": 3.0})


def test_alone_it_costs_one_event_layer_by_layer_too() -> None:
    bench = Bench()
    bench.open(0.0, "a", path((Link(100.0),)), 100.0, 10.0)
    bench.computed(4.0, "a")
    bench.run()
    assert bench.kernel.fired == 3  # The opening, the end of prefill, the arrival.


def test_an_open_one_can_be_given_up_and_computed_only_once() -> None:
    bench = Bench()
    source = Link(100.0)
    bench.open(0.0, "a", path((source,)), 100.0, 10.0)
    bench.open(0.0, "b", path((source,)), 100.0, 10.0)
    bench.cancel(1.0, "a")
    bench.computed(1.0, "b")
    assert bench.run() == pytest.approx({"b": 1.5})
    with pytest.raises(ValueError, match="not open"):
        bench.fabric.computed(bench.flows["b"], 3.0)


@given(
    layers=st.integers(1, 80),
    prefill_s=st.floats(0.01, 100.0),
    size=st.floats(1.0, 1e6),
    rate=st.floats(1.0, 1e6),
)
def test_how_far_it_is_from_the_exact_course(
    layers: int, prefill_s: float, size: float, rate: float
) -> None:
    """Layer by layer: each is computed after the one before, and sent when that one is."""
    part = size / layers
    sent_s = 0.0
    for layer in range(1, layers + 1):
        sent_s = max(sent_s, layer * prefill_s / layers) + part / rate
    bench = Bench()
    bench.open(0.0, "a", path((Link(rate),)), size, part)
    bench.computed(prefill_s, "a")
    arrived_s = bench.run()["a"]
    assert arrived_s <= sent_s * (1 + 1e-9)
    assert arrived_s >= sent_s * (1 - 1e-9) - prefill_s / layers
    if rate * prefill_s >= size * (1 + 1e-9):
        assert arrived_s == pytest.approx(sent_s)


# -- against a naive solver --------------------------------------------------------------------


@dataclass
class Job:
    """One transfer of an invented course: by which links, from when, and whether layer by layer."""

    uses: tuple[tuple[int, float], ...]
    at_s: float
    size: float
    held: float
    prefill_s: float
    most: float
    cancel_s: float
    expected_s: float = 0.0

    def limit(self, now_s: float) -> float:
        """The most it may get: while its prefill is under way, no more than that yields."""
        if self.expected_s and now_s < self.at_s + self.prefill_s:
            return min(self.most, (self.size - self.held) / self.expected_s)
        return self.most


def max_min(jobs: dict[int, Job], links: list[float]) -> dict[int, float]:
    """The definition itself: raise all that can be raised, step by step, to the next obstacle."""
    rates = dict.fromkeys(jobs, 0.0)
    rising = set(jobs)
    while rising:
        steps = [jobs[i].most - rates[i] for i in sorted(rising)]
        for link, capacity in enumerate(links):
            used = sum(
                rates[i] * use for i, job in jobs.items() for n, use in job.uses if n == link
            )
            growing = sum(use for i in sorted(rising) for n, use in jobs[i].uses if n == link)
            if growing:
                steps.append((capacity - used) / growing)
        step = max(min(steps), 0.0)
        for i in rising:
            rates[i] += step
        full = {
            link
            for link, capacity in enumerate(links)
            if sum(rates[i] * use for i, job in jobs.items() for n, use in job.uses if n == link)
            >= capacity * (1 - 1e-12)
        }
        rising -= {
            i
            for i in rising
            if rates[i] >= jobs[i].most * (1 - 1e-12) or any(n in full for n, _ in jobs[i].uses)
        }
    return rates


def simulate(jobs: list[Job], links: list[float]) -> dict[int, float]:
    """When the last byte of each is sent, from one change of anything to the next."""
    left = [job.size - job.held for job in jobs]
    held = [job.held for job in jobs]
    over: dict[int, float] = {}
    now_s = 0.0
    times = sorted({t for job in jobs for t in (job.at_s, job.at_s + job.prefill_s, job.cancel_s)})
    while True:
        for i, job in enumerate(jobs):
            if job.at_s + job.prefill_s <= now_s and held[i]:
                left[i] += held[i]
                held[i] = 0.0
            done = left[i] <= 1e-9 * job.size and not held[i]
            if i not in over and job.cancel_s <= now_s:
                over[i] = math.nan
            if i not in over and job.at_s + job.prefill_s <= now_s and done:
                over[i] = now_s
        active = {
            i: job
            for i, job in enumerate(jobs)
            if i not in over and job.at_s <= now_s and left[i] > 1e-9 * job.size
        }
        rates = max_min(
            {i: dataclasses.replace(job, most=job.limit(now_s)) for i, job in active.items()}, links
        )
        ends = [now_s + left[i] / rates[i] for i in active]
        coming = [*ends, *[t for t in times if t > now_s]]
        if not coming:
            return {i: at_s for i, at_s in over.items() if not math.isnan(at_s)}
        until_s = min(coming)
        for i in active:
            left[i] = max(left[i] - rates[i] * (until_s - now_s), 0.0)
        now_s = until_s


jobs_of = st.builds(
    Job,
    uses=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([1.0, 1.0, 0.5, 1.25])),
        min_size=1,
        max_size=3,
        unique_by=lambda use: use[0],
    ).map(tuple),
    at_s=st.sampled_from([0.0, 0.0, 0.5, 1.0, 1.7, 3.0]),
    size=st.sampled_from([0.0, 10.0, 40.0, 100.0, 333.0]),
    held=st.just(0.0),
    prefill_s=st.just(0.0),
    most=st.sampled_from([7.0, 20.0, 50.0, 1000.0]),
    cancel_s=st.just(math.inf),
)


@st.composite
def courses(draw: st.DrawFn) -> tuple[list[Job], list[float]]:
    jobs = draw(st.lists(jobs_of, min_size=1, max_size=8))
    for job in jobs:
        if draw(st.booleans()):
            job.held = job.size * draw(st.sampled_from([0.1, 0.5, 1.0]))
            job.prefill_s = draw(st.sampled_from([0.3, 1.0, 2.5]))
            job.expected_s = draw(st.sampled_from([0.0, 0.0, 1.0, 3.0]))
        if draw(st.integers(0, 4)) == 0:
            job.cancel_s = job.at_s + draw(st.sampled_from([0.25, 1.1, 4.0]))
    links = draw(st.lists(st.sampled_from([10.0, 33.0, 60.0, 250.0]), min_size=5, max_size=5))
    return jobs, links


def observed(jobs: list[Job], capacities: list[float]) -> dict[int, float]:
    """The same course through the fabric; bytes and capacities are checked at every change."""
    bench = Bench()
    links = [Link(capacity) for capacity in capacities]
    sent = [0.0] * len(jobs)
    for i, job in enumerate(jobs):
        way = Path(tuple((links[n], use) for n, use in job.uses), 0.0, job.most)
        if job.prefill_s:
            bench.open(job.at_s, i, way, job.size, job.held, job.expected_s)
            if job.cancel_s > job.at_s + job.prefill_s:
                bench.computed(job.at_s + job.prefill_s, i)
        else:
            bench.send_over(job.at_s, i, way, job.size)
        if job.cancel_s < math.inf:
            bench.cancel(job.cancel_s, i)
    last_s = 0.0
    before: list[tuple[int, float, float]] = []
    while bench.kernel.run_events(1, math.inf):
        now_s = bench.kernel.now
        for i, rate, until_s in before:
            sent[i] += rate * max(min(now_s, until_s) - last_s, 0.0)
        last_s = now_s
        before = []
        used = [0.0] * len(links)
        for i, flow in bench.flows.items():
            if flow.rate and flow.version >= 0 and flow.sent_s() > now_s:
                before.append((int(i), flow.rate, flow.sent_s()))
                for link, use in flow.uses:
                    used[links.index(link)] += flow.rate * use
        for total, capacity in zip(used, capacities, strict=True):
            assert total <= capacity * (1 + 1e-9)
    for i, at_s in bench.arrivals.items():
        assert sent[int(i)] == pytest.approx(jobs[int(i)].size, rel=1e-9, abs=1e-7), at_s
    return {int(i): at_s for i, at_s in bench.arrivals.items()}


@settings(deadline=None)
@given(courses())
def test_it_does_what_the_definition_says(course: tuple[list[Job], list[float]]) -> None:
    jobs, links = course
    expected = simulate(jobs, links)
    seen = observed(jobs, links)
    close = {i for i, job in enumerate(jobs) if job.cancel_s < math.inf}
    # Whether one arrives in the very instant in which it is given up, rounding decides.
    assert {i for i in seen if i not in close} == {i for i in expected if i not in close}
    for i in seen.keys() & expected.keys():
        assert seen[i] == pytest.approx(expected[i], rel=1e-7, abs=1e-7)
