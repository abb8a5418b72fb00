"""Power profiles do to speed and energy what is published of them."""

from __future__ import annotations

import pytest

from factory.performance import build
from factory.performance.work import RankWork
from factory.power.profiles import PROFILES, profile_clock, profiles_of
from factory.scenario import catalog, load
from factory.simulation.pool_builder import segment_watts


def decoding(batch: int) -> RankWork:
    """A step of so many sequences of 1,500 tokens."""
    work = RankWork()
    work.decode = work.logit_rows = batch
    work.context = batch * 1500
    work.context_slope = batch
    return work


def prefilling(tokens: int) -> RankWork:
    """A step of so many prompt tokens."""
    work = RankWork()
    work.prefill_tokens = work.prefill_context = tokens
    work.prefill_pairs = tokens * tokens // 2
    work.logit_rows = 1
    return work


def effect(system: str, work: RankWork) -> tuple[float, float]:
    """(speed over that of max_p, share of the GPUs' energy saved) of max_q on a step."""
    scenario = load(
        {
            "name": "profiles",
            "facility": {"racks": [{"name": "r", "system": system}]},
            "deployments": [
                {
                    "name": "d",
                    "model": "llama-3.1-70b",
                    "pools": [
                        {
                            "name": "p",
                            "role": "aggregated",
                            "racks": "r",
                            "replicas": 1,
                            "parallel": {"tp": 2},
                        }
                    ],
                }
            ],
            "workload": {
                "tenants": [
                    {"name": "t", "load": {"rate": 1}, "input_tokens": 9, "output_tokens": 9}
                ]
            },
            "run": {"requests": 1},
        }
    )
    known = catalog()
    [deployment] = scenario.deployments
    model = build(deployment.pools[0], deployment, known, scenario)
    gpu = known.gpus[known.systems[system].gpu]
    watts = segment_watts(gpu, model)
    seconds, joules = [], []
    for clock in (profile_clock(gpu, "max_p"), profile_clock(gpu, "max_q")):
        segment = model.plan([work], clock, 10)
        seconds.append(segment.base_s)
        joules.append(segment.base_s * watts(segment, clock, 0.0))
    return seconds[0] / seconds[1], 1.0 - joules[1] / joules[0]


@pytest.mark.parametrize("batch", [16, 64])
@pytest.mark.parametrize("system", ["hgx-b200", "hgx-b300", "gb200-nvl72", "gb300-nvl72"])
def test_max_q_saves_what_is_published_of_blackwell(system: str, batch: int) -> None:
    """NVIDIA, arXiv:2510.03872 (2025): up to 15 % of energy at 97 % or more of performance."""
    speed, saved = effect(system, decoding(batch))
    assert 0.97 <= speed <= 1.0
    assert 0.04 <= saved <= 0.15


@pytest.mark.parametrize("system", ["hgx-h100", "hgx-h200"])
def test_max_q_on_hopper(system: str) -> None:
    speed, saved = effect(system, decoding(64))
    assert 0.97 <= speed <= 1.0
    assert 0.04 <= saved <= 0.2


def test_prefill_pays_for_the_lock_with_speed() -> None:
    speed, _ = effect("hgx-b200", prefilling(4096))
    assert 0.91 <= speed < 0.96


def test_max_p_is_what_every_gpu_has() -> None:
    for gpu in catalog().gpus.values():
        assert profile_clock(gpu, "max_p") == 1.0
        assert ("max_q" in profiles_of(gpu)) == (gpu.generation in ("hopper", "blackwell"))


def test_every_profile_says_where_it_is_from() -> None:
    for profiles in PROFILES.values():
        for profile in profiles.values():
            assert 0.0 < profile.clock_ratio <= 1.0
            assert profile.kind in ("measured", "published", "fitted", "assumed")
            assert profile.source
            assert profile.date
