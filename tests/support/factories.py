"""Scenarios that Hypothesis invents: small factories with everything that can go wrong in them."""

from __future__ import annotations

from typing import Any

from drafting import MODEL as DRAFTING
from hypothesis import strategies as st

from factory.power.rack import idle_rack_w
from factory.scenario import catalog

Data = dict[str, Any]

_SYSTEM, _GPU = catalog().systems["hgx-h100"], catalog().gpus["h100-sxm"]
RACK_GPUS = _SYSTEM.gpus_per_rack
IDLE_KW = idle_rack_w(_SYSTEM, _GPU, loaded=True) / 1e3
LOWEST_KW = 0.4
"""An HGX H100 rack: its GPUs, its draw with models loaded and idle, and room for one GPU at work at
the lowest clock."""

POLICIES = (
    "random",
    "round_robin",
    "least_loaded",
    "kv_aware",
    "session_affinity",
    "power_of_two",
    "prefix_threshold",
    "kv_cost",
    "weighted_scorers",
    "min_ttft",
    "power_aware",
)


@st.composite
def lengths(draw: st.DrawFn, most: int) -> Any:
    """Tokens: always the same, or uniform."""
    if draw(st.booleans()):
        return draw(st.integers(1, most))
    low = draw(st.integers(1, most))
    return {"distribution": "uniform", "min": low, "max": draw(st.integers(low, most))}


@st.composite
def step_models(draw: st.DrawFn) -> Data:
    """Roofline, or stated times on a coarse grid, so that events of many replicas coincide."""
    if draw(st.booleans()):
        return {"kind": "roofline"}
    base, per_seq, per_token = draw(
        st.sampled_from(
            [(10, 0, 0), (10, 1, 0), (10, 0, 0.5), (8, 1, 0.25), (0, 2, 1), (7.3, 0, 0)]
        )
    )
    return {
        "kind": "fixed",
        "base_ms": base,
        "per_seq_ms": per_seq,
        "per_prefill_token_ms": per_token,
    }


@st.composite
def speculations(draw: st.DrawFn) -> Data:
    """Few drafts or more, with one chance for all or one each; never or always is among them."""
    drafts = draw(st.sampled_from([1, 1, 2, 3, 5]))
    chances = st.sampled_from([0.0, 0.3, 0.7, 0.9, 1.0])
    each = st.lists(chances, min_size=drafts, max_size=drafts)
    return {"draft_tokens": drafts, "acceptance": draw(st.one_of(chances, each))}


@st.composite
def engines(draw: st.DrawFn, capped: bool, rows: int = 1) -> Data:
    """Engine limits that are felt: few sequences, little KV, chunks of a few tokens."""
    seqs = draw(st.sampled_from([1, 2, 3, 4, 6, 9]))
    engine: Data = {
        "max_num_seqs": seqs,
        "max_num_batched_tokens": max(seqs * rows, draw(st.sampled_from([1, 7, 16, 40, 400]))),
        "enable_prefix_caching": draw(st.booleans()),
        "step_model": {"kind": "roofline"} if capped else draw(step_models()),
        "kv_capacity_tokens": draw(st.sampled_from([96, 112, 144, 208, 304, 1008, 48])),
    }
    if draw(st.sampled_from([False] * 7 + [True])):
        engine["max_model_len"] = draw(st.sampled_from([64, 200]))
    engine["scheduler"] = draw(schedulers(engine["enable_prefix_caching"]))
    return engine


@st.composite
def schedulers(draw: st.DrawFn, is_caching: bool) -> Data:
    """Every policy and order, the default ones more often."""
    policy = draw(st.sampled_from(["vllm", "vllm", "sglang", "trtllm"]))
    made: Data = {"policy": policy}
    if policy == "sglang":
        if draw(st.booleans()):
            made["schedule_conservativeness"] = draw(st.sampled_from([0.1, 0.5, 1.4]))
    elif draw(st.sampled_from([False, False, True])):
        made["chunked_prefill"] = False
    orders = ["fcfs", "fcfs", "priority", "shortest_first", "fair"] + ["lpm"] * is_caching
    made["order"] = draw(st.sampled_from(orders))
    if made["order"] == "priority" and draw(st.booleans()):
        made["ageing_s"] = draw(st.sampled_from([0.05, 1.0]))
    if made["order"] == "shortest_first":
        made["ageing_tokens_per_s"] = draw(st.sampled_from([0.0, 100.0]))
    if policy == "vllm" and draw(st.booleans()):
        made["watermark_ratio"] = draw(st.sampled_from([0.0, 0.1]))
    return made


def _router(draw: st.DrawFn, but: tuple[str, ...] = ()) -> Data:
    policies = [policy for policy in POLICIES if policy not in but]
    router: Data = {"policy": draw(st.sampled_from(policies))}
    if router["policy"] == "kv_aware" and draw(st.booleans()):
        router["overlap_weight"] = draw(st.sampled_from([0.0, 0.5, 2.0]))
        router["load_weight"] = draw(st.sampled_from([0.0, 0.5, 2.0]))
    return router


@st.composite
def deployments(draw: st.DrawFn, name: str, capped: bool, speculative: bool | None = None) -> Data:
    """A deployment of an 8B model, aggregated or prefill and decode; many in a rack if capped."""
    block = draw(st.sampled_from([1, 4, 16]))
    roles = draw(st.sampled_from([("aggregated",), ("prefill", "decode")]))
    drafted = draw(st.booleans()) if speculative is None else speculative
    speculation = draw(speculations()) if drafted else None
    rows = speculation["draft_tokens"] + 1 if speculation else 1
    pools = [
        {
            "name": f"{name}-{role}",
            "role": role,
            "racks": "r",
            "replicas": draw(st.sampled_from([3, 4, 6] if capped else [1, 2, 3])),
            "parallel": {
                "tp": draw(st.sampled_from([1, 4])),
                "dp": draw(st.sampled_from([1, 2] if capped else [1, 1, 2, 3, 8])),
            },
            "clock_ratio": draw(st.sampled_from([1.0, 1.0, 0.7])),
            "engine": draw(engines(capped, rows)),
        }
        for role in roles
    ]
    for pool in pools:
        if pool["engine"]["enable_prefix_caching"] and draw(st.booleans()):
            pool["kv_cache"] = draw(kv_caches(block))
        if draw(st.sampled_from([False, False, True])):
            pool["autoscaling"] = draw(scalings(pool["replicas"]))
    made: Data = {
        "name": name,
        "model": DRAFTING if speculation else "llama-3.1-8b",
        "block_size": block,
        "router": _router(draw),
        "pools": pools,
    }
    if speculation:
        made["speculation"] = speculation
    if len(roles) > 1:
        made["decode_router"] = _router(draw, ("min_ttft",))
        made["kv_transfer"] = {
            "bandwidth_gb_s": draw(st.sampled_from([0.01, 0.5, 1000.0])),
            "latency_ms": draw(st.sampled_from([0, 0.1, 10.0])),
            "overlap": draw(st.sampled_from(["after", "by_layer"])),
        }
        if draw(st.booleans()):
            made["conditional_disaggregation"] = {
                "policy": draw(st.sampled_from(["isl_bounding", "prefill_load", "isl_or_load"]))
            }
    return made


@st.composite
def kv_caches(draw: st.DrawFn, block: int) -> Data:
    """What stays cached, and tiers below it that are felt."""
    made: Data = {
        "cache_outputs": draw(st.booleans()),
        "pin_shared_prefix": draw(st.booleans()),
    }
    if draw(st.sampled_from([False, False, True])):
        made["ttl_s"] = draw(st.sampled_from([0.02, 0.5]))
    tiers: list[Data] = []
    if draw(st.sampled_from([True, True, False])):
        shared = draw(st.sampled_from(["rank", "replica", "pool"]))
        tiers.append({"kind": "host", "bandwidth_gb_s": draw(st.sampled_from([0.01, 32.0]))})
        tiers[-1] |= {"capacity_tokens": 40 * block, "shared_by": shared}
        if draw(st.booleans()):
            tiers.append({"kind": "shared", "bandwidth_gb_s": draw(st.sampled_from([0.003, 1.0]))})
            tiers[-1] |= {"capacity_tokens": 100 * block}
    if tiers:
        made["tiers"] = tiers
        made["write"] = draw(st.sampled_from(["through", "on_eviction", "on_reuse"]))
        made["onboarding"] = draw(st.sampled_from(["overlapped", "blocking"]))
        made["fetch"] = draw(st.sampled_from(["always", "when_faster"]))
    return made


@st.composite
def scalings(draw: st.DrawFn, replicas: int) -> Data:
    """Scaling that happens within the second or two that these runs take."""
    policy = draw(st.sampled_from(["throughput", "load", "schedule"]))
    most = replicas + draw(st.integers(0, 2))
    least = draw(st.integers(0, replicas))
    made: Data = {
        "policy": policy,
        "min_replicas": least,
        "max_replicas": most,
        "startup": {"startup_s": draw(st.sampled_from([0.0, 0.07, 0.5]))},
        "ownership": draw(st.sampled_from(["owned", "on_demand"])),
    }
    if not least:
        made["wake_on_arrival"] = True
    if draw(st.booleans()):
        made["drain_timeout_s"] = draw(st.sampled_from([0.03, 0.3]))
    if policy == "schedule":
        times = sorted(draw(st.sets(st.sampled_from([0.1, 0.2, 0.35, 0.6, 1.0]), min_size=1)))
        low = max(least, 1)
        made["schedule"] = [
            {"at_s": at_s, "replicas": draw(st.integers(low, most))} for at_s in times
        ]
        return made
    made["interval_s"] = draw(st.sampled_from([0.05, 0.2]))
    if policy == "throughput":
        made["requests_per_s_per_replica"] = draw(st.sampled_from([3.0, 20.0]))
        made["predictor"] = draw(st.sampled_from(["constant", "moving_average", "holt"]))
    else:
        made["up_waiting_requests"] = draw(st.sampled_from([1.0, 3.0]))
    return made


@st.composite
def admissions(draw: st.DrawFn, classes: list[Data]) -> Data:
    """Limits at the door that are felt, and tenants that yield or fill the valleys."""
    made: Data = {"shed": draw(st.sampled_from(["none", "queue_limit"]))}
    if made["shed"] == "queue_limit":
        made["max_queue_requests"] = draw(st.integers(1, 6))
    if draw(st.booleans()):
        made["max_concurrency"] = draw(st.integers(1, 8))
        made["over_concurrency"] = draw(st.sampled_from(["wait", "reject"]))
    terms = {}
    lowest = min(each.get("priority", 0) for each in classes)
    for each in classes:
        if draw(st.booleans()):
            is_lowest = each.get("priority", 0) == lowest
            terms[each["name"]] = {
                "kind": draw(st.sampled_from(["interactive", "batch"][: 1 + is_lowest])),
                "weight": draw(st.sampled_from([1.0, 3.0])),
                "preemptible": draw(st.booleans()),
            }
    made["tenants"] = terms
    return made


@st.composite
def sessions(draw: st.DrawFn) -> Data:
    """Turns, and what agents do within them."""
    made: Data = {
        "turns": draw(lengths(4)),
        "think_time_s": draw(
            st.sampled_from([0, 0.01, 0.2, {"distribution": "exponential", "mean": 0.1}])
        ),
        "growth": draw(st.booleans()),
    }
    if draw(st.sampled_from([False, False, False, True])):
        return {**made, "growth": False, "fan_out": draw(lengths(6))}
    if draw(st.sampled_from([False, False, True])):
        calls = {"distribution": "uniform", "min": 0, "max": 3}
        made["tools"] = {"calls": calls, "latency_s": 0.02, "result_tokens": draw(lengths(20))}
    if draw(st.sampled_from([False, False, True])):
        made["subagents"] = {
            "probability": 0.7,
            "count": draw(lengths(3)),
            "input_tokens": draw(lengths(20)),
            "shared_prefix_tokens": draw(st.sampled_from([0, 30])),
            "answer_tokens": draw(lengths(10)),
        }
    if draw(st.sampled_from([False, False, True])):
        made["edits"] = {
            "probability": 0.3,
            "kept_ratio": {"distribution": "uniform", "min": 0, "max": 1},
        }
    return made


@st.composite
def tenants(draw: st.DrawFn, name: str, names: list[str]) -> Data:
    """A traffic class, open loop or closed, with sessions and shared prefixes or without."""
    load: Data
    if draw(st.booleans()):
        load = {"concurrency": draw(st.integers(1, 8))}
    else:
        load = {
            "rate": draw(st.sampled_from([2.0, 10.0, 50.0, 100.0, 1000.0])),
            "arrival": draw(st.sampled_from(["poisson", "deterministic"])),
        }
    made: Data = {
        "name": name,
        "deployment": draw(st.sampled_from(names)),
        "slo": draw(st.sampled_from([{}, {"ttft_s": 0.2}, {"itl_ms": 12.0, "e2e_s": 2.0}])),
        "load": load,
        "input_tokens": draw(lengths(60)),
        "output_tokens": draw(lengths(40)),
    }
    if draw(st.booleans()):
        made["priority"] = draw(st.integers(0, 2))
    if draw(st.sampled_from([False, False, True])):
        made["max_tokens"] = draw(st.sampled_from([1, 20, 60]))
    if draw(st.sampled_from([False, False, True])):
        made["timeouts"] = draw(
            st.sampled_from(
                [
                    {"timeout_s": 0.3},
                    {"ttft_timeout_s": 0.05},
                    {"ttft_timeout_s": 0.02, "timeout_s": 0.4},
                ]
            )
        )
    if draw(st.sampled_from([False, False, True])):
        made["retry"] = {"attempts": draw(st.integers(2, 3)), "backoff_s": 0.1}
    if draw(st.booleans()):
        made["shared_prefix"] = {
            "tokens": draw(st.integers(1, 80)),
            "count": draw(st.integers(1, 2)),
        }
    if draw(st.booleans()):
        made["session"] = draw(sessions())
    if draw(st.sampled_from([False, False, False, True])):
        made["documents"] = {
            "tokens": draw(lengths(40)),
            "count": draw(st.integers(1, 4)),
            "number": 1,
            "per": draw(st.sampled_from(["session", "turn"])),
        }
    if draw(st.sampled_from([False, False, False, True])):
        load["warm_start"] = {
            "span_s": draw(st.sampled_from([0.1, 1.0])),
            "ttft_s": 0.01,
            "itl_ms": 1,
        }
    return made


@st.composite
def failures(draw: st.DrawFn, pools: list[Data], racks: int, end_s: float) -> Data:
    """What breaks, rests and is upgraded in the second or two of a run, before ``end_s``."""
    replicas = [f"{pool['name']}-{number}" for pool in pools for number in range(pool["replicas"])]
    rack = f"r-{draw(st.integers(0, racks - 1))}"
    parts = [f"{rack}/gpu-{draw(st.integers(0, 9))}", f"{rack}/node-{draw(st.integers(0, 3))}"]
    targets = st.sampled_from([*replicas, *parts, rack, f"network/{rack}", f"{rack}/domain-0"])
    times = st.one_of(
        st.sampled_from([at_s for at_s in (0.0, 0.01, 0.05, 0.1, 0.2, 0.36, 0.73) if at_s < end_s]),
        st.floats(0.0, min(1.5, 0.99 * end_s), allow_nan=False).map(lambda value: round(value, 4)),
    )
    spans = st.sampled_from([0.003, 0.02, 0.1, 0.4])
    made: Data = {"startup": {"startup_s": draw(st.sampled_from([0.0, 0.01, 0.15]))}}
    made["faults"] = [
        {"at_s": draw(times), "target": draw(targets), "duration_s": draw(spans)}
        for _ in range(draw(st.integers(1, 5)))
    ]
    if draw(st.sampled_from([False, False, True])):
        made["processes"] = [
            {
                "name": "chance",
                "of": draw(st.sampled_from(["gpu", "tray", "rack", "network"])),
                "mtbf_s": draw(st.sampled_from([0.5, 5.0])),
                "repair_s": {"distribution": "exponential", "mean": 0.05},
                "kind": "recoverable",
            }
        ]
    if draw(st.sampled_from([False, False, True])):
        work = {"at_s": draw(times), "targets": [draw(targets)], "duration_s": draw(spans)}
        work["drain_timeout_s"] = draw(st.sampled_from([None, 0.0, 0.05]))
        work["every_s"] = draw(st.sampled_from([None, 0.7]))
        made["maintenance"] = [work]
    if draw(st.sampled_from([False, False, True])):
        pool = draw(st.sampled_from([pool["name"] for pool in pools]))
        made["upgrades"] = [{"pool": pool, "at_s": draw(times), "duration_s": draw(spans)}]
    return made


@st.composite
def grids(draw: st.DrawFn, tenants: list[Data], least_kw: float) -> Data:
    """What a grid asks of a facility that can do with ``least_kw`` of IT power."""
    made: Data = {"policy": draw(st.sampled_from(["cap", "pause", "shed", ["shed", "cap"]]))}
    at_s = draw(st.sampled_from([0.05, 0.2, 0.31]))
    made["curtailments"] = [
        {
            "at_s": at_s,
            "duration_s": draw(st.sampled_from([0.05, 0.3])),
            "notice_s": draw(st.sampled_from([0.0, 0.04])),
            "limit_mw": least_kw * draw(st.sampled_from([1.02, 1.1, 1.3])) * 1.3e-3,
        }
    ]
    if "shed" in made["policy"]:
        made["shed_tenants"] = [tenants[0]["name"]]
        made["shed_running"] = draw(st.sampled_from(["finish", "give_up"]))
    if draw(st.booleans()):
        made["battery"] = {
            "capacity_mwh": draw(st.sampled_from([1e-7, 1e-4])),
            "power_mw": draw(st.sampled_from([0.001, 0.1])),
            "for": draw(st.sampled_from([["curtailment"], ["curtailment", "peak"]])),
        }
    return made


@st.composite
def power(draw: st.DrawFn, pools: list[Data], facility: Data, busiest: int) -> None:
    """Budgets over the racks, what is done about them, and what holds pools by themselves."""
    racks = facility["racks"][0]
    above_kw = LOWEST_KW * busiest
    control: Data = {
        "share": draw(
            st.sampled_from(["equal_clock", "water_filling", "priority", "prefill_first"])
        )
    }
    if draw(st.sampled_from([False, False, True])):
        control = {
            "mode": "reactive",
            "telemetry_s": 0.02,
            "actuation_s": draw(st.sampled_from([0.0, 0.05])),
            "brake_s": 0.01,
            "thresholds": [{"at_ratio": 0.7, "clock_ratio": 0.8}],
            "brake": {"at_ratio": 1.0, "clock_ratio": 0.5},
        }
        if draw(st.booleans()):
            racks["breaker"] = {"curve": [[1.01, 0.2], [1.2, 0.02]], "reset_s": 0.1}
    facility["control"] = control
    racks["budget_kw"] = IDLE_KW + above_kw * draw(st.sampled_from([1.0, 1.5, 2.5, 4.0]))
    if draw(st.booleans()):
        share = draw(st.sampled_from([0.9, 1.0]))
        idle_kw = IDLE_KW * racks["count"]
        facility["rows"] = [{"name": "w", "budget_kw": idle_kw + above_kw * share * 3}]
        racks["row"] = "w"
    if draw(st.sampled_from([False, False, True])):
        facility["power_tables"] = "node"
    for pool in pools:
        pool["power"] = draw(
            st.sampled_from([{}, {}, {"priority": 1}, {"cap_w": 350}, {"profile": "max_q"}])
        )


@st.composite
def scenarios(
    draw: st.DrawFn,
    budget: bool | None = None,
    speculative: bool | None = None,
    faults: bool | None = None,
) -> Data:
    """A whole scenario.

    Args:
        draw: Given by Hypothesis.
        budget: Whether the rack has a power budget; by default sometimes.
        speculative: Whether decode steps verify drafts; by default sometimes.
        faults: Whether things break and are worked on; by default sometimes.
    """
    capped = draw(st.booleans()) if budget is None else budget
    names = [f"d{i}" for i in range(draw(st.sampled_from([1, 1, 2])))]
    made = [draw(deployments(name, capped, speculative)) for name in names]
    run: Data = {
        "requests": draw(st.sampled_from([10, 40, 3, 25, 80])),
        "window_s": draw(st.sampled_from([0.05, 0.37, 1.0, 60.0])),
        "seed": draw(st.integers(0, 5)),
    }
    if draw(st.booleans()):
        run["duration_s"] = draw(st.sampled_from([0.3, 0.5, 1.7]))
        run["drain"] = draw(st.booleans())
        run["window_s"] = min(run["window_s"], run["duration_s"])
    pools = [pool for deployment in made for pool in deployment["pools"]]
    gpus = [pool["parallel"]["dp"] * pool["parallel"]["tp"] for pool in pools]
    most = [pool.get("autoscaling", {}).get("max_replicas", pool["replicas"]) for pool in pools]
    used = sum(each * number for each, number in zip(gpus, most, strict=True))
    rack: Data = {
        "name": "r",
        "system": "hgx-h100",
        "count": 1 + (used if capped else 2 * used) // RACK_GPUS,
    }
    classes = [draw(tenants(f"t{i}", names)) for i in range(draw(st.integers(1, 3)))]
    for deployment in made:
        mine = [each for each in classes if each["deployment"] == deployment["name"]]
        if mine and draw(st.sampled_from([False, False, True])):
            deployment["admission"] = draw(admissions(mine))
    facility: Data = {"racks": [rack]}
    if capped:
        draw(power(pools, facility, max(gpus)))
    if draw(st.sampled_from([False, False, False, True])):
        facility["grid"] = draw(grids(classes, IDLE_KW * rack["count"] + LOWEST_KW * max(gpus)))
    if draw(st.sampled_from([False, False, True])) if faults is None else faults:
        facility["failures"] = draw(failures(pools, rack["count"], run.get("duration_s", 1.6)))
    return {
        "name": "invented",
        "facility": facility,
        "deployments": made,
        "workload": {"tenants": classes},
        "run": run,
    }
