"""Fits kernel laws to measured steps: ``python -m experiments.calibration.fit_kernels OUT``.

The constants of each GPU generation are the maximum a posteriori of all its step times of
TensorRT-LLM; `priors.yaml` is where they begin. What other engines make of the same kernels
(``kernels-sglang``, ``kernels-vllm``) is fitted after that, to their own rows.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.calibration import catalog_files
from experiments.calibration.mean_field import StepTimes
from factory.performance.hardware import Efficiency
from factory.scenario import catalog
from factory.scenario.kernels import EngineSpec, KernelSpec, ProductSpec
from factory.validation import rows, steps
from factory.validation.errors import Pair, Statistics, statistics
from factory.validation.parallel import mapped

if TYPE_CHECKING:
    from factory.performance.operators import Vector
    from factory.validation.steps import Machine, StepCase

DATA = Path("../shared/data")
STEPS = Path("step_times/aic_step_times.csv")
PRIORS = Path(__file__).with_name("priors.yaml")
REFERENCE = "trtllm"
OTHERS_ON = "hopper"
"""The generation of all steps of other engines."""

STORED = {
    "hopper": ("fp16", "fp8", "fp8_block", "mxfp4"),
    "blackwell": ("fp16", "fp8", "fp8_block", "nvfp4", "mxfp4"),
}
"""Storages that the step times of a generation tell of."""

HELD = frozenset({"exchange", "scaleout_rails", "stream_launch_us", "stream_memory"})
"""Kernel constants that stay at their prior: the steps cannot tell them from launch times."""

FRACTIONS = frozenset({
    "compute", "memory", "quantize", "experts_compute", "experts_memory", "experts_permute", "link",
    "decode_compute", "decode_memory", "decode_fp8_memory", "prefill_compute",
})  # fmt: skip
"""Constants that are at most 1."""

PRODUCT_WIDTH, EXPERTS_WIDTH, KERNEL_WIDTH = 0.1, 0.15, 0.3
KERNEL_WIDTHS: Mapping[str, float] = {"experts_dispersion": 0.2, "scaleout_launch_us": 1.0}
"""Standard deviations of the logarithms of constants of products, of their experts, and of kernels:
single operators say more of products than steps do, and next to nothing across domains."""
ROW_ERROR = 0.08
ROWS_OF_A_GROUP = 20
"""A group (machine and phase) weighs as so many rows, however many it has."""
EVALUATIONS = 8

ENGINE_PRIOR: Mapping[str, tuple[float, float]] = {
    "kernel_time": (1.0, 0.5),
    "decode_attention_time": (1.0, 0.5),
    "prefill_attention_time": (1.0, 0.5),
    "expert_time": (1.0, 0.5),
    "expert_compute_time": (1.0, 0.5),
    "layer_overhead_us": (2.7, 3.0),
}
ENGINE_ROW_ERRORS = {"sglang": 0.2, "vllm": 0.08}
"""Looser where the measured points scatter more."""


@dataclass(frozen=True, slots=True)
class Laws:
    """Kernel laws of one GPU generation.

    Attributes:
        generation: Its name.
        kernels: Attention, element-wise kernels and collectives.
        products: Matrix products by storage of the weights.
    """

    generation: str
    kernels: KernelSpec
    products: Mapping[str, ProductSpec]

    def moved(self, fields: Sequence[tuple[str, str]], values: Sequence[float]) -> Laws:
        """The laws with other values of some fields: pairs of storage (or "") and name."""
        changes: dict[str, dict[str, Any]] = {}
        for (stored, name), value in zip(fields, values, strict=True):
            changes.setdefault(stored, {})[name] = value
        products = {
            stored: dataclasses.replace(spec, **changes.get(stored, {}))
            for stored, spec in self.products.items()
        }
        return Laws(
            self.generation, dataclasses.replace(self.kernels, **changes.get("", {})), products
        )

    def value(self, stored: str, name: str) -> float:
        """Value of a field."""
        return float(getattr(self.products[stored] if stored else self.kernels, name))


@dataclass(frozen=True, slots=True)
class Measured:
    """Measured steps of one machine.

    Attributes:
        machine: What they ran on.
        cases: What was measured.
        seconds: How long each took.
    """

    machine: Machine
    cases: tuple[StepCase, ...]
    seconds: tuple[float, ...]

    @property
    def generation(self) -> str:
        """Of the machine's GPU."""
        book = catalog()
        return book.gpus[book.systems[self.machine.system].gpu].generation


def read_steps(data: Path) -> list[Measured]:
    """All measured steps, by machine in the order of the file."""
    found: dict[Machine, tuple[list[StepCase], list[float]]] = {}
    for row in rows.read(data / STEPS).rows:
        case = steps.case_of(row)
        cases, seconds = found.setdefault(case.machine, ([], []))
        cases.append(case)
        seconds.append(row.positive("value") * 1e-3)
    return [
        Measured(machine, tuple(cases), tuple(seconds))
        for machine, (cases, seconds) in found.items()
    ]


def is_of(measured: Measured, backend: str, generation: str) -> bool:
    """Whether steps are of an engine on GPUs of a generation."""
    return measured.machine.engine == backend and measured.generation == generation


def read_priors(path: Path = PRIORS) -> dict[str, Laws]:
    """The prior's median by GPU generation."""
    from ruamel.yaml import YAML

    data = YAML(typ="safe").load(path)
    return {
        generation: Laws(
            generation,
            KernelSpec(name=generation, provenance={}, **values),
            {
                key.removeprefix(f"{generation}-"): ProductSpec(name=key, provenance={}, **product)
                for key, product in data["products"].items()
                if key.startswith(f"{generation}-")
            },
        )
        for generation, values in data["kernels"].items()
    }


def predicted(measured: Sequence[Measured], laws: Laws, engine: EngineSpec) -> Vector:
    """Seconds of every case, in order."""
    reached = Efficiency(laws.kernels, laws.products, engine)
    found = []
    for one in measured:
        times = StepTimes(one.machine, reached)
        ranks = one.machine.layout.dp
        for case in one.cases:
            n, length = float(case.batch), float(case.length)
            is_decode = case.phase == "decode"
            found.append(
                times.decode(n, length)
                if is_decode
                else times.mixed(0.0, 0.0, length, n, n * ranks)
            )
    return np.array(found)


def logs_of(measured: Sequence[Measured]) -> Vector:
    """Logarithms of the measured seconds."""
    return np.log([seconds for one in measured for seconds in one.seconds])


def width_of(stored: str, name: str) -> float:
    """Width of a field's prior."""
    if stored:
        return EXPERTS_WIDTH if name.startswith("experts_") else PRODUCT_WIDTH
    return KERNEL_WIDTHS.get(name, KERNEL_WIDTH)


def fit_laws(job: tuple[Laws, list[Measured]]) -> Laws:
    """The maximum a posteriori of a generation's laws; for other processes too.

    Minimises pseudo-Huber losses of ``ln(predicted / measured) / ROW_ERROR``, each group of rows
    with one weight, and squares of ``ln(value / prior) / width``.
    """
    from scipy.optimize import least_squares

    prior, measured = job
    bare = catalog().engines[steps.KERNELS]
    fields = [
        (stored, field.name)
        for stored in STORED[prior.generation]
        for field in dataclasses.fields(ProductSpec)
        if field.name not in {"name", "provenance"}
    ]
    fields += [
        ("", field.name)
        for field in dataclasses.fields(KernelSpec)
        if field.name not in HELD | {"name", "provenance"}
    ]
    most = np.array([0.0 if name in FRACTIONS else np.inf for _, name in fields])
    start = np.minimum(np.log([prior.value(*field) for field in fields]), most - 1e-3)
    widths = np.array([width_of(*field) for field in fields])
    target = logs_of(measured)
    weights = []
    for one in measured:
        phases = [case.phase for case in one.cases]
        weights += [np.sqrt(ROWS_OF_A_GROUP / phases.count(phase)) for phase in phases]

    def residuals(logs: Vector) -> Vector:
        moved = prior.moved(fields, np.exp(logs).tolist())
        off = (np.log(predicted(measured, moved, bare)) - target) * np.array(weights) / ROW_ERROR
        bent = np.sign(off) * np.sqrt(2.0 * (np.sqrt(1.0 + off * off) - 1.0))
        return np.concatenate([bent, (logs - start) / widths])

    found = least_squares(
        residuals, start, bounds=(-np.inf, most), max_nfev=EVALUATIONS, diff_step=1e-4
    )
    return prior.moved(fields, np.exp(found.x).tolist())


def fit_engine(backend: str, measured: Sequence[Measured], laws: Laws) -> EngineSpec:
    """What another engine makes of the kernels."""
    from scipy.optimize import least_squares

    bare = catalog().engines[steps.KERNELS]
    medians = np.log([value for value, _ in ENGINE_PRIOR.values()])
    widths = np.array([width for _, width in ENGINE_PRIOR.values()])
    target, error = logs_of(measured), ENGINE_ROW_ERRORS[backend]

    def spec(logs: Vector) -> EngineSpec:
        values = dict(zip(ENGINE_PRIOR, np.exp(logs).tolist(), strict=True))
        return dataclasses.replace(bare, name=f"{steps.KERNELS}-{backend}", **values)

    def residuals(logs: Vector) -> Vector:
        off = (np.log(predicted(measured, laws, spec(logs))) - target) / error
        return np.concatenate([off, (logs - medians) / widths])

    return spec(least_squares(residuals, medians, max_nfev=30, diff_step=1e-3).x)


def errors(measured: Sequence[Measured], laws: Laws, engine: EngineSpec) -> Statistics:
    """Errors of a fit."""
    found = predicted(measured, laws, engine).tolist()
    seconds = [second for one in measured for second in one.seconds]
    return statistics([Pair((), *pair) for pair in zip(seconds, found, strict=True)])


def write_laws(out: Path, fitted: Mapping[str, Laws]) -> None:
    """Writes ``products.yaml`` and ``kernels.yaml``, generations without data among them."""
    like = {name: name for name in fitted} | catalog_files.ASSUMED
    products = {
        f"{generation}-{stored}": spec
        for generation, model in like.items()
        for stored, spec in fitted[model].products.items()
    }
    catalog_files.write_products(out, products)
    catalog_files.write_kernels(out, {name: fitted[model].kernels for name, model in like.items()})


def main() -> None:
    """Fits everything and writes ``products.yaml``, ``kernels.yaml`` and ``engines.yaml``."""
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("out", type=Path, help="folder for the files, which must not be there")
    asked.add_argument("--data", type=Path, default=DATA, help=f"data folder (default {DATA})")
    asked.add_argument("--workers", type=int, default=2)
    given = asked.parse_args()
    measured = read_steps(given.data)
    jobs = [
        (prior, [one for one in measured if is_of(one, REFERENCE, generation)])
        for generation, prior in read_priors().items()
    ]
    costs = [float(len(group)) for _, group in jobs]
    laws = {one.generation: one for one in mapped(fit_laws, jobs, costs, given.workers)}
    bare = catalog().engines[steps.KERNELS]
    told = {one.generation: errors(group, laws[one.generation], bare) for one, group in jobs}
    engines = dict(catalog().engines)
    for backend in ENGINE_ROW_ERRORS:
        theirs = [one for one in measured if is_of(one, backend, OTHERS_ON)]
        engine = fit_engine(backend, theirs, laws[OTHERS_ON])
        engines[engine.name] = engine
        told[engine.name] = errors(theirs, laws[OTHERS_ON], engine)
    write_laws(given.out, laws)
    catalog_files.write_engines(given.out, engines)
    for name, one in told.items():
        sys.stdout.write(f"{name}: {one.n} rows, median {one.median:.1%}, p90 {one.p90:.1%}\n")


if __name__ == "__main__":
    main()
