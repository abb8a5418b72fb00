"""A synthetic workload like a trace, as `workload.use` takes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from factory.studies.trace_asked import Samples
from factory.studies.trace_clock import spread_ticks
from factory.studies.trace_laws import Fit, Sample, fit_law
from factory.studies.trace_stats import Arrivals, Floats, TimeCounts, TokenCounts, Windows

#: A prefix counts as shared if so many of the sessions begin with one of the most frequent ones.
_SHARED = 0.5
#: The rate varies notably if its deviation between windows, beyond chance, is this share of it.
_NOTABLE = 0.05
_MOST_POINTS = 24
_FEWEST_STARTS = 100
_FEWEST_COMPACTED = 20
#: Sessions at once where a trace does not say how many there were.
_ASSUMED_CONCURRENCY = 32
#: Length of a summary, as the shipped `coding-agent` assumes it.
_ASSUMED_SUMMARY = {"distribution": "lognormal", "median": 4000, "sigma": 0.5, "max": 20000}
_LEAST_CORRELATION = 0.1


@dataclass(slots=True)
class FittedWorkload:
    """A workload file's content, and how near each part comes.

    Attributes:
        tenant: The tenant, as a workload file states it.
        fits: By path in the tenant.
        notes: By path: what to know about it.
        shared_tokens: Tokens of the shared prefix.
    """

    tenant: dict[str, Any]
    fits: dict[str, Fit] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    shared_tokens: int = 0


@dataclass(frozen=True, slots=True)
class SharedStart:
    """What sessions begin with alike.

    Attributes:
        tokens: Its length.
        count: How many different ones there are.
        share: Share of the sessions that begin with one of them.
    """

    tokens: int
    count: int
    share: float


def shared_start(reuse: Mapping[str, Any] | None) -> SharedStart | None:
    """What most sessions begin with, from what `inspect` tells about reuse; None for nothing."""
    if reuse is None:
        return None
    found = [prefix for prefix in reuse["shared_prefixes"] if prefix["blocks"]]
    share = sum(prefix["prompt_ratio"] for prefix in found)
    if not found or share < _SHARED:
        return None
    tokens = sum(prefix["tokens"] * prefix["prompts"] for prefix in found)
    prompts = sum(prefix["prompts"] for prefix in found)
    return SharedStart(round(tokens / prompts), len(found), share)


def fit_workload(
    samples: Samples,
    name: str,
    duration_s: float | None,
    start: SharedStart | None,
    tick_s: float | None = None,
) -> FittedWorkload:
    """Returns a tenant whose sessions ask what those of a trace ask.

    Args:
        samples: What they ask (`gather`).
        name: Of the tenant.
        duration_s: From the first arrival of the trace to the last; None without a common clock.
        start: What its sessions begin with alike.
        tick_s: Tick of its clock, if arrivals share instants.
    """
    fitted = FittedWorkload({"name": name}, shared_tokens=start.tokens if start else 0)
    tenant = fitted.tenant
    tenant["load"] = _load(samples, duration_s, tick_s, fitted)
    if start is not None:
        tenant["shared_prefix"] = {"tokens": start.tokens, "count": start.count}
        fitted.notes["shared_prefix"] = f"in {start.share:.1%} of the sessions"
    followed = samples.followed[1]
    grows = followed > 0 and samples.grown >= 0.5 * followed
    if not followed:
        tenant["input_tokens"] = _tokens(fitted, "input_tokens", samples.first)
        tenant["output_tokens"] = _tokens(fitted, "output_tokens", samples.outputs)
        return fitted
    is_tied = grows and abs(samples.correlation) >= _LEAST_CORRELATION
    first = _tokens(fitted, "session.first_input_tokens", samples.first, mixes=not is_tied)
    later = samples.later if grows else samples.inputs
    tenant["input_tokens"] = _tokens(fitted, "input_tokens", later if later.n else samples.results)
    tenant["output_tokens"] = _tokens(fitted, "output_tokens", samples.outputs)
    tenant["session"] = _session(samples, fitted, first, grows=grows, is_tied=is_tied)
    return fitted


def _session(
    samples: Samples,
    fitted: FittedWorkload,
    first: Mapping[str, Any],
    *,
    grows: bool,
    is_tied: bool,
) -> dict[str, Any]:
    session: dict[str, Any] = {"growth": grows}
    has_tools = samples.tells_tasks and samples.followed[0] > 0
    size = "requests" if has_tools else "turns"
    session[size] = _tokens(fitted, f"session.{size}", samples.requests, mixes=not is_tied)
    if grows:
        session["first_input_tokens"] = first
    if is_tied:
        session["first_input_correlation"] = round(samples.correlation, 3)
    if samples.waits_s.n:
        session["think_time_s"] = _seconds(fitted, "session.think_time_s", samples.waits_s)
        if not samples.knows_answers:
            fitted.notes["session.think_time_s"] = (
                "from a request to the next: the time of the answer is in it"
            )
    if has_tools and grows:
        tools = session["tools"] = {}
        tools["calls"] = _tokens(fitted, "session.tools.calls", samples.calls, least=0)
        if samples.tool_waits_s.n:
            tools["latency_s"] = _seconds(fitted, "session.tools.latency_s", samples.tool_waits_s)
        tools["result_tokens"] = _tokens(fitted, "session.tools.result_tokens", samples.results)
    compaction = _compaction(samples, fitted) if grows else None
    if compaction:
        session["compaction"] = compaction
    edits = _edits(samples, fitted) if grows else None
    if edits:
        session["edits"] = edits
    if samples.inferred:
        fitted.notes[f"session.{size}"] = (
            "inferred: a prompt that begins with all of an earlier one continues its session"
        )
    return session


def _compaction(samples: Samples, fitted: FittedWorkload) -> dict[str, Any] | None:
    """At which context sessions are summarised; None if they hardly ever are."""
    contexts, beyond = samples.contexts.survival()
    if len(contexts) < _FEWEST_COMPACTED:
        return None
    longest = float(samples.inputs.quantiles([1.0])[0])
    places = np.linspace(0, len(contexts) - 1, min(len(contexts), 12)).astype(np.int64)
    pairs: list[list[float]] = [[0, int(contexts[0])]]
    for place in places.tolist():
        p = round(float(1 - beyond[place]), 4)
        if pairs[-1][0] < p < 1:
            pairs.append([p, int(contexts[place])])
    pairs.append([1, max(int(longest), pairs[-1][1])])
    fitted.notes["session.compaction"] = (
        f"{len(contexts):,} sessions lose 40 % of their context or more, first at these lengths "
        "(Kaplan-Meier). The trace does not show summaries: their length is assumed. A model of "
        "shorter contexts needs at_tokens.max"
    )
    return {
        "at_tokens": {"distribution": "empirical", "quantiles": pairs},
        "summary_tokens": dict(_ASSUMED_SUMMARY),
    }


def _edits(samples: Samples, fitted: FittedWorkload) -> dict[str, Any] | None:
    """How often a context is rewritten, which is new to a cache; None if hardly ever."""
    calls, all_edits = samples.edited
    within, followed = samples.followed
    if not followed or all_edits < max(5, 0.002 * followed):
        return None
    turns, of_turns = all_edits - calls, followed - within
    edits: dict[str, Any] = {
        "probability": round(calls / within if within else all_edits / followed, 4)
    }
    if within and of_turns:
        edits["turn_probability"] = round(turns / of_turns, 4)
    for name, counts in (("kept_ratio", samples.kept), ("dropped_ratio", samples.dropped)):
        edits[name] = _ratio(counts)
    fitted.notes["session.edits"] = (
        f"{all_edits:,} of {followed:,} later prompts do not begin with all of the one before"
    )
    return edits


def _ratio(counts: TokenCounts) -> dict[str, Any]:
    """A table of quantiles of shares that were counted in ten-thousandths."""
    places = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
    values = [round(value / 1e4, 4) for value in counts.quantiles(places)]
    if values[0] == values[-1]:
        return {"distribution": "constant", "value": values[0]}
    pairs = [[p, value] for p, value in zip(places, values, strict=True)]
    return {"distribution": "empirical", "quantiles": pairs, "interpolate": "linear"}


def _load(
    samples: Samples, duration_s: float | None, tick_s: float | None, fitted: FittedWorkload
) -> dict[str, Any]:
    if not duration_s:
        fitted.notes["load"] = "assumed: the trace has no common clock; state your own"
        return {"concurrency": _ASSUMED_CONCURRENCY}
    rate = samples.sessions / duration_s
    load: dict[str, Any] = {"rate": float(f"{rate:.5g}")}
    if sum(map(len, samples.starts_s)) < _FEWEST_STARTS:
        fitted.notes["load"] = "too few sessions to tell how they arrive: Poisson is assumed"
        return load
    starts = spread_ticks(np.concatenate(samples.starts_s), tick_s)
    arrivals = Arrivals()
    arrivals.add(starts)
    windows = arrivals.windows(_MOST_POINTS)
    fine = arrivals.windows(10 * _MOST_POINTS)
    varies = _varies(windows)
    cv = fine.cv_within if varies and not math.isnan(fine.cv_within) else arrivals.gap_cv
    gaps = np.diff(starts)
    if varies:
        # Gaps of operational time: each over the mean gap that its window would have.
        middle = (starts[1:] - arrivals.start_s) / fine.width_s
        place = np.minimum(middle.astype(np.int64), len(fine.counts) - 1)
        rates = np.nan_to_num(fine.rates, nan=rate)
        gaps = gaps * rates[place]
    kind, distance, tried = _arrival(gaps[gaps >= 0] / gaps.mean(), cv)
    if kind != "poisson":
        load["arrival"], load["cv"] = kind, round(cv, 3)
    of_laws = ", ".join(f"{law} {ks:.3f}" for law, ks in tried.items())
    fitted.notes["load"] = f"CV of gaps {cv:.3f}; KS of their law {distance:.3f} ({of_laws})"
    if varies:
        load["profile"] = {"points": _points(windows)}
        fitted.notes["load"] += f"; rate in windows of {windows.width_s:g} s"
    return load


def _varies(windows: Windows) -> bool:
    """Whether the rate changes by more than chance, and by so much that it matters."""
    from scipy.stats import chi2

    counts = windows.counts[:-1]
    if len(counts) < 4 or counts.mean() < 5:
        return False
    noise = max(1.0, windows.cv_within**2 if not math.isnan(windows.cv_within) else 1.0)
    statistic = windows.dispersion * (len(counts) - 1) / noise
    beyond = max(windows.dispersion - noise, 0.0) / float(counts.mean())
    is_chance = statistic < float(chi2.ppf(0.999, len(counts) - 1))
    return not is_chance and math.sqrt(beyond) >= _NOTABLE


def _points(windows: Windows) -> list[list[float]]:
    """Rates over their mean, at the middle of each window; the mean over all time is 1."""
    rates = windows.rates
    known = ~np.isnan(rates)
    rates = rates[known]
    middles = (np.flatnonzero(known) + 0.5) * windows.width_s
    times = np.concatenate(([0.0], middles, [windows.span_s]))
    factors = np.concatenate((rates[:1], rates, rates[-1:]))
    mean = float(np.trapezoid(factors, times)) / windows.span_s
    return [
        [round(time, 2), round(factor / mean, 4)]
        for time, factor in zip(times.tolist(), factors.tolist(), strict=True)
    ]


def _arrival(gaps: Floats, cv: float) -> tuple[str, float, dict[str, float]]:
    """The process whose gaps (of mean 1) look most like those given, its distance, and all's."""
    from scipy.stats import expon, gamma, kstest, weibull_min

    if cv < 0.02:
        return "deterministic", 0.0, {"deterministic": 0.0}
    shape = _weibull_shape(cv)
    laws = {
        "poisson": expon(),
        "gamma": gamma(1 / cv**2, scale=cv**2),
        "weibull": weibull_min(shape, scale=1 / math.gamma(1 + 1 / shape)),
    }
    told = {law: float(kstest(gaps, found.cdf).statistic) for law, found in laws.items()}
    # A CV this near 1 is Poisson's, whatever the shape gains.
    if abs(cv - 1) < max(0.05, 3.3 / math.sqrt(len(gaps))):
        return "poisson", told["poisson"], told
    best = min(told, key=lambda law: (told[law], law))
    return best, told[best], told


def _weibull_shape(cv: float) -> float:
    """The shape of a Weibull distribution with this CV, by bisection (CV falls with shape)."""

    def cv_of(shape: float) -> float:
        log = math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape)
        return math.sqrt(math.expm1(min(log, 600.0)))

    low, high = 0.05, 100.0
    for _ in range(80):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if cv_of(middle) > cv else (low, middle)
    return low


def _tokens(
    fitted: FittedWorkload, path: str, counts: TokenCounts, least: int = 1, *, mixes: bool = True
) -> Mapping[str, Any]:
    values, times = counts.distinct()
    sample = Sample(values.astype(np.float64), times, True, float(least))
    fitted.fits[path] = fit_law(sample, mixes=mixes)
    return fitted.fits[path].section


def _seconds(fitted: FittedWorkload, path: str, counts: TimeCounts) -> Mapping[str, Any]:
    fitted.fits[path] = fit_law(Sample(*counts.distinct(), False))
    return fitted.fits[path].section
