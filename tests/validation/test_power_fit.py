"""The fits of `experiments/power_fit`, on points made from the law itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from experiments_beside import ROOT, experiment
from measured import write_csv

from factory.validation import power, rows
from factory.validation.rows import Row, Table

points_of = experiment("power_fit.points")
fit_power = experiment("power_fit.fit_power")
fit_bench = experiment("power_fit.fit_bench")

MODELS = {
    "Qwen/Qwen3-32B": "ngpu2/ep1/dp1/bfloat16",
    "Qwen/Qwen3-8B": "ngpu1/ep1/dp1/bfloat16",
    "meta-llama/Llama-3.3-70B-Instruct": "ngpu4/ep1/dp1/bfloat16",
    "openai/gpt-oss-20b": "ngpu1/ep1/dp1/mxfp4",
}
UNITS = {
    "gpu_power_avg": "W/gpu",
    "energy_per_output_token": "J/tok",
    "output_tput_per_gpu": "tok/s/gpu",
    "itl_median": "ms",
}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Points that are exactly as predicted."""
    cells = [
        {
            "gpu": "H100",
            "model": model,
            "tp": "1.0",
            "batch": str(batch),
            "metric": metric,
            "value": "1",
            "unit": unit,
            "source": f"mlenergy-v3/lm-arena-chat/{layout}",
        }
        for model, layout in MODELS.items()
        for batch in (8, 32, 128, 512)
        for metric, unit in UNITS.items()
    ]
    table = Table("made", tuple(cells[0]), tuple(Row(f"made:{n}", c) for n, c in enumerate(cells)))
    outcomes = power.predict(table)
    for one, outcome in zip(cells, outcomes, strict=True):
        one["value"] = repr(outcome.predicted)
    return write_csv(tmp_path / "points.csv", cells)


def test_coefficients_are_found_again(made: Path):
    points = points_of.read_points(made)
    assert len(points) == 16
    features = fit_power.Features(points)
    truth = np.array([232.0, 530.0, 213.0])
    assert features.drawn(truth) == pytest.approx(features.watts)
    found = features.fit()
    assert features.drawn(found) == pytest.approx(features.watts, rel=0.02)
    assert features.held_out() == pytest.approx(features.watts, rel=0.05)


def test_an_engine_that_is_as_described_has_no_error(made: Path):
    points = points_of.read_points(made)
    bench = power.Machine(points[0].case.server).bench
    start = {name: getattr(bench, name) for name in fit_bench.NEWER}
    fit = fit_bench.Fit(points, start, {})
    errors = fit.errors(fit.start, points)
    assert len(errors) == 32
    assert [error for _, error in errors] == pytest.approx([0.0] * 32, abs=1e-9)


def test_rows_of_others_are_left_out(tmp_path: Path, made: Path):
    cells = [dict(row.cells) for row in rows.read(made).rows[:4]]
    cells[0]["source"] = "somebody else"
    cells[1]["model"] = "nobody/nothing-9b"
    points = points_of.read_points(write_csv(tmp_path / "some.csv", cells))
    assert [set(point.measured) for point in points] == [{"output_tput_per_gpu", "itl_median"}]


def test_without_a_gpu_the_measuring_script_says_so(tmp_path: Path):
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU to measure")
    out = tmp_path / "points.csv"
    done = subprocess.run(
        [sys.executable, "-m", "experiments.power_fit.measure_gpu", "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("measure_gpu: nothing was measured: ")
    assert not out.exists()
