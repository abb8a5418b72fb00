from __future__ import annotations

from pathlib import Path

import pytest
from measured import INFERENCEX, SILICON, SPLIT, write_csv

from factory.errors import InputError
from factory.performance import Layout
from factory.validation import benchmark, rows, serving, serving_rows
from factory.validation.benchmark import Benchmark, Measures, Side, simulate

DATA = Path(__file__).parents[3] / "shared" / "data" / "serving"


def small(conc: int = 2, **change: object) -> Benchmark:
    side = Side("aggregated", 1, Layout(tp=8), 64, 8192)
    values = {"isl": 256, "osl": 32, "sides": (side,), **change}
    return Benchmark("hgx-h200", "deepseek-r1", "fp8", "fp8", conc=conc, **values)  # type: ignore[arg-type]


def found(given: Measures | str) -> Measures:
    assert isinstance(given, Measures), given
    return given


def test_a_benchmark_is_the_whole_finite_run() -> None:
    scenario = benchmark.scenario_of(small(3))
    assert scenario["run"]["requests"] == 30
    (tenant,) = scenario["workload"]["tenants"]
    assert tenant["load"] == {"concurrency": 3}
    assert tenant["input_tokens"] == {"distribution": "uniform", "min": 204, "max": 256}
    measures = found(simulate(small(3)))
    # Ten rounds of 28.5 output tokens and 230 of input each.
    assert measures.requests_per_s * 28.5 == pytest.approx(measures.output_tokens_per_s, rel=0.1)
    assert measures.tokens_per_s == pytest.approx(measures.requests_per_s * (230 + 28.8), rel=0.05)
    # Little's law, the drain apart: three in flight for TTFT + 27.5 TPOT each.
    stay = measures.ttft_s + 27.5 * measures.tpot_s
    assert measures.requests_per_s * stay == pytest.approx(3, rel=0.15)


def test_equal_benchmarks_have_equal_results() -> None:
    assert simulate(small()) == simulate(small())


def test_more_in_flight_is_slower_each_and_faster_together() -> None:
    few, many = found(simulate(small(2))), found(simulate(small(16)))
    assert many.tpot_s > few.tpot_s
    assert many.tokens_per_s > 2 * few.tokens_per_s


def test_a_model_that_fits_no_share_of_memory_says_so() -> None:
    side = Side("aggregated", 1, Layout(tp=2), 64, 8192)
    assert "does not fit 2 GPUs" in str(simulate(small(sides=(side,))))


def test_split_pools_in_one_domain_share_a_rack_group() -> None:
    sides = (
        Side("prefill", 1, Layout(dp=4, ep=4), 64, 8192),
        Side("decode", 2, Layout(tp=8, ep=8), 64, 8192),
    )
    one = Benchmark("gb200-nvl72", "deepseek-r1", "fp4", "fp8", sides, 256, 32, 2)
    (racks,) = benchmark.scenario_of(one)["facility"]["racks"]
    assert racks["count"] == 1
    far = Benchmark("hgx-b200", "deepseek-r1", "fp4", "fp8", sides, 256, 32, 2)
    groups = benchmark.scenario_of(far)["facility"]["racks"]
    assert [group["name"] for group in groups] == ["prefill", "decode"]
    assert found(simulate(one)).ttft_s < found(simulate(far)).ttft_s


def predicted(
    tmp_path: Path, made: list[dict[str, str]], workers: int = 1
) -> list[serving.Outcome]:
    table = rows.read(write_csv(tmp_path / "m.csv", made))
    return serving.predict(table, serving_rows.kind_of(table), workers=workers)


def test_columns_stand_in_the_unit_of_the_file(tmp_path: Path) -> None:
    (seconds,) = predicted(tmp_path, [INFERENCEX])
    (milliseconds,) = predicted(tmp_path, [SILICON])
    assert set(seconds.predicted) == {"median_tpot", "median_ttft", "tput_per_gpu"}
    assert set(milliseconds.predicted) == {"silicon_tpot_ms", "silicon_ttft_ms", "tot_tput_gpu"}
    assert milliseconds.predicted["silicon_tpot_ms"] == pytest.approx(
        1e3 * seconds.predicted["median_tpot"], rel=0.05
    )


def test_repeats_are_simulated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Benchmark] = []

    def counted(one: Benchmark) -> Measures:
        calls.append(one)
        return Measures(0.1, 0.01, 800.0, 100.0, 1.0)

    monkeypatch.setattr(serving, "simulate", counted)
    made = [INFERENCEX, {**INFERENCEX, "median_tpot": "0.013"}, {**INFERENCEX, "conc": "4"}]
    assert len(predicted(tmp_path, made)) == 3
    assert len(calls) == 2


def test_workers_change_nothing(tmp_path: Path) -> None:
    made = [INFERENCEX, SPLIT, {**INFERENCEX, "conc": "4"}, {**SPLIT, "gpus_fixed": "1"}]
    alone, together = predicted(tmp_path, made), predicted(tmp_path, made, workers=2)
    assert [one.predicted for one in alone] == [one.predicted for one in together]
    assert [one.why_not for one in alone] == [one.why_not for one in together]
    assert "contradicts itself" in alone[3].why_not


def outcome(tmp_path: Path, tpot: float, tput: float = 110.0, **change: str) -> serving.Outcome:
    """A row that measured 0.012 s, 0.1 s and 100 tokens/s, and these predictions."""
    table = rows.read(write_csv(tmp_path / "m.csv", [{**INFERENCEX, **change}]))
    values = {"median_tpot": tpot, "median_ttft": 0.1, "tput_per_gpu": tput}
    return serving.Outcome(table.rows[0], values)


def test_a_configuration_has_one_vote(tmp_path: Path) -> None:
    made = [
        outcome(tmp_path, 0.012, median_tpot="0.010"),
        outcome(tmp_path, 0.012, median_tpot="0.011"),
        outcome(tmp_path, 0.012, median_tpot="0.030"),
        outcome(tmp_path, 0.012, config_id="c2"),
        outcome(tmp_path, 0.024, config_id="c3", flag="outlier_tpot"),
        serving.Outcome(outcome(tmp_path, 1, config_id="c4").row, {}, "why"),
    ]
    report = serving.report(made, serving_rows.InferenceX())
    tpot, _, tput = report.measures
    # c1: 12 against the median 11; c2: 12 against 12.
    assert tpot.total.n == 2
    assert tpot.total.mean == pytest.approx((1 / 11) / 2)
    assert tput.total.bias == pytest.approx(0.1)
    assert report.flagged[0].total.median == pytest.approx(1.0)
    (group,) = tpot.groups
    assert group.group == ("sglang", "h200", "fp8", "aggregated", "none")
    names = {verdict.name: verdict.holds for verdict in report.verdicts}
    assert names == {
        "TPOT median": True,
        "TPOT mean": True,
        "throughput per GPU median": True,
        "throughput per GPU mean": True,
        "TTFT median, aggregated": True,
    }


def test_the_order_of_configurations(tmp_path: Path) -> None:
    made = [
        outcome(tmp_path, 0.012, 1.0, config_id="a"),
        outcome(tmp_path, 0.012, 2.0, config_id="b", tput_per_gpu="200"),
        outcome(tmp_path, 0.012, 0.5, config_id="c", tput_per_gpu="400"),
    ]
    order = serving.report(made, serving_rows.InferenceX()).ordering
    assert order is not None
    assert (order.pairs, order.right) == (3, 1)


def test_a_measurement_must_be_above_zero(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'm.csv:2: median_tpot: must be above 0, got "0"'):
        serving.report([outcome(tmp_path, 1, median_tpot="0")], serving_rows.InferenceX())


@pytest.mark.skipif(
    not DATA.is_dir(), reason="measured serving is not beside this checkout (../shared/data)"
)
@pytest.mark.parametrize("name", ["inferencex_dsr1.csv", "silicon_other_models.csv"])
def test_measured_rows_are_understood(name: str) -> None:
    table = rows.read(DATA / name)
    kind = serving_rows.kind_of(table)
    lost = []
    for row in table.rows:
        try:
            kind.benchmark(row, serving_rows.Drafting())
        except rows.NotPredictableError as error:
            lost.append(str(error))
    assert set(lost) <= {"contradicts itself: it lists no workers"}
    few = rows.chosen(table, ["conc=4" if name.startswith("inf") else "conc=4.0"], every=9)
    found = serving.predict(few, kind)
    report = serving.report(found, kind)
    tpot = report.measures[0]
    assert tpot.total.n >= 5
    assert tpot.total.median <= 0.5
