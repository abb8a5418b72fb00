"""Derivations: functions from the raw fields of a batch to the values of one column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from factory.records.batch import Batch, CodeTables
from factory.records.cell_names import cell_of, plain
from factory.records.codes import COMPLETED, OUTCOMES
from factory.records.columns import Ids, Moments, Text, Values

JOULES_PER_KWH = 3.6e6

Derivation = Callable[[Batch], Values]
CodeName = Literal["deployments", "tenants", "pools", "replicas", "power_nodes"]


def run_id(batch: Batch) -> Values:
    """The run's id in every row."""
    return Text(np.zeros(batch.rows, dtype=np.int32), [batch.constants.run_id])


def weight(batch: Batch) -> Values:
    """The weight of the run's cells in every row."""
    return np.full(batch.rows, batch.constants.weight)


def one(batch: Batch) -> Values:
    """1 in every row."""
    return np.ones(batch.rows)


def epoch(batch: Batch) -> Values:
    """The instant of simulated time 0 in every row."""
    return Moments(np.zeros(batch.rows))


def named(field: str, table: CodeName) -> Derivation:
    """The names behind a field of codes."""
    return lambda batch: _text(batch.code(field), getattr(batch.codes, table))


def _text(codes: NDArray[np.int32], names: Sequence[str]) -> Text:
    """Names by code; things of different cells have the same."""
    return Text(codes, names) if len(set(names)) == len(names) else _spelled(codes, names)


def cell_of_tenant(batch: Batch) -> Values:
    """The cell behind the field `tenant`."""
    return _cells(batch.code("tenant"), batch.codes.tenant_cells)


def cell_of_pool(batch: Batch) -> Values:
    """The cell behind the field `pool`."""
    return _cells(batch.code("pool"), batch.codes.pool_cells)


def cell_of_node(batch: Batch) -> Values:
    """The cell behind the field `power_node`; null for what all cells share."""
    table = batch.codes.power_node_cells
    shared = [-1 if level == "facility" else 0 for level in batch.codes.power_node_levels]
    return _cells(batch.code("power_node"), table or shared)


def cell_of_subject(batch: Batch) -> Values:
    """The cell of the field `subject`, by its name; null for the facility."""
    subject = batch.raw["subject"]
    assert isinstance(subject, Text)
    shared = batch.codes.power_nodes[:1]
    return _cells(subject.codes, [-1 if s in shared else cell_of(s) for s in subject.values])


def plain_subject(batch: Batch) -> Values:
    """The field `subject` without the cell, where every cell has such a thing."""
    subject = batch.raw["subject"]
    assert isinstance(subject, Text)
    nodes = set(batch.codes.power_nodes)
    names = [name if name in nodes else plain(name) for name in subject.values]
    return _text(subject.codes, names)


def _cells(codes: NDArray[np.int32], table: Sequence[int]) -> NDArray[np.int32]:
    return _through(codes, table) if len(table) else np.zeros(len(codes), dtype=np.int32)


def outcome(batch: Batch) -> Values:
    """The names of outcomes."""
    return Text(batch.code("outcome"), OUTCOMES)


def _through(codes: NDArray[np.int32], table: Sequence[int]) -> NDArray[np.int32]:
    """`table[code]` for each code, -1 where the code is negative."""
    through: NDArray[np.int32] = np.asarray([*table, -1], dtype=np.int32)[np.maximum(codes, -1)]
    return through


def pool_of_replica(field: str) -> Derivation:
    """The pool behind a field of replica codes."""
    return lambda batch: _text(
        _through(batch.code(field), batch.codes.replica_pools), batch.codes.pools
    )


def deployment_of_pool(batch: Batch) -> Values:
    """The deployment behind the field `pool`; null for unassigned GPUs."""
    codes: CodeTables = batch.codes
    return _text(_through(batch.code("pool"), codes.pool_deployments), codes.deployments)


def _spelled(codes: NDArray[np.int32], strings: Sequence[str]) -> Text:
    """Strings by code, where different codes may spell the same."""
    values = sorted(set(strings))
    position = {value: index for index, value in enumerate(values)}
    return Text(_through(codes, [position[string] for string in strings]), values)


def role_of_pool(batch: Batch) -> Values:
    """The role behind the field `pool`."""
    return _spelled(batch.code("pool"), batch.codes.pool_roles)


def level_of_node(batch: Batch) -> Values:
    """The level behind the field `power_node`."""
    return _spelled(batch.code("power_node"), batch.codes.power_node_levels)


def ids(prefix: str, field: str) -> Derivation:
    """Ids from a field of numbers; -1 is null."""
    return lambda batch: Ids(prefix, batch.number(field).astype(np.int64))


def task_ids(batch: Batch) -> Values:
    """Ids of tasks: the session's, and the number of the task in it."""
    session, task = batch.number("session"), batch.number("task")
    return Ids("s", session.astype(np.int64), task.astype(np.int64))


def moment(field: str) -> Derivation:
    """The instant behind a column of simulated seconds."""
    return lambda batch: Moments(batch.number(field))


def span(start: str, end: str) -> Derivation:
    """Seconds from one raw instant to another; null where either did not happen."""
    return lambda batch: batch.number(end) - batch.number(start)


def scaled(field: str, factor: float) -> Derivation:
    """A raw field times a constant."""
    return lambda batch: batch.number(field) * factor


def _is_completed(batch: Batch) -> NDArray[np.bool_]:
    return np.equal(batch.number("outcome"), COMPLETED)


def e2e_s(batch: Batch) -> Values:
    """Arrival of the first attempt to the last token, of completed requests."""
    e2e = batch.number("completion_time_s") - batch.number("first_arrival_time_s")
    return np.where(_is_completed(batch), e2e, np.nan)


def itl_s(batch: Batch) -> Values:
    """(E2E − TTFT) / (OSL − 1) of completed requests with two output tokens or more (AIPerf)."""
    later = batch.number("output_tokens") - 1.0
    decode = batch.number("completion_time_s") - batch.number("first_token_time_s")
    decode = np.where(_is_completed(batch), decode, np.nan)
    itl = np.full(batch.rows, np.nan)
    np.divide(decode, later, out=itl, where=later > 0)
    return itl


def is_truncated(batch: Batch) -> Values:
    """Completed with fewer tokens delivered than asked for."""
    short = batch.number("output_tokens") < batch.number("requested_output_tokens")
    return _is_completed(batch) & short


def is_good(batch: Batch) -> Values:
    """Completed within every limit of its tenant; a limit on what did not happen is met."""
    tenants = batch.code("tenant")
    good = _is_completed(batch)
    limits = batch.codes.tenant_limits
    for name in ("ttft_s", "itl_s", "e2e_s"):
        limit = np.asarray([getattr(tenant, name) for tenant in limits], dtype=np.float64)
        good = good & ~(batch.number(name) > limit[tenants])
    return good


def measured(field: str) -> Derivation:
    """Whether a raw instant lies in the measured interval."""

    def derive(batch: Batch) -> Values:
        at_s = batch.number(field)
        run = batch.constants
        return (at_s >= run.measured_from_s) & (at_s < run.measured_to_s)

    return derive


def measured_whole(batch: Batch) -> Values:
    """Whether what began in the run starts in the measured interval."""
    is_measured = measured("start_time_s")(batch)
    assert isinstance(is_measured, np.ndarray)
    return is_measured & (batch.number("is_whole") > 0)


def completed_span(start: str, end: str) -> Derivation:
    """Seconds from one raw instant to another, of what completed."""
    return lambda batch: np.where(
        _is_completed(batch), batch.number(end) - batch.number(start), np.nan
    )


def tools_s(batch: Batch) -> Values:
    """What of a task's span no request of it was inside the factory."""
    span_s = batch.number("end_time_s") - batch.number("start_time_s")
    return np.maximum(span_s - batch.number("waited_s"), 0.0)


def is_good_task(batch: Batch) -> Values:
    """Completed within its tenant's limit on tasks; without one, by its requests."""
    limits = [tenant.task_s for tenant in batch.codes.tenant_limits]
    limit = np.asarray(limits, dtype=np.float64)[batch.code("tenant")]
    by_request = batch.number("requests_good") == batch.number("requests")
    in_time = np.where(np.isfinite(limit), ~(batch.number("task_s") > limit), by_request)
    return _is_completed(batch) & in_time


def window_start_time_s(batch: Batch) -> Values:
    """Start of the window."""
    return batch.number("window_index") * batch.constants.window_s


def window_s(batch: Batch) -> Values:
    """Span of the window; the run's end cuts the last one."""
    start = batch.number("window_start_time_s")
    return np.minimum(start + batch.constants.window_s, max(batch.end_s, 0.0)) - start


def measured_window(batch: Batch) -> Values:
    """Whether the window belongs to the measured interval."""
    start = batch.number("window_start_time_s")
    run = batch.constants
    slack = 1e-9 * run.window_s
    return (start >= run.measured_from_s - slack) & (start < run.measured_to_s - slack)


def kwh(field: str) -> Derivation:
    """Energy in kWh from a raw field of joules."""
    return lambda batch: batch.number(field) / JOULES_PER_KWH


def mean_kw(joules: str, seconds: str) -> Derivation:
    """Mean power in kW of a raw field of joules over a span in seconds; null without span."""

    def derive(batch: Batch) -> Values:
        span_s = batch.number(seconds)
        mean = np.full(batch.rows, np.nan)
        np.divide(batch.number(joules) / 1e3, span_s, out=mean, where=span_s > 0)
        return mean

    return derive


def is_set(field: str) -> Derivation:
    """Whether a raw field is above 0."""
    return lambda batch: batch.number(field) > 0


def measured_quarter(batch: Batch) -> Values:
    """Whether the middle of what was metered lies in the measured interval."""
    middle_s = (batch.number("start_s") + batch.number("end_s")) / 2.0
    run = batch.constants
    return (middle_s >= run.measured_from_s) & (middle_s < run.measured_to_s)


def local_clock(field: str) -> Derivation:
    """The facility's clock at a raw instant, as `2026-10-25 02:15+02:00`."""

    def derive(batch: Batch) -> Values:
        run = batch.constants
        zone = ZoneInfo(run.time_zone)
        epoch_utc = run.epoch.astimezone(UTC)
        texts = [
            (epoch_utc + timedelta(seconds=at_s)).astimezone(zone).isoformat(" ", "minutes")
            for at_s in batch.number(field).tolist()
        ]
        values = list(dict.fromkeys(texts))
        position = {text: code for code, text in enumerate(values)}
        return Text(np.asarray([position[text] for text in texts], dtype=np.int32), values)

    return derive


def as_number(field: str) -> Derivation:
    """A text field as a number where it reads as a finite one, else null."""

    def derive(batch: Batch) -> Values:
        text = batch.raw[field]
        assert isinstance(text, Text)
        numbers = np.asarray([_number(value) for value in text.values] + [np.nan])
        return numbers[text.codes]

    return derive


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return np.nan
    return number if np.isfinite(number) else np.nan
