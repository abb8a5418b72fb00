"""What the command line says of power budgets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factory.cli.app import app

runner = CliRunner()
SUMS = ["--set", "facility.rows[0].oversubscription_ratio=1.05"]


def test_check_warns_of_a_sum_above_a_budget_and_goes_on() -> None:
    result = runner.invoke(app, ["check", "power-tree", *SUMS])
    assert result.exit_code == 0
    sound, *warnings = result.stdout.splitlines()
    assert sound.startswith("power-tree: sound")
    [warning] = warnings
    assert warning == (
        f"warning: {place()}: facility.rows[0].budget_kw: budgets of the 2 racks of west add up to "
        "48 kW: 1.09 times the 44 kW of IT power above them, and 1.05 is declared; "
        "facility.rows[0].oversubscription_ratio: 1.1 says that it is meant"
    )


def place() -> str:
    """Where the budget of the first row stands in the shipped scenario."""
    lines = Path("configs/scenarios/power-tree.yaml").read_text(encoding="utf-8").splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "name: west" in line)
    column = lines[number - 1].index("budget_kw: ") + len("budget_kw: ") + 1
    return f"configs/scenarios/power-tree.yaml:{number}:{column}"


def test_check_as_json_has_warnings_with_their_place() -> None:
    found = json.loads(runner.invoke(app, ["check", "power-tree", *SUMS, "--json"]).stdout)
    assert (found["is_sound"], found["problems"]) == (True, [])
    [warning] = found["warnings"]
    assert warning["path"] == "facility.rows[0].budget_kw"
    assert warning["location"] == place()
    found = json.loads(runner.invoke(app, ["check", "power-tree", "--json"]).stdout)
    assert found["warnings"] == []


def test_run_shows_the_same_warning(tmp_path: Path) -> None:
    short = ["--set", "run.duration_s=2", "--set", "run.warmup_s=0", "--set", "run.window_s=1"]
    light = ["--set", "workload.tenants[reports].load.concurrency=20"]
    out = ["--out", str(tmp_path / "run")]
    result = runner.invoke(app, ["run", "power-tree", *SUMS, *short, *light, *out])
    assert result.exit_code == 0, result.output
    checked = runner.invoke(app, ["check", "power-tree", *SUMS]).stdout.splitlines()[1]
    assert checked in result.stdout.splitlines()
    manifest = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert manifest["summary"]["warnings"] == [checked.removeprefix("warning: ")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("facility.budget_mw=0.01", "facility.budget_mw: is "),
        ("facility.rows[1].budget_kw=5", "facility.rows[1].budget_kw: is "),
        ("facility.racks[0].budget_kw=5", "facility.racks[0].budget_kw: is "),
        ("facility.racks[0].node_budget_kw=2", "facility.racks[0].node_budget_kw: is "),
    ],
)
def test_a_budget_below_idle_is_refused_and_says_by_how_much(change: str, said: str) -> None:
    result = runner.invoke(app, ["check", "power-tree", "--set", change])
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert line.startswith(f"--set {change}: {said}")
    assert "draw idle with their hosts" in line
    assert " below the " in line
