"""What is refused of admission, time-outs, retries and queues, with its place."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from factory.scenario.admission import Admission, Queueing, Retry, Timeouts
from factory.scenario.check_admission import (
    admission_problems,
    queueing_problems,
    retry_problems,
    timeout_problems,
)
from factory.scenario.demand import Tenant


def tenants(**fields: Any) -> list[Tenant]:
    """Two tenants of one deployment; ``fields`` are of the first."""
    return [
        Tenant.model_validate({"name": "chat", "input_tokens": 3000, **fields}),
        Tenant.model_validate({"name": "jobs"}),
    ]


def admission(section: dict[str, Any], *timeouts: Timeouts, **fields: Any) -> list[str]:
    patience = [*timeouts, Timeouts(), Timeouts()][:2]
    made = Admission.model_validate(section)
    return [str(p) for p in admission_problems("a", made, tenants(**fields), patience, ["other"])]


LIMITED = {"shed": "queue_limit", "max_queue_requests": 10}


def test_defaults_are_sound() -> None:
    assert admission({}) == []
    assert list(queueing_problems("q", Queueing())) == []
    assert list(retry_problems("r", Retry())) == []
    assert list(timeout_problems("t", Timeouts())) == []


def test_a_full_section_is_sound() -> None:
    section = {
        "shed": "predicted_ttft",
        "max_queue_requests_per_replica": 20,
        "ttft_factor": 1.5,
        "max_concurrency": 500,
        "batch_load_ratio": 0.7,
        "tenants": {
            "chat": {"weight": 3.0, "shed_at": 0.8, "max_concurrency": 100,
                     "max_held_requests": 9, "rate_limit": {"tokens_per_s": 50.0}},
            "jobs": {"kind": "batch", "max_held_requests": 1000},
        },
    }  # fmt: skip
    assert admission(section, slo={"ttft_s": 2.0}, priority=1) == []


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"max_queue_requests": 5},
         "a.max_queue_requests: is for shed: queue_limit, predicted_ttft only, got 5"),
        ({**LIMITED, "ttft_factor": 2.0}, "a.ttft_factor: is for shed: predicted_ttft only, got 2"),
        ({"shed": "queue_limit"},
         'a.shed: needs max_queue_requests or max_queue_requests_per_replica, got "queue_limit"'),
        ({"shed": "predicted_ttft"},
         ("a.shed: needs a tenant with a limit on the time to first token (slo.ttft_s), got "
         '"predicted_ttft" (allowed: none, queue_limit)')),
        ({"tenants": {"chta": {"weight": 2.0}}},
         'a.tenants.chta: unknown tenant, got "chta" (allowed: chat, jobs; did you mean chat?)'),
        ({"tenants": {"other": {}}},
         'a.tenants.other: is served by another deployment, got "other" (allowed: chat, jobs)'),
        ({"tenants": {"chat": {"shed_at": 0.5}}},
         ("a.tenants.chat.shed_at: has no effect: nothing is shed, got 0.5 (allowed: shed: "
         "queue_limit, …)")),
        ({**LIMITED, "tenants": {"jobs": {"kind": "batch", "shed_at": 0.5}}},
         ("a.tenants.jobs.shed_at: has no effect: batch work waits outside, where nothing is shed, "
         "got 0.5")),
        ({"max_concurrency": 8, "tenants": {"chat": {"max_concurrency": 9}}},
         "a.tenants.chat.max_concurrency: must be <= that of the deployment (8), got 9"),
        ({"tenants": {"chat": {"max_held_requests": 9}}},
         ("a.tenants.chat.max_held_requests: has no effect: no request of the tenant is ever kept "
         "outside, got 9")),
        ({"tenants": {"chat": {"rate_limit": {"burst_tokens": 9}}}},
         "a.tenants.chat.rate_limit.burst_tokens: goes with tokens_per_s, which is missing, got 9"),
        ({"tenants": {"chat": {"rate_limit": {"tokens_per_s": 100.0, "burst_tokens": 2999}}}},
         ("a.tenants.chat.rate_limit.burst_tokens: holds less than a prompt of chat (3000 tokens), "
         "got 2999 (allowed: burst_tokens of at least 3000)")),
        # A minute of 49 tokens a second is 2940.
        ({"tenants": {"chat": {"rate_limit": {"tokens_per_s": 49.0}}}},
         ("a.tenants.chat.rate_limit.tokens_per_s: holds less than a prompt of chat (3000 tokens), "
         "got 49 (allowed: burst_tokens of at least 3000)")),
        ({"batch_load_ratio": 0.5},
         "a.batch_load_ratio: has no effect: no tenant is of kind batch, got 0.5"),
    ],
)  # fmt: skip
def test_contradictions_of_admission(section: dict[str, Any], message: str) -> None:
    assert admission(section) == [message]


def test_a_share_of_no_limit() -> None:
    section = {"shed": "predicted_ttft", "tenants": {"jobs": {"shed_at": 0.5}}}
    assert admission(section, slo={"ttft_s": 1.0}) == [
        (
            "a.tenants.jobs.shed_at: has no effect: neither the queue nor the tenant's TTFT has a "
            "limit, got 0.5"
        )
    ]


def test_a_time_out_is_a_limit_too() -> None:
    assert admission({"shed": "predicted_ttft"}, Timeouts(ttft_timeout_s=5.0)) == []


def test_batch_work_may_not_go_first() -> None:
    section = {"tenants": {"chat": {"kind": "batch"}}}
    assert admission(section, priority=0) == []
    assert admission(section, priority=2) == [
        (
            "a.tenants.chat.kind: batch work may not go before jobs (priority 0), got "
            '"batch" (allowed: a priority <= 0)'
        )
    ]


def test_contradictions_of_time_outs() -> None:
    assert [str(p) for p in timeout_problems("t", Timeouts(ttft_timeout_s=5.0, timeout_s=5.0))] == [
        "t.ttft_timeout_s: must be < timeout_s (5), which ends the wait before it, got 5"
    ]
    assert list(timeout_problems("t", Timeouts(ttft_timeout_s=5.0, timeout_s=6.0))) == []


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"attempts": 1},
         "r.attempts: must be >= 2, the first attempt among them; leave retry out for none, got 1"),
        ({"on": []},
         ("r.on: must name an outcome to try again; leave retry out for none, got [] (allowed: "
         "rejected, timed_out, failed)")),
        ({"backoff_s": 9.0}, "r.backoff_s: must be <= max_backoff_s (8), got 9"),
        ({"max_backoff_s": 0.1}, "r.max_backoff_s: must be >= backoff_s (0.5), got 0.1"),
        ({"throttle_tokens": 9}, "r.throttle_ratio: is missing: throttle_tokens needs it"),
        ({"throttle_ratio": 0.1}, "r.throttle_tokens: is missing: throttle_ratio needs it"),
        ({"on": ["timed_out"]},
         ('r.on: can never happen: the tenant has no timeouts, got "timed_out" (allowed: rejected, '
         "failed)")),
    ],
)  # fmt: skip
def test_contradictions_of_retries(section: dict[str, Any], message: str) -> None:
    problems = retry_problems("r", Retry.model_validate(section), Timeouts())
    assert [str(p) for p in problems] == [message]


@pytest.mark.parametrize(
    "section", [{"jitter": 1.1}, {"multiplier": 0.5}, {"backoff_s": 0}, {"attempts": 0}]
)
def test_values_out_of_range(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Retry.model_validate(section)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"ageing_s": 5.0}, "q.ageing_s: is for order: priority only, got 5"),
        ({"order": "priority", "ageing_tokens_per_s": 5.0},
         "q.ageing_tokens_per_s: is for order: shortest_first only, got 5"),
        ({"order": "lpm", "output_weight": 1.0}, "q.output_weight: is for order: fair only, got 1"),
        ({"order": "fair", "input_weight": 0.0, "output_weight": 0.0},
         "q.input_weight: input_weight and output_weight may not both be 0, got 0"),
    ],
)  # fmt: skip
def test_contradictions_of_queues(section: dict[str, Any], message: str) -> None:
    assert [str(p) for p in queueing_problems("q", Queueing.model_validate(section))] == [message]


def test_longest_prefix_needs_prefix_caching() -> None:
    problems = list(queueing_problems("q", Queueing(order="lpm"), prefix_caching=False))
    assert [p.path for p in problems] == ["q.order"]
    assert problems[0].allowed == "fcfs, priority, shortest_first, fair"
