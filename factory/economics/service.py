"""Latency, attainment and outcomes, from `fact_requests`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.economics.unit_costs import divided
from factory.records.codes import OUTCOMES
from factory.records.reader import RunReader
from factory.records.service_views import QUANTILES

ATTAINMENT_SPAN_S = 300.0


@dataclass(frozen=True, slots=True)
class Service:
    """Requests of a run, weighted by cells where they are counted.

    Attributes:
        attempts: Attempts of the whole run, by name in `ATTEMPTS`.
        good: Logical requests of the whole run that were good.
        measured: Logical requests that arrive in the measured interval: offered, good, and by what
            became of their last attempt: completed, rejected, timed_out, failed, in_flight.
        measured_attempts: Attempts that arrive in the measured interval, by name in `ATTEMPTS`.
        latency_ms: `ttft_ms`, `itl_ms`, `e2e_ms` → mean and quantiles, of completed requests that
            arrive in the measured interval; None without one.
        attainment: By tenant: offered, completed, good, `attainment_ratio`, `worst_5min_ratio`,
            `target_ratio`.
    """

    attempts: dict[str, float]
    good: float
    measured: dict[str, float]
    measured_attempts: dict[str, float]
    latency_ms: dict[str, dict[str, float | None]]
    attainment: dict[str, dict[str, float | None]]


#: What attempts are counted by: all of them, first ones, further ones, by outcome, and of the
#: completed those with an answer cut at a limit of length, of the rejected those whose prompt is
#: longer than their deployment takes.
ATTEMPTS = ("requests", "offered", "retried", *OUTCOMES, "truncated", "rejected_too_long")


def service(reader: RunReader) -> Service:
    """Latency, attainment and outcomes of a run.

    Raises:
        InputError: A table is missing.
    """
    flags = ("is_good", "is_truncated", "is_measured")
    latencies = ("ttft_s", "itl_s", "e2e_s")
    names = ("weight", "tenant", "outcome", "attempt", "arrival_time_s", *flags, *latencies)
    rows = reader.read("fact_requests", names)
    weight = rows.number("weight")
    measured = rows.flag("is_measured")
    attempt = rows.number("attempt")
    root = _roots(reader, attempt)
    first = attempt == 0
    good_root = _any(rows.flag("is_good"), root)
    completed_root = _any(rows.is_equal("outcome", "completed"), root)
    offered = first & measured
    outcomes = {name: rows.is_equal("outcome", name) for name in OUTCOMES}
    last = _is_last(attempt, root)
    which = {
        "requests": np.ones(rows.rows, dtype=np.bool_),
        "offered": first,
        "retried": ~first,
        **outcomes,
        "truncated": rows.flag("is_truncated"),
        "rejected_too_long": too_long(reader, outcomes["rejected"]),
    }
    shown = outcomes["completed"] & measured
    return Service(
        attempts={name: float(weight[which[name]].sum()) for name in ATTEMPTS},
        good=float(weight[first & good_root].sum()),
        measured={
            "offered": float(weight[offered].sum()),
            "good": float(weight[offered & good_root].sum()),
            **{
                name: float(weight[offered & _any(held & last, root)].sum())
                for name, held in outcomes.items()
            },
        },
        measured_attempts={name: float(weight[which[name] & measured].sum()) for name in ATTEMPTS},
        latency_ms={
            f"{name.removesuffix('_s')}_ms": _distribution(rows.number(name)[shown] * 1000)
            for name in latencies
        },
        attainment=_attainment(
            reader,
            [str(tenant) for tenant in rows.text("tenant").values],
            rows.text("tenant").codes[offered],
            rows.number("arrival_time_s")[offered],
            weight[offered],
            completed_root[offered],
            good_root[offered],
        ),
    )


def too_long(reader: RunReader, rejected: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which attempts were rejected because their prompt is longer than their deployment takes.

    Args:
        reader: Tables of the run.
        rejected: Which attempts of `fact_requests` were rejected, shape (rows,).
    """
    if not rejected.any():
        return rejected
    dim = reader.read("dim_deployments", ("deployment", "longest_prompt_tokens"))
    longest = dict(
        zip(dim.strings("deployment"), dim.number("longest_prompt_tokens").tolist(), strict=True)
    )
    rows = reader.read("fact_requests", ("deployment", "input_tokens"))
    limits = [longest.get(str(name), np.inf) for name in rows.text("deployment").values]
    return rejected & (
        rows.number("input_tokens") > np.array(limits)[rows.text("deployment").codes]
    )


def last_attempts(reader: RunReader) -> NDArray[np.bool_]:
    """Which attempts are the last of their logical request, shape (rows,)."""
    attempt = reader.read("fact_requests", ("attempt",)).number("attempt")
    return _is_last(attempt, _roots(reader, attempt))


def _is_last(attempt: NDArray[np.float64], root: NDArray[np.int64] | None) -> NDArray[np.bool_]:
    if root is None:
        return np.ones(attempt.size, dtype=np.bool_)
    most = np.zeros(int(root.max()) + 1)
    np.maximum.at(most, root, attempt)
    last: NDArray[np.bool_] = attempt == most[root]
    return last


def _roots(reader: RunReader, attempt: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The logical request of each attempt as a number; None where nothing was tried twice."""
    if not attempt.any():
        return None
    codes = reader.read("fact_requests", ("root_request_id",)).text("root_request_id").codes
    return codes.astype(np.int64)


def _any(flags: NDArray[np.bool_], root: NDArray[np.int64] | None) -> NDArray[np.bool_]:
    """For each attempt, whether a flag holds for one of the attempts of its logical request."""
    if root is None:
        return flags
    held = np.zeros(int(root.max()) + 1, dtype=np.bool_)
    held[root[flags]] = True
    return held[root]


def _distribution(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Mean and quantiles (linear between order statistics), NaN left out."""
    values = values[~np.isnan(values)]
    if not values.size:
        return dict.fromkeys(("mean", *QUANTILES))
    quantiles = np.quantile(values, list(QUANTILES.values())).tolist()
    return {"mean": float(values.mean()), **dict(zip(QUANTILES, quantiles, strict=True))}


def _attainment(
    reader: RunReader,
    tenants: Sequence[str],
    tenant: NDArray[np.int32],
    arrival_s: NDArray[np.float64],
    weight: NDArray[np.float64],
    completed: NDArray[np.bool_],
    good: NDArray[np.bool_],
) -> dict[str, dict[str, float | None]]:
    """Attainment of every tenant, over logical requests that arrive in the measured interval."""
    dim = reader.read("dim_tenants", ("tenant", "target_ratio"))
    targets = dict(zip(dim.strings("tenant"), dim.number("target_ratio").tolist(), strict=True))
    found = {}
    for name in sorted({*tenants, *(str(known) for known in targets)}):
        mine = tenant == (tenants.index(name) if name in tenants else -1)
        offered = float(weight[mine].sum())
        met = float(weight[mine & good].sum())
        found[name] = {
            "offered": offered,
            "completed": float(weight[mine & completed].sum()),
            "good": met,
            "attainment_ratio": divided(met, offered),
            "worst_5min_ratio": _worst(arrival_s[mine], weight[mine], good[mine]),
            "target_ratio": targets.get(name),
        }
    return found


def _worst(
    arrival_s: NDArray[np.float64], weight: NDArray[np.float64], good: NDArray[np.bool_]
) -> float | None:
    """The lowest attainment over spans of five minutes that saw a request."""
    if not arrival_s.size:
        return None
    _, span = np.unique(np.floor(arrival_s / ATTAINMENT_SPAN_S), return_inverse=True)
    return float((np.bincount(span, weight * good) / np.bincount(span, weight)).min())
