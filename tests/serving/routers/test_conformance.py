"""Every shipped router holds what `factory.testing` asks of any; and that asks something."""

from __future__ import annotations

import pytest

from factory.scenario.routing import INDEX_READERS, POLICY_FIELDS, Router
from factory.serving.routers import MAKERS, REJECT, Ask, Surroundings, build
from factory.serving.routers import Router as RouterProtocol
from factory.serving.slots import Slots
from factory.testing import check_router, lines_per_choice, play

SHIPPED = sorted(MAKERS)
KV_AWARE = ("prefix_threshold", "kv_cost", "weighted_scorers", "min_ttft", "kv_aware")


def maker(**section: object):  # type: ignore[no-untyped-def]
    router = Router.model_validate(section)
    return lambda around: build(router, around)


def test_every_policy_has_a_maker_and_fields() -> None:
    assert {*SHIPPED, "custom"} == set(POLICY_FIELDS)


@pytest.mark.parametrize("policy", SHIPPED)
def test_shipped_routers_conform(policy: str) -> None:
    # Pure longest-prefix piles up what begins alike; those that ignore the prompt's length stay
    # within what the lengths make of it.
    most = None if policy in ("longest_prefix", "session_affinity") else 1.3
    check_router(maker(policy=policy), rejects=policy == "min_ttft", most_imbalance=most)


@pytest.mark.parametrize("policy", INDEX_READERS[:-1])
def test_they_conform_with_a_guessed_index(policy: str) -> None:
    made = maker(policy=policy, index="approximate", index_ttl_s=1.0)
    check_router(made, rejects=policy == "min_ttft")


@pytest.mark.parametrize("policy", ["least_loaded", "kv_cost", "kv_aware", "weighted_scorers"])
def test_they_conform_with_stale_signals(policy: str) -> None:
    check_router(maker(policy=policy, signal_interval_s=0.25))


def test_kv_cost_conforms_when_it_draws() -> None:
    check_router(maker(policy="kv_cost", temperature=0.5), most_imbalance=1.3)


@pytest.mark.parametrize("policy", [*KV_AWARE, "least_loaded"])
def test_a_choice_among_a_thousand_slots_runs_as_many_lines_as_among_ten(policy: str) -> None:
    made = maker(policy=policy)
    assert lines_per_choice(made, 1_000) <= 2 * lines_per_choice(made, 10)


class Wrong:
    """A router that does one thing that no router may do."""

    def __init__(self, around: Surroundings) -> None:
        self.slots = around.slots


class First(Wrong):
    def choose(self, _ask: Ask, _slots: Slots) -> int:
        return 0


class Lowest(Wrong):
    def choose(self, _ask: Ask, slots: Slots) -> int:
        return slots.live[0]


class Meddler(Wrong):
    def choose(self, _ask: Ask, slots: Slots) -> int:
        slots.requests[slots.live[0]] += 1
        return slots.live[0]


class Prophet(Wrong):
    def choose(self, ask: Ask, slots: Slots) -> int:
        return slots.live[ask.output_tokens % len(slots.live)]  # type: ignore[attr-defined]


class Refuser(Wrong):
    def choose(self, _ask: Ask, _slots: Slots) -> int:
        return REJECT


class Moody(Wrong):
    calls = 0

    def choose(self, _ask: Ask, slots: Slots) -> int:
        Moody.calls += 1
        return slots.live[Moody.calls % len(slots.live)]


class Squarer(Wrong):
    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self.turn = 0

    def choose(self, _ask: Ask, slots: Slots) -> int:
        for _ in range(slots.count):
            for _ in range(slots.count):
                self.turn += 1
        self.turn += 1
        return slots.live[self.turn % len(slots.live)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (First, "takes no requests"),
        (Lowest, "equal slots got"),
        (Meddler, "changed what it was shown"),
        (Refuser, "turned a request away"),
        (Moody, "other choices"),
        (Squarer, "lines a choice"),
    ],
)
def test_the_suite_catches(wrong: type[RouterProtocol], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_router(wrong)  # type: ignore[arg-type]


def test_the_suite_has_no_length_of_the_answer_to_show() -> None:
    with pytest.raises(AttributeError, match="output_tokens"):
        check_router(Prophet)


def test_the_suite_measures_imbalance() -> None:
    with pytest.raises(AssertionError, match="imbalance"):
        check_router(maker(policy="longest_prefix"), most_imbalance=1.3)


def test_playing_says_where_the_prompts_went() -> None:
    played = play(maker(policy="round_robin"), 3, 300, comes_and_goes=False)
    assert played.choices[:4] == (0, 1, 2, 0)
    assert 1.0 < played.imbalance < 1.2
