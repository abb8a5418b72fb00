"""Assembly: a checked scenario becomes racks, replicas, pools and deployments."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from factory.facility import EnergyBins, RackBudget, Windows
from factory.kernel import Kernel
from factory.performance import (
    Segment,
    StepModel,
    build,
    build_memory,
    build_reference,
    efficiency,
)
from factory.performance.reference import ReferenceCosts
from factory.power import clock_levels, idle_watts, power_law
from factory.scenario import Catalog, GpuSpec, Scenario
from factory.scenario.kernels import EngineSpec
from factory.serving.acceptance import Acceptance
from factory.serving.batch import Batch, LeapBatch, StepBatch
from factory.serving.deployment import Deployment, PoolSide, Row, ServiceLevel
from factory.serving.front_end import FrontEnd
from factory.serving.intake import Intake
from factory.serving.kv_cache import KVCache
from factory.serving.meter import FIELDS, TENANT_FIELDS, Meter
from factory.serving.prefix_index import PrefixIndex
from factory.serving.rank import Rank, RankLimits
from factory.serving.replica import Replica
from factory.serving.router import build as build_router
from factory.serving.slots import Slots
from factory.serving.speculative import SpeculativeBatch, SpeculativeLeapBatch
from factory.serving.speculative_oracle import SpeculativeStepBatch
from factory.serving.transfer import Fabric, Link
from factory.simulation.names import Layout, PoolPlace, block_size, lay_out
from factory.statistics import stream
from factory.workload import Workload

_GB = 1e9
_WATERMARK = 0.01
"""Share of a rank's KV blocks that admission leaves free for the growth of those running; vLLM's
`watermark` has this default."""


@dataclass(frozen=True, slots=True)
class RackMeter:
    """One rack: what is metered there, and what it draws whatever the replicas do.

    Attributes:
        windows: Joules of its GPUs in replicas (0) and capped seconds (1), by window.
        bins: Joules by second, of the same GPUs.
        gpus: GPUs in the rack.
        other_w: Hosts, network, fans: drawn always, watts.
        spare_w: Idle GPUs that no replica uses, watts.
        budget: Its budget, if it has one.
    """

    windows: Windows
    bins: EnergyBins
    gpus: int
    other_w: float
    spare_w: float
    budget: RackBudget | None


@dataclass(frozen=True, slots=True)
class PoolMeter:
    """One pool: its sums and its yardstick."""

    place: PoolPlace
    windows: Windows
    replicas: tuple[Replica, ...]
    kv_capacity_tokens: int
    reference: ReferenceCosts


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
    pools: list[PoolMeter] = []
    for number in range(len(scenario.deployments)):
        builder = _Builder(scenario, catalog, layout, racks, tenants, kernel, number)
        deployment = builder.deployment(write, intake, pools)
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
        windows = Windows(scenario.run.window_s, 2)
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


def segment_watts(gpu: GpuSpec, model: StepModel) -> Callable[[Segment, float, float], float]:
    """The draw of one GPU, the mean over the replica's, watts.

    Its arguments are a segment, the clock, and which step of the segment is meant.
    """
    law = power_law(gpu, model.peak_flops, model.peak_hbm)

    def watts(segment: Segment, clock: float, step: float) -> float:
        if not step:
            return law(segment.base_s, segment.flops, segment.hbm_bytes, clock)
        return law(
            segment.base_s + segment.slope_s * step,
            segment.flops + segment.flops_slope * step,
            segment.hbm_bytes + segment.hbm_slope * step,
            clock,
        )

    return watts


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
        number: int,
    ) -> None:
        self.scenario = scenario
        self.catalog = catalog
        self.layout = layout
        self.racks = racks
        self.tenants = tenants
        self.kernel = kernel
        self.number = number
        self.section = scenario.deployments[number]
        self.block_size = block_size(self.section)
        self.places = [place for place in layout.pools if place.deployment == number]
        self.acceptance: Acceptance | None = None
        self.drafts = 0
        speculation = self.section.speculation
        if speculation is not None:
            run = scenario.run
            draws = stream(run.seed, run.replication, f"speculation:{self.section.name}")
            self.acceptance = Acceptance(speculation.chances, draws)
            self.drafts = speculation.draft_tokens

    def deployment(
        self, write: Callable[[Row], None], intake: Intake, pools: list[PoolMeter]
    ) -> Deployment:
        """The deployment; its pools are appended to ``pools``."""
        built = [self.pool(place) for place in self.places]
        pools.extend(meter for meter, _ in built)
        sides = {meter.place.pool.role: side for meter, side in built}
        block = self.block_size
        capacities = {
            meter.place.pool.role: meter.kv_capacity_tokens // block * block for meter, _ in built
        }
        entry = sides.get("prefill") or sides["aggregated"]
        decode = sides.get("decode")
        prompt_limit = capacities["prefill" if "prefill" in capacities else "aggregated"]
        model = self.catalog.models[self.section.model]
        lengths = [place.pool.engine.max_model_len or model.max_context for place in self.places]
        # The drafts of the last step take KV too.
        model_len = min(*lengths, capacities.get("decode", prompt_limit) - self.drafts)
        levels = [
            ServiceLevel(limit.ttft_s, limit.itl_s, limit.e2e_s)
            for limit in self.layout.codes.tenant_limits
        ]
        priorities = [tenant.priority for tenant in self.scenario.workload.tenants]
        memory = build_memory(self.places[0].pool, self.section, self.catalog, self.scenario)
        pool = self.places[0].pool
        kv_bytes = memory.kv_bytes_per_token * pool.parallel.pp
        if model.attention != "mla":
            kv_bytes *= min(pool.parallel.tp, model.kv_heads)
        deployment = Deployment(
            entry, decode, prompt_limit, model_len, kv_bytes, levels, priorities, self.tenants,
            write, intake.left, self.acceptance, self.engine("decode").handover_wait_steps,
        )  # fmt: skip
        engine = self.engine("prefill")
        # A prefill pool has no batch in flight between whose steps its scheduler would look.
        steps = engine.request_wait_steps if decode is None else 0.0
        if engine.request_overhead_ms or steps:
            deployment.front_end = FrontEnd(
                self.kernel, self.number, engine.request_overhead_ms * 1e-3, steps,
                entry.ranks[0].replica, deployment.enter,
            )  # fmt: skip
        if decode is not None:
            latency_s = self.section.kv_transfer.latency_ms * 1e-3
            rank_gpus = min(
                place.pool.gpus_per_replica // place.pool.parallel.dp for place in self.places
            )
            most = self.bandwidth_gb_s() * _GB * rank_gpus
            deployment.fabric = Fabric(
                self.kernel, self.number, latency_s, most, deployment.arrived
            )
        for meter, _ in built:
            for replica in meter.replicas:
                replica.owner = deployment
        return deployment

    def engine(self, role: str) -> EngineSpec:
        """What the engine of the pool of a role, or of the only one, adds to its kernels."""
        place = next((p for p in self.places if p.pool.role == role), self.places[0])
        system = self.catalog.systems[self.scenario.facility.racks[place.group].system]
        generation = self.catalog.gpus[system.gpu].generation
        return efficiency(generation, place.pool.engine.profile, self.catalog).engine

    def pool(self, place: PoolPlace) -> tuple[PoolMeter, PoolSide]:
        """One pool, as it is metered and as its deployment sees it."""
        pool = place.pool
        run = self.scenario.run
        scenario = self.scenario
        system = self.catalog.systems[scenario.facility.racks[place.group].system]
        gpu = self.catalog.gpus[system.gpu]
        model = build(pool, self.section, self.catalog, scenario)
        capacity = self.kv_capacity_tokens(place)
        reference = build_reference(pool, model, capacity)
        if self.acceptance is not None:
            output_gpu_s = reference.output_gpu_s / self.acceptance.tokens_per_step
            reference = replace(reference, output_gpu_s=output_gpu_s)
        windows = Windows(run.window_s, FIELDS)
        dp = pool.parallel.dp
        slots = Slots(pool.replicas * dp)
        index = PrefixIndex(slots.count)
        router = self.section.decode_router if pool.role == "decode" else self.section.router
        caching = pool.engine.enable_prefix_caching and pool.role != "decode"
        watched = caching and router.policy == "kv_aware"
        blocks = capacity // self.block_size
        limits = RankLimits(
            sequences=pool.engine.max_num_seqs,
            batched_tokens=pool.engine.max_num_batched_tokens,
            block_size=self.block_size,
            prefix_caching=caching,
            watermark_blocks=int(blocks * _WATERMARK),
            drafts=self.drafts,
        )
        stepwise = run.engine == "step"
        watts = segment_watts(gpu, model)
        link_bytes_per_s = self.bandwidth_gb_s() * _GB * pool.gpus_per_replica
        ranks: list[Rank] = []
        replicas: list[Replica] = []
        links: dict[int, Link] = {}
        for number, rack in enumerate(place.racks):
            code = place.first_replica + number
            rack_meter = self.racks[rack]
            own: list[Rank] = []
            drafting: list[SpeculativeBatch] = []
            for rank in range(dp):
                slot = len(ranks) + rank
                listener = index.listener(slot) if watched else None
                cache = KVCache(blocks, listener)
                if self.drafts:
                    drafting.append(self.speculative_batch(stepwise))
                    own.append(Rank(rank, slot, slots, limits, cache, drafting[-1], drafting[-1]))
                else:
                    batch: Batch = (StepBatch if stepwise else LeapBatch)(self.block_size)
                    own.append(Rank(rank, slot, slots, limits, cache, batch))
            ranks.extend(own)
            meter = Meter(
                windows,
                list(self.tenants),
                rack_meter.bins,
                rack_meter.windows,
                pool.gpus_per_replica,
                drafting,
            )
            idle_w = idle_watts(gpu, loaded=True)
            replica = Replica(
                self.kernel, code, own, model, meter, watts, idle_w, pool.clock_ratio, stepwise
            )
            if rack_meter.budget is not None:
                replica.budget = rack_meter.budget
                rack_meter.budget.add(replica)
            replicas.append(replica)
            links[code] = Link(link_bytes_per_s)
        source = f"router:{self.section.name}:{pool.name}"
        draws = stream(run.seed, run.replication, source)
        chosen = build_router(
            router.policy,
            draws,
            index,
            self.block_size,
            router.overlap_weight,
            router.load_weight,
        )
        side = PoolSide(ranks, slots, chosen, windows, links)
        return PoolMeter(place, windows, tuple(replicas), capacity, reference), side

    def speculative_batch(self, stepwise: bool) -> SpeculativeBatch:
        """An empty batch whose steps verify drafts."""
        if stepwise:
            return SpeculativeStepBatch(self.block_size, self.drafts)
        return SpeculativeLeapBatch(self.block_size, self.drafts)

    def kv_capacity_tokens(self, place: PoolPlace) -> int:
        """KV tokens of one rank: what the engine states, or what memory leaves."""
        engine = place.pool.engine
        if engine.kv_capacity_tokens is not None:
            return engine.kv_capacity_tokens
        if engine.step_model.kind == "fixed":
            return sys.maxsize // 2
        memory = build_memory(place.pool, self.section, self.catalog, self.scenario)
        return memory.kv_capacity_tokens

    def bandwidth_gb_s(self) -> float:
        """KV-transfer bandwidth per GPU: as stated, else NVLink in one domain, else the network."""
        stated = self.section.kv_transfer.bandwidth_gb_s
        if stated is not None:
            return stated
        racks = {rack for place in self.places for rack in place.racks}
        group = self.scenario.facility.racks[self.places[0].group]
        system = self.catalog.systems[group.system]
        gpu = self.catalog.gpus[system.gpu]
        one_domain = len(racks) == 1 and system.nvlink_domain_gpus >= system.gpus_per_rack
        return gpu.nvlink_gb_s if one_domain else gpu.scaleout_gb_s
