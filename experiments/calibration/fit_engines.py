"""Fits engine profiles to measured serving: ``python -m experiments.calibration.fit_engines OUT``.

A set of parameters for each engine, era and GPU generation is the maximum a posteriori of all its
rows together, one vote per configuration, with the benchmark at its mean (`mean_field`) and the
kernels as the catalogue has them.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from experiments.calibration import catalog_files
from experiments.calibration.mean_field import MeanField
from factory.scenario import catalog
from factory.validation import rows
from factory.validation.parallel import mapped
from factory.validation.rows import NotPredictableError, Row
from factory.validation.serving_rows import Drafting, InferenceX

if TYPE_CHECKING:
    from factory.performance.operators import Vector
    from factory.scenario.kernels import EngineSpec
    from factory.validation.benchmark import Benchmark

DATA = Path("../shared/data")
SERVING = Path("serving/inferencex_dsr1.csv")

PRIOR: Mapping[str, tuple[float, float]] = {
    "request_overhead_ms": (50.0, 0.7),
    "request_wait_steps": (2.0, 1.0),
    "handover_wait_steps": (8.0, 1.0),
    "step_overhead_ms": (0.6, 1.0),
    "layer_overhead_us": (2.0, 1.0),
    "sequence_overhead_us": (4.0, 1.0),
    "kernel_time": (1.0, 0.15),
    "decode_attention_time": (1.0, 0.3),
    "prefill_attention_time": (1.0, 0.3),
    "expert_time": (1.0, 0.3),
    "expert_compute_time": (1.0, 0.4),
    "expert_parallel_fp8_us": (5.0, 1.5),
    "exchange_overlap": (0.8, 0.6),
}
"""Median and standard deviation of the logarithm of each parameter (assumed); of
``exchange_overlap`` it is the share that is not hidden."""

ROW_ERROR = 0.1
TPOT_WEIGHT = 1.0
TPUT_WEIGHTS = {1: 0.5, 2: 0.3}
"""By pools: the drain of a disaggregated benchmark, which the mean leaves out, costs more."""
TTFT_WEIGHT = 0.3
"""Only where requests hardly wait for each other (`waits_little`)."""

EVALUATIONS = 12
LEFT_OUT = "h100"
"""Hardware whose rows no set is fitted to: eleven configurations, held out of everything."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One measured configuration.

    Attributes:
        row: Its first row.
        benchmark: What was run.
        measured: Medians over its repeats by column.
    """

    row: Row
    benchmark: Benchmark
    measured: Mapping[str, float]


def read_votes(data: Path) -> list[Vote]:
    """Unflagged, predictable configurations of the InferenceX rows, in the order of the file."""
    kind = InferenceX()
    repeats: dict[str, list[tuple[Row, Benchmark]]] = {}
    for row in rows.read(data / SERVING).rows:
        if row.text("flag"):
            continue
        try:
            benchmark = kind.benchmark(row, Drafting())
        except NotPredictableError:
            continue
        repeats.setdefault(kind.config(row), []).append((row, benchmark))
    columns = kind.form.measures.values()
    return [
        Vote(*same[0], {one: median(row.positive(one) for row, _ in same) for one in columns})
        for same in repeats.values()
    ]


def entry_of(benchmark: Benchmark) -> str:
    """The catalogue's entry that holds a benchmark's engine parameters."""
    book = catalog()
    generation = book.gpus[book.systems[benchmark.system].gpu].generation
    own = f"{benchmark.profile}@{generation}"
    return own if own in book.engines else benchmark.profile


def set_name(entry: str) -> str:
    """The set that an entry is fitted in: on Hopper an engine's eras are one, its first."""
    profile, _, generation = entry.partition("@")
    if not generation:
        return entry
    start = f"{profile.partition('-')[0]}-"
    same = (name for name in catalog().engines if name.startswith(start))
    return min(name for name in same if name.endswith(f"@{generation}"))


def grouped(votes: Iterable[Vote]) -> dict[str, list[Vote]]:
    """Votes to fit by set, sorted."""
    sets: dict[str, list[Vote]] = {}
    for vote in votes:
        if vote.row.text("hardware") != LEFT_OUT:
            sets.setdefault(set_name(entry_of(vote.benchmark)), []).append(vote)
    return dict(sorted(sets.items()))


def spec_of(name: str, logs: Vector) -> EngineSpec:
    """An engine of parameters whose logarithms are given in the order of `PRIOR`."""
    values = dict(zip(PRIOR, np.exp(logs).tolist(), strict=True))
    values["exchange_overlap"] = max(0.0, 1.0 - values["exchange_overlap"])
    return dataclasses.replace(catalog().engines["generic"], name=name, **values)


def logs_of(spec: EngineSpec) -> Vector:
    """The other way round."""
    values = {name: getattr(spec, name) for name in PRIOR}
    values["exchange_overlap"] = 1.0 - values["exchange_overlap"]
    return np.log([max(value, 1e-3) for value in values.values()])


def waits_little(benchmark: Benchmark) -> bool:
    """Whether a benchmark's TTFT tells of the engine rather than of the queue."""
    if len(benchmark.sides) == 2:
        return benchmark.conc <= 32
    return benchmark.conc <= 64 and benchmark.sides[0].layout.dp == 1


def errors(votes: Iterable[Vote], engine: EngineSpec) -> Vector:
    """Weighted ``ln(predicted / measured) / ROW_ERROR`` of TPOT, throughput and TTFT."""
    kind, field = InferenceX(), MeanField(engine)
    columns = kind.form.measures
    found = []
    for vote in votes:
        predicted = kind.predicted(vote.row, field.measures(vote.benchmark))
        weights = {
            "tpot": TPOT_WEIGHT,
            "tput": TPUT_WEIGHTS[len(vote.benchmark.sides)],
            "ttft": TTFT_WEIGHT if waits_little(vote.benchmark) else 0.0,
        }
        for measure, weight in weights.items():
            column = columns[measure]
            found.append(weight * np.log(predicted[column] / vote.measured[column]))
    return np.array(found) / ROW_ERROR


@dataclass(frozen=True, slots=True)
class Job:
    """One fit.

    Attributes:
        name: The set.
        votes: Its rows.
        start: Where to begin; None for the prior's median.
        evaluations: Evaluations at most, those of a Jacobian apart.
    """

    name: str
    votes: Sequence[Vote]
    start: EngineSpec | None = None
    evaluations: int = EVALUATIONS


def fitted(job: Job) -> EngineSpec:
    """The maximum a posteriori of one set; for other processes too."""
    from scipy.optimize import least_squares

    medians = np.log([value for value, _ in PRIOR.values()])
    widths = np.array([width for _, width in PRIOR.values()])

    def residuals(logs: Vector) -> Vector:
        off = errors(job.votes, spec_of(job.name, logs))
        return np.concatenate([off, (logs - medians) / widths])

    found = least_squares(
        residuals,
        medians if job.start is None else logs_of(job.start),
        loss="soft_l1",
        max_nfev=job.evaluations,
        diff_step=0.02,
    )
    return spec_of(job.name, found.x)


def fit_all(jobs: Sequence[Job], workers: int) -> list[EngineSpec]:
    """Results of some fits, in order."""
    costs = [float(len(job.votes) * job.evaluations) for job in jobs]
    return mapped(fitted, jobs, costs, workers)


def fit(votes: Iterable[Vote], workers: int) -> dict[str, EngineSpec]:
    """Every set that the votes tell of, by name."""
    jobs = [Job(name, group) for name, group in grouped(votes).items()]
    return {spec.name: spec for spec in fit_all(jobs, workers)}


def catalogue(found: Mapping[str, EngineSpec]) -> dict[str, EngineSpec]:
    """All entries of the catalogue, those of the fitted sets replaced."""
    sets = {name: set_name(name) for name in catalog().engines}
    return {
        name: dataclasses.replace(found[sets[name]], name=name) if sets[name] in found else spec
        for name, spec in catalog().engines.items()
    }


def main() -> None:
    """Fits all sets and writes ``engines.yaml``."""
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("out", type=Path, help="folder for engines.yaml, which must not be there")
    asked.add_argument("--data", type=Path, default=DATA, help=f"data folder (default {DATA})")
    asked.add_argument("--workers", type=int, default=2)
    given = asked.parse_args()
    found = fit(read_votes(given.data), given.workers)
    path = catalog_files.write_engines(given.out, catalogue(found))
    sys.stdout.write(f"{path}: {', '.join(found)} fitted\n")


if __name__ == "__main__":
    main()
