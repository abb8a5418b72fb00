"""Assembly of one pool: its replicas, their ranks, what they run on, and its router."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

from factory.facility import Feed, PowerTree, Windows
from factory.kernel import Kernel
from factory.performance import Segment, StepModel, build, build_reference
from factory.performance.reference import ReferenceCosts
from factory.power import idle_watts, power_law
from factory.scenario import Catalog, Deployment, GpuSpec, Scenario, SystemSpec
from factory.scenario.scheduling import Scheduler as SchedulerSection
from factory.serving.acceptance import Acceptance
from factory.serving.autoscaler import CLASS_CONTROL
from factory.serving.batch import Batch, LeapBatch, StepBatch
from factory.serving.door import weights_of, yields_of
from factory.serving.kv_cache import KVCache
from factory.serving.limits import RankLimits
from factory.serving.meter import FIELDS, Meter
from factory.serving.pauses import Pauses
from factory.serving.pool_side import PoolSide
from factory.serving.queues import FirstCome, Queue
from factory.serving.queues import build as build_queue
from factory.serving.rank import Rank
from factory.serving.replica import Replica
from factory.serving.routers import Surroundings, drawer, uniform_from
from factory.serving.routers import build as build_router
from factory.serving.schedulers import Mixed, PrefillFirst, Scheduler
from factory.serving.sequence import Sequence
from factory.serving.slots import Slots
from factory.serving.speculative import SpeculativeBatch, SpeculativeLeapBatch
from factory.serving.speculative_oracle import SpeculativeStepBatch
from factory.serving.stands import Stand, rank_numbers, stand
from factory.serving.tier_build import DeploymentTiers
from factory.simulation.cache_builder import build_caches
from factory.simulation.length_limits import kv_capacity_tokens
from factory.simulation.names import Layout, PoolPlace, block_size
from factory.simulation.power_builder import build_feed
from factory.simulation.rates import Rate, prefill_estimate, serving_rate
from factory.statistics import stream

_EXPIRIES = 1 << 20
"""Owners of the timers by which idle KV expires, among those of control, begin here."""


@dataclass(frozen=True, slots=True)
class PoolMeter:
    """One pool: its sums and its yardsticks.

    Attributes:
        place: Its section and where it stands.
        windows: Its sums.
        replicas: All that there is room for.
        kv_capacity_tokens: KV of one rank, tokens.
        reference: What its tokens would take at the efficient operating point.
        rate: Requests per second that one replica can serve.
    """

    place: PoolPlace
    windows: Windows
    replicas: tuple[Replica, ...]
    kv_capacity_tokens: int
    reference: ReferenceCosts
    rate: Rate


@dataclass(frozen=True, slots=True)
class Plan:
    """What the pools of one deployment are built from.

    Attributes:
        scenario, catalog, layout, kernel: Of the run.
        tree: Where power comes from.
        feeds: The plugs of all replicas, in order; filled as they are built.
        span_w: Lowest and highest draw of any GPU of the run, watts.
        tenants: Sums of each tenant.
        section: The deployment.
        acceptance, drafts: How answers take their steps, and drafts of a step, if any.
        tiers: Makes the tiers of its caches.
        kv_bytes: Bytes of KV of so many tokens, over a whole replica.
        ttft_limits_s: Limit of each tenant, seconds.
    """

    scenario: Scenario
    catalog: Catalog
    layout: Layout
    kernel: Kernel
    tree: PowerTree
    feeds: list[Feed]
    span_w: tuple[float, float]
    tenants: tuple[Windows, ...]
    section: Deployment
    acceptance: Acceptance | None
    drafts: int
    tiers: DeploymentTiers
    kv_bytes: Callable[[int], float]
    ttft_limits_s: tuple[float, ...]


def segment_watts(gpu: GpuSpec, model: StepModel) -> Callable[[Segment, float, float], float]:
    """The draw of one GPU, the mean over the replica's, watts.

    Its arguments are a segment, the clock, and which step of the segment is meant.
    """
    law = power_law(gpu, model.peak_flops, model.peak_hbm)
    host_s = model.host_s

    def watts(segment: Segment, clock: float, step: float) -> float:
        if not step:
            return law(segment.base_s, segment.flops, segment.hbm_bytes, clock, host_s)
        return law(
            segment.base_s + segment.slope_s * step,
            segment.flops + segment.flops_slope * step,
            segment.hbm_bytes + segment.hbm_slope * step,
            clock,
            host_s,
        )

    return watts


def stands_of(
    layout: Layout, place: PoolPlace, system: SystemSpec, gpu: GpuSpec
) -> list[list[Stand]]:
    """Where the ranks of each replica of a pool stand."""
    parallel = place.pool.parallel
    return [
        [
            stand(rack, rank_numbers(numbers, parallel.tp, parallel.dp, rank), system, gpu)
            for rank in range(parallel.dp)
        ]
        for rack, numbers in zip(place.racks, layout.gpus[place.code], strict=True)
    ]


def build_pool(plan: Plan, place: PoolPlace, model_len: int) -> tuple[PoolMeter, PoolSide]:
    """One pool, as it is metered and as its deployment sees it.

    Args:
        plan: What it is built from.
        place: Where its replicas stand.
        model_len: Prompt and output tokens that a sequence may have.
    """
    scenario = plan.scenario
    run = scenario.run
    pool = place.pool
    model = build(pool, plan.section, plan.catalog, scenario)
    capacity = kv_capacity_tokens(pool, plan.section, plan.catalog, scenario)
    reference = build_reference(pool, model, capacity)
    if plan.acceptance is not None:
        output_gpu_s = reference.output_gpu_s / plan.acceptance.tokens_per_step
        reference = replace(reference, output_gpu_s=output_gpu_s)
    windows = Windows(run.window_s, FIELDS)
    dp = pool.parallel.dp
    section = plan.section.decode_router if pool.role == "decode" else plan.section.router
    slots = Slots(pool.most_replicas * dp, capacity)
    system = plan.catalog.systems[scenario.facility.racks[place.group].system]
    gpu = plan.catalog.gpus[system.gpu]
    limits = _limits(plan, place, capacity, model_len)
    prefill_s = prefill_estimate(model, dp, limits.batched_tokens, pool.clock_ratio)
    caches = build_caches(
        plan.kernel, plan.catalog, plan.section, pool, plan.tiers,
        capacity // limits.block_size, limits.block_size, prefill_s, limits.prefix_caching,
    )  # fmt: skip
    watts = segment_watts(gpu, model)
    idle_w, bare_w = idle_watts(gpu, loaded=True), idle_watts(gpu, loaded=False)
    stands = stands_of(plan.layout, place, system, gpu)
    ranks: list[Rank] = []
    replicas: list[Replica] = []
    for number in range(len(place.racks)):
        own: list[Rank] = []
        drafting: list[SpeculativeBatch] = []
        for name in range(dp):
            slot = len(ranks) + name
            cache = caches.caches[slot]
            own.append(_rank(plan, place, name, slot, slots, limits, cache, drafting))
            if caches.tiers is not None:
                own[-1].tiers = caches.tiers.ranks[slot]
            own[-1].stand = stands[number][name]
        ranks.extend(own)
        meter = Meter(
            windows,
            list(plan.tenants),
            pool.gpus_per_replica,
            drafting,
        )
        replica = Replica(
            plan.kernel,
            place.first_replica + number,
            own,
            model,
            meter,
            _feed(plan, place, number),
            watts,
            idle_w,
            bare_w,
            pool.clock_ratio,
            run.engine == "step",
        )
        replicas.append(replica)
    source = f"router:{plan.section.name}:{pool.name}"
    uniform = uniform_from(stream(run.seed, run.replication, source))
    surroundings = Surroundings(
        slots=slots.count,
        block_size=limits.block_size,
        draw=drawer(uniform),
        uniform=uniform,
        index=caches.index,
        prefill_s=prefill_s,
        transfer_s=caches.copy_s,
        headroom=_headroom(plan.tree),
        ttft_limits_s=plan.ttft_limits_s,
        racks=tuple(rack for rack in place.racks for _ in range(dp)),
        tiers=caches.tier_indexes,
        tier_kinds=caches.tier_kinds,
    )
    router = build_router(section, surroundings)
    is_single = slots.count == 1 and section.policy not in ("min_ttft", "custom")
    side = PoolSide(ranks, slots, router, windows, is_single, caches.index, prefill_s)
    per_step = 1.0 if plan.acceptance is None else plan.acceptance.tokens_per_step
    rate = serving_rate(model, dp, limits, capacity, pool.clock_ratio, per_step)
    return PoolMeter(place, windows, tuple(replicas), capacity, reference, rate), side


def _limits(plan: Plan, place: PoolPlace, capacity: int, model_len: int) -> RankLimits:
    pool = place.pool
    engine = pool.engine
    scheduler = engine.scheduler
    section = plan.section
    size = block_size(section)
    names = [tenant.name for tenant in plan.scenario.workload.tenants]
    caching = engine.enable_prefix_caching
    if pool.role == "decode" and section.conditional_disaggregation is None:
        caching = False
    yielding = yields_of(section.admission, names)
    pinned = {
        number
        for number, tenant in enumerate(plan.scenario.workload.tenants)
        if pool.kv_cache.pin_shared_prefix and tenant.shared_prefix.tokens >= size
    }
    return RankLimits(
        sequences=engine.max_num_seqs,
        batched_tokens=engine.max_num_batched_tokens,
        block_size=size,
        prefix_caching=caching,
        watermark_blocks=int(capacity // size * scheduler.watermark),
        drafts=plan.drafts,
        is_chunked=scheduler.is_chunked,
        yields=frozenset(number for number, does in enumerate(yielding) if does),
        caches_answers=caching and pool.role != "prefill" and pool.kv_cache.cache_outputs,
        model_len=model_len,
        pinned_tenants=frozenset(pinned) if caching else frozenset(),
    )


def _rank(
    plan: Plan,
    place: PoolPlace,
    name: int,
    slot: int,
    slots: Slots,
    limits: RankLimits,
    cache: KVCache,
    drafting: list[SpeculativeBatch],
) -> Rank:
    section = place.pool.engine.scheduler
    stepwise = plan.scenario.run.engine == "step"
    names = [tenant.name for tenant in plan.scenario.workload.tenants]

    def cached(sequence: Sequence) -> int:
        return cache.match(sequence.request.blocks) * limits.block_size

    waiting = build_queue(section, weights_of(plan.section.admission, names), cached)
    scheduler = _scheduler(section)
    if plan.drafts:
        make = SpeculativeStepBatch if stepwise else SpeculativeLeapBatch
        drafting.append(make(limits.block_size, plan.drafts))
        rank = Rank(
            name, slot, slots, limits, cache, drafting[-1], scheduler, waiting, _unreserved(),
            drafting[-1],
        )  # fmt: skip
    else:
        batch: Batch = (StepBatch if stepwise else LeapBatch)(limits.block_size)
        rank = Rank(name, slot, slots, limits, cache, batch, scheduler, waiting, _unreserved())
    if scheduler.may_pause or place.pool.kv_cache.onboarding == "blocking":
        rank.pauses = Pauses()
    if cache.ttl_s < inf:
        rank.expire_by(
            plan.kernel.timer(CLASS_CONTROL, _EXPIRIES + (place.code << 16) + slot, rank.expire)
        )
    return rank


def _unreserved() -> Queue:
    return FirstCome()


def _scheduler(section: SchedulerSection) -> Scheduler:
    if section.policy == "sglang":
        return PrefillFirst(section.schedule_conservativeness or 1.0)
    return Mixed(guarantees=section.policy == "trtllm")


def _headroom(tree: PowerTree) -> Callable[[int], float]:
    """Share of its limit that nothing draws now: of a rack, or of what it hangs on if less."""
    paths = [rack.path() for rack in tree.racks]

    def headroom(rack: int) -> float:
        return min(node.headroom_ratio for node in paths[rack])

    return headroom


def _feed(plan: Plan, place: PoolPlace, number: int) -> Feed:
    feed = build_feed(
        plan.tree, plan.layout, place, number, plan.scenario, plan.catalog, plan.span_w
    )
    plan.feeds.append(feed)
    return feed
