from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.power.rack import (
    CAUSES,
    idle_rack_w,
    most_rack_w,
    psu_efficiency,
    rack_law,
    rack_parts,
    rack_w,
    supply_curve,
)
from factory.scenario import SystemSpec, catalog

DOCS = Path(__file__).parents[2] / "docs" / "rack-power.md"
SYSTEMS = catalog().systems
GPUS = catalog().gpus

systems = st.sampled_from(sorted(SYSTEMS))
shares = st.floats(0.0, 1.0)
every_system = pytest.mark.parametrize("system", SYSTEMS.values(), ids=lambda spec: spec.name)


def simple() -> SystemSpec:
    """Per GPU: 100 W steady and 100 W more at 800 W, fans of 64 W, and supplies of 2 kW."""

    def efficiency(load: float) -> float:
        return load / (load + 0.01 + 0.01 * load + 0.02 * load**2)

    return dataclasses.replace(
        SYSTEMS["hgx-h100"],
        load_gpu_w=800.0,
        host_base_w=50.0,
        host_load_w=80.0,
        nic_w=20.0,
        switch_base_w=20.0,
        switch_load_w=20.0,
        storage_w=10.0,
        fan_w=54.0,
        pump_w=10.0,
        cooling_least_speed_ratio=0.5,
        network_w=30.0,
        psu_rated_w=2000.0,
        psu_efficiency_10_ratio=efficiency(0.1),
        psu_efficiency_20_ratio=efficiency(0.2),
        psu_efficiency_50_ratio=efficiency(0.5),
    )


def test_a_rack_of_ten_by_hand() -> None:
    law = rack_law(simple(), 10)
    # At load a GPU of 800 W has 200 W of steady parts and 64 W of fans and pumps beside it:
    # 1,064 W of 2,000 W, a load of 0.532.
    other_w, loss_w = law(8000.0, 1.0)
    assert other_w == pytest.approx(10 * (200 + 64 + 30))
    assert loss_w == pytest.approx(10 * 2000 * (0.01 + 0.01 * 0.532 + 0.02 * 0.532**2))
    # At 480 W: 160 W steady, so 640 of 1,000 W of heat, and 0.64 cubed of the air.
    other_w, loss_w = law(4800.0, 1.0)
    out = 480 + 160 + 64 * 0.64**3
    assert other_w == pytest.approx(10 * (160 + 64 * 0.64**3 + 30))
    assert loss_w == pytest.approx(10 * (20 + 0.01 * out + 0.02 * out**2 / 2000))
    # At 160 W: 120 W steady, 280 of 1,000 W of heat: fans and pumps turn at half speed.
    assert law(1600.0, 1.0)[0] == pytest.approx(10 * (120 + 64 / 8 + 30))


def test_gpus_given_back_take_their_servers_along() -> None:
    law = rack_law(simple(), 10)
    # Four GPUs of ten are left: a rack of four.
    assert law(1920.0, 0.4) == pytest.approx(rack_law(simple(), 4)(1920.0, 1.0))
    assert law(0.0, 0.0) == (0.0, 0.0)


def test_the_curve_of_supplies_goes_through_its_points() -> None:
    curve = supply_curve(0.90, 0.94, 0.96)
    for load, efficiency in ((0.1, 0.90), (0.2, 0.94), (0.5, 0.96)):
        loss = curve.fixed + curve.linear * load + curve.square * load**2
        assert load / (load + loss) == pytest.approx(efficiency, abs=1e-12)
    # 80 PLUS Titanium asks for 91 % at full load (230 V, redundant).
    assert 1 / (1 + curve.fixed + curve.linear + curve.square) > 0.95


@pytest.mark.parametrize("points", [(0.80, 0.94, 0.96), (0.97, 0.98, 0.90), (0.90, 0.92, 0.99)])
def test_efficiencies_that_no_rising_loss_explains(points: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="no rising loss"):
        supply_curve(*points)


@given(systems, st.integers(1, 144), shares, shares, st.floats(1e-3, 1.0))
def test_power_rises_with_the_draw_of_the_gpus(
    name: str, gpus: int, one: float, two: float, present: float
) -> None:
    system = SYSTEMS[name]
    law = rack_law(system, gpus)
    full_w = 1.2 * gpus * system.load_gpu_w * present
    low_w, high_w = sorted((one * full_w, two * full_w))
    low, high = law(low_w, present), law(high_w, present)
    assert 0.0 <= low[0] <= high[0] * (1 + 1e-12)
    assert 0.0 <= low[1] <= high[1] * (1 + 1e-12)
    assert low_w + sum(low) <= high_w + sum(high)
    # What the GPUs draw more, the rack draws more, and losses on it.
    rise_w = sum(high) - sum(low)
    assert rise_w >= -1e-9 * (1 + sum(high))


@given(systems, st.integers(1, 144), shares)
def test_parts_add_up_to_the_law(name: str, gpus: int, share: float) -> None:
    system = SYSTEMS[name]
    gpu_w = share * gpus * system.load_gpu_w
    parts = rack_parts(system, gpus, gpu_w)
    other_w, loss_w = rack_law(system, gpus)(gpu_w, 1.0)
    assert tuple(parts) == CAUSES
    assert min(parts.values()) >= 0.0
    assert parts["gpus"] == gpu_w
    assert math.fsum(parts.values()) == pytest.approx(gpu_w + other_w + loss_w, rel=1e-12)
    assert parts["supplies"] == pytest.approx(loss_w, rel=1e-12)


@given(systems, shares, shares)
def test_the_law_of_a_part_of_the_rack_is_linear_in_it(
    name: str, share: float, present: float
) -> None:
    system = SYSTEMS[name]
    law = rack_law(system, 72)
    gpu_w = share * 72 * system.load_gpu_w
    whole = law(gpu_w, 1.0)
    part = law(gpu_w * present, present)
    assert part == pytest.approx([watts * present for watts in whole], rel=1e-9, abs=1e-12)


@every_system
def test_a_system_at_tdp_is_what_its_total_says(system: SystemSpec) -> None:
    gpu = GPUS[system.gpu]
    assert system.load_gpu_w == gpu.tdp_w
    beside_w = most_rack_w(system, gpu) / system.gpus_per_rack - gpu.tdp_w
    assert beside_w == pytest.approx(system.other_it_w_per_gpu, abs=1.0)
    design_w = 1e3 * system.design_it_kw_per_gpu * system.gpus_per_rack
    assert 0.75 * design_w < most_rack_w(system, gpu) <= design_w


@every_system
def test_a_system_at_idle_is_plausible(system: SystemSpec) -> None:
    gpu = GPUS[system.gpu]
    idle_w, most_w = idle_rack_w(system, gpu), most_rack_w(system, gpu)
    assert 0.15 * most_w < idle_w < 0.35 * most_w
    assert idle_w < idle_rack_w(system, gpu, loaded=True) < 0.5 * most_w
    # The supplies share the load, so that each runs low: less efficient than at load.
    gpus = system.gpus_per_rack
    idle = psu_efficiency(system, gpus, gpus * gpu.idle_bare_w)
    half = psu_efficiency(system, gpus, gpus * gpu.tdp_w / 2)
    assert 0.85 < idle < half < psu_efficiency(system, gpus, gpus * gpu.tdp_w) < 0.98


@every_system
def test_what_cools_a_system(system: SystemSpec) -> None:
    assert (system.pump_w > 0) == (system.design_pue < 1.2)
    fans_w = system.fan_w / (system.load_gpu_w + system.other_it_w_per_gpu)
    assert fans_w < (0.06 if system.pump_w else 0.16)
    assert (system.switch_base_w > 0) == ("switch" in system.scale_up)


def test_nodes_and_racks_as_published() -> None:
    def node_kw(name: str) -> float:
        """A node with its GPUs at TDP, without its share of the network."""
        system = SYSTEMS[name]
        per_gpu = rack_w(system, system.load_gpu_w) / system.gpus_per_rack - system.network_w
        return system.gpus_per_node * per_gpu / 1e3

    # DGX H100: 10.2 kW at most, 8.4 kW observed (Latif et al., IEEE Access 2025).
    assert node_kw("hgx-h100") == pytest.approx(8.4, abs=0.1)
    assert node_kw("hgx-b200") < 14.3
    assert node_kw("hgx-a100") < 6.5
    # 120 to 132 kW and 135 to 140 kW are provisioned for; 8 % less is drawn at TDP.
    assert 0.85 * 120 < node_kw("gb200-nvl72") * 18 < 132
    assert 0.85 * 135 < node_kw("gb300-nvl72") * 18 < 140


@every_system
def test_the_table_of_the_docs(system: SystemSpec) -> None:
    gpu, gpus = GPUS[system.gpu], system.gpus_per_rack
    draws = (gpu.idle_bare_w, gpu.idle_loaded_w, gpu.tdp_w / 2, gpu.tdp_w)
    beside = [rack_w(system, gpu_w) / gpus - gpu_w for gpu_w in draws]
    supplies = [100 * psu_efficiency(system, gpus, gpus * gpu_w) for gpu_w in draws]
    row = [f"`{system.name}`", f"{gpus} × {gpu.tdp_w:g} W"]
    row += [f"{rack_w(system, gpu_w) / 1e3:.1f}" for gpu_w in draws]
    row.append(" / ".join(f"{beside[at]:.0f}" for at in (0, 2, 3)))
    row.append(" / ".join(f"{supplies[at]:.1f}" for at in (0, 2, 3)))
    row.append(f"{system.design_it_kw_per_gpu * gpus:.1f}")
    expected = f"| {' | '.join(row)} |"
    assert expected in DOCS.read_text().splitlines(), f"docs/rack-power.md lacks: {expected}"


@pytest.mark.parametrize("name", ["hgx-h100", "gb200-nvl72"])
def test_the_parts_in_the_docs(name: str) -> None:
    system = SYSTEMS[name]
    gpu, gpus = GPUS[system.gpu], system.gpus_per_node
    for what, gpu_w in (("idle and bare", gpu.idle_bare_w), ("GPUs at TDP", gpu.tdp_w)):
        watts = list(rack_parts(system, gpus, gpus * gpu_w).values())
        numbers = " | ".join(f"{each:.0f}" for each in (*watts, math.fsum(watts)))
        expected = f"| `{name}`, {what} | {numbers} |"
        assert expected in DOCS.read_text().splitlines(), f"docs/rack-power.md lacks: {expected}"
