"""Derivations: functions from the raw fields of a batch to the values of one column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from factory.records.batch import Batch, CodeTables
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
    return lambda batch: Text(batch.code(field), getattr(batch.codes, table))


def outcome(batch: Batch) -> Values:
    """The names of outcomes."""
    return Text(batch.code("outcome"), OUTCOMES)


def _through(codes: NDArray[np.int32], table: Sequence[int]) -> NDArray[np.int32]:
    """`table[code]` for each code, -1 where the code is negative."""
    through: NDArray[np.int32] = np.asarray([*table, -1], dtype=np.int32)[np.maximum(codes, -1)]
    return through


def pool_of_replica(field: str) -> Derivation:
    """The pool behind a field of replica codes."""
    return lambda batch: Text(
        _through(batch.code(field), batch.codes.replica_pools), batch.codes.pools
    )


def deployment_of_pool(batch: Batch) -> Values:
    """The deployment behind the field `pool`; null for unassigned GPUs."""
    codes: CodeTables = batch.codes
    return Text(_through(batch.code("pool"), codes.pool_deployments), codes.deployments)


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


def facility_kwh(batch: Batch) -> Values:
    """Energy at the facility boundary from `energy_it_j`."""
    return batch.number("energy_it_j") / JOULES_PER_KWH * batch.constants.pue


def mean_it_kw(batch: Batch) -> Values:
    """Mean IT power over the window; null for a window without span."""
    span_s = batch.number("window_s")
    mean = np.full(batch.rows, np.nan)
    np.divide(batch.number("energy_it_j") / 1e3, span_s, out=mean, where=span_s > 0)
    return mean


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
