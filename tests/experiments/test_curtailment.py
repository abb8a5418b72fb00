"""The curtailment experiment: its findings have the sign that they claim, on less demand."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from factory.scenario.grid import Grid

ROOT = Path(__file__).parents[2]
SCALE = 0.02

pytestmark = pytest.mark.skipif(
    not (ROOT / "experiments").is_dir(), reason="this copy of the tests is without experiments/"
)


def test_clocks_carry_a_curtailment_that_shedding_alone_does_not(monkeypatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    experiment = importlib.import_module("experiments.power.curtailment")
    found = list(experiment.rows(("no curtailment", "cap", "shed"), scale=SCALE))
    during = {row["policy"]: row for row in found if row["phase"] == "during"}
    usual, cap, shed = (during[policy] for policy in ("no curtailment", "cap", "shed"))
    assert cap["grid_kw"] < 0.77 * usual["grid_kw"]
    assert cap["excess_kwh"] == pytest.approx(0.0, abs=1e-6)
    assert cap["chat_good_ratio"] > 0.97
    assert cap["capped_ratio"] > 0.02
    assert shed["batch_good_ratio"] == 0.0
    # What is drawn within the response time does not count as excess.
    counted_s = experiment.LASTS_S * SCALE - Grid().response_s
    asked_kwh = (usual["grid_kw"] - cap["grid_kw"]) * counted_s / 3600
    assert shed["excess_kwh"] > 0.7 * asked_kwh
    assert shed["usd_per_mtok_good"] > 1.5 * usual["usd_per_mtok_good"]
