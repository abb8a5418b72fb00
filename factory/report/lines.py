"""The figures that the screen and the page share, each with what it means in half a line."""

from __future__ import annotations

from factory.report.figures import (
    NONE,
    count,
    duration,
    milliseconds,
    percent,
    plural,
    quantity,
    significant,
    trimmed,
    usd,
)
from factory.report.line import Line
from factory.report.model import Offer, RunView
from factory.report.power_lines import cells_words


def service_lines(run: RunView) -> tuple[Line, ...]:
    """Demand and service: four figures."""
    figures = run.figures
    offered = sum(tenant.offered for tenant in run.tenants)
    good = sum(tenant.good for tenant in run.tenants)
    ratio = good / offered if offered else None
    return (
        Line("Good requests", percent(ratio), f"of {count(offered)} offered met every limit"),
        Line("TTFT", milliseconds(figures.ttft.middle_to_tail), "p50 / p90 / p99 to first token"),
        Line("ITL", milliseconds(figures.itl.middle_to_tail), "the same, between tokens after it"),
        Line(
            "E2E",
            milliseconds(figures.e2e.middle_to_tail),
            "the same, first attempt to last token"
            if run.attempts.retried
            else "the same, arrival to last token",
        ),
    )


def task_lines(run: RunView) -> tuple[Line, ...]:
    """Tasks of several requests: two figures of each tenant that has them."""
    lines = []
    for tasks in run.tasks:
        cut = tasks.number - tasks.completed
        is_short = cut > _MOST_CUT * tasks.number
        good = f"{percent(tasks.good_ratio)} of {count(tasks.number)} good"
        if is_short:
            # Their sums are those of what they had asked so far.
            good = f"{count(cut)} of {count(tasks.number)} not done"
        asked = NONE if tasks.requests is None else trimmed(tasks.requests)
        plural = "" if asked == "1" else "s"
        sizes = f"{quantity(tasks.input_tokens)} in, {quantity(tasks.output_tokens)} out"
        lines += [
            Line(
                " ".join(tasks.tenant.split())[:_MOST_LETTERS],
                milliseconds(tasks.span.middle_to_tail),
                f"p50 / p90 / p99; {good}",
            ),
            Line(
                "",
                usd(tasks.usd) if tasks.usd is None else f"{usd(tasks.usd)} a task",
                f"so far {sizes}" if is_short else f"{asked} request{plural}, {sizes}",
            ),
        ]
    return tuple(lines)


_MOST_LETTERS = 15
_MOST_CUT = 0.1
"""Share of tasks without an answer above which figures per task are those of a part of them."""


def surface_lines(run: RunView) -> tuple[Line, ...]:
    """What a buyer sees first, of the system with the most GPUs: two figures."""
    if not run.offers:
        return ()
    offer = max(run.offers, key=lambda o: o.gpus)
    name = f"{offer.system}: " if len(run.offers) > 1 else ""
    pflops = offer.pflops_per_usd
    return (
        Line("Price", usd(offer.usd_per_gpu_hour), f"{name}{_price_words(run, offer)}"),
        Line(
            "PFLOPS per $",
            NONE if pflops is None else significant(pflops, 2),
            f"{name}{offer.peak_label or 'peak'} over the price",
        ),
    )


def deep_lines(run: RunView) -> tuple[Line, ...]:
    """What a token really took: six figures."""
    figures = run.figures
    gpus = sum(offer.gpus for offer in run.offers)
    held = gpus if figures.gpus_provisioned is None else figures.gpus_provisioned
    cost = usd(figures.usd_per_mtok_output_good) if run.is_priced else "not priced"
    if run.is_priced and figures.usd_per_mtok_output_good is None:
        cost = "no good token"
    return (
        Line("Cost", cost, "per million good output tokens"),
        Line(
            "Load factor", percent(figures.load_factor_ratio), "of the pools' most efficient pace"
        ),
        Line(
            "Busy",
            percent(figures.busy_ratio),
            "of GPU time in prefill, decode, fetches"
            if figures.ledger.get("fetch_cached")
            else "of GPU time in prefill or decode",
        ),
        Line(
            "Tokens/s/MW",
            quantity(figures.tokens_per_s_per_mw_provisioned),
            f"per contracted MW ({quantity(figures.tokens_per_s_per_mw_measured)} per MW drawn)",
        ),
        Line(
            "Tokens/s/GPU",
            NONE
            if figures.output_tokens_per_s_per_gpu is None
            else significant(figures.output_tokens_per_s_per_gpu),
            f"output, over all {plural(gpus, 'GPU')}"
            if held >= gpus * (1 - 1e-9)
            else f"output, over {_gpus(held)} GPUs held (mean)",
        ),
        Line("Cache hits", percent(figures.cache_hit_ratio), _cache_words(run)),
    )


def _gpus(number: float) -> str:
    """A mean number of GPUs: whole ones where there are many."""
    return count(number) if number >= _MANY else significant(number)


_MANY = 100


def cache_lines(run: RunView) -> tuple[Line, ...]:
    """Where cached prompt tokens came from, if any came from below GPU memory."""
    ratios = run.figures.cache
    if not any(ratios.get(tier) for tier in _TIERS if tier != "gpu"):
        return ()
    return tuple(
        Line(label, percent(ratios.get(tier, 0.0)), meaning)
        for tier, (label, meaning) in _TIERS.items()
    )


_TIERS = {
    "gpu": ("Cached on GPUs", "of prompt tokens, found in GPU memory"),
    "host": ("Host memory", "fetched from it"),
    "disk": ("Disk", "fetched from it"),
    "remote": ("Remote", "fetched from a shared store or a peer"),
}


def _cache_words(run: RunView) -> str:
    ratios = run.figures.cache
    below = sum(ratio for tier, ratio in ratios.items() if tier != "gpu")
    if not below:
        return "of prompt tokens, from prefix caches"
    return f"of prompts; {percent(min(below, 1.0))} from lower tiers"


def what(run: RunView) -> str:
    """What was simulated, in one line."""
    systems = ", ".join(f"{offer.gpus:,} GPUs of {offer.system}" for offer in run.offers)
    parts = [run.name, ", ".join(run.models), cells_words(run), systems]
    if run.measured_s is not None:
        offered = sum(tenant.offered for tenant in run.tenants)
        parts.append(f"{plural(offered, 'request')} in {duration(run.measured_s)} measured")
    if run.figures.requests is not None:
        parts.append(_whole_run(run.figures.requests, run.figures.offered))
    return " · ".join(part for part in parts if part)


def _whole_run(attempts: float, offered: float | None) -> str:
    if offered is None or offered == attempts:
        return f"{count(attempts)} in the whole run"
    return f"{count(offered)} in the whole run, in {count(attempts)} attempts"


def _price_words(run: RunView, offer: Offer) -> str:
    if offer.usd_per_gpu_hour is None:
        return "per GPU-hour"
    mark = "assumed" if offer.price_kind == "assumed" else run.price_book or "as given"
    return f"per GPU-hour, {mark}"
