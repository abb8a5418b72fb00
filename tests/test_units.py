from __future__ import annotations

import pytest

from factory.units import number_in, unit_of


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("run.duration_s", "s"),
        ("workload.tenants[0].slo.itl_ms", "ms"),
        ("workload.tenants[0].session.think_time_s.mean", "s"),
        ("workload.tenants[0].input_tokens.min", "tokens"),
        ("facility.racks[0].budget_kw", "kW"),
        ("facility.contracted_mw", "MW"),
        ("deployments[0].kv_transfer.bandwidth_gb_s", "GB/s"),
        ("workload.tenants[0].load.rate", "sessions/s"),
        ("prices.usd_per_gpu_hour.hgx-h200", "USD per GPU-hour"),
        ("deployments[0].admission.tenants.chat.rate_limit.tokens_per_s", "tokens/s"),
        ("deployments[0].pools[0].clock_ratio", "ratio"),
        ("deployments[0].pools[0].replicas", None),
    ],
)
def test_a_path_declares_its_unit(path, unit):
    assert unit_of(path) == unit


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("2s", "s", 2),
        ("500 ms", "s", 0.5),
        ("0.5 min", "s", 30),
        ("1h", "s", 3600),
        ("5 kW", "kW", 5),
        ("5 MW", "kW", 5000),
        ("900 W", "kW", 0.9),
        ("400 Gbit/s", "GB/s", 50),
        ("16k", "tokens", 16000),
        ("1,024 tokens", "tokens", 1024),
        ("80%", "ratio", 0.8),
        ("60 rpm", "sessions/s", 1),
        ("60 rpm", "requests/s", 1),
        ("120,000 tpm", "tokens/s", 2000),
        ("$2.65", "USD per GPU-hour", 2.65),
        ("7", None, 7),
        ("1e4", None, 10000),
        ("5 s", "kW", None),
        ("fast", "s", None),
        ("", "s", None),
        ("3 apples", None, None),
    ],
)
def test_a_quantity_is_read_in_the_unit_wanted(text, unit, value):
    got = number_in(text, unit)
    assert got == (None if value is None else pytest.approx(value))
