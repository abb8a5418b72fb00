"""Laws over requests: conservation, Little's law, order of instants, allocation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factory.economics.cache import LOWER_TIERS
from factory.records.codes import LEDGER_STATES, OUTCOMES, WORKING_STATES
from factory.records.reader import Columns, RunReader
from factory.validation.results import LawResult, departure, within
from factory.validation.retry_laws import retries

_TIERS = tuple(f"input_cached_{tier}_tokens" for tier in LOWER_TIERS)
_NUMBERS = (
    "weight",
    "attempt",
    "first_arrival_time_s",
    "arrival_time_s",
    "prefill_start_time_s",
    "prefill_end_time_s",
    "first_token_time_s",
    "completion_time_s",
    "input_tokens",
    "input_computed_tokens",
    "input_recomputed_tokens",
    "input_cached_tokens",
    *_TIERS,
    "requested_output_tokens",
    "output_tokens",
    "gpu_s_input_computed",
    "gpu_s_input_cached",
    "gpu_s_output",
)
_COUNTED = ("offered", "retried", "completed", "good", "rejected", "timed_out", "failed")
_TOKENS = ("input_computed_tokens", "input_recomputed_tokens", "input_cached_tokens")
_WORKING = tuple(f"gpu_s_{LEDGER_STATES[state]}" for state in WORKING_STATES)


def request_laws(reader: RunReader, end_s: float, requests: int) -> list[LawResult]:
    """Every law over requests.

    Args:
        reader: Tables of the run.
        end_s: End of the run, simulated seconds.
        requests: Attempts that `fact_runs` counts.

    Raises:
        InputError: A table is missing.
    """
    rows = reader.read(
        "fact_requests", ("deployment", "outcome", "is_good", "is_truncated", *_NUMBERS)
    )
    counted = reader.read("fact_tenant_intervals", (*_COUNTED, "input_tokens", "output_tokens"))
    columns = (*_TOKENS, "output_tokens", *_WORKING)
    pools = reader.read("fact_intervals", columns)
    return [
        _outcomes(rows, counted, requests),
        _little(rows, end_s),
        _instants(rows, end_s),
        retries(reader),
        _own_tokens(rows),
        _tiers(rows),
        _tokens(rows, pools, counted),
        _allocation(rows, pools),
    ]


def _outcomes(rows: Columns, counted: Columns, requests: int) -> LawResult:
    """Offered + retried = completed + rejected + timed out + failed + in flight, in every table."""
    by_outcome = {name: int(rows.is_equal("outcome", name).sum()) for name in OUTCOMES}
    attempt = rows.number("attempt")
    want = {
        "offered": int((attempt == 0).sum()),
        "retried": int((attempt > 0).sum()),
        "good": int(rows.flag("is_good").sum()),
        **{name: by_outcome[name] for name in ("completed", "rejected", "timed_out", "failed")},
    }
    got = {name: int(counted.number(name).sum()) for name in _COUNTED}
    off = {name: abs(want[name] - got[name]) for name in _COUNTED}
    off["requests"] = abs(requests - sum(by_outcome.values()))
    told = ", ".join(f"{count} {name}" for name, count in by_outcome.items() if count)
    detail = f"{want['offered']} offered + {want['retried']} retried = {rows.rows} attempts"
    detail += f" = {told or 'none'}"
    worst = max(off, key=lambda name: off[name])
    if off[worst]:
        detail += f"; {worst} differs: {want.get(worst, rows.rows)} in fact_requests, "
        detail += f"{got.get(worst, requests)} elsewhere"
    return within("arrivals_equal_outcomes", off[worst], 0, detail)


def _little(rows: Columns, end_s: float) -> LawResult:
    """L = λ·W over the run: requests in the system, integrated over time, against their stays."""
    arrival = rows.number("arrival_time_s")
    left = np.where(
        np.isnan(rows.number("completion_time_s")), end_s, rows.number("completion_time_s")
    )
    span = max(end_s, float(left.max(initial=0.0)))
    if not rows.rows or span <= 0:
        return within("littles_law", 0, 1e-9, "no requests")
    times = np.concatenate([arrival, left])
    change = np.concatenate([np.ones(rows.rows), -np.ones(rows.rows)])
    order = np.lexsort((-change, times))
    number = np.cumsum(change[order])
    mean_number = float(np.dot(number[:-1], np.diff(times[order]))) / span
    rate = rows.rows / span
    stay = float((left - arrival).mean())
    off = departure(mean_number, rate * stay)
    if number.min() < 0:
        off = float("inf")
    detail = f"L = {mean_number:.6g} in the system, λ·W = {rate:.6g}/s × {stay:.6g} s"
    return within("littles_law", off, 1e-9, detail)


def _instants(rows: Columns, end_s: float) -> LawResult:
    """First arrival ≤ arrival ≤ prefill's start ≤ its end ≤ first token ≤ completion ≤ end."""
    names = (
        "first_arrival_time_s",
        "arrival_time_s",
        "prefill_start_time_s",
        "prefill_end_time_s",
        "first_token_time_s",
        "completion_time_s",
    )
    latest = np.zeros(rows.rows)
    worst, offender = 0.0, ""
    for name in names:
        times = rows.number(name)
        back = np.nan_to_num(latest - times, nan=0.0)
        if back.max(initial=0.0) > worst:
            worst, offender = (
                float(back.max()),
                f"; {name} in row {int(back.argmax())} is too early",
            )
        latest = np.fmax(latest, times)
    over = float(latest.max(initial=0.0)) - end_s
    if over > max(worst, 1e-9):
        worst, offender = over, f"; row {int(latest.argmax())} ends after the run"
    return within("instants_in_order", worst, 1e-9, f"instants of {rows.rows} attempts{offender}")


def _own_tokens(rows: Columns) -> LawResult:
    """A completed request's prompt is computed or cached, and its output is what it asked for.

    A truncated answer ends where prompt and output reach the limit of its deployment: the same sum
    for all of them, which no other completed request passes. No other attempt has more than it
    asked for.
    """
    done = rows.is_equal("outcome", "completed")
    cut = rows.flag("is_truncated")
    prompt = rows.number("input_computed_tokens") + rows.number("input_cached_tokens")
    output = rows.number("output_tokens")
    off = np.abs(prompt - rows.number("input_tokens"))
    off += np.where(cut, 0.0, np.abs(output - rows.number("requested_output_tokens")))
    total = rows.number("input_tokens") + output
    deployment = rows.text("deployment").codes
    for code in np.unique(deployment[cut]).tolist():
        mine = done & (deployment == code)
        limit = float(total[mine & cut].max())
        off += np.where(mine, np.where(cut, limit - total, np.maximum(total - limit, 0.0)), 0.0)
    over = np.maximum(prompt - rows.number("input_tokens"), 0.0)
    over += np.maximum(output - rows.number("requested_output_tokens"), 0.0)
    off = np.where(done, off, over)
    worst = float(off.max(initial=0.0))
    detail = f"computed + cached = input, delivered = requested, of {int(done.sum())} completed"
    if cut.any():
        detail += f"; {int(cut.sum())} truncated at the limit of prompt + output"
    if worst:
        detail += f"; row {int(off.argmax())} is off by {worst:.0f} tokens"
    return within("tokens_of_requests", worst, 0, detail)


def _tokens(rows: Columns, pools: Columns, counted: Columns) -> LawResult:
    """Tokens of requests = tokens of pools = tokens of tenants, over the whole run."""
    off: dict[str, float] = {}
    told = []
    for name in (*_TOKENS, "output_tokens"):
        sums = {
            "requests": float(rows.number(name).sum()),
            "pools": float(pools.number(name).sum()),
        }
        if name == "output_tokens":
            sums["tenants"] = float(counted.number(name).sum())
        off[name] = departure(min(sums.values()), max(sums.values()))
        told.append(f"{name} {' / '.join(f'{value:.12g}' for value in sums.values())}")
    demand = float(rows.number("input_tokens")[rows.number("attempt") == 0].sum())
    off["input_tokens"] = departure(demand, float(counted.number("input_tokens").sum()))
    worst = max(off, key=lambda name: off[name])
    return within("tokens_conserved", off[worst], 1e-9, f"worst is {worst}; {', '.join(told)}")


def _tiers(rows: Columns) -> LawResult:
    """Tokens fetched from lower tiers are among the cached ones, which are among the prompt."""
    below = sum(rows.number(name) for name in _TIERS)
    cached = rows.number("input_cached_tokens")
    over = np.maximum(below - cached, cached - rows.number("input_tokens"))
    worst, row = largest(np.maximum(over, 0.0))
    told = ", ".join(
        f"{rows.number(name).sum():.12g} {tier}"
        for tier, name in zip(LOWER_TIERS, _TIERS, strict=True)
    )
    detail = f"{cached.sum():.12g} cached tokens, of them {told}"
    if worst:
        detail += f"; row {row} is off by {worst:.0f} tokens"
    return within("tiers_within_cached", worst, 0, detail)


def _allocation(rows: Columns, pools: Columns) -> LawResult:
    """Σ requests' GPU-seconds ≤ working GPU-seconds, and equal to them when nothing is in flight.

    This is the utilization law, U = X · S, with every request's own S.
    """
    columns = ("gpu_s_input_computed", "gpu_s_input_cached", "gpu_s_output")
    allocated = sum(float(rows.number(name).sum()) for name in columns)
    working = sum(float(pools.number(name).sum()) for name in _WORKING)
    return _share("allocation_equals_working_gpu_s", allocated, working, _is_drained(rows), "GPU s")


def _is_drained(rows: Columns) -> bool:
    return not rows.is_equal("outcome", "in_flight").any()


def _share(name: str, part: float, whole: float, is_all: bool, unit: str) -> LawResult:
    off = departure(part, whole) if is_all or part > whole else 0.0
    return within(name, off, 1e-6, f"{part:.9g} {unit} of requests, {whole:.9g} {unit} of pools")


def largest(values: NDArray[np.float64]) -> tuple[float, int]:
    """The largest value and its row; 0 and -1 where there are none."""
    return (float(values.max()), int(values.argmax())) if values.size else (0.0, -1)
