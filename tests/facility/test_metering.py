from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.facility import EnergyBins, Windows


def test_windows_are_half_open() -> None:
    windows = Windows(10.0, 2)
    windows.at(0.0)[0] += 1
    windows.at(9.999)[0] += 1
    windows.at(10.0)[1] += 1
    assert windows.rows == [[2, 0], [0, 1]]


@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.37, 1.0, 60.0]))
def test_an_edge_belongs_to_the_later_window(index: int, window_s: float) -> None:
    windows = Windows(window_s, 1)
    assert windows.at(index * window_s) is windows.row(index)
    if index:
        assert windows.at(math.nextafter(index * window_s, 0.0)) is windows.row(index - 1)


def test_energy_by_second() -> None:
    bins = EnergyBins()
    bins.add(0.5, 3.25, 100.0)
    bins.add(3.25, 3.75, 20.0)
    assert bins.watts(4.0) == pytest.approx([50.0, 100.0, 100.0, 35.0])
    # The last second counts over the part that was simulated.
    assert bins.watts(3.5) == pytest.approx([50.0, 100.0, 100.0, 70.0])


spans = st.lists(
    st.tuples(st.floats(0, 30), st.floats(0, 3000), st.floats(0, 700)), min_size=1, max_size=8
)


@given(spans)
def test_seconds_add_up_to_the_energy(parts: list[tuple[float, float, float]]) -> None:
    bins = EnergyBins()
    end_s = 0.0
    energy_j = 0.0
    for start_s, length_s, watts in parts:
        bins.add(start_s, start_s + length_s, watts)
        end_s = max(end_s, start_s + length_s)
        energy_j += length_s * watts
    whole_s = math.ceil(end_s) + 1.0
    assert math.fsum(bins.watts(whole_s)) == pytest.approx(energy_j, rel=1e-9, abs=1e-6)
