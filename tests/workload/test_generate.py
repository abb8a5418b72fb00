"""Demand without a factory."""

import math

import pytest
from demand import play, scenario, tenant, workload
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import InputError
from factory.workload.generate import STANDSTILL, answers_after, generate, unfold

CHAT = tenant(
    load={"rate": 3.0},
    session={"turns": {"distribution": "geometric", "mean": 3, "max": 9}, "think_time_s": 4.0,
             "growth": True},
)  # fmt: skip


def test_an_answer_takes_the_first_token_and_then_the_others() -> None:
    request, answered_s = next(
        generate(workload(scenario(CHAT, requests=1)), answers_after(0.5, 0.02))
    )
    assert request.output_tokens == 10
    assert answered_s == pytest.approx(request.arrival_s + 0.5 + 9 * 0.02)


@given(answer_s=st.floats(0, 30), seed=st.integers(0, 99))
def test_requests_come_in_order_as_a_factory_of_that_speed_would_see_them(
    answer_s: float, seed: int
) -> None:
    made = scenario(
        CHAT, tenant("agents", load={"concurrency": 3}, session={"turns": 3, "think_time_s": 5.0}),
        seed=seed, duration_s=40.0,
    )  # fmt: skip
    found = list(generate(workload(made), lambda _: answer_s, 40.0))
    times = [request.arrival_s for request, _ in found]
    assert times == sorted(times)
    assert times[-1] < 40.0
    assert all(end == request.arrival_s + answer_s for request, end in found)
    seen = [r for r in play(workload(made), answer_s) if r.arrival_s < 40.0]

    def facts(requests: list) -> list:  # type: ignore[type-arg]
        return sorted((r.session, r.turn, r.input_tokens, r.arrival_s, r.blocks) for r in requests)

    assert facts([request for request, _ in found]) == facts(seen)


def test_a_turn_knows_what_it_waited_for() -> None:
    made = scenario(CHAT, duration_s=60.0)
    found = list(unfold(workload(made), answers_after(2.0)))
    assert [asked.number for asked in found] == list(range(len(found)))
    later = [asked for asked in found if asked.request.turn]
    assert later
    for asked in later:
        before = found[asked.after]
        assert before.request.index == asked.request.parent
        assert before.request.session == asked.request.session
        assert asked.delay_s == pytest.approx(4.0)
        assert asked.request.arrival_s == before.answered_s + asked.delay_s
    assert all(asked.after == -1 for asked in found if not asked.request.turn)


def test_the_next_session_of_a_closed_loop_waited_for_none_of_its_own() -> None:
    made = scenario(tenant(load={"concurrency": 2}), duration_s=20.0)
    found = list(unfold(workload(made), answers_after(1.0)))
    assert len(found) == 40
    assert {(asked.after, asked.delay_s) for asked in found} == {(-1, 0.0)}


def test_a_session_is_over_once_after_its_last_answer() -> None:
    over: list[int] = []
    made = scenario(CHAT, duration_s=60.0)
    seen: dict[int, int] = {}
    for asked in unfold(workload(made), answers_after(1.0), over=over.append):
        session = asked.request.session
        assert session not in over
        seen[session] = seen.get(session, 0) + 1
    assert len(over) == len(set(over))
    assert set(over) == set(seen)


def test_a_limit_and_an_end_cut_the_demand() -> None:
    made = scenario(CHAT, duration_s=600.0)
    assert len(list(generate(workload(made), answers_after(1.0), limit=7))) == 7
    last, _ = list(generate(workload(made), answers_after(1.0), until_s=10.0))[-1]
    assert 9.0 < last.arrival_s < 10.0


def test_a_closed_loop_of_instant_answers_is_refused() -> None:
    made = scenario(tenant(load={"concurrency": 2}), duration_s=10.0)
    seen: list[float] = []
    demand = generate(workload(made), answers_after(0.0), math.inf)
    with pytest.raises(InputError, match=r"time stands still at 0 s: .* duration > 0 s"):
        seen.extend(request.arrival_s for request, _ in demand)
    assert STANDSTILL <= len(seen) < 2 * STANDSTILL
