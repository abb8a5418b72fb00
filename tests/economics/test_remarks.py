"""What is said of prices that lack a system, and where it is said."""

from __future__ import annotations

from pathlib import Path

import small_runs

from factory.economics.remarks import unpriced_remark
from factory.records.query import query
from factory.scenario import catalog_of, load
from factory.simulation import simulate
from factory.simulation.preflight import notes


def told(system: str, **prices: object) -> list[str]:
    made = small_runs.split(run={"duration_s": 10, "window_s": 5})
    made["facility"]["racks"][0]["system"] = system
    made["deployments"][0]["precision"] = {"weights": "fp16", "kv_cache": "fp16"}
    made["prices"] = prices
    scenario = load(made)
    return [note for note in notes(scenario, catalog_of(scenario)) if "price" in note]


def test_a_check_says_that_a_book_lacks_a_system() -> None:
    book = "hyperscaler-owned-2025-10"
    assert told("hgx-h200", book=book) == []
    assert told("hgx-a100", usd_per_gpu_hour={"hgx-a100": 2.0}) == []
    (remark,) = told("hgx-a100", book=book)
    assert f"the price book {book} (prices.book) has no price for hgx-a100" in remark
    assert "factory catalog prices" in remark
    assert "usd_per_gpu_hour lacks" in unpriced_remark(None, ["hgx-a100"])


def test_starts_after_planned_work_are_no_failures(tmp_path: Path) -> None:
    made = small_runs.split(run={"duration_s": 40, "window_s": 5, "warmup_s": 5})
    made["facility"]["failures"] = {
        "maintenance": [{"at_s": 10.0, "targets": ["prefill-1"], "duration_s": 2.0}]
    }
    result = simulate(load(made), tmp_path / "run")
    told = result.summary["availability"]
    assert told["failed_ratio"] == told["restarting_after_failed_ratio"] == 0.0
    assert told["restarting_after_maintenance_ratio"] == told["restarting_ratio"] > 0.0
    assert query(
        result.run_dir, "SELECT subject, detail FROM fact_events WHERE kind = 'restart_began'"
    ).rows == [("prefill-1", "after maintenance")]
