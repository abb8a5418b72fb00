"""Transfers that share links, worked out on paper."""

from __future__ import annotations

import math
from typing import Any

import pytest

from factory.kernel import CLASS_ARRIVAL, Kernel
from factory.serving.transfer import Fabric, Link


class Bench:
    """A fabric, and when each of its transfers arrives."""

    def __init__(self, latency_s: float = 0.0, most: float = math.inf) -> None:
        self.kernel = Kernel()
        self.arrivals: dict[str, float] = {}
        self.fabric = Fabric(self.kernel, 0, latency_s, most, self._arrived)
        self._owners = 0

    def _arrived(self, name: Any, now_s: float) -> None:
        self.arrivals[name] = now_s

    def send(self, at_s: float, name: Any, source: Link, sink: Link, size: float) -> None:
        timer = self.kernel.timer(
            CLASS_ARRIVAL,
            self._owners,
            lambda now_s: self.fabric.send(name, source, sink, size, now_s),
        )
        self._owners += 1
        timer.set(at_s)

    def run(self) -> dict[str, float]:
        self.kernel.run()
        return self.arrivals


def test_alone_it_takes_latency_and_bytes_over_the_slower_link() -> None:
    bench = Bench(latency_s=0.25)
    bench.send(1.0, "a", Link(100.0), Link(50.0), 200.0)
    assert bench.run() == {"a": pytest.approx(1.0 + 0.25 + 4.0, abs=1e-12)}


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
    assert bench.run() == pytest.approx({"a": 5.0, "b": 3.5, "c": 4.5})


def test_three_into_one_sink_share_that() -> None:
    bench = Bench()
    sink = Link(90.0)
    for name in ("a", "b", "c"):
        bench.send(0.0, name, Link(1000.0), sink, 90.0)
    assert bench.run() == pytest.approx(dict.fromkeys("abc", 3.0))


def test_the_tighter_share_binds_and_no_link_carries_more_than_it_can() -> None:
    """A and b leave by one link of 100 B/s, b and c enter by one of 60: b gets 30, a 50, c 30.

    Fair shares, not max-min: what b leaves of the link out (20 B/s) goes to nobody.
    """
    bench = Bench()
    out, into = Link(100.0), Link(60.0)
    bench.send(0.0, "a", out, Link(1e9), 50.0)
    bench.send(0.0, "b", out, into, 30.0)
    bench.send(0.0, "c", Link(1e9), into, 30.0)
    assert bench.run() == pytest.approx(dict.fromkeys("abc", 1.0))


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
