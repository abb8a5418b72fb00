"""GPU power, energy per token and speed of measured servers, predicted beside measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from factory.power import idle_watts
from factory.scenario import catalog
from factory.validation.errors import Pair, Statistics, Verdict, by_group, statistics
from factory.validation.outcomes import Outcome, predicted_by_machine
from factory.validation.power_rows import COLUMNS, PowerCase, case_of, family_of
from factory.validation.power_state import Machine, kernel_watts
from factory.validation.rows import Row, Table, require

if TYPE_CHECKING:
    from factory.scenario import Catalog

KINDS = ("metric", "gpu", "family", "dataset")
WATTS = ("gpu_power_avg", "gpu_power_avg_derived")
ENERGY, THROUGHPUT = "energy_per_output_token", "output_tput_per_gpu"
SCORED = "mlenergy"
"""Begin of the source of the rows that the limits are on: those of serving."""
WATTS_MEDIAN_LIMIT, WATTS_MEAN_LIMIT, ENERGY_MEAN_LIMIT = 0.10, 0.14, 0.20


def check_columns(table: Table) -> None:
    """Refuses a file that has not the columns of measured power.

    Raises:
        InputError: One is missing.
    """
    require(table, COLUMNS, "a file of power points")


def predict(
    table: Table,
    workers: int = 1,
    told: Callable[[int, int], None] | None = None,
    book: Catalog | None = None,
) -> list[Outcome]:
    """Predicts every row of a file, each from its configuration alone.

    Args:
        table: With the columns of measured power.
        workers: Processes.
        told: Told how many servers are done, of how many.
        book: The catalogue; by default the shipped one, without overlays.

    Returns:
        One outcome per row, in order.

    Raises:
        InputError: A cell cannot be read.
    """
    return predicted_by_machine(
        table,
        partial(case_of, book=book),
        attrgetter("server"),
        partial(predict_server, book=book),
        workers,
        told,
    )


def predict_server(cases: Sequence[PowerCase], book: Catalog | None = None) -> list[float | str]:
    """Predictions of the cases of one server, or why there is none."""
    return list(_predictions(cases, book or catalog()))


def _predictions(cases: Sequence[PowerCase], book: Catalog) -> Iterator[float | str]:
    machine: Machine | None = None
    for case in cases:
        gpu = book.gpus[case.gpu]
        if case.kind == "idle":
            is_loaded = case.metric in ("gpu_power_idle_loaded", "gpu_power_idle_context")
            yield idle_watts(gpu, loaded=is_loaded)
        elif case.kind == "kernel":
            yield kernel_watts(gpu, case.operator, case.stored, case.batch)
        elif case.server is not None:
            machine = machine or Machine(case.server, book)
            yield _request(machine, case) if case.kind == "request" else _serving(machine, case)


def _serving(machine: Machine, case: PowerCase) -> float:
    assert case.lengths is not None
    state = machine.steady(case.batch, case.lengths)
    if case.metric == "itl_median":
        return state.itl_ms
    if case.metric == THROUGHPUT:
        return state.tokens_per_s_per_gpu
    watts = state.watts(machine.law)
    return watts / state.tokens_per_s_per_gpu if case.metric == ENERGY else watts


def _request(machine: Machine, case: PowerCase) -> float:
    assert case.lengths is not None
    phases = machine.request(case.batch, case.lengths)
    drawn = [
        machine.law(one.seconds, one.flops, one.hbm_bytes, 1.0, one.waiting_s) for one in phases
    ]
    if case.metric == "power_peak_frac_tdp":
        return max(drawn) / machine.gpu.tdp_w
    lasting = [one.seconds * one.share for one in phases]
    joules = sum(watts * seconds for watts, seconds in zip(drawn, lasting, strict=True))
    return joules / sum(lasting) / machine.gpu.tdp_w


def pairs_of(outcomes: Sequence[Outcome], book: Catalog | None = None) -> list[Pair]:
    """What was predicted beside what was measured.

    Raises:
        InputError: A measurement is not a number above 0.
    """
    return [
        Pair(_labels(one.row, book), one.row.positive("value"), one.predicted)
        for one in outcomes
        if one.predicted is not None
    ]


def _labels(row: Row, book: Catalog | None) -> tuple[tuple[str, str], ...]:
    case = case_of(row, book)
    return (
        ("metric", row.text("metric")),
        ("gpu", row.text("gpu")),
        ("family", family_of(row.text("model")) if case.kind != "idle" else "idle"),
        ("dataset", case.dataset),
        ("scored", str(row.text("source").startswith(SCORED))),
    )


def at_measured_speed(outcomes: Sequence[Outcome], book: Catalog | None = None) -> list[Pair]:
    """Energy per token as predicted watts over *measured* throughput, where a file has both.

    Says what of the error in energy is the power law's and what the step times'.
    """
    measured: dict[tuple[str, ...], float] = {}
    speeds: dict[tuple[str, ...], float] = {}
    for one in outcomes:
        if one.row.text("metric") == THROUGHPUT and one.predicted is not None:
            measured[_key(one.row)] = one.row.positive("value")
            speeds[_key(one.row)] = one.predicted
    pairs = []
    for one in outcomes:
        key = _key(one.row)
        if one.row.text("metric") == ENERGY and one.predicted is not None and key in speeds:
            joules = one.predicted * speeds[key] / measured[key]
            pairs.append(Pair(_labels(one.row, book), one.row.positive("value"), joules))
    return pairs


def _key(row: Row) -> tuple[str, ...]:
    source = row.text("source").split("/derived=")[0]
    return (row.text("gpu"), row.text("model"), row.text("tp"), row.text("batch"), source)


@dataclass(frozen=True, slots=True)
class Report:
    """Errors of a file of power points.

    Attributes:
        groups: By metric, GPU, model family and data set.
        by_gpu: By metric and GPU.
        by_metric: By metric.
        scored: By metric, of the rows that the limits are on.
        at_measured_speed: Energy per token of those at measured throughput, or None.
        verdicts: The limits stated for them.
    """

    groups: tuple[Statistics, ...]
    by_gpu: tuple[Statistics, ...]
    by_metric: tuple[Statistics, ...]
    scored: tuple[Statistics, ...]
    at_measured_speed: Statistics | None
    verdicts: tuple[Verdict, ...]


def report(outcomes: Sequence[Outcome], book: Catalog | None = None) -> Report:
    """Statistics of every group and roll-up, and the limits.

    Raises:
        InputError: A measurement is not a number above 0.
    """
    pairs = pairs_of(outcomes, book)
    scored = [pair for pair in pairs if dict(pair.labels)["scored"] == "True"]
    watts = [pair for pair in scored if dict(pair.labels)["metric"] in WATTS]
    energy = [pair for pair in scored if dict(pair.labels)["metric"] == ENERGY]
    known_speed = [
        pair for pair in at_measured_speed(outcomes, book) if dict(pair.labels)["scored"] == "True"
    ]
    verdicts = []
    if watts:
        total = statistics(watts)
        verdicts.append(Verdict("GPU watts median", total.median, WATTS_MEDIAN_LIMIT))
        verdicts.append(Verdict("GPU watts MAPE", total.mean, WATTS_MEAN_LIMIT))
    if energy:
        verdicts.append(
            Verdict("energy per output token MAPE", statistics(energy).mean, ENERGY_MEAN_LIMIT)
        )
    return Report(
        tuple(by_group(pairs, KINDS)),
        tuple(by_group(pairs, ("metric", "gpu"))),
        tuple(by_group(pairs, ("metric",))),
        tuple(by_group(scored, ("metric",))),
        statistics(known_speed, (f"{ENERGY} at measured speed",)) if known_speed else None,
        tuple(verdicts),
    )
