"""Replicas that break, trip and rest: who dies, what is lost, when they are up again; by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from conserved import violations
from factories import scenarios
from hypothesis import HealthCheck, Phase, assume, given, settings
from observed import differences, observe
from scripted import MS, ask, factory, near, play, spent

from factory.errors import ScenarioError
from factory.records.codes import (
    COMPLETED,
    FAILED,
    STATE_DRAINING,
    STATE_FAILED,
    STATE_MAINTENANCE,
    STATE_PAUSED,
    STATE_SPARE,
    STATE_STARTING,
    STATE_TRIPPED,
)
from factory.serving.meter import RELEASED
from factory.serving.outages import Outages
from factory.simulation import plant as assembly

C, F = COMPLETED, FAILED


def broken(made: dict[str, Any], startup_ms: float = 0.0, **failures: Any) -> dict[str, Any]:
    """The scenario with failures; replicas start again within ``startup_ms``."""
    startup = {"startup": {"startup_s": startup_ms * MS}}
    facility = {**made["facility"], "failures": {**startup, **failures}}
    return {**made, "facility": facility}


def fault(at_ms: float, target: str, for_ms: float) -> dict[str, Any]:
    return {"at_s": at_ms * MS, "target": target, "duration_s": for_ms * MS}


def nvl72(made: dict[str, Any]) -> dict[str, Any]:
    made["facility"]["racks"] = [{"name": "r", "system": "gb200-nvl72"}]
    return made


def retries(**changes: Any) -> dict[str, Any]:
    return {"retry": {"attempts": 2, "backoff_s": 0.1, "jitter": 0.0, **changes}}


def test_a_tray_of_an_nvl72_rack_fails() -> None:
    """Three replicas of two GPUs: two on the tray that breaks at 30 ms, for 100 ms.

    Each has a prompt of 10 tokens (15 ms) and four steps of 11 ms: tokens at 15, 26, 37, 48 and
    59 ms. At 30 ms the step from 26 to 37 is lost with all there is. Clients try again 100 ms
    later, at 130 ms: the tray is back by then, but its replicas start until 180 ms, so both go to
    the third, and share its steps: 20 ms for the prompts (one step), then 12 ms each.
    """
    made = factory(
        {"replicas": 3, "parallel": {"tp": 2}},
        tenants=[retries()],
        router={"policy": "round_robin"},
    )
    made = broken(nvl72(made), 50, faults=[fault(30, "r-0/tray-0", 100)])
    seen = play(made, [ask(0, 10, 5), ask(0, 10, 5), ask(0, 10, 5)], duration_s=0.3)
    assert seen.column("outcome") == [F, F, C, C, C]
    assert seen.column("prefill_replica") == [0, 1, 2, 2, 2]
    assert seen.column("output_tokens") == [2, 2, 5, 5, 5]
    assert seen.column("completion_s")[:3] == near(30, 30, 59)
    assert seen.column("completion_s")[3:] == near(130 + 20 + 4 * 12, 130 + 20 + 4 * 12)
    assert spent(seen, STATE_FAILED) == near(2 * 2 * 100)
    assert spent(seen, STATE_STARTING) == near(2 * 2 * 50)
    machines = seen.plant.held.machines
    assert [machine.is_up for machine in machines] == [True] * 3
    # While it is out, a tray draws nothing: its GPUs save what they would have drawn idle.
    assert [machine.gpus for machine in machines] == [(0, 1), (2, 3), (4, 5)]


def test_a_gpu_takes_its_replica_down_and_no_other() -> None:
    made = factory({"replicas": 2, "parallel": {"tp": 2}})
    made = broken(nvl72(made), 20, faults=[fault(5, "r-0/gpu-3", 10)])
    seen = play(made, [ask(0, 10, 2), ask(0, 10, 2), ask(16, 10, 1)])
    assert seen.column("outcome") == [C, F, C]
    assert seen.column("prefill_replica") == [0, 1, 0]
    assert seen.column("output_tokens") == [2, 0, 1]
    assert spent(seen, STATE_FAILED) == near(2 * 10)


def test_who_finds_nobody_up_waits() -> None:
    """Down from 5 to 25 ms, starts until 65 ms: then who came meanwhile is served."""
    made = broken(factory({}), 40, faults=[fault(5, "r-0", 20)])
    seen = play(made, [ask(0, 10, 2), ask(10, 10, 1), ask(30, 10, 1)])
    assert seen.column("outcome") == [F, C, C]
    assert seen.column("completion_s") == near(5, 65 + 20, 65 + 20)
    assert spent(seen, STATE_FAILED) == near(20)
    assert spent(seen, STATE_STARTING) == near(40)


def test_behind_a_broken_uplink_weights_stay() -> None:
    made = broken(factory({}), 40, faults=[fault(5, "network/r-0", 20)])
    seen = play(made, [ask(0, 10, 2), ask(10, 10, 1)])
    assert seen.column("outcome") == [F, C]
    assert seen.column("completion_s") == near(5, 25 + 15)
    assert spent(seen, STATE_STARTING) == 0.0


def test_what_ends_at_the_instant_of_a_failure_has_ended() -> None:
    made = broken(factory({}), faults=[fault(15, "r-0", 5)])
    seen = play(made, [ask(0, 10, 1), ask(0, 10, 1)])  # one step of 20 ms, lost
    assert seen.column("outcome") == [F, F]
    seen = play(made, [ask(0, 10, 1)])
    assert seen.column("outcome") == [C]


def test_causes_overlap() -> None:
    """A GPU and its rack: up when the last cause is over, and one start."""
    made = broken(factory({}), 10, faults=[fault(5, "r-0/gpu-0", 30), fault(20, "r-0", 50)])
    seen = play(made, [ask(0, 10, 2), ask(25, 10, 1)])
    assert seen.column("outcome") == [F, C]
    assert seen.column("completion_s") == near(5, 70 + 10 + 15)
    assert spent(seen, STATE_FAILED) == near(65)
    assert spent(seen, STATE_STARTING) == near(10)


def test_a_failure_while_it_starts() -> None:
    made = broken(factory({}), 30, faults=[fault(5, "r-0", 10), fault(25, "r-0", 5)])
    seen = play(made, [ask(6, 10, 1)])
    assert seen.column("completion_s") == [near(30 + 30 + 15)]
    assert spent(seen, STATE_STARTING) == near(10 + 30)


SPLIT = [
    {"role": "prefill", "replicas": 2},
    {"role": "decode", "replicas": 2},
]


def split(overlap: str, latency_ms: float, *faults: dict[str, Any]) -> dict[str, Any]:
    """Two prefill and two decode replicas; KV takes as long as its latency."""
    made = factory(
        *SPLIT,
        kv_transfer={"bandwidth_gb_s": 1e6, "latency_ms": latency_ms, "overlap": overlap},
        decode_router={"policy": "round_robin"},
    )
    return broken(made, 5, faults=list(faults))


@pytest.mark.parametrize("overlap", ["after", "by_layer"])
@pytest.mark.parametrize(
    ("at_ms", "target"),
    [
        (5, "prefill-0"),  # the prompt is being computed
        (20, "prefill-0"),  # its KV leaves
        (20, "decode-0"),  # its KV is on its way there
        (50, "decode-0"),  # it decodes
    ],
)
def test_on_any_part_of_its_way_a_request_fails(overlap: str, at_ms: float, target: str) -> None:
    """15 ms for the prompt, 30 ms for the KV's way, from 45 ms on decode."""
    made = split(overlap, 30, fault(at_ms, target, 10))
    seen = play(made, [ask(0, 10, 4), ask(0, 10, 4)])
    assert seen.column("outcome") == [F, C]
    assert seen.column("completion_s")[0] == near(at_ms)


def test_room_taken_early_is_lost_with_its_replica() -> None:
    """By layer, the decode replica is chosen first: without it the prefill is for nothing.

    It leaves its prefill replica at the next boundary, at 15 ms.
    """
    seen = play(split("by_layer", 30, fault(5, "decode-0", 10)), [ask(0, 10, 4), ask(0, 10, 4)])
    assert seen.column("outcome") == [F, C]
    assert seen.column("completion_s")[0] == near(15)


def test_who_has_left_its_prefill_replica_does_not_mind() -> None:
    seen = play(split("after", 30, fault(50, "prefill-0", 10)), [ask(0, 10, 4), ask(0, 10, 4)])
    assert seen.column("outcome") == [C, C]


def test_computed_prompts_wait_for_a_decode_replica() -> None:
    faults = [fault(5, "decode-0", 100), fault(5, "decode-1", 50)]
    seen = play(split("after", 0.0, *faults), [ask(0, 10, 2)])
    assert seen.column("outcome") == [C]
    # Its KV takes about a nanosecond of the 60 ms.
    assert seen.column("first_token_s") == [pytest.approx(0.060, abs=1e-8)]
    assert seen.column("completion_s") == [pytest.approx(0.071, abs=1e-8)]


def cached(kind: str, shared: str | None = None) -> dict[str, Any]:
    """Two replicas with a tier below their GPUs, and a client that tries again."""
    tier: dict[str, Any] = {"kind": kind, "capacity_tokens": 1000, "bandwidth_gb_s": 1000}
    if shared is not None:
        tier["shared_by"] = shared
    pool = {
        "replicas": 2,
        "engine": {"enable_prefix_caching": True},
        "kv_cache": {"tiers": [tier], "write": "through", "fetch": "always"},
    }
    return factory(pool, tenants=[retries(backoff_s=0.05)])


@pytest.mark.parametrize(
    ("kind", "shared", "remote", "host"),
    [("shared", None, 9, 0), ("host", "pool", 0, 9), ("host", "replica", 0, 0)],
)
def test_a_retry_finds_the_kv_that_a_tier_has_kept(
    kind: str, shared: str | None, remote: int, host: int
) -> None:
    """The prompt is computed and written through when its replica breaks, for good.

    The retry goes to the other replica: from a tier that both share it takes all of its prompt but
    the last token; what was in the host memory of the broken one is gone.
    """
    made = broken(cached(kind, shared), faults=[fault(30, "aggregated-0", 500)])
    seen = play(made, [ask(0, 10, 9, blocks=(5, 10))])
    assert seen.column("outcome") == [F, C]
    assert seen.column("prefill_replica") == [0, 1]
    assert seen.column("cached_remote") == [0, remote]
    assert seen.column("cached_host") == [0, host]
    assert seen.column("computed") == [10, 10 - remote - host]


@pytest.mark.parametrize(("shared", "cached_tokens"), [("replica", 0), ("pool", 9)])
def test_its_own_host_memory_is_gone_with_it(shared: str, cached_tokens: int) -> None:
    """The same replica again, after its repair: its GPUs are empty, and its own tiers are."""
    made = cached("host", shared)
    made["deployments"][0]["pools"][0]["replicas"] = 1
    made = broken(made, faults=[fault(30, "aggregated-0", 10)])
    seen = play(made, [ask(0, 10, 9, blocks=(5, 10))])
    assert seen.column("outcome") == [F, C]
    assert seen.column("cached")[1] == cached_tokens


def test_who_copies_from_a_peer_that_breaks_computes_instead() -> None:
    """From 100 ms on the second replica copies nine tokens' KV, 1.2 MB at 10 MB/s; until 150 ms."""
    peer = {"kind": "peer", "bandwidth_gb_s": 0.01, "latency_ms": 0}
    pool = {
        "replicas": 2,
        "engine": {"enable_prefix_caching": True},
        "kv_cache": {"tiers": [peer], "fetch": "always"},
    }
    asks = [ask(0, 10, 1, blocks=(5, 10)), ask(100, 10, 1, blocks=(5, 10))]
    whole = play(broken(factory(pool)), asks)
    assert whole.column("cached") == [0, 9]
    seen = play(broken(factory(pool), faults=[fault(150, "aggregated-0", 5)]), asks)
    assert seen.column("outcome") == [C, C]
    assert seen.column("cached") == [0, 0]
    assert seen.column("completion_s") == near(15, 150 + 15)


def test_maintenance_drains_first() -> None:
    """From 20 ms on nobody comes to the first one; it ends what it has at 59 ms, then 30 ms."""
    work = {"at_s": 0.02, "targets": ["aggregated-0"], "duration_s": 0.03}
    made = broken(factory({"replicas": 2}), 10, maintenance=[work])
    seen = play(made, [ask(0, 10, 5), ask(21, 10, 1), ask(22, 10, 1)], duration_s=0.2)
    assert seen.column("outcome") == [C, C, C]
    assert seen.column("prefill_replica") == [0, 1, 1]
    assert seen.column("completion_s")[0] == near(59)
    assert spent(seen, STATE_MAINTENANCE) == near(30)
    assert spent(seen, STATE_STARTING) == near(10)


def test_maintenance_does_not_wait_for_ever() -> None:
    """What has not ended 10 ms after the beginning fails at the next boundary, at 37 ms."""
    work = {"at_s": 0.02, "targets": ["r-0/node-0"], "duration_s": 0.03, "drain_timeout_s": 0.01}
    made = broken(factory({}), 10, maintenance=[work])
    seen = play(made, [ask(0, 10, 5), ask(40, 10, 1)], duration_s=0.2)
    assert seen.column("outcome") == [F, C]
    assert seen.column("completion_s") == near(37, 37 + 30 + 10 + 15)
    assert spent(seen, STATE_DRAINING) == 0.0  # its work counts as work


def test_an_upgrade_rolls_over_a_pool() -> None:
    """One after the other: 10 ms of work and 5 ms to start, so that never more than one is out."""
    upgrade = {"pool": "aggregated", "at_s": 0.02, "duration_s": 0.01}
    made = broken(factory({"replicas": 3}), 5, upgrades=[upgrade])
    seen = play(made, [ask(0, 10, 1), *(ask(5 * i, 2, 1) for i in range(1, 14))], duration_s=0.2)
    assert seen.column("outcome") == [C] * 14
    assert spent(seen, STATE_MAINTENANCE) == near(30)
    assert spent(seen, STATE_STARTING) == near(15)


def scaled(replicas: int, most: int, **changes: Any) -> dict[str, Any]:
    section = {
        "policy": "schedule",
        "schedule": [{"at_s": 10.0, "replicas": replicas}],
        "max_replicas": most,
        "startup": {"startup_s": 0.02},
        **changes,
    }
    return factory({"replicas": replicas, "autoscaling": section})


def test_another_replica_starts_in_its_place() -> None:
    """Of three, two serve: one breaks at 5 ms, the third serves from 25 ms on.

    The one that is back at 105 ms is one too many, and is off.
    """
    made = broken(scaled(2, 3), faults=[fault(5, "aggregated-0", 100)])
    seen = play(
        made, [ask(0, 10, 2), ask(0, 10, 2), ask(30, 10, 1), ask(30, 10, 1)], duration_s=0.2
    )
    assert seen.column("outcome") == [F, C, C, C]
    assert sorted(seen.column("prefill_replica")[2:]) == [1, 2]
    assert spent(seen, STATE_FAILED) == near(100)
    assert spent(seen, STATE_STARTING) == near(20)
    assert spent(seen, STATE_SPARE) == near(5 + 95)


def test_the_last_one_starts_again_where_there_is_no_other() -> None:
    made = broken(scaled(1, 1), faults=[fault(5, "aggregated-0", 10)])
    seen = play(made, [ask(0, 10, 2), ask(6, 10, 1)])
    assert seen.column("outcome") == [F, C]
    assert seen.column("completion_s") == near(5, 15 + 20 + 15)


def test_rented_replicas_that_are_given_back_cannot_break() -> None:
    made = broken(scaled(1, 2, ownership="on_demand"), faults=[fault(5, "aggregated-1", 10)])
    seen = play(made, [ask(0, 10, 2)], duration_s=0.1)
    assert seen.column("outcome") == [C]
    assert spent(seen, STATE_FAILED) == 0.0
    assert spent(seen, RELEASED) == near(100)


def test_a_rack_that_fails_rents_nothing() -> None:
    """Those that are not rented stand in the same rack: none is taken in the place of the first."""
    made = broken(scaled(1, 4, ownership="on_demand"), faults=[fault(5, "r-0", 30)])
    seen = play(made, [ask(0, 10, 2)], duration_s=0.1)
    assert seen.column("outcome") == [F]
    assert spent(seen, STATE_FAILED) == near(30)
    assert spent(seen, RELEASED) == near(300)


def acting(
    monkeypatch: pytest.MonkeyPatch, *acts: tuple[float, Callable[[Outages, float], None]]
) -> None:
    """Lets something be done to the first machine of the runs to come, at stated times (ms)."""
    build = assembly.build_outages

    def also(*parts: Any) -> Any:
        held = build(*parts)
        for at_ms, act in acts:
            machine = held.machines[0]
            held.agenda.at(at_ms * MS, 1, lambda now_s, a=act, m=machine: a(m, now_s))
        return held

    monkeypatch.setattr(assembly, "build_outages", also)


def test_a_paused_replica_drains_and_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paused from 20 to 100 ms: it ends what it has at 26 ms, and starts for 10 ms after."""
    acting(
        monkeypatch,
        (20, lambda machine, now_s: machine.pause(now_s)),
        (100, lambda machine, now_s: machine.resume(now_s)),
    )
    seen = play(broken(factory({}), 10), [ask(0, 10, 2), ask(50, 10, 1)])
    assert seen.column("completion_s") == near(26, 110 + 15)
    assert spent(seen, STATE_PAUSED) == near(100 - 26)
    assert spent(seen, STATE_STARTING) == near(10)


def test_a_pause_that_is_over_before_it_has_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    acting(
        monkeypatch,
        (20, lambda machine, now_s: machine.pause(now_s)),
        (23, lambda machine, now_s: machine.resume(now_s)),
    )
    seen = play(broken(factory({}), 10), [ask(0, 10, 2), ask(21, 10, 1)])
    assert seen.column("completion_s")[0] == near(26)
    assert spent(seen, STATE_PAUSED) == 0.0
    assert spent(seen, STATE_STARTING) == 0.0


def test_a_breaker_over_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tripped counts before failed; the breaker closes first, the repair comes last."""
    acting(
        monkeypatch,
        (20, lambda machine, now_s: machine.fail(now_s, STATE_TRIPPED, 0.0)),
        (50, lambda machine, now_s: machine.repair(now_s)),
    )
    made = broken(factory({}), 10, faults=[fault(5, "r-0/gpu-0", 60)])
    seen = play(made, [ask(0, 10, 2), ask(30, 10, 1)])
    assert seen.column("outcome") == [F, C]
    assert spent(seen, STATE_TRIPPED) == near(30)
    assert spent(seen, STATE_FAILED) == near(15 + 15)
    assert seen.column("completion_s")[1] == near(65 + 10 + 15)


def test_what_a_rack_loses_does_not_go_to_its_next_replica() -> None:
    """A closed loop on a rack that breaks: whoever asks anew waits, and fails once only."""
    made = broken(factory({"replicas": 3}), 10, faults=[fault(5, "r-0", 20)])
    asks = [ask(0, 10, 2), ask(0, 10, 2), ask(0, 10, 1, after=0), ask(0, 10, 1, after=1)]
    seen = play(made, asks)
    assert seen.column("outcome") == [F, F, C, C]


def test_no_failure_after_the_load_is_over() -> None:
    """A process that goes on breaking things does not keep a run alive."""
    process = {"name": "p", "of": "gpu", "mtbf_s": 3.0, "repair_s": 0.001}
    made = broken(factory({"replicas": 8}), 0.0, processes=[process])
    seen = play(made, [ask(0, 10, 2)])
    assert seen.end_s < 0.2
    seen = play(made, [ask(0, 10, 2)], duration_s=5.0)
    assert seen.end_s == 5.0
    assert spent(seen, STATE_FAILED) > 0.0


def test_the_ledger_holds_what_was_lost() -> None:
    """64 replicas of one GPU for 100 mean lives: time lost is MTTR over MTBF and MTTR, to 2 %."""
    process = {
        "name": "p",
        "of": "gpu",
        "mtbf_s": 90.0,
        "distribution": "weibull",
        "shape": 4.0,
        "repair_s": 10.0,
    }
    made = factory({"replicas": 64})
    made["facility"]["racks"][0]["count"] = 2
    made = broken(made, 0.0, processes=[process])
    seen = play(made, [ask(0, 1, 1)], duration_s=10_000.0, window_s=1000.0)
    lost = spent(seen, STATE_FAILED) / (64 * 10_000.0)
    assert lost == pytest.approx(10.0 / 100.0, rel=0.02)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(scenarios(faults=True))
def test_engines_agree_on_invented_failures(scenario: dict[str, Any]) -> None:
    """And requests, tokens, GPU-seconds and KV blocks are conserved in both."""
    seen = []
    for engine in ("leap", "step"):
        data = copy.deepcopy(scenario)
        data["run"]["engine"] = engine
        try:
            seen.append(observe(data, 100_000))
        except ScenarioError:
            assume(False)
    assert not differences(*seen)
    for each in seen:
        assert not violations(each, is_drained=scenario["run"].get("drain", True))


def test_all_end() -> None:
    """A failure of everything at once, again and again: every request ends, one way or another."""
    faults = [fault(10 + 40 * i, "r-0", 15) for i in range(5)]
    made = broken(factory({"replicas": 2}, tenants=[retries(attempts=9, backoff_s=0.01)]), 5)
    made["facility"]["failures"]["faults"] = faults
    rows = play(made, [ask(3 * i, 10, 3) for i in range(30)])
    assert len([outcome for outcome in rows.column("outcome") if outcome == C]) == 30
