"""Scenarios that Hypothesis invents: small factories with everything that can go wrong in them."""

from __future__ import annotations

from typing import Any

from drafting import MODEL as DRAFTING
from hypothesis import strategies as st

Data = dict[str, Any]

RACK_GPUS, IDLE_KW, LOWEST_KW = 32, 16.64, 0.505
"""An HGX H100 rack: its GPUs, its draw with models loaded and idle, and what one GPU at work at
the lowest clock can add to that."""

POLICIES = ("random", "round_robin", "least_loaded", "kv_aware")


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
    return engine


def _router(draw: st.DrawFn) -> Data:
    router: Data = {"policy": draw(st.sampled_from(POLICIES))}
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
        made["decode_router"] = _router(draw)
        made["kv_transfer"] = {
            "bandwidth_gb_s": draw(st.sampled_from([0.01, 0.5, 1000.0])),
            "latency_ms": draw(st.sampled_from([0, 0.1, 10.0])),
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
        made["shared_prefix"] = {
            "tokens": draw(st.integers(1, 80)),
            "count": draw(st.integers(1, 2)),
        }
    if draw(st.booleans()):
        made["session"] = {
            "turns": draw(lengths(4)),
            "think_time_s": draw(
                st.sampled_from([0, 0.01, 0.2, {"distribution": "exponential", "mean": 0.1}])
            ),
            "growth": draw(st.booleans()),
        }
    return made


@st.composite
def scenarios(draw: st.DrawFn, budget: bool | None = None, speculative: bool | None = None) -> Data:
    """A whole scenario.

    Args:
        draw: Given by Hypothesis.
        budget: Whether the rack has a power budget; by default sometimes.
        speculative: Whether decode steps verify drafts; by default sometimes.
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
    used = sum(each * pool["replicas"] for each, pool in zip(gpus, pools, strict=True))
    rack: Data = {
        "name": "r",
        "system": "hgx-h100",
        "count": 1 + (used if capped else 2 * used) // RACK_GPUS,
    }
    if capped:
        share = draw(st.sampled_from([1.0, 1.15, 1.3, 1.7]))
        rack["budget_kw"] = IDLE_KW + LOWEST_KW * max(gpus) * share
    classes = [draw(tenants(f"t{i}", names)) for i in range(draw(st.integers(1, 3)))]
    return {
        "name": "invented",
        "facility": {"racks": [rack]},
        "deployments": made,
        "workload": {"tenants": classes},
        "run": run,
    }
