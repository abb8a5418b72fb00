"""The calibration scripts: their short cut is the simulation at its mean, their files parse."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from types import ModuleType

import pytest

from factory.errors import InputError
from factory.performance import Layout
from factory.scenario import catalog
from factory.scenario.catalog import _File
from factory.scenario.kernels import EngineSpec, KernelSpec, ProductSpec
from factory.validation.benchmark import Benchmark, Measures, Side, simulate

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not (ROOT / "experiments").is_dir(), reason="this copy of the tests is without experiments/"
)

ENGINE = "trtllm-2025-11"
TOGETHER = Benchmark(
    "hgx-b200",
    "llama-3.1-70b",
    "fp8",
    "fp8",
    (Side("aggregated", 1, Layout(tp=4), 64, 8192),),
    isl=512,
    osl=256,
    conc=12,
    profile=ENGINE,
)
APART = dataclasses.replace(
    TOGETHER,
    sides=(Side("prefill", 1, Layout(tp=2), 64, 8192), Side("decode", 2, Layout(tp=2), 64, 8192)),
)


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"experiments.calibration.{name}")


@pytest.mark.parametrize("stated", [TOGETHER, APART], ids=["together", "apart"])
def test_the_mean_agrees_with_the_simulation(load, stated):
    simulated = simulate(stated)
    assert isinstance(simulated, Measures)
    field = load("mean_field").MeanField(catalog().engines[ENGINE])
    mean = field.measures(stated)
    assert mean.tpot_s == pytest.approx(simulated.tpot_s, rel=0.03)
    assert mean.tokens_per_s == pytest.approx(simulated.tokens_per_s, rel=0.06)
    assert mean.ttft_s == pytest.approx(simulated.ttft_s, rel=0.15)


def test_the_largest_of_poisson_counts(load):
    mean_of_most = load("mean_field").mean_of_most
    assert mean_of_most(0.7, 1) == pytest.approx(0.7)
    assert 0.7 < mean_of_most(0.7, 2) < mean_of_most(0.7, 8)


def test_tokens_of_a_step(load):
    tokens = load("mean_field").tokens_per_step
    assert tokens(()) == 1.0
    assert tokens((0.8, 0.5)) == pytest.approx(1.0 + 0.8 + 0.8 * 0.5)


def test_files_hold_what_they_are_given(load, tmp_path):
    files: ModuleType = load("catalog_files")
    shipped = catalog()
    for write, kind, given in (
        (files.write_products, ProductSpec, shipped.products),
        (files.write_kernels, KernelSpec, shipped.kernels),
        (files.write_engines, EngineSpec, shipped.engines),
    ):
        path = write(tmp_path, given)
        assert _File(path.stem, path.read_bytes()).specs(kind, {}) == given
        with pytest.raises(InputError, match="is there already"):
            write(tmp_path, given)


def test_priors_are_whole_laws(load):
    priors = load("fit_kernels").read_priors()
    assert sorted(priors) == ["blackwell", "hopper"]
    for generation, laws in priors.items():
        shipped = {key for key in catalog().products if key.startswith(f"{generation}-")}
        assert {f"{generation}-{stored}" for stored in laws.products} == shipped
        moved = laws.moved([("fp8", "compute"), ("", "link")], [0.5, 0.25])
        assert (moved.value("fp8", "compute"), moved.value("", "link")) == (0.5, 0.25)


def test_a_hopper_engine_is_one_set(load):
    set_name = load("fit_engines").set_name
    assert set_name("trtllm-2026-01@hopper") == set_name("trtllm-2025-11@hopper")
    assert set_name("trtllm-2026-01") == "trtllm-2026-01"
