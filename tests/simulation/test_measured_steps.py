"""Scenarios whose step times are measured: both engines agree, and what is beyond is refused."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from conserved import violations
from factories import scenarios
from hypothesis import HealthCheck, Phase, assume, given, settings
from observed import differences, observe
from step_tables import decode_ms, lines, prefill_ms, scenario, table

from factory.errors import InputError, ScenarioError
from factory.performance import build
from factory.performance.aic import Question
from factory.records.run_directory import read_manifest
from factory.scenario import catalog, load
from factory.simulation import simulate
from factory.simulation.preflight import notes, preflight


def found(data: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in preflight(load(data), catalog())]


def change(data: dict[str, Any], **pool: Any) -> dict[str, Any]:
    data["deployments"][0]["pools"][0].update(pool)
    return data


@pytest.mark.parametrize("clock", [1.0, 0.7])
def test_the_engines_agree_exactly(tmp_path: Path, clock: float) -> None:
    data = change(scenario(str(table(tmp_path))), clock_ratio=clock)
    runs = []
    for engine in ("leap", "step"):
        data["run"]["engine"] = engine
        runs.append(observe(copy.deepcopy(data), 100_000))
    assert not differences(*runs)
    for run in runs:
        assert not violations(run, is_drained=True)


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(made=scenarios())
def test_the_engines_agree_on_invented_scenarios(
    made: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(table(tmp_path_factory.mktemp("table")))
    for deployment in made["deployments"]:
        for pool in deployment["pools"]:
            pool["engine"]["step_model"] = {"kind": "table", "path": path, "extrapolate": True}
    runs = []
    for engine in ("leap", "step"):
        made["run"]["engine"] = engine
        try:
            runs.append(observe(copy.deepcopy(made), 100_000))
        except ScenarioError:
            assume(False)
    assert not differences(*runs)
    assert not violations(runs[0], is_drained=made["run"].get("drain", True))


def test_one_request_by_hand(tmp_path: Path) -> None:
    data = change(scenario(str(table(tmp_path)), enable_prefix_caching=False), parallel={})
    tenant = {"name": "t", "load": {"concurrency": 1}, "input_tokens": 128, "output_tokens": 3}
    data["workload"]["tenants"] = [tenant]
    data["run"]["requests"] = 1
    run = observe(data, 10_000)
    contexts = (129, 130)
    step_ms = [
        decode_ms(1, 128) + (decode_ms(1, 256) - decode_ms(1, 128)) * (c - 128) / 128
        for c in contexts
    ]
    expected_s = (prefill_ms(1, 128) + sum(step_ms)) * 1e-3
    assert run.end_s == pytest.approx(expected_s, rel=1e-9)


def test_power_sees_the_architectures_work(tmp_path: Path) -> None:
    result = simulate(load(scenario(str(table(tmp_path)))), out=tmp_path / "run")
    assert result.summary["energy_kwh"] > 0.0
    (note, *_) = result.summary["notes"]
    assert note.startswith("pool p: step times from ")
    assert read_manifest(result.run_dir)["summary"]["notes"] == result.summary["notes"]


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ({"max_num_seqs": 17}, "engine.max_num_seqs: decode rows reach batch 16"),
        ({"max_model_len": 4097}, "engine.max_model_len: decode rows reach context 4096"),
        (
            {"max_num_batched_tokens": 8192},
            "engine.max_num_batched_tokens: prefill rows reach 4096 new tokens per step",
        ),
    ],
)
def test_beyond_the_table_is_refused_unless_asked_for(
    tmp_path: Path, engine: dict[str, Any], told: str
) -> None:
    path = str(table(tmp_path))
    problems = found(scenario(path, **engine))
    assert any(told in problem and "extrapolate: true" in problem for problem in problems)
    allowed = scenario(path, **engine, step_model={"extrapolate": True})
    assert not found(allowed)
    made = notes(load(allowed), catalog())
    assert any("extrapolated" in note and told.split(": ")[1] in note for note in made)


def test_a_table_that_begins_at_a_larger_batch(tmp_path: Path) -> None:
    text = [line for line in lines() if not line.startswith("decode,1,")]
    (problem,) = found(scenario(str(table(tmp_path, text))))
    assert "decode rows begin at batch 2" in problem


def test_a_fall_within_noise_is_noted_and_a_deep_one_refused(tmp_path: Path) -> None:
    near = decode_ms(2, 2048), decode_ms(2, 4096) * 0.97
    text = [*lines(), *(f"decode,3,{c},{ms}" for c, ms in zip((2048, 4096), near, strict=True))]
    data = scenario(str(table(tmp_path, text)))
    assert not found(data)
    assert any("lie below" in note and "3." in note for note in notes(load(data), catalog()))
    text = [*lines(), f"decode,3,2048,{near[0]}", "decode,3,4096,1.0"]
    (problem,) = found(scenario(str(table(tmp_path, text))))
    assert problem.startswith(f"{tmp_path / 'steps.csv'}:{len(text)}: milliseconds: decode of")


def test_a_phase_that_the_role_lives_by(tmp_path: Path) -> None:
    only = str(table(tmp_path, lines(phases=("decode",))))
    (problem,) = found(scenario(only))
    assert "has no prefill rows, which a pool of role aggregated lives by" in problem


def test_a_decode_pool_may_lack_prefill_rows(tmp_path: Path) -> None:
    only = str(table(tmp_path, lines(phases=("decode",))))
    data = scenario(only)
    (pool,) = data["deployments"][0]["pools"]
    other = {**pool, "name": "q", "role": "prefill", "engine": {}, "parallel": {}}
    data["deployments"][0]["pools"] = [other, {**pool, "role": "decode"}]
    assert not found(data)
    assert any("no prefill rows; the roofline's" in note for note in notes(load(data), catalog()))
    run = observe(data, 100_000)
    assert not violations(run, is_drained=True)


def test_unusable_lines_stand_with_file_and_line(tmp_path: Path) -> None:
    path = table(tmp_path, [*lines(), "decode,1,64"])
    (problem,) = found(scenario(str(path)))
    assert problem.startswith(f"{path}:{len(lines()) + 1}: milliseconds: must be a number")


def test_the_path_starts_at_the_scenarios_file(tmp_path: Path) -> None:
    path = table(tmp_path)
    file = tmp_path / "s.yaml"
    file.write_text(json.dumps(scenario("steps.csv")))
    made = load(file)
    model = made.deployments[0].pools[0].engine.step_model
    assert model.path == str(path)
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not preflight(made, catalog())


def test_a_table_that_is_not_the_one_stated(tmp_path: Path) -> None:
    path = table(tmp_path)
    with pytest.raises(ScenarioError, match="is not the digest of"):
        load(scenario(str(path), step_model={"sha256": "0" * 64}))


def test_a_missing_table(tmp_path: Path) -> None:
    (problem,) = found(scenario(str(tmp_path / "none.csv")))
    assert "step_model.path: no such file of step times" in problem


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"kind": "table"}, "kind: table needs path"),
        ({"kind": "roofline", "path": "x.csv"}, "step_model.path: is for kind: table only"),
        ({"kind": "table", "path": "x", "base_ms": 1}, "base_ms: is for kind: fixed only"),
        ({"kind": "aic", "extrapolate": True}, "extrapolate: is for kind: table only"),
        ({"kind": "fixed", "base_ms": 1, "backend": "vllm"}, "backend: is for kind: aic only"),
        ({"kind": "aic", "backend": "tgi"}, "backend"),
    ],
)
def test_fields_of_another_kind(model: dict[str, Any], told: str) -> None:
    data = scenario("x.csv")
    data["deployments"][0]["pools"][0]["engine"]["step_model"] = model
    with pytest.raises(ScenarioError) as caught:
        load(data)
    assert told in str(caught.value)


class StandIn:
    """A database that answers by formula."""

    asked: tuple[Question, ...] = ()

    def __init__(self, question: Question) -> None:
        StandIn.asked = (*StandIn.asked, question)

    def decode(self, batch: int, context: int) -> float:
        return decode_ms(batch, context)

    def prefill(self, batch: int, new: int, cached: int) -> float:
        return prefill_ms(batch, new, cached)


def test_a_pool_on_the_silicon_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("factory.performance.aic.package_version", lambda: "9.9")
    monkeypatch.setattr("factory.performance.aic.SiliconDatabase", StandIn)
    monkeypatch.setattr(StandIn, "asked", ())
    data = scenario("x")
    pool = data["deployments"][0]["pools"][0]
    pool["engine"]["step_model"] = {"kind": "aic"}
    assert not found(data)
    run = observe(data, 100_000)
    assert not violations(run, is_drained=True)
    (question,) = StandIn.asked
    assert question.system == "h100_sxm"
    assert question.model == "meta-llama/Meta-Llama-3.1-8B"
    (note,) = notes(load(data), catalog())[:1]
    assert "aiconfigurator-core 9.9: meta-llama/Meta-Llama-3.1-8B on h100_sxm" in note
    made = load(data)
    model = build(made.deployments[0].pools[0], made.deployments[0], catalog(), made)
    assert model.peak_flops > 1e12


def test_a_system_that_the_database_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.performance.sources.SYSTEMS", {})
    data = scenario("x")
    data["deployments"][0]["pools"][0]["engine"]["step_model"] = {"kind": "aic"}
    (problem,) = found(data)
    assert "does not know hgx-h100" in problem
    made = load(data)
    with pytest.raises(InputError):
        build(made.deployments[0].pools[0], made.deployments[0], catalog(), made)
