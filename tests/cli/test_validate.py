from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_run import make_run
from measured import INFERENCEX, STEP, read_csv, write_csv
from typer.testing import CliRunner

from factory.cli.app import app
from factory.scenario import catalog

runner = CliRunner()


def asked(*words: str | Path) -> Any:
    return runner.invoke(app, [str(word) for word in words])


def test_steps_prints_groups_and_the_limits(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "m.csv", [STEP, {**STEP, "system": "h20_sxm"}])
    result = asked("validate", "steps", file)
    assert result.exit_code == 0, result.output
    assert "decode_step_time  h200_sxm  meta-llama/Meta-Llama-3.1-8B  tp1dp1" in result.stdout
    assert 'not predicted, 1 row: unknown system "h20_sxm" (nearest: h200)' in result.stdout
    last = result.stdout.splitlines()[-1]
    assert last.startswith("1 of 2 rows of m.csv predicted; ")
    assert "decode_step_time median" in last


def test_steps_writes_every_row_and_column(tmp_path: Path) -> None:
    rows = [STEP, {**STEP, "layout": "x"}]
    out = tmp_path / "out.csv"
    result = asked("validate", "steps", write_csv(tmp_path / "m.csv", rows), "--out", out)
    assert result.exit_code == 0, result.output
    first, second = read_csv(out)
    assert list(first) == [*STEP, "predicted_value", "not_predicted_because"]
    assert {key: first[key] for key in STEP} == STEP
    assert float(first["predicted_value"]) > 0
    assert first["not_predicted_because"] == ""
    assert second["predicted_value"] == ""
    assert second["not_predicted_because"].startswith('layout "x" is not of the form')


def test_steps_as_json(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "m.csv", [STEP, {**STEP, "batch": "16"}])
    result = asked("validate", "steps", file, "--json", "--every", "2")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    found = json.loads(result.stdout)
    assert (found["rows"], found["predicted"], found["not_predicted"]) == (1, 1, [])
    (group,) = found["groups"]
    assert group["group"]["system"] == "h200_sxm"
    assert group["median"] == abs(group["bias"])
    assert {limit["name"] for limit in found["limits"]} >= {"decode_step_time median"}


def test_nothing_predicted_fails_and_bad_files_are_bad_input(tmp_path: Path) -> None:
    nothing = write_csv(tmp_path / "m.csv", [{**STEP, "unit": "s"}])
    out = tmp_path / "out.csv"
    assert asked("validate", "steps", nothing, "--out", out).exit_code == 1
    assert out.is_file()
    other = write_csv(tmp_path / "o.csv", [{"a": "1"}])
    for words in (["steps", other], ["serving", other], ["steps", tmp_path / "none.csv"]):
        result = asked("validate", *words)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert "Traceback" not in result.stderr


def test_serving_prints_and_writes(tmp_path: Path) -> None:
    rows = [INFERENCEX, {**INFERENCEX, "flag": "outlier_ttft"}, {**INFERENCEX, "hardware": "x"}]
    file, out = write_csv(tmp_path / "m.csv", rows), tmp_path / "out.csv"
    result = asked("validate", "serving", file, "--out", out)
    assert result.exit_code == 0, result.output
    assert "ttft of rows with a flag (not scored):" in result.stdout
    assert "2 of 3 rows of m.csv predicted" in result.stdout
    first, second, third = read_csv(out)
    added = ["predicted_median_tpot", "predicted_median_ttft", "predicted_tput_per_gpu"]
    assert list(first) == [*INFERENCEX, *added, "not_predicted_because"]
    assert [first[name] for name in added] == [second[name] for name in added]
    assert third["not_predicted_because"].startswith('unknown system "x"')


def test_serving_as_json_and_markdown(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "m.csv", [INFERENCEX])
    found = json.loads(asked("validate", "serving", file, "--json").stdout)
    assert set(found["measures"]) == {"tpot", "ttft", "tput"}
    assert found["measures"]["tpot"]["all"]["n"] == 1
    assert found["ordering"]["pairs"] == 0
    text = asked("validate", "serving", file, "--markdown").stdout
    assert "| framework | hardware | precision | serving | spec_method | n |" in text


@pytest.mark.parametrize("given", ["", "0.9,x", "1.2"])
def test_acceptance_must_be_probabilities(tmp_path: Path, given: str) -> None:
    file = write_csv(tmp_path / "m.csv", [INFERENCEX])
    result = asked("validate", "serving", file, "--acceptance", given)
    assert result.exit_code == 2
    assert "--acceptance: must be probabilities" in result.stderr


def test_run_beside_a_benchmark(tmp_path: Path) -> None:
    benchmark = tmp_path / "b.json"
    benchmark.write_text(json.dumps({"mean_ttft_ms": 100.0, "output_throughput": 10.0}))
    run = make_run(tmp_path)
    result = asked("validate", "run", run, "--aiperf", benchmark)
    assert result.exit_code == 0, result.output
    assert "(vLLM bench)" in result.stdout
    assert "tokens/s" in result.stdout
    found = json.loads(asked("validate", "run", run, "--aiperf", benchmark, "--json").stdout)
    assert {row["metric"] for row in found["rows"]} == {"ttft", "output_throughput"}
    assert asked("validate", "run", tmp_path / "x", "--aiperf", benchmark).exit_code == 2


def test_calibrate_writes_an_overlay(tmp_path: Path) -> None:
    rows = [{**STEP, "batch": str(batch), "value": str(4 + batch / 50)} for batch in range(1, 13)]
    file, out = write_csv(tmp_path / "m.csv", rows), tmp_path / "overlay.yaml"
    result = asked("calibrate", "steps", file, "--out", out, "--fit", "memory")
    assert result.exit_code == 0, result.output
    assert "products.hopper-fp8.memory" in result.stdout
    assert "held-out rows, after" in result.stdout
    assert out.read_text().startswith("# Written by `factory calibrate steps`")
    found = json.loads(
        asked("calibrate", "steps", file, "--out", out, "--fit", "memory", "--json").stdout
    )
    assert found["errors"]["fitted_after"]["n"] == 10
    for words in (["--fit", "nothing"], ["--engine", "kernel"]):
        bad = asked("calibrate", "steps", file, "--out", out, *words)
        assert bad.exit_code == 2


def test_what_calibrate_writes_is_what_validate_and_run_read(tmp_path: Path) -> None:
    rows = [{**STEP, "batch": str(batch), "value": str(4 + batch / 50)} for batch in range(1, 13)]
    file, out = write_csv(tmp_path / "m.csv", rows), tmp_path / "overlay.yaml"
    given = ["--out", out, "--fit", "memory", "--json"]
    fitted = json.loads(asked("calibrate", "steps", file, *given).stdout)
    assert asked("check", "hgx-h200", "--overlay", out).exit_code == 0

    def mean(*words: str | Path) -> float:
        (metric,) = json.loads(asked("validate", "steps", file, *words).stdout)["by_metric"]
        return float(metric["mean"])

    before, after = mean("--json"), mean("--json", "--overlay", out)
    errors = fitted["errors"]
    for when, found in (("before", before), ("after", after)):
        total = 10 * errors[f"fitted_{when}"]["mean"] + 2 * errors[f"held_out_{when}"]["mean"]
        assert found == pytest.approx(total / 12, rel=1e-3)
    assert after < before
    assert mean("--json", "--overlay", out, "--workers", "2") == after


def test_serving_under_an_overlay(tmp_path: Path) -> None:
    file, out = write_csv(tmp_path / "m.csv", [INFERENCEX]), tmp_path / "out.csv"
    overlay = tmp_path / "overlay.yaml"
    more = catalog().engines["sglang-2025-11@hopper"].step_overhead_ms + 10.0
    overlay.write_text(
        "sources: {mine: {kind: measured, source: here, date: 2026-11}}\n"
        f"engines: {{sglang-2025-11@hopper: {{from: mine, step_overhead_ms: {more}}}}}\n"
    )

    def tpot_ms(*words: str | Path) -> float:
        result = asked("validate", "serving", file, "--out", out, *words)
        assert result.exit_code == 0, result.output
        return float(read_csv(out)[0]["predicted_median_tpot"]) * 1e3

    assert tpot_ms("--overlay", overlay) == pytest.approx(tpot_ms() + 10.0, rel=0.05)
    bad = asked("validate", "serving", file, "--overlay", tmp_path / "no.yaml")
    assert bad.exit_code == 2
    assert "no.yaml: cannot be read" in bad.stderr


def test_calibrate_changes_the_variant_that_ran(tmp_path: Path) -> None:
    rows = [{**STEP, "batch": str(batch), "value": str(9 + batch / 50)} for batch in range(1, 13)]
    file, out = write_csv(tmp_path / "m.csv", rows), tmp_path / "overlay.yaml"
    given = ["--engine", "sglang-2025-11", "--fit", "step_overhead_ms", "--json"]
    result = asked("calibrate", "steps", file, "--out", out, *given)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found["values"]) == ["engines.sglang-2025-11@hopper.step_overhead_ms"]
    was = catalog().engines["sglang-2025-11@hopper"].step_overhead_ms
    assert found["were"]["engines.sglang-2025-11@hopper.step_overhead_ms"] == was
    assert asked("check", "hgx-h200", "--overlay", out).exit_code == 0
