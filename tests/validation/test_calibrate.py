from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from measured import STEP, write_csv
from ruamel.yaml import YAML

from factory.errors import InputError
from factory.performance import Layout
from factory.validation import calibrate, efficiency, measured_steps, steps
from factory.validation.calibrate import Measured
from factory.validation.measured_steps import Server
from factory.validation.steps import Machine, StepCase

MACHINE = Machine("hgx-h200", "llama-3.1-8b", Layout(), "fp8", "fp8", "trtllm")
FIELDS = ["memory", "decode_fp8_memory", "experts_compute"]


def slower(factors: dict[str, float]) -> list[Measured]:
    """Steps of a machine whose fields are these factors of the catalogue's."""
    found = efficiency.parameters(["hopper"], "kernels", list(factors))
    values = {one: one.start * factors[one.field] for one in found}
    model = steps.step_model(MACHINE, efficiency.moved("hopper", "kernels", values))
    cases = [
        StepCase(MACHINE, "decode_step_time", "decode", batch, length)
        for batch in (1, 8, 64, 256)
        for length in (512, 2048, 8192)
    ]
    return [Measured(case, steps.step_ms(model, case)) for case in cases]


def test_what_was_changed_is_found_again() -> None:
    found = calibrate.calibrate(
        slower({"memory": 0.8, "decode_fp8_memory": 0.7}), FIELDS, "kernels", "mine.csv"
    )
    factors = {one.path: value / one.start for one, value in found.values.items()}
    assert factors["products.hopper-fp8.memory"] == pytest.approx(0.8, rel=0.03)
    assert factors["kernels.hopper.decode_fp8_memory"] == pytest.approx(0.7, rel=0.03)
    assert "products.hopper-fp8.experts_compute" in found.untold
    assert found.before.mean > 0.1
    assert found.after.mean < 0.01
    assert found.after_held_out is not None
    assert found.after_held_out.mean < 0.01
    assert (found.rows, found.held_out) == (10, 2)


def test_fractions_stay_within_one() -> None:
    found = calibrate.calibrate(slower({"memory": 3.0}), ["memory"], "kernels", "mine.csv")
    assert all(value <= 1.0 + 1e-9 for value in found.values.values())


def test_the_overlay_says_where_its_numbers_come_from() -> None:
    found = calibrate.calibrate(slower({"memory": 0.8}), ["memory"], "kernels", 'm".csv')
    text = calibrate.overlay(found, dt.date(2026, 11, 22))
    data = YAML(typ="safe", pure=True).load(text)
    assert data["sources"]["calibrated"]["kind"] == "fitted"
    assert data["sources"]["calibrated"]["source"] == 'm".csv: 10 rows fitted, 2 held out'
    assert str(data["sources"]["calibrated"]["date"]) == "2026-11-22"
    memory = data["products"]["hopper-fp8"]["memory"]
    assert memory["from"] == "calibrated"
    assert data["errors"]["held_out_after"]["mean"] < data["errors"]["held_out_before"]["mean"]


def test_each_fifth_row_is_held_out() -> None:
    measured = slower({})
    fitted, held = calibrate.split(measured)
    assert held == [measured[4], measured[9]]
    assert len(fitted) == 10
    assert calibrate.split(measured[:9]) == (measured[:9], [])


def test_nothing_to_fit() -> None:
    with pytest.raises(InputError, match=r"mine.csv: holds no step time"):
        calibrate.calibrate([], FIELDS, "kernels", "mine.csv")
    with pytest.raises(InputError, match=r"its rows say nothing about link"):
        calibrate.calibrate(slower({}), ["link"], "kernels", "mine.csv")


def test_unknown_fields_are_named() -> None:
    with pytest.raises(InputError, match=r"--fit decode_mem: .*did you mean decode_memory"):
        efficiency.checked(["decode_mem"])


def test_rows_of_a_file(tmp_path: Path) -> None:
    made = [
        STEP,
        {**STEP, "metric": "memory", "unit": "GiB"},
        {**STEP, "system": "h20"},
    ]
    measured, left_out = measured_steps.from_files([write_csv(tmp_path / "m.csv", made)], Server())
    assert [one.ms for one in measured] == [5.0]
    assert left_out == [("memory is not fitted", 1), ('unknown system "h20" (nearest: h200)', 1)]


def test_a_benchmark_tells_of_one_decode_step(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    output = {
        "model_id": "meta-llama/Llama-3.1-8B",
        "max_concurrency": 32,
        "completed": 100,
        "total_input_tokens": 100_000,
        "total_output_tokens": 50_000,
        "median_tpot_ms": 11.0,
    }
    path.write_text(json.dumps(output), encoding="utf-8")
    one = measured_steps.from_benchmark(path, Server(system="h200_sxm", layout="tp1dp2"))
    assert one.ms == 11.0
    assert (one.case.batch, one.case.length) == (16, 1250)
    assert one.case.machine.layout == Layout(dp=2)
    with pytest.raises(InputError, match="says no system; give --system"):
        measured_steps.from_benchmark(path, Server())
    with pytest.raises(InputError, match='unknown system "h20"'):
        measured_steps.from_benchmark(path, Server(system="h20"))
