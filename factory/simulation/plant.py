"""Assembly: a checked scenario becomes racks, replicas, pools and deployments."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from math import inf

from factory.facility import Feed, IdealControl, PowerNode, PowerTree, Windows
from factory.facility.site_meter import Meter as SiteMeter
from factory.kernel import CLASS_ARRIVAL, Kernel
from factory.performance import efficiency
from factory.performance.kv_transfer import last_layer_bytes, transfer_bytes
from factory.scenario import Catalog, Scenario
from factory.scenario.kernels import EngineSpec
from factory.serving.acceptance import Acceptance
from factory.serving.accounts import Accounts, Row, ServiceLevel
from factory.serving.deadlines import Deadlines, alive
from factory.serving.deployment import Deployment
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
from factory.simulation.control_builder import Control, build_control
from factory.simulation.length_limits import length_limits
from factory.simulation.names import Layout, lay_out
from factory.simulation.outage_builder import Held, build_outages
from factory.simulation.pool_builder import (
    Plan,
    PoolMeter,
    build_pool,
)
from factory.simulation.power_builder import build_tree
from factory.simulation.scaling import scale
from factory.simulation.site_builder import build_site
from factory.statistics import stream
from factory.workload import Workload

_TIERS = 1 << 16
"""Owners of the tiers' timers, among those of transfers, begin here."""

_OPENERS = 1 << 17
"""Owners of the timers that let held requests in, among those of arrivals, begin here."""

_LAST = 1 << 29
"""Order of the end of control among what the agenda does at one instant."""

_DEADLINES = 1 << 16
"""Owners of the deadlines' timers, among those of arrivals, begin here."""


@dataclass(frozen=True, slots=True)
class Plant:
    """Everything that one run simulates, assembled."""

    layout: Layout
    tree: PowerTree
    feeds: tuple[Feed, ...]
    ideal: IdealControl | None
    pools: tuple[PoolMeter, ...]
    tenants: tuple[Windows, ...]
    tenant_deployments: tuple[int, ...]
    deployments: tuple[Deployment, ...]
    intake: Intake
    held: Held
    control: Control
    site: SiteMeter


def assemble(
    scenario: Scenario,
    catalog: Catalog,
    workload: Workload,
    kernel: Kernel,
    write: Callable[[Row], None],
    note: Callable[[Row], None],
    share: float = 1.0,
) -> Plant:
    """Builds the factory of a scenario.

    Args:
        scenario: Checked by `preflight` too, defaults filled in.
        catalog: What its names refer to.
        workload: Who asks.
        kernel: The environment.
        write: Takes the rows of ``fact_requests``.
        note: Takes the rows of ``fact_events``.
        share: Cells simulated over cells, for what the scenario says of the grid's side of all.
    """
    layout = lay_out(scenario, catalog)
    window_s = scenario.run.window_s
    tree = build_tree(scenario, catalog, layout)
    feeds: list[Feed] = []
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
            scenario, catalog, layout, tree, feeds, tenants, kernel, fabric, cables, number
        )
        deployment = builder.deployment(write, note, intake, pools)
        deployments.append(deployment)
    names = [deployment.name for deployment in scenario.deployments]
    served = tuple(
        names.index(tenant.deployment) if tenant.deployment else 0
        for tenant in scenario.workload.tenants
    )
    ideal = _ideal(scenario, tree, feeds, kernel, note)

    def told(now_s: float, kind: str, subject: str, value: float, detail: str) -> None:
        note((now_s, kind, subject, value, detail))

    held = build_outages(scenario, catalog, layout, tree, pools, deployments, intake, kernel, told)

    def goes_on() -> bool:
        return held.agenda.goes_on(kernel.now)

    loops = build_control(scenario, tree, feeds, held.machines, kernel, told, goes_on)

    def maybe_over(_now_s: float = 0.0) -> None:
        if not goes_on():
            loops.rest()

    if loops.loops or loops.breakers:
        # A breaker to be closed, a command on its way: they shall not keep a finished run alive.
        held.agenda.at(scenario.run.duration_s or 0.0, _LAST, maybe_over)
        for deployment in deployments:
            deployment.emptied.append(maybe_over)
    site = build_site(scenario, tree, ideal, deployments, held.machines, held.agenda, note, share)
    return Plant(
        layout,
        tree,
        tuple(feeds),
        ideal,
        tuple(pools),
        tenants,
        served,
        tuple(deployments),
        intake,
        held,
        loops,
        site,
    )


def _ideal(
    scenario: Scenario,
    tree: PowerTree,
    feeds: Seq[Feed],
    kernel: Kernel,
    note: Callable[[Row], None],
) -> IdealControl | None:
    """Who keeps the budgets at every instant, if anybody does."""
    facility = scenario.facility
    limited = [node for node in tree.nodes if node.rating_w < inf]
    if facility.grid is not None and tree.root not in limited:
        limited.append(tree.root)
    if facility.control.mode != "ideal" or not limited:
        return None

    def told(now_s: float, kind: str, node: PowerNode) -> None:
        limit_kw = node.limit_w / 1e3 if node.limit_w < inf else 0.0
        note((now_s, kind, node.name, limit_kw, "kW of IT power that it may draw; 0 for any"))

    return IdealControl(limited, feeds, facility.control.share, kernel, told)


def _span_w(scenario: Scenario, catalog: Catalog) -> tuple[float, float]:
    """Lowest and highest draw of any GPU of the run, watts."""
    systems = [catalog.systems[group.system] for group in scenario.facility.racks]
    gpus = [catalog.gpus[system.gpu] for system in systems]
    return min(gpu.idle_bare_w for gpu in gpus), max(gpu.tdp_w for gpu in gpus)


class _Builder:
    """Builds one deployment."""

    def __init__(
        self,
        scenario: Scenario,
        catalog: Catalog,
        layout: Layout,
        tree: PowerTree,
        feeds: list[Feed],
        tenants: tuple[Windows, ...],
        kernel: Kernel,
        fabric: Fabric,
        cables: Cables,
        number: int,
    ) -> None:
        self.scenario = scenario
        self.catalog = catalog
        self.layout = layout
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
            scenario, catalog, layout, kernel, tree, feeds, _span_w(scenario, catalog), tenants,
            section, acceptance, drafts,
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
