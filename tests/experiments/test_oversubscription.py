"""The oversubscription experiment: its findings have the sign that they claim, on less demand."""

from __future__ import annotations

import pytest
from experiments_beside import ROOT, experiment

oversubscription = experiment("power.oversubscription")
runs = experiment("serving.runs")

DAY_S = 1800.0


def test_thirty_percent_more_servers_trip_no_brake_and_fifty_do() -> None:
    found = list(
        oversubscription.rows((oversubscription.POLCA,), (0.3, 0.5), seeds=(1,), day_s=DAY_S)
    )
    few, many = found
    assert few["caps"] > 0
    assert few["brakes"] == 0
    assert few["peak_ratio"] < 1.0
    assert many["brakes"] > 3
    assert many["peak_ratio"] > 1.0


def test_decode_keeps_its_throughput_under_a_cut_and_prefill_loses_more() -> None:
    found = oversubscription.cuts(("decode-heavy", "prefill-heavy"), (0.0, 0.2))
    kept = {row["mix"]: row["throughput_ratio"] for row in found if row["cut"]}
    assert kept["decode-heavy"] >= 0.97
    assert kept["prefill-heavy"] < kept["decode-heavy"] - 0.03


@pytest.mark.parametrize(
    ("name", "tables"), [("oversubscription", "tables"), ("power_cuts", "table_of_cuts")]
)
def test_tables_are_made_of_the_rows_kept(name: str, tables: str) -> None:
    kept = ROOT / "experiments" / "power" / "results" / f"{name}.csv"
    made = getattr(oversubscription, tables)(runs.read(kept))
    assert kept.with_suffix(".md").read_text(encoding="utf-8") == f"{made}\n"
