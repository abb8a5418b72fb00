"""Checks of facility, prices and run."""

from __future__ import annotations

import math
from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.findings import repeated, unknown, unknown_zone
from factory.scenario.schema import Scenario, window_of
from factory.scenario.specs import Catalog


def site_problems(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Racks, power, time zone, prices and the run."""
    facility = scenario.facility
    yield from repeated("facility.racks", (group.name for group in facility.racks))
    for index, group in enumerate(facility.racks):
        path = f"facility.racks[{index}].system"
        yield from unknown(path, "system", group.system, catalog.systems)
    yield from unknown_zone("facility.time_zone", facility.time_zone)
    yield from _price_problems(scenario, catalog)
    yield from _run_problems(scenario)


def _price_problems(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    prices = scenario.prices
    if prices is None:
        return
    stated = prices.usd_per_gpu_hour is not None
    if (prices.book is not None) == stated:
        message = "must give exactly one of book and usd_per_gpu_hour"
        yield Problem("prices", message, "both" if stated else "neither")
    if prices.book is not None:
        yield from unknown("prices.book", "price book", prices.book, catalog.price_books)
        if prices.covers is not None and not stated:
            message = "is the book's to say; leave it out, or state usd_per_gpu_hour"
            yield Problem("prices.covers", message)
    for system in prices.usd_per_gpu_hour or {}:
        path = f"prices.usd_per_gpu_hour.{system}"
        yield from unknown(path, "system", system, catalog.systems)


def _run_problems(scenario: Scenario) -> Iterator[Problem]:
    run = scenario.run
    if run.duration_s is not None and run.warmup_s >= run.duration_s:
        message = f"must be < run.duration_s ({run.duration_s:g}): nothing would be measured"
        yield Problem("run.warmup_s", message, run.warmup_s)
    if run.cut_sessions and run.duration_s is None:
        yield Problem("run.cut_sessions", "is for runs with a duration_s only", True)
    window_s = window_of(run)
    if run.duration_s is not None and window_s > run.duration_s:
        message = f"must be <= run.duration_s ({run.duration_s:g})"
        yield Problem("run.window_s", message, window_s)
    elif run.duration_s is not None and run.warmup_s < run.duration_s:
        first = math.ceil(run.warmup_s / window_s - 1e-9)
        last = math.floor(run.duration_s / window_s + 1e-9)
        if first >= last:
            message = (
                f"leaves no whole window of {window_s:g} s before run.duration_s "
                f"({run.duration_s:g}): nothing would be measured"
            )
            yield Problem("run.warmup_s", message, run.warmup_s)
    ends = run.duration_s is not None or run.requests is not None
    loaded = any(tenant.load is not None for tenant in scenario.workload.tenants)
    if not ends and (scenario.workload.trace is None or loaded):
        message = "must give duration_s or requests: a load without them never ends"
        yield Problem("run", message)
