"""SGLang's flags as a deployment."""

from __future__ import annotations

from collections.abc import Mapping

from factory.scenario import sglang_flags as sglang
from factory.scenario.engine_flags import Command, Given
from factory.scenario.engine_import import (
    Options,
    Plan,
    Value,
    has_scheduler,
    leave_out,
    put_host_tier,
    put_longest,
    put_name,
    put_scheduler,
    put_speculation,
    put_weights,
)
from factory.scenario.engine_model import Model

PROFILE = "sglang-2025-11"
_GB_IN_GIB = 1e9 / 2**30
_MTP = ("EAGLE", "NEXTN")


def plan_sglang(command: Command, model: Model, options: Options) -> Plan:
    """The pool that an SGLang server makes.

    Args:
        command: its command line, read.
        model: what it serves.
        options: what the command line does not say.
    """
    plan = Plan(model, sglang.VERSION)
    flags = command.given
    named = flags.get("served-model-name")
    put_name(
        plan, None if named is None else str(named.value), "" if named is None else named.source
    )
    _precision(plan, flags)
    mode = flags.get("disaggregation-mode")
    stated = "aggregated" if mode is None or mode.value == "null" else str(mode.value)
    role = options.role or stated
    source = f"--role {role}" if options.role else "one server" if mode is None else mode.source
    plan.pool["name"] = Value("serve" if role == "aggregated" else role, "its role")
    plan.pool["role"] = Value(role, source)
    ranks = _layout(plan, flags, options)
    _speculation(plan, flags, options)
    _limits(plan, flags, options, ranks)
    _cache(plan, flags)
    _windows(plan, flags)
    leave_out(plan, command, sglang.VARIABLES)
    return plan


def _precision(plan: Plan, flags: Mapping[str, Given]) -> None:
    quantization, dtype = flags.get("quantization"), flags.get("dtype")
    put_weights(
        plan,
        None if quantization is None else str(quantization.value),
        "" if quantization is None else quantization.source,
        None if dtype is None else str(dtype.value),
    )
    kept = flags.get("kv-cache-dtype")
    if kept is None or kept.value == "auto":
        plan.deployment["precision.kv_cache"] = plan.default(
            "fp16", "auto, as the model computes in"
        )
        return
    is_small = kept.value.startswith("fp")
    plan.deployment["precision.kv_cache"] = Value("fp8" if is_small else "fp16", kept.source)
    if kept.value.startswith("fp4"):
        plan.leave(kept.source, "not_modelled", "KV in 4 bits; fp8 stands in")


def _layout(plan: Plan, flags: Mapping[str, Given], options: Options) -> int:
    """Puts the layout; gives the attention data-parallel ranks.

    With ``--enable-dp-attention`` the ``tp-size`` ranks are split into ``dp-size`` attention ranks;
    without it ``dp-size`` counts servers of their own.
    """

    def size(name: str) -> Value:
        given = flags.get(name)
        return plan.default(1) if given is None else Value(given.value, given.source)

    tp, pp, dp = size("tp-size"), size("pp-size"), size("dp-size")
    attention = flags.get("enable-dp-attention")
    replicas = Value(options.replicas, "one command" if options.replicas == 1 else "--replicas")
    whole = int(tp.value)
    if attention is not None and attention.value and int(dp.value) > 1:
        source = f"{tp.source} over {dp.source} ({attention.source})"
        tp, dp = Value(max(whole // int(dp.value), 1), source), Value(dp.value, source)
    elif int(dp.value) > 1:
        replicas = Value(options.replicas * int(dp.value), f"{dp.source}: servers of their own")
        dp = Value(1, replicas.source)
    plan.pool["replicas"] = replicas
    plan.pool.update({"parallel.tp": tp, "parallel.pp": pp, "parallel.dp": dp})
    _experts(plan, flags, whole)
    return int(dp.value)


def _experts(plan: Plan, flags: Mapping[str, Given], whole: int) -> None:
    given = flags.get("ep-size")
    spread = next(
        (
            flags[name]
            for name in ("enable-deepep-moe", "enable-ep-moe", "moe-a2a-backend")
            if name in flags and flags[name].value not in (False, "none")
        ),
        None,
    )
    if not plan.model.experts:
        for one in (given, spread):
            if one is not None:
                plan.leave(one.source, "no_effect", f"{plan.model.name} has no experts")
    elif spread is not None:
        plan.pool["parallel.ep"] = Value(whole, f"{spread.source}: all tp-size ranks")
    elif given is not None:
        plan.pool["parallel.ep"] = Value(given.value, given.source)
    else:
        plan.pool["parallel.ep"] = plan.default(1)


def _speculation(plan: Plan, flags: Mapping[str, Given], options: Options) -> None:
    given = flags.get("speculative-algorithm")
    details = [flags[name] for name in flags if name.startswith("speculative-")]
    if given is None:
        for one in details:
            plan.leave(one.source, "no_effect", "no --speculative-algorithm")
        return
    method = str(given.value).upper()
    steps, top = flags.get("speculative-num-steps"), flags.get("speculative-eagle-topk")
    source = ", ".join(one.source for one in details)
    is_own = "speculative-draft-model-path" not in flags
    if top is not None and int(top.value) > 1:
        why = "a tree of drafts; one chain of num-steps stands in"
        plan.leave(top.source, "not_modelled", why)
    # SGLang's own choice for DeepSeek with EAGLE: 3 steps, one chain, 4 tokens verified.
    drafts = 3 if steps is None else int(steps.value)
    put_speculation(plan, "mtp" if method in _MTP and is_own else method, drafts, source, options)


def _limits(plan: Plan, flags: Mapping[str, Given], options: Options, ranks: int) -> None:
    longest = flags.get("context-length")
    if longest is not None:
        put_longest(plan, "engine.max_model_len", longest.value, longest.source)
    chunk, most = flags.get("chunked-prefill-size"), flags.get("max-running-requests")
    gpu = options.gpu
    is_large = gpu is not None and gpu.hbm_gb >= sglang.LARGE_GPU_GB
    size = sglang.LARGE_CHUNKED_PREFILL_SIZE if is_large else sglang.CHUNKED_PREFILL_SIZE
    if chunk is None:
        value = plan.default(max(size // ranks, 1), "by GPU memory, over attention ranks")
    elif int(chunk.value) < 1:
        value = Value(plan.model.max_context, f"{chunk.source}: no chunks, the longest prompt")
    else:
        value = Value(max(int(chunk.value) // ranks, 1), chunk.source)
    rows = 1 + int(plan.deployment.get("speculation.draft_tokens", Value(0, "")).value)
    least = int(value.value) // rows
    if most is None:
        seqs = plan.default(max(min(sglang.MAX_RUNNING_REQUESTS // ranks, least), 1), "per rank")
    else:
        seqs = Value(max(int(most.value) // ranks, 1), f"{most.source}, over attention ranks")
    if int(seqs.value) > least:
        # SGLang's chunk bounds prompts alone; here a step's budget holds decoding sequences too.
        value = Value(int(seqs.value) * rows, f"{value.source}; raised to hold all sequences")
    plan.pool["engine.max_num_seqs"] = seqs
    plan.pool["engine.max_num_batched_tokens"] = value
    _order(plan, flags)


def _order(plan: Plan, flags: Mapping[str, Given]) -> None:
    policy, priority = flags.get("schedule-policy"), flags.get("enable-priority-scheduling")
    order = plan.default("fcfs") if policy is None else Value("fcfs", policy.source)
    if priority is not None and priority.value:
        order = Value("priority", priority.source)
    elif policy is not None and policy.value == "priority":
        order = Value("priority", policy.source)
    elif policy is not None and policy.value == "lpm" and has_scheduler():
        without = flags.get("disable-radix-cache")
        if without is None or not without.value:
            order = Value("lpm", policy.source)
        else:
            # As SGLang does: without a cache there is no longest prefix.
            order = Value("fcfs", f"{policy.source}, {without.source}")
    elif policy is not None and policy.value != "fcfs":
        why = f"the order {policy.value} of the queue; fcfs stands in"
        plan.leave(policy.source, "not_modelled", why)
    put_scheduler(plan, "sglang", order)
    caution = flags.get("schedule-conservativeness")
    if caution is None:
        return
    if has_scheduler() and float(caution.value) > 0:
        value = Value(caution.value, caution.source)
        plan.pool["engine.scheduler.schedule_conservativeness"] = value
    else:
        plan.leave(caution.source, "not_modelled", "the KV room kept for running requests")


def _windows(plan: Plan, flags: Mapping[str, Given]) -> None:
    """The pool of sliding layers, of a fixed size beside that of full ones."""
    if not plan.model.has_windows:
        return
    without, ratio = flags.get("disable-hybrid-swa-memory"), flags.get("swa-full-tokens-ratio")
    if without is not None and without.value:
        plan.pool["engine.hybrid_kv_cache"] = Value(False, without.source)
    elif not plan.model.name.startswith(sglang.SWA_MODELS):
        told = f"it has two pools for {', '.join(sglang.SWA_MODELS)}"
        plan.pool["engine.hybrid_kv_cache"] = plan.default(False, told)
    elif ratio is None:
        plan.pool["engine.sliding_kv_ratio"] = plan.default(sglang.SWA_FULL_TOKENS_RATIO)
    elif 0 < float(ratio.value) <= 1:
        plan.pool["engine.sliding_kv_ratio"] = Value(float(ratio.value), ratio.source)
    else:
        plan.leave(ratio.source, "not_modelled", "must be in (0, 1]; all layers keep all tokens")
        plan.pool["engine.hybrid_kv_cache"] = Value(False, ratio.source)


def _cache(plan: Plan, flags: Mapping[str, Given]) -> None:
    share = flags.get("mem-fraction-static")
    why = "about; it depends on memory and layout"
    plan.pool["engine.gpu_memory_utilization"] = (
        plan.default(sglang.MEM_FRACTION_STATIC, why)
        if share is None
        else Value(share.value, f"{share.source}: weights and KV, activations beside it there")
    )
    without = flags.get("disable-radix-cache")
    plan.pool["engine.enable_prefix_caching"] = (
        plan.default(True) if without is None else Value(not without.value, without.source)
    )
    page = flags.get("page-size")
    plan.deployment["block_size"] = (
        plan.default(sglang.PAGE_SIZE, "drop it to replay a trace, whose own blocks rule")
        if page is None
        else Value(page.value, page.source)
    )
    tokens = flags.get("max-total-tokens")
    if tokens is not None:
        plan.pool["engine.kv_capacity_tokens"] = Value(tokens.value, tokens.source)
    plan.pool["engine.profile"] = Value(PROFILE, "fitted to SGLang of 2025-11 and later")
    hierarchy = flags.get("enable-hierarchical-cache")
    size, ratio = flags.get("hicache-size"), flags.get("hicache-ratio")
    if hierarchy is None or not hierarchy.value:
        for one in (size, ratio):
            if one is not None:
                plan.leave(one.source, "no_effect", "no --enable-hierarchical-cache")
    elif size is not None and float(size.value) > 0:
        ranks = 1 if plan.model.is_mla else int(plan.pool["parallel.tp"].value)
        told = "which all keep the same" if plan.model.is_mla else f"{ranks} ranks"
        gib = float(size.value) * _GB_IN_GIB * ranks
        put_host_tier(plan, gib, f"{size.source}: GB of each TP rank, {told}")
    else:
        source = "--hicache-ratio 2" if ratio is None else ratio.source
        why = "a host tier as a multiple of the GPU's KV; give --hicache-size"
        plan.leave(source, "not_modelled", why)
