"""A run leaves a complete directory, or none that looks complete."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import aggregated

from factory.errors import InputError, ScenarioError
from factory.records.run_directory import read_manifest
from factory.scenario import load
from factory.simulation import simulate

# The process ends itself in the middle of the run, at a point that events decide and not a clock.
KILLED = """
import json, os, signal, sys
from pathlib import Path
from factory.scenario import load
from factory.simulation import run, simulate
# A shell that runs the tests in the background hands an ignored SIGINT down.
signal.signal(signal.SIGINT, signal.default_int_handler)
run._EVENTS_PER_LOOK = 50
def stop(progress):
    if progress.requests_done > 20:
        os.kill(os.getpid(), int(sys.argv[3]))
simulate(load(json.loads(sys.argv[1])), Path(sys.argv[2]), progress=stop)
"""


def test_a_finished_run_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = simulate(load(aggregated(run={"requests": 20})), out)
    assert result.run_dir == out
    assert read_manifest(out)["status"] == "complete"
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_nothing_that_looks_complete(
    number: signal.Signals, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    scenario = json.dumps(aggregated(run={"requests": 500}))
    command = [sys.executable, "-c", KILLED, scenario, str(out), str(int(number))]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode != 0
    assert not out.exists()
    left = [path.name for path in tmp_path.iterdir()]
    assert left in ([], ["run.partial"])
    # Whatever is left is in nobody's way.
    simulate(load(aggregated(run={"requests": 20})), out)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_existing_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match="exists already"):
        simulate(load(aggregated(run={"requests": 20})), out)
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "mine.txt"]


def test_an_error_in_the_run_leaves_nothing(tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("told too much")

    from factory.simulation import run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_EVENTS_PER_LOOK", 50)
        with pytest.raises(RuntimeError, match="told too much"):
            simulate(load(aggregated()), tmp_path / "run", progress=fail)
    assert not list(tmp_path.iterdir())


def test_a_model_that_does_not_fit_is_said_before_anything_is_made(tmp_path: Path) -> None:
    scenario = aggregated(run={"requests": 20})
    scenario["deployments"][0]["model"] = "deepseek-r1"
    with pytest.raises(ScenarioError, match="does not fit 1 GPU") as caught:
        simulate(load(scenario), tmp_path / "run")
    assert [p.path for p in caught.value.problems] == ["deployments[0].pools[0].parallel"]
    assert not list(tmp_path.iterdir())


def test_a_budget_that_nothing_can_run_in_is_said_before(tmp_path: Path) -> None:
    scenario = aggregated(run={"requests": 20})
    scenario["facility"]["racks"][0]["budget_kw"] = 5.0
    with pytest.raises(ScenarioError, match="GPUs of hgx-h100 draw idle"):
        simulate(load(scenario), tmp_path / "run")
