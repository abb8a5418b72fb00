"""The reliability experiments: their findings have the sign that they claim, on less demand."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not (ROOT / "experiments").is_dir(), reason="this copy of the tests is without experiments/"
)


def test_spares_give_back_what_failures_take(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    spares = importlib.import_module("experiments.reliability.spares")
    found = list(spares.rows((0, 4), (1,), days=25.0, loads=("95 % load",)))
    none, four = found
    # A replica has two trays, and each is away for 2.5 % of its time.
    assert 0.02 < none["failed_ratio"] < 0.1
    assert four["failed_ratio"] < 0.2 * none["failed_ratio"]
    assert none["lost_ratio"] > 0.05
    assert four["lost_ratio"] < 0.2 * none["lost_ratio"]
    text = spares.tables(found)
    assert "goodput lost at 95 % load, %" in text
