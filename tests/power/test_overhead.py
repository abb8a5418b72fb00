from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.power.overhead import (
    MILD_C,
    ConstantPue,
    CoolingModel,
    Overhead,
    air,
    liquid,
    overhead,
)
from factory.scenario import load

DESIGN_W = 20e6
PRESETS = {"air": air(DESIGN_W), "liquid": liquid(DESIGN_W)}

loads = st.floats(0.0, 1.5)
outsides = st.floats(-40.0, 55.0)
ratios = st.floats(0.0, 0.3)
models = st.builds(
    CoolingModel,
    design_it_w=st.floats(1e3, 1e9),
    ups_fixed_ratio=ratios,
    ups_linear_ratio=ratios,
    ups_square_ratio=ratios,
    transformer_fixed_ratio=ratios,
    transformer_square_ratio=ratios,
    mover_ratio=ratios,
    mover_least_speed_ratio=st.floats(0.0, 1.0),
    free_below_c=st.floats(-10.0, 20.0),
    mechanical_above_c=st.floats(21.0, 40.0),
    coolant_c=st.floats(5.0, 35.0),
    approach_k=st.floats(0.0, 20.0),
    carnot_ratio=st.floats(0.1, 1.0),
    cop_most=st.floats(2.0, 20.0),
    other_ratio=ratios,
)


def test_the_cause_of_every_watt_by_hand() -> None:
    model = CoolingModel(
        design_it_w=1000.0,
        ups_fixed_ratio=0.01,
        ups_linear_ratio=0.02,
        ups_square_ratio=0.04,
        transformer_fixed_ratio=0.005,
        transformer_square_ratio=0.02,
        mover_ratio=0.1,
        mover_least_speed_ratio=0.5,
        free_below_c=10.0,
        mechanical_above_c=20.0,
        coolant_c=16.85,  # 290 K
        approach_k=11.85,
        carnot_ratio=0.5,
        cop_most=20.0,
        other_ratio=0.03,
    )
    # Half load at 17 C: UPS 10 + 10 + 10 W; compressors take 0.7 of 530 W of heat with a COP of
    # 0.5 x 290 / (17 + 11.85 - 16.85) = 145 / 12; movers turn at 530 / 1,070, but at least half.
    parts = model.parts(500.0, 17.0)
    assert parts == pytest.approx(
        {
            "it": 500.0,
            "ups": 30.0,
            "transformers": 5.0 + 5.0,
            "movers": 100 / 8,
            "compressors": 530 * 0.7 / (145 / 12),
            "other": 30.0,
        }
    )
    assert model.watts(500.0, 17.0) == pytest.approx(math.fsum(parts.values()), rel=1e-12)
    # At design load and 5 C no compressor runs, and movers turn at full speed.
    assert model.watts(1000.0, 5.0) == pytest.approx(1000 + 70 + 25 + 100 + 30)
    # A small lift would give a COP beyond the highest.
    assert model.compressor_ratio(12.0) == pytest.approx(0.2 / 20.0)


def test_presets_at_design_load_and_mild_weather() -> None:
    assert PRESETS["air"].pue(DESIGN_W, MILD_C) == pytest.approx(1.3, abs=0.01)
    assert PRESETS["liquid"].pue(DESIGN_W, MILD_C) == pytest.approx(1.1, abs=0.01)


@pytest.mark.parametrize("kind", PRESETS)
def test_pue_is_an_outcome(kind: str) -> None:
    model = PRESETS[kind]
    # Heat outside costs; an idle facility pays for its losses without load.
    assert model.pue(DESIGN_W, 35.0) > model.pue(DESIGN_W, MILD_C) + 0.05
    assert model.pue(0.1 * DESIGN_W, MILD_C) > model.pue(DESIGN_W, MILD_C) + 0.1
    assert model.watts(0.0, MILD_C) > 0.01 * DESIGN_W


@given(models, loads, loads, outsides, outsides)
def test_power_rises_with_load_and_temperature(
    model: CoolingModel, one: float, two: float, cold: float, hot: float
) -> None:
    low_w, high_w = (model.design_it_w * load for load in sorted((one, two)))
    cold, hot = sorted((cold, hot))
    assert model.watts(low_w, cold) <= model.watts(high_w, cold) * (1 + 1e-12)
    assert model.watts(low_w, cold) <= model.watts(low_w, hot) * (1 + 1e-12)
    # Each watt of IT costs a watt at least.
    rise_w = model.watts(high_w, hot) - model.watts(low_w, hot)
    assert rise_w >= (high_w - low_w) - 1e-9 * model.design_it_w


@given(models, loads, outsides)
def test_the_inverse(model: CoolingModel, load_ratio: float, outside_c: float) -> None:
    it_w = model.design_it_w * load_ratio
    facility_w = model.watts(it_w, outside_c)
    found_w = model.it_watts(facility_w, outside_c)
    assert found_w == pytest.approx(it_w, rel=1e-9, abs=1e-9 * model.design_it_w)
    assert model.watts(found_w, outside_c) == pytest.approx(facility_w, rel=1e-12)


@given(models, loads, outsides)
def test_parts_add_up(model: CoolingModel, load_ratio: float, outside_c: float) -> None:
    it_w = model.design_it_w * load_ratio
    parts = model.parts(it_w, outside_c)
    assert min(parts.values()) >= 0.0
    assert math.fsum(parts.values()) == pytest.approx(model.watts(it_w, outside_c), rel=1e-12)


def test_a_facility_that_has_less_than_it_draws_empty() -> None:
    model = PRESETS["air"]
    assert model.it_watts(0.5 * model.watts(0.0, MILD_C), MILD_C) == 0.0
    assert model.it_watts(model.watts(0.0, MILD_C), MILD_C) == 0.0


def test_a_constant_pue() -> None:
    constant: Overhead = ConstantPue(1.25)
    assert constant.watts(100.0, 40.0) == 125.0
    assert constant.it_watts(125.0, -5.0) == 100.0


def scenario(**facility: object) -> dict[str, object]:
    pool = {"name": "serve", "role": "aggregated", "racks": "racks", "replicas": 1}
    tenant = {"name": "people", "load": {"rate": 1}, "input_tokens": 100, "output_tokens": 10}
    return {
        "name": "made",
        "facility": {"racks": [{"name": "racks", "system": "hgx-h200"}], **facility},
        "deployments": [{"name": "chat", "model": "llama-3.1-8b", "pools": [pool]}],
        "workload": {"tenants": [tenant]},
        "run": {"duration_s": 60},
    }


def test_the_overhead_of_a_scenario() -> None:
    assert overhead(load(scenario()).facility) == ConstantPue(1.3)
    assert overhead(load(scenario(pue=1.2)).facility) == ConstantPue(1.2)
    # One rack of 32 GPUs at 1.37 kW.
    made = load(scenario(cooling={"kind": "air"})).facility
    assert overhead(made) == air(pytest.approx(43_840.0))
    made = load(scenario(cooling={"kind": "liquid", "design_it_mw": 4, "cop_most": 6})).facility
    part = overhead(made, share=0.25)
    assert isinstance(part, CoolingModel)
    assert (part.design_it_w, part.cop_most, part.coolant_c) == (1e6, 6.0, 30.0)


def test_the_table_of_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "rack-power.md").read_text()
    for percent in (10, 30, 50, 100):
        pues = [
            f"{model.pue(percent / 100 * DESIGN_W, outside_c):.2f}"
            for model in PRESETS.values()
            for outside_c in (0.0, 15.0, 25.0, 35.0)
        ]
        expected = f"| {percent} % | {' | '.join(pues)} |"
        assert expected in text.splitlines(), f"docs/rack-power.md lacks: {expected}"
