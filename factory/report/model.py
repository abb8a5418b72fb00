"""What the screen and the page show of a run, as plain values read from its tables.

What may be absent is None, and is shown as absent: a number that is not known is never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from factory.report.outcomes import Attempts, Decision, Happening
from factory.report.power_model import Cells, Power, PowerLine


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A latency's distribution, ms."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None

    @property
    def middle_to_tail(self) -> tuple[float | None, float | None, float | None]:
        """p50, p90 and p99, ms."""
        return self.p50, self.p90, self.p99


@dataclass(frozen=True, slots=True)
class Figures:
    """The run's summary (`run --json`), each field a finite number or None.

    Attributes:
        requests: requests in the run; attempts, each counted.
        offered: the same, each request once, however often it was tried.
        completed: of these, completed.
        good: of these, within every service-level limit.
        simulated_s: simulated time, s.
        events: simulation events processed.
        sim_cpu_s: CPU seconds of the simulation proper.
        input_computed_tokens: prompt tokens computed.
        input_cached_tokens: prompt tokens found in a prefix cache.
        output_tokens: tokens delivered.
        ttft: time to first token, ms.
        itl: time between output tokens, ms.
        e2e: from arrival to the last token, ms.
        output_tokens_per_s_per_gpu: tokens/s per provisioned GPU.
        busy_ratio: GPU-seconds in working states over those provisioned.
        load_factor_ratio: reference GPU-seconds over those provisioned.
        cache_hit_ratio: cached over all prompt tokens.
        cache: the same by tier the tokens came from: gpu, host, disk, remote.
        gpus_provisioned: GPUs paid for, on average.
        mean_gpu_kw: mean power of the GPUs.
        mean_it_kw: mean power at IT.
        mean_facility_kw: mean power of the facility.
        energy_kwh: energy drawn by the facility.
        cost_usd: cost of the provisioned time.
        usd_per_mtok_output_good: per million output tokens of good requests: the headline.
        usd_per_mtok_output: per million output tokens.
        usd_per_mtok_computed: per million computed input and output tokens.
        usd_per_mtok_all: per million tokens, cached ones too: the convention of published tables.
        tokens_per_s_per_mw_provisioned: output tokens/s per contracted facility MW.
        tokens_per_s_per_mw_measured: output tokens/s per facility MW drawn.
        ledger: share of the provisioned GPU-seconds by ledger state.
    """

    requests: float | None = None
    offered: float | None = None
    completed: float | None = None
    good: float | None = None
    simulated_s: float | None = None
    events: float | None = None
    sim_cpu_s: float | None = None
    input_computed_tokens: float | None = None
    input_cached_tokens: float | None = None
    output_tokens: float | None = None
    ttft: Quantiles = Quantiles()
    itl: Quantiles = Quantiles()
    e2e: Quantiles = Quantiles()
    output_tokens_per_s_per_gpu: float | None = None
    busy_ratio: float | None = None
    load_factor_ratio: float | None = None
    cache_hit_ratio: float | None = None
    cache: Mapping[str, float] = field(default_factory=dict)
    gpus_provisioned: float | None = None
    mean_gpu_kw: float | None = None
    mean_it_kw: float | None = None
    mean_facility_kw: float | None = None
    energy_kwh: float | None = None
    cost_usd: float | None = None
    usd_per_mtok_output_good: float | None = None
    usd_per_mtok_output: float | None = None
    usd_per_mtok_computed: float | None = None
    usd_per_mtok_all: float | None = None
    tokens_per_s_per_mw_provisioned: float | None = None
    tokens_per_s_per_mw_measured: float | None = None
    ledger: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offer:
    """A system as a data sheet and a price list show it.

    Attributes:
        system: name in the catalogue.
        gpus: GPUs of it in the facility, all cells together.
        usd_per_gpu_hour: price, USD; None when it is not priced.
        price_kind: ``measured``, ``published``, ``fitted`` or ``assumed``; None when not priced.
        price_source: where the price was read.
        peak_pflops: dense or sparse peak per GPU, as the label says.
        peak_label: what the peak counts, e.g. ``dense FP4``.
    """

    system: str
    gpus: int
    usd_per_gpu_hour: float | None = None
    price_kind: str | None = None
    price_source: str | None = None
    peak_pflops: float | None = None
    peak_label: str | None = None

    @property
    def pflops_per_usd(self) -> float | None:
        """Peak PFLOPS per USD of an hour."""
        if self.peak_pflops is None or not self.usd_per_gpu_hour:
            return None
        return self.peak_pflops / self.usd_per_gpu_hour


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool over the measured interval.

    Attributes:
        name: name of the pool.
        deployment: deployment it belongs to; empty for GPUs that no pool uses.
        role: prefill, decode, aggregated or unassigned.
        system: system it runs on.
        replicas: model instances at the start, of all cells as every figure here.
        gpus: GPUs of as many replicas as it may have.
        layout: parallel layout in words, e.g. ``tp 4 · dp 2``.
        busy_ratio: working share of its GPU-seconds.
        load_factor_ratio: reference share of its GPU-seconds.
        ledger: GPU-seconds by ledger state.
        gpus_per_replica: GPUs of one; None for GPUs that no pool uses.
    """

    name: str
    deployment: str
    role: str
    system: str
    replicas: int | None
    gpus: int | None
    layout: str
    busy_ratio: float | None
    load_factor_ratio: float | None
    ledger: Mapping[str, float]
    gpus_per_replica: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """A tenant's service level, ms; None where it has no limit."""

    ttft_ms: float | None = None
    itl_ms: float | None = None
    e2e_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """What a tenant asked for and got, over requests that arrived in the measured interval.

    Attributes:
        name: name of the tenant.
        offered: logical requests, retries counted once.
        completed: of these, completed, at whichever attempt.
        good: of these, within every limit.
        target: share that has to be good.
        limits: its service level.
        ttft: time to first token, ms.
        itl: time between output tokens, ms.
        e2e: arrival of the first attempt to last token, ms.
        deployment: deployment that serves it; empty when not known.
        late: share of its completed requests beyond each limit: ttft, itl, e2e.
        attempts: its attempts.
    """

    name: str
    offered: int
    completed: int
    good: int
    target: float | None
    limits: Limits
    ttft: Quantiles
    itl: Quantiles
    e2e: Quantiles
    deployment: str = ""
    late: Mapping[str, float] = field(default_factory=dict)
    attempts: Attempts = field(default_factory=Attempts)

    @property
    def attainment_ratio(self) -> float | None:
        """Good over offered requests."""
        return self.good / self.offered if self.offered else None

    @property
    def misses_target(self) -> bool:
        """Whether fewer were good than the target asks."""
        ratio = self.attainment_ratio
        return ratio is not None and self.target is not None and ratio < self.target


@dataclass(frozen=True, slots=True)
class Tasks:
    """What a tenant's tasks took and cost, of those that start in the measured interval.

    Attributes:
        tenant: name of the tenant.
        number: tasks.
        completed: of these, completed.
        good: of these, within the limit on tasks, or without one with every request good.
        span: from the first request to the last answer, ms, of completed ones.
        requests: logical requests per task.
        input_tokens: prompt tokens per task, computed or cached.
        output_tokens: output tokens per task.
        usd: cost per task, its share of unused capacity included; None when not priced.
        usd_good: the same of all tasks per good task.
    """

    tenant: str
    number: int
    completed: int
    good: int
    span: Quantiles
    requests: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    usd: float | None = None
    usd_good: float | None = None

    @property
    def good_ratio(self) -> float | None:
        """Good over all tasks."""
        return self.good / self.number if self.number else None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The run by window, in order of time.

    Attributes:
        start_s: start of each window, s of simulated time.
        window_s: span of each window, s.
        is_measured: whether each lies in the measured interval.
        ledger: GPU-seconds by ledger state, one value per window.
        output_tokens: output tokens emitted in each window.
        output_good_tokens: output tokens of good requests that completed in each window.
        facility_kw: mean facility power in each window; empty when not recorded.
        contracted_kw: contracted facility power; None when not known.
        budget_kw: the most that budgets leave to the facility; None when no node has one.
        power: the same at the grid, with limits and marks.
    """

    start_s: tuple[float, ...]
    window_s: tuple[float, ...]
    is_measured: tuple[bool, ...]
    ledger: Mapping[str, tuple[float, ...]]
    output_tokens: tuple[float, ...]
    output_good_tokens: tuple[float, ...]
    facility_kw: tuple[float, ...]
    contracted_kw: float | None = None
    budget_kw: float | None = None
    power: PowerLine = field(default_factory=PowerLine)


@dataclass(frozen=True, slots=True)
class RunView:
    """A finished run, ready to be shown.

    Attributes:
        name: name of the scenario.
        description: its description.
        run_dir: the run's directory, as given.
        figures: the summary.
        offers: systems of the facility.
        models: models served.
        pools: pools, in the scenario's order.
        tenants: tenants, in the scenario's order.
        tasks: tasks of tenants whose sessions have several requests.
        timeline: the run by window; None when it has none.
        measured_s: span of the measured interval, s.
        warmup_s: time left out before it, s.
        price_book: name of the price book; None without prices, or where the scenario states them.
        price_date: date of the prices.
        mean_queue_ms: mean wait before prefill starts, ms.
        unfinished: requests still in flight when the run ended.
        truncated: measured requests whose answer was cut at a limit of length.
        attempts: what became of the attempts that arrived while measured.
        happenings: events of the whole run by kind.
        decisions: of autoscaling, in order.
        power: what the facility may draw, and drew at most.
        cells: how many the run stands for, and how far the simulated ones differ.
        unpriced: systems that the prices lack.
        skipped_rows: malformed rows of the trace that were left out.
        changed_tables: tables that are not as the run wrote them.
        facts: (name, value) rows on how the run was made: seed, versions, engine.
    """

    name: str
    description: str
    run_dir: Path
    figures: Figures
    offers: tuple[Offer, ...] = ()
    models: tuple[str, ...] = ()
    pools: tuple[Pool, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    tasks: tuple[Tasks, ...] = ()
    timeline: Timeline | None = None
    measured_s: float | None = None
    warmup_s: float | None = None
    price_book: str | None = None
    price_date: str | None = None
    mean_queue_ms: float | None = None
    unfinished: int = 0
    truncated: int = 0
    attempts: Attempts = field(default_factory=Attempts)
    happenings: tuple[Happening, ...] = ()
    decisions: tuple[Decision, ...] = ()
    power: Power = field(default_factory=Power)
    cells: Cells = field(default_factory=Cells)
    unpriced: tuple[str, ...] = ()
    skipped_rows: int = 0
    changed_tables: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def is_priced(self) -> bool:
        """Whether the run's cost is known."""
        return self.figures.cost_usd is not None

    @property
    def has_assumed_prices(self) -> bool:
        """Whether any system's price is a placeholder rather than a published one."""
        return any(offer.price_kind == "assumed" for offer in self.offers)
