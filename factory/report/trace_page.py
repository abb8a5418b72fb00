"""The page of a trace: one HTML file that opens offline and asks nothing of the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factory.report import trace_charts as charts
from factory.report.figures import NONE, duration, percent, quantity, scaled, significant, trimmed
from factory.report.line import Line
from factory.report.pages import template, write_html

#: Quantiles of the tables, and how they are headed.
_SHOWN = {"p1": "p1", "p10": "p10", "p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9"}

#: A prefix of fewer prompts is not worth a figure.
_TOLD_SHARE = 0.05


def render_trace_page(facts: Mapping[str, Any]) -> str:
    """The page of a trace as HTML; every name in it is escaped.

    Args:
        facts: As `factory trace inspect --json` prints them.
    """
    time, sessions, reuse = facts["time"], facts["sessions"], facts["reuse"]
    return template("trace.html.j2").render(
        name=Path(facts["trace"]).name,
        facts=facts,
        answer=_answer(facts),
        time_lines=_time_lines(time) if time else (),
        rate_chart=charts.rate_over_time(time) if time else None,
        gaps_chart=charts.gaps_over_time(time) if time else None,
        lengths=_lengths(facts),
        length_heads=("mean", *_SHOWN.values(), "max"),
        length_charts=[
            (title, chart)
            for title, chart in (
                ("Input tokens", _histogram(facts["input_tokens"], "decode", "Input tokens")),
                ("Output tokens", _histogram(facts["output_tokens"], "prefill", "Output tokens")),
            )
            if chart
        ],
        session_lines=_session_lines(sessions) if sessions else (),
        session_charts=_session_charts(sessions) if sessions else (),
        session_rows=_session_rows(sessions) if sessions else (),
        reuse_lines=_reuse_lines(reuse) if reuse else (),
        reuse_chart=charts.reuse_curve(reuse) if reuse else None,
        reuse_rows=_reuse_rows(reuse) if reuse else (),
        duration=duration,
    )


def write_trace_page(facts: Mapping[str, Any], path: Path) -> None:
    """Write the page of a trace, whole or not at all.

    Raises:
        RunError: The file cannot be written.
    """
    write_html(render_trace_page(facts), path)


def _answer(facts: Mapping[str, Any]) -> str:
    """What the trace is, in a sentence."""
    inputs, outputs = facts["input_tokens"], facts["output_tokens"]
    time, reuse, sessions = facts["time"], facts["reuse"], facts["sessions"]
    words = f"{facts['rows']:,} requests"
    if sessions:
        words += f" in {sessions['count']:,} sessions"
    if time and time["duration_s"]:
        words += f" over {duration(time['duration_s'])}"
    words += f": {inputs['p50']:,.0f} tokens in and {outputs['p50']:,.0f} out at the median"
    if reuse:
        words += f", {percent(reuse['ideal_hit_token_ratio'])} of the input seen before"
    return words + "."


def _time_lines(time: Mapping[str, Any]) -> tuple[Line, ...]:
    rate, cv, within = time["rate_per_s"], time["gap_cv"], time["gap_cv_within_windows"]
    tick = time["clock_tick_s"]
    return (
        Line("Rate", significant(rate) if rate else NONE, "requests per second, mean"),
        Line(
            "Peak to mean",
            f"{time['peak_to_mean']:.2f}",
            f"busiest of the windows of {duration(time['window_s'])}",
        ),
        Line(
            "CV of gaps",
            NONE if cv is None else f"{cv:.2f}",
            f"spread at random in the clock's ticks of {tick:g} s"
            if tick
            else "1 for Poisson arrivals",
        ),
        Line(
            "CV within windows",
            NONE if within is None else f"{within:.2f}",
            "burstiness beside the changes of the rate",
        ),
    )


def _histogram(found: Mapping[str, Any] | None, key: str, what: str, unit: str = "") -> Any:
    return charts.histogram(found["histogram"], key, what, unit) if found else None


def _lengths(facts: Mapping[str, Any]) -> list[tuple[str, list[str], str]]:
    rows = []
    reuse = facts["reuse"] or {}
    later = reuse.get("uncached_tokens_later")
    names = (
        ("input", facts["input_tokens"]),
        ("output", facts["output_tokens"]),
        (
            "new input, first requests" if later else "new input",
            reuse.get("uncached_tokens_first"),
        ),
        ("new input, later requests", later),
    )
    for name, found in names:
        if found:
            cells = [f"{found[key]:,.0f}" for key in ("mean", *_SHOWN, "max")]
            rows.append((name, cells, quantity(float(found["total"]))))
    return rows


def _session_lines(sessions: Mapping[str, Any]) -> tuple[Line, ...]:
    per, growth = sessions["requests_per_session"], sessions["growth_tokens"]
    lines = [
        Line("Sessions", f"{sessions['count']:,}", "of requests that continue each other"),
        Line("Requests each", trimmed(per["p50"]), f"at the median; {per['mean']:,.0f} mean"),
    ]
    if growth:
        lines.append(
            Line("Growth", f"{growth['p50']:,.0f}", "prompt tokens per request, at the median")
        )
    for label, key in (
        ("Wait", "answer_to_request_s"),
        ("Gap", "request_to_request_s"),
    ):
        found = sessions[key]
        if found:
            meaning = "from an answer" if label == "Wait" else "from a request"
            lines.append(
                Line(label, duration(found["p50"]), f"{meaning} to the next request, median")
            )
            break
    return tuple(lines)


def _session_charts(sessions: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found = (
        ("Requests per session", "requests_per_session", "decode", ""),
        ("Growth of the prompt per request, tokens", "growth_tokens", "prefill", ""),
        ("From an answer to the next request", "answer_to_request_s", "fetch", "s"),
        ("From a request to the next", "request_to_request_s", "stalled", "s"),
    )
    charted = [
        (title, _histogram(sessions[at], key, title, unit)) for title, at, key, unit in found
    ]
    return [(title, chart) for title, chart in charted if chart]


def _session_rows(sessions: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    rows = []
    for name, key in (
        ("requests per session", "requests_per_session"),
        ("first input, tokens", "first_input_tokens"),
        ("growth per request, tokens", "growth_tokens"),
    ):
        found = sessions[key]
        if found:
            rows.append((name, [_count(found[q]) for q in ("mean", *_SHOWN)]))
    for name, key in (
        ("first to last request", "duration_s"),
        ("request to request", "request_to_request_s"),
        ("answer to request", "answer_to_request_s"),
        ("answer to request within a task", "answer_to_request_in_task_s"),
        ("answer to the next task", "answer_to_next_task_s"),
    ):
        found = sessions[key]
        if found:
            rows.append((name, [duration(found[q]) for q in ("mean", *_SHOWN)]))
    return rows


def _count(value: float) -> str:
    return trimmed(value) if value < 100 else f"{value:,.0f}"


def _reuse_lines(reuse: Mapping[str, Any]) -> tuple[Line, ...]:
    size, rate = reuse["block_size"], reuse["sampling_rate"]
    lines = [
        Line(
            "Ideal hit ratio",
            percent(reuse["ideal_hit_token_ratio"]),
            "of prompt tokens, with a cache without bound",
        ),
        Line(
            "Distinct",
            quantity(float(reuse["distinct_blocks"] * size)),
            f"tokens, {quantity(float(reuse['distinct_blocks']))} blocks of {size}",
        ),
    ]
    half = next(
        (
            point["capacity_tokens"]
            for point in reuse["curve"]
            if point["hit_token_ratio"] >= 0.9 * reuse["ideal_hit_token_ratio"]
        ),
        None,
    )
    if half and reuse["ideal_hit_token_ratio"]:
        lines.append(Line("Nine tenths of it", quantity(half), "tokens of cache are enough"))
    shared = [
        prefix
        for prefix in reuse["shared_prefixes"]
        if prefix["blocks"] and prefix["prompt_ratio"] >= _TOLD_SHARE
    ]
    if shared:
        of = "sessions" if reuse["by_session"] else "prompts"
        lines.append(
            Line(
                "Shared prefix",
                f"{shared[0]['tokens']:,}",
                f"tokens, in {percent(shared[0]['prompt_ratio'])} of the {of}",
            )
        )
    elif rate < 1:
        lines.append(Line("Sampled", f"{rate:g}", "of the runs of blocks (SHARDS)"))
    return tuple(lines)


def _reuse_rows(reuse: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    curve = reuse["curve"]
    shown = [p for p in curve[:-1] if f"{p['capacity_blocks']:.0f}".rstrip("0") in {"1", "3"}]
    return [
        (
            scaled(point["capacity_blocks"]),
            scaled(point["capacity_tokens"]),
            percent(point["hit_block_ratio"]),
            percent(point["hit_token_ratio"]),
        )
        for point in [*shown[-8:], curve[-1]]
    ]
