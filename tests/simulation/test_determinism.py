"""The same scenario and seed give the same bytes, in this process and in any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import aggregated, capped, drafting, split

from factory.scenario import load
from factory.simulation import simulate

SIMULATE = """
import json, sys
from pathlib import Path
from factory.scenario import load
from factory.simulation import simulate
simulate(load(json.loads(sys.argv[1])), Path(sys.argv[2]))
"""

SCENARIOS = {"split": split(), "capped": capped(aggregated(), 17.5), "drafting": drafting()}


def digests(run_dir: Path) -> dict[str, str]:
    tables = json.loads((run_dir / "run.json").read_text())["tables"]
    return {name: table["sha256"] for name, table in tables.items()}


@pytest.mark.parametrize("name", SCENARIOS)
def test_tables_are_the_same_bytes(name: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]
    first = simulate(load(scenario), tmp_path / "first").run_dir
    again = simulate(load(scenario), tmp_path / "again").run_dir
    assert digests(first) == digests(again)
    assert len(digests(first)) > 10
    for seed in ("1", "42"):
        out = tmp_path / f"hashed-{seed}"
        command = [sys.executable, "-c", SIMULATE, json.dumps(scenario), str(out)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        assert digests(out) == digests(first)


def test_another_seed_and_another_replication_are_other_runs(tmp_path: Path) -> None:
    scenario = split()
    seen = set()
    for number, run in enumerate(({}, {"seed": 2}, {"replication": 1})):
        made = {**scenario, "run": {**scenario["run"], **run}}
        seen.add(digests(simulate(load(made), tmp_path / str(number)).run_dir)["fact_requests"])
    assert len(seen) == 3
