"""Latency, attainment and outcomes, from `fact_requests`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.economics.unit_costs import divided
from factory.records.reader import RunReader
from factory.records.views import QUANTILES

ATTAINMENT_SPAN_S = 300.0


@dataclass(frozen=True, slots=True)
class Service:
    """Requests of a run, weighted by cells where they are counted.

    Attributes:
        requests: Attempts of the whole run.
        completed: Of these, completed.
        good: Of these, logical requests within every limit.
        truncated: Of the completed, those whose answer was cut at a limit of length.
        rejected: Attempts of the whole run that were refused.
        measured: Logical requests that arrive in the measured interval: offered, completed, good;
            and attempts that arrive in it: truncated, rejected.
        latency_ms: `ttft_ms`, `itl_ms`, `e2e_ms` → mean and quantiles, of completed requests that
            arrive in the measured interval; None without one.
        attainment: By tenant: offered, good, `attainment_ratio`, `worst_5min_ratio`,
            `target_ratio`.
    """

    requests: float
    completed: float
    good: float
    truncated: float
    rejected: float
    measured: dict[str, float]
    latency_ms: dict[str, dict[str, float | None]]
    attainment: dict[str, dict[str, float | None]]


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
    completed = rows.is_equal("outcome", "completed")
    truncated = rows.flag("is_truncated")
    rejected = rows.is_equal("outcome", "rejected")
    measured = rows.flag("is_measured")
    attempt = rows.number("attempt")
    root = _roots(reader, attempt)
    first = attempt == 0
    good_root = _any(rows.flag("is_good"), root)
    completed_root = _any(completed, root)
    offered = first & measured
    shown = completed & measured
    return Service(
        requests=float(weight.sum()),
        completed=float(weight[completed].sum()),
        good=float(weight[first & good_root].sum()),
        truncated=float(weight[truncated].sum()),
        rejected=float(weight[rejected].sum()),
        measured={
            "offered": float(weight[offered].sum()),
            "completed": float(weight[offered & completed_root].sum()),
            "good": float(weight[offered & good_root].sum()),
            "truncated": float(weight[measured & truncated].sum()),
            "rejected": float(weight[measured & rejected].sum()),
        },
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
            good_root[offered],
        ),
    )


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
