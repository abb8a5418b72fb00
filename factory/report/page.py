"""The page of a run: one HTML file that opens offline and asks nothing of the network."""

from __future__ import annotations

from pathlib import Path

from factory.records.codes import EVENT_MEANINGS
from factory.report import charts, power_charts
from factory.report.figures import (
    NONE,
    count,
    duration,
    percent,
    plural,
    power,
    significant,
    usd,
)
from factory.report.ledger import grouped
from factory.report.line import Line
from factory.report.lines import cache_lines, deep_lines, service_lines, surface_lines, what
from factory.report.model import Pool, RunView
from factory.report.pages import template, write_html
from factory.report.power_lines import cell_lines, energy_lines
from factory.report.power_model import TreeNode
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
        power_chart=timeline and power_charts.power_over_time(timeline),
        load_chart=run.timeline and power_charts.load_duration(run.timeline),
        tree=[_tree_row(node) for node in run.power.nodes],
        more_nodes=run.power.more_nodes,
        cells=cell_lines(run),
        causes=power_charts.energy_rows(run.power.by_cause),
        strips=charts.latency_strips(run.tenants),
        pools=[
            (pool, charts.ledger_rows(grouped(pool.ledger)), _pool_size(pool)) for pool in run.pools
        ],
        costs=_costs(run),
        cache=cache_lines(run),
        happenings=[(event, EVENT_MEANINGS.get(event.kind, "")) for event in run.happenings],
        decisions=run.decisions[:MOST_DECISIONS],
        more_decisions=max(0, len(run.decisions) - MOST_DECISIONS),
        energy=energy_lines(run),
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
    given = gpus - held
    return f"{count(given) if given >= 100 else significant(given)} of {count(gpus)}, on average"


def _tree_row(node: TreeNode) -> tuple[str, ...]:
    """A node of the power tree in words: a dash for what it has none of."""
    spans = (node.capped_s, node.braked_s, node.dark_s)
    return (
        node.name,
        node.level,
        *(power(kw) for kw in (node.budget_kw, node.mean_kw, node.peak_kw)),
        percent(node.headroom_ratio),
        " / ".join(duration(seconds) if seconds else "0" for seconds in spans),
        power(node.stranded_kw) if node.budget_kw is not None else NONE,
    )


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
