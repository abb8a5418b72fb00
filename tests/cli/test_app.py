from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from made_run import SUMMARY, make_run
from small_runs import overloaded
from typer.testing import CliRunner

from factory.cli.app import app
from factory.errors import RunError

runner = CliRunner()


@dataclass(frozen=True, slots=True)
class Progress:
    simulated_s: float
    until_s: float | None
    requests_done: int
    events: int
    wall_s: float


@dataclass(frozen=True, slots=True)
class RunResult:
    run_dir: Path
    summary: dict[str, Any]


@pytest.fixture
def simulation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> types.ModuleType:
    """A simulation that writes the run made by hand and reports progress."""
    module = types.ModuleType("factory.simulation")
    calls: list[Any] = []

    def simulate(
        scenario: Any, out: Path | None = None, progress: Callable[[Progress], None] | None = None
    ) -> RunResult:
        calls.append((scenario, out))
        if progress is not None:
            for step in range(3):
                progress(Progress(step, None if step == 0 else 2.0, step, 10 * step, 11.0 * step))
        return RunResult(make_run(tmp_path), {**SUMMARY, "peak_rss_mib": float("nan")})

    module.simulate = simulate  # type: ignore[attr-defined]
    module.calls = calls  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "factory.simulation", module)
    return module


def test_run_prints_the_screen_and_leaves_the_page(
    simulation: types.ModuleType, tmp_path: Path
) -> None:
    result = runner.invoke(app, ["run", "quickstart", "--seed", "7", "--out", str(tmp_path / "o")])
    assert result.exit_code == 0, result.output
    assert "A million good output tokens cost $2,000" in result.stdout
    assert (tmp_path / "made" / "report.html").is_file()
    ((scenario, out),) = simulation.calls
    assert out == tmp_path / "o"
    assert scenario.run.seed == 7


def test_json_is_one_object_and_nothing_else(simulation: types.ModuleType) -> None:
    result = runner.invoke(app, ["run", "quickstart", "--json"])
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    summary = json.loads(result.stdout)
    assert summary["cost"]["cost_usd"] == 1.8
    assert summary["peak_rss_mib"] is None
    assert Path(summary["run_dir"]).is_dir()
    assert result.stderr == ""


def test_progress_in_a_pipe_is_plain_lines(simulation: types.ModuleType) -> None:
    result = runner.invoke(app, ["run", "quickstart"])
    assert "quickstart: 1 s simulated (50%), 1 requests done, 11 s" in result.stderr


def fails_with(
    monkeypatch: pytest.MonkeyPatch, simulation: types.ModuleType, error: BaseException
) -> None:
    def simulate(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(simulation, "simulate", simulate)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RunError("the disk is full"), 1, "the disk is full"),
        (KeyboardInterrupt(), 130, "factory: interrupted: no result was kept"),
        (ZeroDivisionError("oh"), 1, "factory: ZeroDivisionError: oh"),
    ],
)
def test_failures_are_messages(
    monkeypatch: pytest.MonkeyPatch,
    simulation: types.ModuleType,
    error: BaseException,
    code: int,
    words: str,
) -> None:
    fails_with(monkeypatch, simulation, error)
    result = runner.invoke(app, ["run", "quickstart"])
    assert result.exit_code == code
    assert result.stderr.splitlines()[0] == words
    assert "Traceback" not in result.output


def test_debugging_keeps_the_traceback(
    monkeypatch: pytest.MonkeyPatch, simulation: types.ModuleType
) -> None:
    monkeypatch.setenv("FACTORY_DEBUG", "1")
    fails_with(monkeypatch, simulation, RunError("broken"))
    assert isinstance(runner.invoke(app, ["run", "quickstart"]).exception, RunError)


def test_skipping_bad_rows_reaches_the_scenario(simulation: types.ModuleType) -> None:
    result = runner.invoke(app, ["run", "quickstart", "--skip-bad-rows", "3"])
    assert result.exit_code in {0, 2}
    assert "skip_bad_rows" in result.output or result.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "quickstar"], "quickstart"),
        (["run", "quickstart", "--set", "run.sead=1"], "run.sead"),
        (["check"], "give either"),
        (["check", "quickstart", "--run", "x"], "give either"),
        (["check", "--run", "no/such"], "no such run directory"),
        (["check", "--run", "x", "--set", "run.seed=1"], "--set run.seed=1: goes with a SCENARIO"),
        (["check", "--run", "x", "--overlay", "o.yaml"], "--overlay o.yaml: goes with a SCENARIO"),
        (["check", "quickstart", "--overlay", "no.yaml"], "no such catalogue overlay"),
        (["query", "x", "select 1", "--limit", "3", "--all"], "either --limit N or --all"),
        (["check", "quickstart", "--set", "run.duration_s="], "--set run.duration_s=: run.dur"),
        (["query", "no/such", "select 1"], "no such run directory"),
        (["report", "no/such"], "no such run directory"),
        (["catalog", "gpus", "h10"], "h100"),
        (["run"], "Missing argument"),
        (["nonsense"], "No such command"),
    ],
)
def test_bad_input_is_exit_2_with_a_message(arguments: list[str], words: str) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_check_names_every_problem_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("name: x\nfacilty: {}\nrun: {duration_s: -1}\n", encoding="utf-8")
    result = runner.invoke(app, ["check", str(path)])
    assert result.exit_code == 2
    assert "facilty" in result.stderr
    assert "duration_s" in result.stderr
    as_json = json.loads(runner.invoke(app, ["check", str(path), "--json"]).stdout)
    assert not as_json["is_sound"]
    assert len(as_json["problems"]) >= 2


def test_check_finds_what_only_the_engine_would(tmp_path: Path) -> None:
    arguments = ["check", "mooncake-conversation", "--set", "facility.contracted_mw=0.001"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 2
    text = result.stderr
    assert "configs/scenarios/mooncake-conversation.yaml:" in text
    assert "workload.trace.path: no such file; name yours with --set workload.trace.path=" in text
    assert "--set facility.contracted_mw=0.001: facility.contracted_mw: is below" in text
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n", encoding="utf-8")
    result = runner.invoke(app, [*arguments[:2], "--set", f"workload.trace.path={path}"])
    assert "workload.trace.format: the file cannot be read as this" in result.stderr
    assert "allowed: mooncake, aiperf, azure," in result.stderr


def test_run_and_check_say_the_same_of_a_missing_trace() -> None:
    checked = runner.invoke(app, ["check", "mooncake-conversation"])
    ran = runner.invoke(app, ["run", "mooncake-conversation"])
    assert checked.exit_code == ran.exit_code == 2
    assert checked.stderr == ran.stderr


@pytest.mark.parametrize("name", ["quickstart", "hgx-h200", "gb300-nvl72"])
def test_check_passes_what_ships(name: str) -> None:
    result = runner.invoke(app, ["check", name])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{name}: sound")


def test_query_answers_in_columns_and_json(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    sql = "select outcome, count(*) as n from fact_requests group by outcome order by outcome"
    result = runner.invoke(app, ["query", str(run_dir), sql])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "outcome     n",
        "completed  12",
        "in_flight   4",
        "rejected    4",
    ]
    answer = json.loads(runner.invoke(app, ["query", str(run_dir), sql, "--json"]).stdout)
    assert answer == {
        "columns": ["outcome", "n"],
        "rows": [["completed", 12], ["in_flight", 4], ["rejected", 4]],
    }


def test_a_wide_row_stands_upright_and_a_long_answer_is_cut(tmp_path: Path) -> None:
    run_dir = str(make_run(tmp_path))
    result = runner.invoke(app, ["query", run_dir, "from v_run_summary"])
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["run_id", "0123456789ab"]
    assert len({line.index("  ") for line in lines if line.startswith("cost_usd_per")}) >= 1
    assert len(lines) > 40
    sql = "select * from range(1000) order by 1"
    result = runner.invoke(app, ["query", run_dir, sql])
    assert len(result.stdout.splitlines()) == 201
    assert result.stderr == "200 rows shown, there are more: --limit N shows N, --all shows all\n"
    assert len(runner.invoke(app, ["query", run_dir, sql, "--all"]).stdout.splitlines()) == 1001
    assert len(runner.invoke(app, ["query", run_dir, sql, "--limit", "3"]).stdout.split()) == 4
    answer = json.loads(runner.invoke(app, ["query", run_dir, sql, "--json"]).stdout)
    assert len(answer["rows"]) == 1000


def test_report_says_that_a_table_was_edited(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    whole = runner.invoke(app, ["report", str(run_dir)])
    assert whole.exit_code == 0, whole.output
    assert "Not as the run wrote them" not in whole.stdout
    manifest = json.loads((run_dir / "run.json").read_text("utf-8"))
    manifest["tables"]["dim_models"]["sha256"] = "0" * 64
    manifest["summary"] = {"skipped_rows": 2}
    (run_dir / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    edited = runner.invoke(app, ["report", str(run_dir)])
    assert "! Not as the run wrote them: dim_models." in edited.stdout
    assert "Not as the run wrote them: dim_models." in (run_dir / "report.html").read_text("utf-8")
    assert "2 malformed rows of the trace were left out" in edited.stdout


@pytest.mark.parametrize("command", [["report"], ["check", "--run"], ["query"]])
def test_a_manifest_without_its_tables_is_refused(tmp_path: Path, command: list[str]) -> None:
    run_dir = make_run(tmp_path)
    (run_dir / "run.json").write_text("{}", encoding="utf-8")
    result = runner.invoke(app, [*command, str(run_dir), *["select 1"][: command == ["query"]]])
    assert result.exit_code == 2
    assert "run.json: must list the run's tables under tables" in result.stderr


def written_in_ascii(arguments: list[str]) -> str:
    """Standard output of a command that may write ASCII only."""
    code = f"import sys; sys.argv[1:] = {arguments!r}; from factory.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
    )
    return done.stdout.decode("ascii")


def test_an_ascii_terminal_gets_stand_ins(tmp_path: Path) -> None:
    run_dir = str(make_run(tmp_path, name="münchen"))
    screen = written_in_ascii(["report", run_dir])
    assert "m?nchen - deepseek-r1" in screen
    assert "~~~ water line ~~~" in screen
    assert "DDDD" in screen
    assert "m?nchen" in written_in_ascii(["query", run_dir, "from fact_runs"])
    answer = json.loads(written_in_ascii(["query", run_dir, "from fact_runs", "--json"]))
    assert "münchen" in answer["rows"][0]


def test_a_wrong_query_is_a_message(tmp_path: Path) -> None:
    result = runner.invoke(app, ["query", str(make_run(tmp_path)), "select nothing from nowhere"])
    assert result.exit_code == 2
    assert "nowhere" in result.stderr


def test_a_run_that_did_not_finish_is_refused(tmp_path: Path) -> None:
    partial = tmp_path / "x.partial"
    partial.mkdir()
    result = runner.invoke(app, ["report", str(partial)])
    assert result.exit_code == 2
    assert "did not finish" in result.stderr


def test_a_mistyped_run_is_found(tmp_path: Path) -> None:
    make_run(tmp_path)
    result = runner.invoke(app, ["query", str(tmp_path / "mode"), "select 1"])
    assert f"did you mean {tmp_path / 'made'}" in result.stderr


@pytest.mark.parametrize(
    "kind",
    ["gpus", "systems", "models", "prices", "scenarios", "engines", "kernels", "products"],
)
def test_the_catalogue_is_listed(kind: str) -> None:
    result = runner.invoke(app, ["catalog", kind])
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) >= 4


def test_assumed_prices_are_marked_in_the_list() -> None:
    listed = runner.invoke(app, ["catalog", "prices"]).stdout
    line = next(line for line in listed.splitlines() if line.startswith("rental-3yr-2025-10"))
    assert line.endswith("gb300-nvl72 3.96 (assumed)")
    assert "gb200-nvl72 3.3," in line


def test_a_catalogue_entry_shows_where_its_numbers_are_from() -> None:
    result = runner.invoke(app, ["catalog", "gpus", "h200-sxm"])
    assert result.exit_code == 0, result.output
    assert "hbm_gb" in result.stdout
    assert "published" in result.stdout


@pytest.mark.parametrize(
    ("kind", "name", "field", "known"),
    [
        ("engines", "sglang-2025-11@hopper", "step_overhead_ms", "fitted SemiAnalysis InferenceX"),
        ("kernels", "ampere", "decode_memory", "assumed as fitted for hopper"),
        ("products", "blackwell-nvfp4", "experts_memory", "fitted AIConfigurator 0.12"),
    ],
)
def test_fitted_numbers_say_to_what(kind: str, name: str, field: str, known: str) -> None:
    lines = runner.invoke(app, ["catalog", kind, name]).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith(f"{field} ")]
    assert known in " ".join(line.split())
    listed = runner.invoke(app, ["catalog", kind]).stdout.splitlines()
    (row,) = [line for line in listed if line.startswith(f"{name} ")]
    assert known.split(maxsplit=1)[0] in row


def overlay(folder: Path, value: float) -> str:
    file = folder / f"overlay-{value:g}.yaml"
    file.write_text(
        "sources: {mine: {kind: measured, source: here, date: 2026-11}}\n"
        f"engines: {{generic: {{from: mine, step_overhead_ms: {value}}}}}\n"
    )
    return str(file)


def test_overlays_change_a_run_and_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "quickstart", "--set", "run.duration_s=20", "--set", "run.warmup_s=0", "--json"]
    sets = ["--set", "run.window_s=10", "--set", "workload.tenants[agent].load.concurrency=2"]
    runs = []
    for value in (0.5, 5.0, 9.0):
        result = runner.invoke(app, [*words, *sets, "--overlay", overlay(tmp_path, value)])
        assert result.exit_code == 0, result.output
        runs.append(json.loads(result.stdout))
    low, middle, high = (run["latency"]["itl_ms"]["p50"] for run in runs)
    assert middle == pytest.approx(low + 4.5, rel=0.05)
    assert high == pytest.approx(low + 8.5, rel=0.05)
    assert len({run["run_dir"] for run in runs}) == 3
    assert runs[0]["notes"] == ["1 number of the catalogue changed by overlay, in engines.generic"]
    kept = json.loads((Path(runs[1]["run_dir"]) / "run.json").read_text())
    change = kept["scenario"]["catalog_changes"]["engines"]["generic"]["step_overhead_ms"]
    assert (change["value"], change["source"]) == (5.0, "here")


def test_what_was_not_served_is_in_the_json_the_page_and_the_laws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("overloaded.yaml").write_text(json.dumps(overloaded()), "utf-8")
    result = runner.invoke(app, ["run", "overloaded.yaml", "--out", "run", "--json"])
    assert result.exit_code == 0, result.output
    run = json.loads(result.stdout)
    ends = [run[name] for name in ("completed", "rejected", "timed_out", "failed", "in_flight")]
    assert run["requests"] == run["offered"] + run["retried"] == sum(ends)
    assert run["rejected"] > run["rejected_too_long"] > 0
    assert run["cache"]["gpu_hit_ratio"] == pytest.approx(run["cache_hit_ratio"])
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    for words in ("rejected for length", "turned away by admission", "timed out", "were retries"):
        assert words in page
    laws = json.loads(runner.invoke(app, ["check", "--run", "run", "--json"]).stdout)
    assert laws["is_sound"], laws


def test_check_reads_overlays(tmp_path: Path) -> None:
    good, bad = overlay(tmp_path, 1.0), overlay(tmp_path, -1.0)
    assert runner.invoke(app, ["check", "quickstart", "--overlay", good]).exit_code == 0
    result = runner.invoke(app, ["check", "quickstart", "--overlay", good, "--overlay", bad])
    assert result.exit_code == 2
    said = f"{bad}:2:51: engines.generic.step_overhead_ms: must be >= 0, got -1"
    assert result.stderr.strip() == said


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['factory', *{arguments!r}]\n"
        "from factory.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "heavy = {'numpy', 'pyarrow', 'simpy', 'duckdb', 'altair', 'jinja2'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.splitlines()[-1] == "HEAVY []"
