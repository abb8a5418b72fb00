"""Assembly: a checked scenario becomes racks, replicas, pools and deployments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from factory.facility import EnergyBins, RackBudget, Windows
from factory.kernel import CLASS_ARRIVAL, Kernel
from factory.performance import efficiency
from factory.performance.kv_transfer import last_layer_bytes, transfer_bytes
from factory.power import clock_levels, idle_watts
from factory.scenario import Catalog, Scenario
from factory.scenario.kernels import EngineSpec
from factory.serving.acceptance import Acceptance
from factory.serving.accounts import Accounts, Row, ServiceLevel
from factory.serving.deadlines import Deadlines
from factory.serving.deployment import Deployment, alive
from factory.serving.door import control
from factory.serving.fabric import Fabric
from factory.serving.front_end import FrontEnd
from factory.serving.handover import Handover
from factory.serving.intake import Intake
from factory.serving.meter import TENANT_FIELDS
from factory.serving.network import Cables, Network
from factory.serving.pool_side import PoolSide
from factory.serving.sequence import Sequence
from factory.serving.terms import Client, Terms
from factory.serving.tier_build import DeploymentTiers
from factory.simulation.length_limits import length_limits
from factory.simulation.names import Layout, lay_out
from factory.simulation.pool_builder import (
    Plan,
    PoolMeter,
    RackMeter,
    build_pool,
)
from factory.simulation.scaling import scale
from factory.statistics import stream
from factory.workload import Workload

_TIERS = 1 << 16
"""Owners of the tiers' timers, among those of transfers, begin here."""

_OPENERS = 1 << 17
"""Owners of the timers that let held requests in, among those of arrivals, begin here."""

_DEADLINES = 1 << 16
"""Owners of the deadlines' timers, among those of arrivals, begin here."""


@dataclass(frozen=True, slots=True)
class Plant:
    """Everything that one run simulates, assembled."""

    layout: Layout
    racks: tuple[RackMeter, ...]
    pools: tuple[PoolMeter, ...]
    tenants: tuple[Windows, ...]
    tenant_deployments: tuple[int, ...]
    deployments: tuple[Deployment, ...]
    intake: Intake


def assemble(
    scenario: Scenario,
    catalog: Catalog,
    workload: Workload,
    kernel: Kernel,
    write: Callable[[Row], None],
    note: Callable[[Row], None],
) -> Plant:
    """Builds the factory of a scenario.

    Args:
        scenario: Checked by `preflight` too, defaults filled in.
        catalog: What its names refer to.
        workload: Who asks.
        kernel: The environment.
        write: Takes the rows of ``fact_requests``.
        note: Takes the rows of ``fact_events``.
    """
    layout = lay_out(scenario, catalog)
    window_s = scenario.run.window_s
    racks = _racks(scenario, catalog, layout, note, kernel)
    tenants = tuple(Windows(window_s, TENANT_FIELDS) for _ in scenario.workload.tenants)
    deployments: list[Deployment] = []
    intake = Intake(kernel, workload, deployments)

    def arrived(sequence: Sequence, now_s: float) -> None:
        deployments[sequence.request.deployment].arrived(sequence, now_s)

    fabric = Fabric(kernel, 0, arrived)
    cables = Cables()
    pools: list[PoolMeter] = []
    for number in range(len(scenario.deployments)):
        builder = _Builder(
            scenario, catalog, layout, racks, tenants, kernel, fabric, cables, number
        )
        deployment = builder.deployment(write, note, intake, pools)
        deployments.append(deployment)
    names = [deployment.name for deployment in scenario.deployments]
    served = tuple(
        names.index(tenant.deployment) if tenant.deployment else 0
        for tenant in scenario.workload.tenants
    )
    return Plant(layout, racks, tuple(pools), tenants, served, tuple(deployments), intake)


def _racks(
    scenario: Scenario,
    catalog: Catalog,
    layout: Layout,
    note: Callable[[Row], None],
    kernel: Kernel,
) -> tuple[RackMeter, ...]:
    racks: list[RackMeter] = []
    placement = layout.placement
    for number, free in zip(placement.rack_group, placement.free_gpus, strict=True):
        group = scenario.facility.racks[number]
        system = catalog.systems[group.system]
        gpu = catalog.gpus[system.gpu]
        windows = Windows(scenario.run.window_s, 3)
        other_w = system.other_it_w_per_gpu * system.gpus_per_rack
        spare_w = idle_watts(gpu, loaded=False) * free
        budget = None
        if group.budget_kw is not None:
            levels = clock_levels(gpu.min_clock_ratio)
            budget = RackBudget(
                group.budget_kw * 1e3,
                other_w + spare_w,
                levels,
                windows,
                _noting(note, layout.codes.power_nodes[len(racks) + 1]),
                kernel,
                len(racks),
            )
        racks.append(
            RackMeter(windows, EnergyBins(), system.gpus_per_rack, other_w, spare_w, budget)
        )
    return tuple(racks)


def _noting(note: Callable[[Row], None], subject: str) -> Callable[[float, str, float], None]:
    """Writes what a budget says about its clock as rows of ``fact_events``."""

    def row(now_s: float, kind: str, clock: float) -> None:
        note((now_s, kind, subject, clock, "clock ratio of the rack from then on"))

    return row


class _Builder:
    """Builds one deployment."""

    def __init__(
        self,
        scenario: Scenario,
        catalog: Catalog,
        layout: Layout,
        racks: tuple[RackMeter, ...],
        tenants: tuple[Windows, ...],
        kernel: Kernel,
        fabric: Fabric,
        cables: Cables,
        number: int,
    ) -> None:
        self.scenario = scenario
        self.catalog = catalog
        self.layout = layout
        self.racks = racks
        self.tenants = tenants
        self.kernel = kernel
        self.fabric = fabric
        self.number = number
        self.section = section = scenario.deployments[number]
        self.places = [place for place in layout.pools if place.deployment == number]
        self.network = Network(section.kv_transfer, cables)
        acceptance, drafts = None, 0
        speculation = section.speculation
        if speculation is not None:
            run = scenario.run
            draws = stream(run.seed, run.replication, f"speculation:{section.name}")
            acceptance = Acceptance(speculation.chances, draws)
            drafts = speculation.draft_tokens
        self.plan = Plan(
            scenario, catalog, layout, kernel, racks, tenants, section, acceptance, drafts,
            DeploymentTiers(kernel, _TIERS + number), self.kv_bytes(), self.ttft_limits(),
        )  # fmt: skip

    def deployment(
        self,
        write: Callable[[Row], None],
        note: Callable[[Row], None],
        intake: Intake,
        pools: list[PoolMeter],
    ) -> Deployment:
        """The deployment; its pools are appended to ``pools``."""
        plan = self.plan
        limits = length_limits(self.section, self.catalog, self.scenario)
        model_len = limits.sequence
        built = [build_pool(plan, place, model_len) for place in self.places]
        pools.extend(meter for meter, _ in built)
        sides = {meter.place.pool.role: side for meter, side in built}
        entry = sides.get("prefill") or sides["aggregated"]
        decode = sides.get("decode")
        orders = [place.pool.engine.scheduler.order for place in self.places]
        terms = Terms(
            prompt_limit=limits.prompt,
            model_len=model_len,
            kv_bytes=plan.kv_bytes,
            handover_steps=self.engine("decode").handover_wait_steps,
            is_fair="fair" in orders,
            is_early=self.section.kv_transfer.overlap == "by_layer" and decode is not None,
            last_bytes=self.last_bytes,
            local=self.section.conditional_disaggregation,
        )
        levels = [
            ServiceLevel(limit.ttft_s, limit.itl_s, limit.e2e_s)
            for limit in self.layout.codes.tenant_limits
        ]
        accounts = Accounts((decode or entry).windows, self.tenants, levels, write)
        clients = self.clients()
        handover = None
        if decode is not None:
            handover = Handover(
                decode, terms, accounts, self.fabric, self.network.path, entry.prefill_s
            )
            for rank in entry.ranks:
                rank.tells = terms.is_early
        deployment = Deployment(
            entry, decode, terms, clients, accounts, intake.left, plan.acceptance, handover
        )
        self.front(deployment, entry, is_split=decode is not None)
        for rank in (rank for side in sides.values() for rank in side.ranks):
            rank.is_watched = deployment.door is not None
        if any(min(client.ttft_timeout_s, client.timeout_s) < inf for client in clients):
            owner = _DEADLINES + self.number
            deployment.deadlines = Deadlines(self.kernel, owner, deployment.expired, alive)
        for meter, _ in built:
            for replica in meter.replicas:
                replica.owner = deployment
        scale(self.plan, deployment, built, intake, note)
        if deployment.door is not None:
            deployment.size_door(deployment.door)
        return deployment

    def clients(self) -> list[Client]:
        """What is known of each tenant of the run."""
        return [
            Client(
                tenant.priority,
                tenant.timeouts.ttft_timeout_s or inf,
                tenant.timeouts.timeout_s or inf,
            )
            for tenant in self.scenario.workload.tenants
        ]

    def ttft_limits(self) -> tuple[float, ...]:
        """Limit of each tenant on its time to first token: as agreed, else its patience."""
        return tuple(
            tenant.slo.ttft_s or tenant.timeouts.ttft_timeout_s or inf
            for tenant in self.scenario.workload.tenants
        )

    def front(self, deployment: Deployment, entry: PoolSide, *, is_split: bool) -> None:
        """What lies before the router."""
        engine = self.engine("prefill")
        # A prefill pool has no batch in flight between whose steps its scheduler would look.
        steps = 0.0 if is_split else engine.request_wait_steps
        if engine.request_overhead_ms or steps:
            deployment.front_end = FrontEnd(
                self.kernel, self.number, engine.request_overhead_ms * 1e-3, steps,
                entry.ranks[0].replica, deployment.enter,
            )  # fmt: skip
        tenants = self.scenario.workload.tenants
        door = control(
            self.section.admission,
            [tenant.name for tenant in tenants],
            [tenant.priority for tenant in tenants],
            self.plan.ttft_limits_s,
        )
        if door is None:
            return
        deployment.door = door
        deployment.opener = self.kernel.timer(
            CLASS_ARRIVAL, _OPENERS + self.number, deployment.wake
        )

    def engine(self, role: str) -> EngineSpec:
        """What the engine of the pool of a role, or of the only one, adds to its kernels."""
        place = next((p for p in self.places if p.pool.role == role), self.places[0])
        system = self.catalog.systems[self.scenario.facility.racks[place.group].system]
        generation = self.catalog.gpus[system.gpu].generation
        return efficiency(generation, place.pool.engine.profile, self.catalog).engine

    def kv_bytes(self) -> Callable[[int], float]:
        """Bytes of KV of a prompt of so many tokens, over all GPUs of a rank."""
        model = self.catalog.models[self.section.model]
        kv_format = self.section.precision.kv_cache
        draft = self.section.speculation is not None
        hybrid = all(place.pool.engine.hybrid_kv_cache for place in self.places)

        def size(tokens: int) -> float:
            return transfer_bytes(model, kv_format, tokens, draft=draft, hybrid=hybrid)

        # It is a line up to the window of the sliding layers, and another from there on.
        window = model.sliding_window
        state = size(0)
        near = size(1) - state
        far = size(window + 1) - size(window)
        beyond = size(window) - far * window
        if not window:
            return lambda tokens: state + near * tokens
        return lambda tokens: state + near * tokens if tokens <= window else beyond + far * tokens

    def last_bytes(self, tokens: int) -> float:
        """Bytes of KV that are there only when a prompt is, of a last step of so many tokens."""
        model = self.catalog.models[self.section.model]
        return last_layer_bytes(model, self.section.precision.kv_cache, tokens)
