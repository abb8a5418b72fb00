"""Measured serving beside whole simulated benchmarks, one vote per configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from factory.validation.benchmark import Benchmark, Measures, simulate
from factory.validation.errors import Pair, Statistics, Verdict, by_group, statistics
from factory.validation.ordering import Ordering, Point, ordering
from factory.validation.parallel import mapped
from factory.validation.rows import NotPredictableError, Row, Table
from factory.validation.serving_rows import Drafting, Kind

ORDER_LIMIT = 0.95
NAMES = {"tpot": "TPOT", "ttft": "TTFT", "tput": "throughput per GPU"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row.

    Attributes:
        row: The row.
        predicted: By column, in its unit; empty where there is no prediction.
        why_not: Why there is none.
    """

    row: Row
    predicted: dict[str, float]
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Vote:
    """One configuration: medians over its repeats.

    Attributes:
        config: Its id.
        labels: Labels of its first row.
        measured, predicted: By measure.
        rows: Repeats behind it.
    """

    config: str
    labels: tuple[tuple[str, str], ...]
    measured: dict[str, float]
    predicted: dict[str, float]
    rows: int


def predict(
    table: Table,
    kind: Kind,
    drafting: Drafting | None = None,
    workers: int = 1,
    told: Callable[[int, int], None] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> list[Outcome]:
    """Simulates every row of a file; equal benchmarks once.

    Args:
        table: The file.
        kind: Its columns, from `kind_of`.
        drafting: What rows with speculative decoding do not state.
        workers: Processes.
        told: Told how many benchmarks are done, of how many.
        changes: Changes of the catalogue, as a scenario's ``catalog_changes``.

    Returns:
        One outcome per row, in order; the same for any number of workers.

    Raises:
        InputError: A cell cannot be read.
    """
    drafting = drafting or Drafting()
    asked: list[Benchmark | str] = []
    for row in table.rows:
        try:
            asked.append(kind.benchmark(row, drafting))
        except NotPredictableError as error:
            asked.append(str(error))
    unique = list(dict.fromkeys(one for one in asked if isinstance(one, Benchmark)))
    simulated = partial(simulate, changes=changes) if changes else simulate
    results = mapped(simulated, unique, [one.cost for one in unique], workers, told)
    known: dict[Benchmark, Measures | str] = dict(zip(unique, results, strict=True))
    outcomes = []
    for row, one in zip(table.rows, asked, strict=True):
        found = one if isinstance(one, str) else known[one]
        if isinstance(found, str):
            outcomes.append(Outcome(row, {}, found))
        else:
            outcomes.append(Outcome(row, kind.predicted(row, found)))
    return outcomes


def votes(outcomes: Sequence[Outcome], kind: Kind) -> list[Vote]:
    """One vote per configuration, in the order of their first rows.

    Raises:
        InputError: A measurement is not a number above 0.
    """
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if not outcome.why_not:
            groups.setdefault(kind.config(outcome.row), []).append(outcome)
    found = []
    for config, repeats in groups.items():
        measured, predicted = {}, {}
        for measure, column in kind.form.measures.items():
            measured[measure] = median(one.row.positive(column) for one in repeats)
            predicted[measure] = median(one.predicted[column] for one in repeats)
        found.append(Vote(config, kind.labels(repeats[0].row), measured, predicted, len(repeats)))
    return found


def pairs_of(found: Sequence[Vote], measure: str) -> list[Pair]:
    """A measure of every vote, predicted beside measured."""
    return [Pair(vote.labels, vote.measured[measure], vote.predicted[measure]) for vote in found]


@dataclass(frozen=True, slots=True)
class MeasureReport:
    """Errors of one measure.

    Attributes:
        measure: tpot, ttft or tput.
        total: Over all votes.
        by_serving: Aggregated and disaggregated apart.
        groups: By the kinds of the file.
    """

    measure: str
    total: Statistics
    by_serving: tuple[Statistics, ...]
    groups: tuple[Statistics, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Errors of a file of serving rows.

    Attributes:
        measures: Of rows without a flag.
        flagged: Of rows with one, all together by measure.
        ordering: Of rows without a flag; None where throughput is not measured.
        verdicts: The limits stated for such a file.
    """

    measures: tuple[MeasureReport, ...]
    flagged: tuple[MeasureReport, ...]
    ordering: Ordering | None
    verdicts: tuple[Verdict, ...]


def report(outcomes: Sequence[Outcome], kind: Kind) -> Report:
    """Statistics of every group and roll-up, the order, and the limits.

    Raises:
        InputError: A measurement is not a number above 0.
    """
    clean = votes([one for one in outcomes if not one.row.text("flag")], kind)
    flagged = votes([one for one in outcomes if one.row.text("flag")], kind)
    measures = _measures(clean, kind)
    order = _ordering(clean) if "tput" in kind.form.measures else None
    verdicts = _verdicts(measures, order, kind)
    return Report(tuple(measures), tuple(_measures(flagged, kind)), order, tuple(verdicts))


def _measures(found: Sequence[Vote], kind: Kind) -> list[MeasureReport]:
    reports = []
    for measure in kind.form.measures if found else ():
        pairs = pairs_of(found, measure)
        reports.append(
            MeasureReport(
                measure,
                statistics(pairs),
                tuple(by_group(pairs, ("serving",))),
                tuple(by_group(pairs, kind.form.group_kinds)),
            )
        )
    return reports


def _ordering(found: Sequence[Vote]) -> Ordering:
    points = []
    for vote in found:
        labels = dict(vote.labels)
        demand = (labels["model"], labels["isl"], labels["osl"])
        speed = 1.0 / vote.measured["tpot"]
        points.append(Point(demand, speed, vote.measured["tput"], vote.predicted["tput"]))
    return ordering(points)


def _verdicts(
    measures: Sequence[MeasureReport], order: Ordering | None, kind: Kind
) -> list[Verdict]:
    found = []
    by_measure = {one.measure: one for one in measures}
    for limit in kind.form.limits:
        one = by_measure.get(limit.measure)
        if one is None:
            continue
        groups = [one.total]
        name = f"{NAMES[limit.measure]} {limit.statistic}"
        if limit.serving:
            groups = [group for group in one.by_serving if group.group == (limit.serving,)]
            name = f"{name}, {limit.serving}"
        for group in groups:
            value = group.median if limit.statistic == "median" else group.mean
            found.append(Verdict(name, value, limit.most))
    if order is not None and order.pairs:
        found.append(Verdict("pairs in the right order", order.share, ORDER_LIMIT, at_least=True))
    return found
