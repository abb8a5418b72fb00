"""The page of a run: one HTML file that opens offline and asks nothing of the network."""

from __future__ import annotations

from pathlib import Path

from factory.records.codes import EVENT_MEANINGS
from factory.report import charts
from factory.report.figures import (
    NONE,
    count,
    known,
    plural,
    power,
    significant,
    usd,
)
from factory.report.ledger import grouped
from factory.report.lines import Line, cache_lines, deep_lines, service_lines, surface_lines, what
from factory.report.model import Pool, RunView
from factory.report.pages import template, write_html
from factory.report.sentence import answer, cautions, support

MOST_DECISIONS = 40


def render_page(run: RunView) -> str:
    """The page of `run` as HTML; every name in it is escaped."""
    timeline = None
    if run.timeline is not None and run.timeline.start_s:
        timeline = charts.rebinned(run.timeline)
    return template("run.html.j2").render(
        run=run,
        figures=run.figures,
        what=what(run),
        answer=answer(run),
        support=[line for line in support(run) if line not in cautions(run)],
        cautions=cautions(run),
        service=service_lines(run),
        surface=surface_lines(run),
        headline=deep_lines(run)[0],
        deep=deep_lines(run)[1:],
        ledger=charts.ledger_rows(grouped(run.figures.ledger)),
        given_back=_given_back(run),
        ledger_chart=timeline and charts.ledger_over_time(timeline),
        tokens_chart=timeline and charts.tokens_over_time(timeline),
        power_chart=timeline and charts.power_over_time(timeline),
        strips=charts.latency_strips(run.tenants),
        pools=[
            (pool, charts.ledger_rows(grouped(pool.ledger)), _pool_size(pool)) for pool in run.pools
        ],
        costs=_costs(run),
        cache=cache_lines(run),
        happenings=[(event, EVENT_MEANINGS.get(event.kind, "")) for event in run.happenings],
        decisions=run.decisions[:MOST_DECISIONS],
        more_decisions=max(0, len(run.decisions) - MOST_DECISIONS),
        energy=_energy(run),
    )


def write_page(run: RunView, path: Path) -> None:
    """Write the page of `run` to `path`, whole or not at all.

    Raises:
        RunError: The file cannot be written.
    """
    write_html(render_page(run), path)


def _given_back(run: RunView) -> str:
    """How many of the GPUs are not held, on average; empty where all are."""
    gpus = sum(offer.gpus for offer in run.offers)
    held = run.figures.gpus_provisioned
    if held is None or held >= gpus * (1 - 1e-9):
        return ""
    return f"{significant(gpus - held)} of {count(gpus)}, on average"


def _pool_size(pool: Pool) -> str:
    if not pool.replicas or pool.gpus is None:
        return f"{count(pool.gpus)} GPUs"
    size = pool.gpus_per_replica or pool.gpus // pool.replicas
    words = f"{pool.replicas:,} × {plural(size, 'GPU')}"
    if pool.layout:
        words += f" ({pool.layout})"
    most = pool.gpus // size
    return words if most == pool.replicas else f"{words} at the start, at most {most:,}"


def _costs(run: RunView) -> tuple[Line, ...]:
    """Cost per million tokens by every denominator."""
    figures = run.figures
    if not run.is_priced:
        return ()

    def cost(value: float | None) -> str:
        return NONE if value is None else usd(value)

    return (
        Line(
            "of good requests",
            cost(figures.usd_per_mtok_output_good),
            "output tokens of requests within every limit: the headline",
        ),
        Line("output", cost(figures.usd_per_mtok_output), "tokens delivered, each once"),
        Line(
            "computed",
            cost(figures.usd_per_mtok_computed),
            "prompt tokens computed, and output tokens",
        ),
        Line(
            "all",
            cost(figures.usd_per_mtok_all),
            "cached prompt tokens too: the convention of published tables",
        ),
    )


def _energy(run: RunView) -> tuple[Line, ...]:
    """Power at each boundary."""
    figures = run.figures
    joules = None
    if figures.energy_kwh and figures.output_tokens:
        joules = known(figures.energy_kwh * 3.6e6 / figures.output_tokens)
    return (
        Line("GPUs", power(figures.mean_gpu_kw), "mean, at the GPUs"),
        Line("IT", power(figures.mean_it_kw), "mean, with hosts, network and fans"),
        Line("Facility", power(figures.mean_facility_kw), _facility_words(run)),
        Line(
            "Energy",
            NONE if joules is None else f"{significant(joules)} J",
            "of the facility per output token",
        ),
        *_budget(run),
    )


def _facility_words(run: RunView) -> str:
    """What the mean is, the peak beside it."""
    peak = run.power.peak_kw
    return "mean, IT times PUE" + ("" if peak is None else f"; peak {power(peak)}")


def _budget(run: RunView) -> tuple[Line, ...]:
    """The racks' power budgets, if they have any."""
    racks = run.power.budgeted_racks
    if not racks:
        return ()
    return (Line("Budget", power(run.power.budgeted_it_kw), f"at IT, of {plural(racks, 'rack')}"),)
