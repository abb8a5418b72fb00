"""Power points predicted from their configuration alone, and the command that does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from measured import read_csv, write_csv
from typer.testing import CliRunner

from factory.cli.app import app
from factory.power import power_law
from factory.scenario import catalog
from factory.validation import power, rows
from factory.validation.power_bench import LENGTHS, VLLM_0_5, bench_of, host_s
from factory.validation.power_rows import case_of, family_of
from factory.validation.power_state import Machine, Phase, SteadyState, kernel_watts
from factory.validation.rows import NotPredictableError, Row

POINT = {
    "gpu": "H100",
    "model": "Qwen/Qwen3-32B",
    "tp": "2.0",
    "batch": "64.0",
    "metric": "gpu_power_avg",
    "value": "520",
    "unit": "W/gpu",
    "source": "mlenergy-v3/lm-arena-chat/ngpu2/ep1/dp1/bfloat16",
}
MOE = {
    **POINT,
    "model": "Qwen/Qwen3-235B-A22B-Thinking-2507-FP8",
    "tp": "1.0",
    "source": "mlenergy-v3/gpqa/ngpu8/ep8/dp1/fp8",
}
OLD = {
    **POINT,
    "model": "meta-llama/Meta-Llama-3.1-8B-Instruct",
    "metric": "gpu_power_avg_derived",
    "source": "mlenergy-v2/chat/ngpu1/pp1/derived=J_per_tok*tok_per_s",
}
SPLITWISE = {
    **POINT,
    "gpu": "A100-80GB",
    "model": "llama2-70b",
    "tp": "8.0",
    "batch": "4.0",
    "metric": "power_peak_frac_tdp",
    "value": "0.9",
    "unit": "frac",
    "source": "splitwise-sim/perf_model.csv/prompt1024/out128",
}
KERNEL = {
    **POINT,
    "gpu": "B200",
    "model": "op:gemm:bfloat16",
    "tp": "",
    "batch": "64",
    "metric": "kernel_power_p50",
    "source": "aiconfigurator/b200_sxm/vllm",
}
SHARED = Path(__file__).parents[3] / "shared" / "data" / "power" / "power_points.csv"


def row(cells: dict[str, str]) -> Row:
    return Row("points.csv:2", cells)


def metric(cells: dict[str, str], name: str, unit: str, value: str) -> dict[str, str]:
    return {**cells, "metric": name, "unit": unit, "value": value}


def test_what_a_row_ran():
    case = case_of(row(POINT))
    assert (case.kind, case.dataset, case.batch) == ("serving", "lm-arena-chat", 64.0)
    server = case.server
    assert server is not None
    assert (server.gpu, server.system, server.model) == ("h100-sxm", "hgx-h100", "qwen3-32b")
    assert (server.layout.tp, server.weights, server.era) == (2, "fp16", "vllm-0.11")
    assert case.lengths == LENGTHS["lm-arena-chat"]


def test_experts_in_parallel_lie_over_tensor_parallel_attention():
    server = case_of(row(MOE)).server
    assert server is not None
    assert (server.layout.tp, server.layout.dp, server.layout.ep) == (8, 1, 8)
    assert (server.model, server.weights) == ("qwen3-235b-a22b", "fp8")


def test_the_older_benchmark():
    case = case_of(row(OLD))
    assert case.server is not None
    assert (case.server.era, case.dataset) == ("vllm-0.5", "chat-v2")


def test_only_one_gpu_reasoning_on_b200_has_a_crowded_host():
    source = "mlenergy-v3/gpqa/ngpu1/ep1/dp1/bfloat16"
    crowded = {**POINT, "gpu": "B200", "model": "Qwen/Qwen3-14B", "source": source}
    assert case_of(row(crowded)).server.contended
    assert not case_of(row({**crowded, "gpu": "H100"})).server.contended
    assert not case_of(row({**MOE, "gpu": "B200"})).server.contended


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"metric": "node_power_peak"}, 'no prediction of metric "node_power_peak"'),
        ({"metric": "gpu_power_agv"}, "nearest: gpu_power_avg"),
        ({"unit": "kW"}, 'unit of gpu_power_avg is "kW", must be W/gpu'),
        ({"gpu": "H1000"}, 'unknown system "H1000"'),
        ({"model": "Qwen/Qwen3-33B"}, "nearest: Qwen/Qwen3-32B"),
        ({"source": "mlenergy-v3/tea-party/ngpu2/ep1/dp1/bfloat16"}, "unknown data set"),
        ({"source": "mlenergy-v3/gpqa/ngpu2/ep1/dp1/int3"}, 'unknown number format "int3"'),
        ({"source": "mlenergy-v3/gpqa/ngpu2/ep3/dp1/fp8"}, "contradicts itself"),
    ],
)
def test_rows_that_cannot_be_predicted_say_why(change: dict[str, str], why: str):
    with pytest.raises(NotPredictableError, match=why):
        case_of(row({**POINT, **change}))


def test_a_prediction_rests_on_no_measurement():
    outcomes = [
        power.predict(rows.Table("x", tuple(POINT), (row({**POINT, "value": value}),)))[0]
        for value in ("1", "520", "9999")
    ]
    assert len({one.predicted for one in outcomes}) == 1
    assert outcomes[0].predicted == pytest.approx(520, rel=0.15)


def test_the_steady_state_by_hand():
    # Nine of ten steps take 10 ms at 300 W, one 30 ms at 600 W: (9·3 + 18) J in 120 ms = 375 W.
    phases = (Phase(0.01, 0.9, 0.0, 0.0, 0.0), Phase(0.03, 0.1, 1.0, 0.0, 0.0))
    state = SteadyState(phases, 24.0, 2)

    def law(s: float, flops: float, moved: float, clock: float, waiting_s: float = 0.0) -> float:
        return 600.0 if flops else 300.0

    assert state.step_s == pytest.approx(0.012)
    assert state.tokens_per_s_per_gpu == pytest.approx(1000.0)
    assert state.itl_ms == pytest.approx(10.0)
    assert state.watts(law) == pytest.approx(375.0)


def test_steps_see_a_prompt_per_answer_that_ends():
    case = case_of(row(POINT))
    state = Machine(case.server).steady(64.0, LENGTHS["lm-arena-chat"])
    decoding, mixed = state.phases
    assert mixed.share == pytest.approx(64 / 717)
    assert decoding.share + mixed.share == pytest.approx(1.0)
    assert mixed.flops > decoding.flops
    assert state.sequences == 64.0


def test_prompts_beyond_a_step_leave_fewer_to_decode():
    case = case_of(row({**POINT, "source": "mlenergy-v3/sourcegraph-fim/ngpu2/ep1/dp1/bfloat16"}))
    state = Machine(case.server).steady(4096.0, LENGTHS["sourcegraph-fim"])
    assert state.sequences < 4096.0
    assert state.phases[1].share == pytest.approx(1.0, abs=0.01)


def test_an_old_host_serves_its_sequences_one_by_one():
    server = case_of(row(OLD)).server
    assert server is not None
    waiting_s = host_s(VLLM_0_5, server.layout, 100.0)
    assert waiting_s == pytest.approx(5.5e-3 + 100 * 411e-6)
    few = Machine(server).steady(64.0, LENGTHS["chat"])
    many = Machine(server).steady(512.0, LENGTHS["chat"])
    law = power_law(catalog().gpus["h100-sxm"], 989e12, 3.35e12)
    assert many.watts(law) < few.watts(law)


def test_benches_of_generations():
    assert bench_of("vllm-0.11", "ampere") == bench_of("vllm-0.11", "hopper")
    assert bench_of("vllm-0.11", "blackwell") != bench_of("vllm-0.11", "hopper")
    assert bench_of("generic", "hopper").step_ms == 0.5


def test_a_batch_from_start_to_end():
    peak, mean = (
        power.predict_server([case_of(row({**SPLITWISE, "metric": name}))])[0]
        for name in ("power_peak_frac_tdp", "power_avg_frac_tdp")
    )
    assert isinstance(peak, float)
    assert isinstance(mean, float)
    assert 0.3 < mean < peak <= 1.0
    with pytest.raises(NotPredictableError, match="lengths of the requests"):
        case_of(row({**SPLITWISE, "source": "elsewhere"}))


def test_idle_and_kernels():
    idle = metric(POINT, "gpu_power_idle_loaded", "W/gpu", "119")
    bare = metric(POINT, "gpu_power_idle_bare", "W/gpu", "72")
    assert power.predict_server([case_of(row(idle)), case_of(row(bare))]) == [120, 72]
    b200 = catalog().gpus["b200-sxm"]
    few = kernel_watts(b200, "gemm", "bfloat16", 1)
    many = kernel_watts(b200, "gemm", "bfloat16", 8192)
    assert 171 < few < many <= 1000
    assert power.predict_server([case_of(row(KERNEL))])[0] > few
    assert kernel_watts(b200, "generation_attention", "fp8", 8) < many
    with pytest.raises(NotPredictableError, match="op:KERNEL:FORMAT"):
        case_of(row({**KERNEL, "model": "gemm"}))


def test_families():
    assert family_of("meta-llama/Meta-Llama-3.1-8B-Instruct") == "llama"
    assert family_of("nvidia/NVIDIA-Nemotron-Nano-9B-v2") == "nemotron"
    assert family_of("op:gemm:fp8") == "op:gemm:fp8"
    assert family_of("openai/gpt-oss-120b") == "gpt-oss"


def test_the_command(tmp_path: Path):
    unknown = {**POINT, "model": "nobody/nothing-9b"}
    points = [
        POINT,
        metric(POINT, "output_tput_per_gpu", "tok/s/gpu", "1200"),
        metric(POINT, "energy_per_output_token", "J/tok", "0.43"),
        metric(POINT, "itl_median", "ms", "24"),
        unknown,
        OLD,
        KERNEL,
    ]
    file, out = write_csv(tmp_path / "points.csv", points), tmp_path / "out.csv"
    done = CliRunner().invoke(app, ["validate", "power", str(file), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "6 of 7 rows of points.csv predicted" in done.output
    assert "GPU watts median" in done.output
    written = read_csv(out)
    assert [{key: one[key] for key in POINT} for one in written] == points
    assert [bool(one["predicted_value"]) for one in written] == [True] * 4 + [False] + [True] * 2
    assert written[4]["not_predicted_because"].startswith('unknown model "nobody/nothing-9b"')
    watts, speed, energy = (float(written[i]["predicted_value"]) for i in range(3))
    assert energy == pytest.approx(watts / speed)

    as_json = CliRunner().invoke(app, ["validate", "power", str(file), "--json"])
    found = json.loads(as_json.output)
    assert found["rows"] == 7
    assert found["predicted"] == 6
    known_speed = found["energy_at_measured_speed"]
    assert known_speed["bias"] == pytest.approx(watts / 1200 / 0.43 - 1.0)
    assert {one["name"] for one in found["limits"]} == {
        "GPU watts median",
        "GPU watts MAPE",
        "energy per output token MAPE",
    }


def test_nothing_predicted_is_a_failure(tmp_path: Path):
    file = write_csv(tmp_path / "points.csv", [{**POINT, "model": "nobody/nothing-9b"}])
    assert CliRunner().invoke(app, ["validate", "power", str(file)]).exit_code == 1


def test_columns_that_are_missing(tmp_path: Path):
    cells = {key: value for key, value in POINT.items() if key != "source"}
    file = write_csv(tmp_path / "points.csv", [cells])
    done = CliRunner().invoke(app, ["validate", "power", str(file)])
    assert done.exit_code == 2
    assert "a file of power points needs the columns source" in done.output


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data, the measured points")
def test_the_measured_points():
    table = rows.read(SHARED)
    outcomes = power.predict(table)
    report = power.report(outcomes)
    value = {verdict.name: verdict.value for verdict in report.verdicts}
    assert value["GPU watts median"] <= 0.09
    assert value["GPU watts MAPE"] <= 0.115
    assert value["energy per output token MAPE"] <= 0.15
    assert report.at_measured_speed is not None
    assert report.at_measured_speed.mean <= 0.12
    scored = [one for one in outcomes if one.row.text("source").startswith("mlenergy")]
    assert all(one.predicted is not None for one in scored)
    for gpu in ("A100-40GB", "H100", "B200"):
        watts = [
            one for one in report.by_gpu if one.group[0] in power.WATTS and one.group[1] == gpu
        ]
        assert all(one.mean <= 0.14 for one in watts)
