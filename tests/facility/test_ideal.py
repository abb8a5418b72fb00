from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from power_trees import CLOCKS, LOSS, OTHER_W, Hall

from factory.facility.ideal import Share
from factory.facility.tree import CAPPED_S

SHARES: tuple[Share, ...] = ("equal_clock", "water_filling", "priority", "prefill_first")


def it_w(*gpu_w: float) -> float:
    """IT power of one rack."""
    return sum(gpu_w) * (1 + LOSS) + OTHER_W


def test_within_budget_nothing_is_slowed() -> None:
    hall = Hall([[[(10, 100), (10, 100)]]], rack_w=it_w(110, 110))
    assert [load.begin(0.0) for load in hall.loads] == [1.0, 1.0]
    assert not hall.notes


def test_one_level_at_a_time_in_turn() -> None:
    # 2 x 110 W are 220 W; each level of one replica is 20 W.
    hall = Hall([[[(10, 100), (10, 100)]]], rack_w=it_w(201))
    assert hall.loads[0].begin(0.0) == 1.0
    hall.loads[1].begin(5.0)
    assert sorted(load.clock for load in hall.loads) == [0.8, 1.0]
    assert hall.tree.racks[0].power_w == pytest.approx(it_w(200))
    hall.loads[0].end(7.0)
    assert hall.loads[1].clock == 1.0
    rack = hall.tree.racks[0]
    hall.tree.close(20.0)
    assert [kind for _, kind, _ in hall.notes] == ["cap_began", "cap_ended"]
    assert rack.windows.fold(2)[0][CAPPED_S] == pytest.approx(2.0)


def test_priority_slows_the_lowest_first() -> None:
    hall = Hall([[[(10, 100)] * 4]], rack_w=it_w(440 - 100), share="priority", priorities=(0, 1))
    for load in hall.loads:
        load.begin(0.0)
    # Two of low priority give 60 W each at most: 100 W are five levels of theirs.
    assert [load.clock for load in hall.loads[1::2]] == [1.0, 1.0]
    assert sorted(load.clock for load in hall.loads[::2]) == [0.4, 0.6]


def test_prefill_first_keeps_the_clock_of_prefill() -> None:
    hall = Hall([[[(10, 100)] * 2]], rack_w=it_w(180), share="prefill_first")
    for load in hall.loads:
        load.begin(0.0)
    assert [load.clock for load in hall.loads] == [1.0, 0.6]


def test_water_filling_lowers_who_draws_most() -> None:
    hall = Hall([[[(10, 300), (10, 60)]]], rack_w=it_w(260 + 70), share="water_filling")
    for load in hall.loads:
        load.begin(0.0)
    assert [load.clock for load in hall.loads] == [0.8, 1.0]


def test_who_gets_no_power_waits_its_turn() -> None:
    # One of the three at its lowest clock, no more.
    hall = Hall([[[(10, 100)] * 3]], rack_w=it_w(30 + 45))
    clocks = [load.begin(float(number)) for number, load in enumerate(hall.loads)]
    assert clocks == [0.4, 0.0, 0.0]
    hall.loads[0].end(5.0)
    hall.settle()
    assert [load.runs for load in hall.loads] == [False, True, False]
    # Its next leap yields to the one that has waited longer.
    assert hall.loads[1].begin(6.0) == 0.0
    hall.settle()
    assert [load.runs for load in hall.loads] == [False, False, True]
    assert not hall.over()


def test_a_limit_that_falls_suspends_and_gives_back() -> None:
    hall = Hall([[[(10, 100)] * 2]], facility_w=it_w(220))
    for load in hall.loads:
        load.begin(0.0)
    root = hall.tree.root
    hall.control.set_limit(5.0, root, it_w(20 + 50))
    assert [load.runs for load in hall.loads] == [True, False]
    assert hall.loads[0].clock == 0.4
    assert not hall.over()
    hall.control.set_limit(9.0, root, it_w(220))
    hall.settle()
    assert [load.runs for load in hall.loads] == [True, True]
    assert [load.clock for load in hall.loads] == [1.0, 1.0]


def test_a_dark_rack_leaves_its_power_to_the_others() -> None:
    hall = Hall([[[(10, 100)], [(10, 100)]]], facility_w=it_w(110) + it_w(50))
    for load in hall.loads:
        load.begin(0.0)
    assert max(load.clock for load in hall.loads) < 1.0
    first = hall.tree.racks[0]
    hall.loads[0].is_busy = hall.loads[0].runs = False
    hall.loads[0].idle_w = 0.0
    hall.feeds[0].grant(3.0)
    hall.feeds[0].draw(3.0, 0.0)
    first.cut(3.0)
    assert first.power_w == 0.0
    assert hall.loads[1].clock == 1.0
    first.restore(4.0)
    assert first.power_w == pytest.approx(OTHER_W)
    assert not hall.over()


loads = st.lists(st.tuples(st.floats(1, 40), st.floats(1, 300)), min_size=1, max_size=4)
halls = st.lists(st.lists(loads, min_size=1, max_size=3), min_size=1, max_size=3)
#: How much of what is between idle and full draw a budget leaves; above 1 it never binds.
parts = st.one_of(st.just(inf), st.floats(0.05, 1.1))


def _between(part: float, idle_w: float, full_w: float) -> float:
    return inf if part == inf else idle_w + part * (full_w - idle_w)


@settings(max_examples=150, deadline=None)
@given(
    rows=halls,
    share=st.sampled_from(SHARES),
    facility=parts,
    row=parts,
    rack=parts,
    steps=st.lists(
        st.tuples(
            st.integers(0, 35),
            st.sampled_from(["begin", "begin", "end", "limit", "idle"]),
            st.floats(0, 1),
        ),
        max_size=60,
    ),
)
def test_no_limit_is_ever_passed_and_nobody_starves_beside_slack(
    rows: list[list[list[tuple[float, float]]]],
    share: Share,
    facility: float,
    row: float,
    rack: float,
    steps: list[tuple[int, str, float]],
) -> None:
    idle = [[it_w(*(i for i, _ in own)) for own in racks] for racks in rows]
    full = [[it_w(*(i + b for i, b in own)) for own in racks] for racks in rows]
    spans = [
        (sum(map(sum, idle)), sum(map(sum, full)), facility),
        (max(map(sum, idle)), max(map(sum, full)), row),
        (max(map(max, idle)), max(map(max, full)), rack),
    ]
    budgets = [_between(part, low, high) for low, high, part in spans]
    hall = Hall(rows, *budgets, share=share, priorities=(0, 1, 0))
    idle_w = spans[0][0]
    idles = [load.idle_w for load in hall.loads]
    log: list[tuple[float, float]] = [(0.0, hall.tree.root.power_w)]
    hall.tree.root.watchers.append(lambda now_s, watts: log.append((now_s, watts)))
    passed: list[str] = []
    for node in hall.tree.nodes:
        node.watchers.append(lambda _now, _watts: passed.extend(hall.over()))
    now_s = 0.0
    for number, kind, size in steps:
        now_s += 0.1 + size
        load = hall.loads[number % len(hall.loads)]
        if kind == "begin":
            load.begin(now_s)
        elif kind == "end":
            load.end(now_s)
        elif kind == "idle":
            # It starts, or is switched off: its idle draw comes and goes, up to that planned for.
            load.is_busy = load.runs = False
            load.idle_w = idles[number % len(hall.loads)] * (size > 0.5)
            load.feed.grant(now_s)
            load.feed.draw(now_s, load.idle_w)
        else:
            limit_w = min(budgets[0], idle_w + size * (spans[0][1] - idle_w) + 1e-6)
            hall.control.set_limit(now_s, hall.tree.root, limit_w)
            passed.clear()  # while it falls, draws follow it down
        hall.kernel.run()
        assert not passed
        assert not hall.over()
        _nobody_starves(hall)
    # Energy is the integral of the log, whoever adds it up.
    hall.tree.close(now_s)
    ends = [at for at, _ in log[1:]] + [now_s]
    own_j = sum(watts * (to - at) for (at, watts), to in zip(log, ends, strict=True))
    assert hall.tree.root.it_j(now_s) == pytest.approx(own_j, rel=1e-9)
    by_rack = [sum(map(sum, (row[:3] for row in rack.windows.rows))) for rack in hall.tree.racks]
    assert sum(by_rack) == pytest.approx(own_j, rel=1e-9)


def _nobody_starves(hall: Hall) -> None:
    """Whoever is slowed or waits is so because a node above has less left than one step of it."""
    for load in hall.loads:
        feed = load.feed
        if not load.is_busy or load.clock == CLOCKS[-1]:
            continue
        # The largest step that any replica could take is what a node may leave unused.
        largest = max(other.busy_w for other in hall.loads) * (1 + LOSS)
        left = min(node.limit_w - node.power_w for node in feed.rack.path())
        assert left <= largest * TIGHT_STEP


TIGHT_STEP = 1 + 1e-6
