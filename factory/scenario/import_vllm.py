"""vLLM's flags as a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from factory.scenario import vllm_flags as vllm
from factory.scenario.engine_flags import Command, Given
from factory.scenario.engine_import import (
    Options,
    Plan,
    Sort,
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
from factory.scenario.specs import GpuSpec

ROLES = {"kv_producer": "prefill", "kv_consumer": "decode", "kv_both": "aggregated"}
PROFILE = "generic"
"""No profile was fitted to vLLM: the plain host overhead of 2025's engines."""

_GIB = 2**30
_MTP = ("mtp", "deepseek_mtp", "qwen3_next_mtp", "mimo_mtp", "glm4_moe_mtp", "ernie_mtp")


def plan_vllm(command: Command, model: Model, options: Options) -> Plan:
    """The pool that a vLLM server makes.

    Args:
        command: its command line, read.
        model: what it serves.
        options: what the command line does not say.
    """
    plan = Plan(model, vllm.VERSION)
    flags = command.given
    served = flags.get("served-model-name")
    if served is None or not served.value:
        put_name(plan, None, "")
    else:
        put_name(plan, str(served.value[0]), served.source)
    _precision(plan, flags)
    _role(plan, flags, options)
    _layout(plan, flags, options)
    _speculation(plan, flags, options)
    _limits(plan, flags, options.gpu)
    _cache(plan, flags)
    _windows(plan, flags)
    _tiers(plan, command)
    order = flags.get("scheduling-policy")
    chosen = plan.default("fcfs") if order is None else Value(order.value, order.source)
    put_scheduler(plan, "vllm", chosen)
    if command.environment.get("VLLM_USE_V1") == "0":
        plan.leave("VLLM_USE_V1=0", "not_modelled", "the V0 engine, removed in 0.11")
    leave_out(plan, command, vllm.VARIABLES)
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
        value = plan.default("fp16", "auto, 16 bits as the model computes in")
    else:
        value = Value(
            "fp8" if "fp" in kept.value and "float" not in kept.value else "fp16", kept.source
        )
        if kept.value == "nvfp4":
            plan.leave(kept.source, "not_modelled", "KV in 4 bits; fp8 stands in")
    plan.deployment["precision.kv_cache"] = value


def _role(plan: Plan, flags: Mapping[str, Given], options: Options) -> None:
    given = flags.get("kv-transfer-config")
    role = Value("aggregated", "one server prefills and decodes")
    if given is not None:
        config = given.value if isinstance(given.value, dict) else {}
        stated = str(config.get("kv_role", "kv_both"))
        if stated in ROLES:
            role = Value(ROLES[stated], f"kv_role {stated} of --kv-transfer-config")
        else:
            why = f"kv_role {stated} is none of {', '.join(ROLES)}"
            plan.leave(given.source, "not_modelled", why)
        if stated == "kv_both" and "Nixl" in str(config.get("kv_connector")) and not options.role:
            why = "NIXL names no role (kv_both): say --role prefill or --role decode"
            plan.leave(given.source, "not_modelled", why)
    if options.role:
        role = Value(options.role, f"--role {options.role}")
    plan.pool["name"] = Value("serve" if role.value == "aggregated" else role.value, "its role")
    plan.pool["role"] = role


def _layout(plan: Plan, flags: Mapping[str, Given], options: Options) -> None:
    sizes = {}
    for name, flag in (
        ("tp", "tensor-parallel-size"),
        ("pp", "pipeline-parallel-size"),
        ("dp", "data-parallel-size"),
    ):
        given = flags.get(flag)
        sizes[name] = plan.default(1) if given is None else Value(given.value, given.source)
    replicas = options.replicas
    plan.pool["replicas"] = Value(replicas, "one command" if replicas == 1 else "--replicas")
    if not plan.model.experts and sizes["dp"].value > 1:
        ranks = int(sizes["dp"].value)
        why = f"{sizes['dp'].source}: ranks of a dense model are servers of their own"
        plan.pool["replicas"] = Value(replicas * ranks, why)
        sizes["dp"] = Value(1, why)
    plan.pool.update({f"parallel.{name}": value for name, value in sizes.items()})
    spread = flags.get("enable-expert-parallel")
    if not plan.model.experts:
        if spread is not None:
            plan.leave(spread.source, "no_effect", f"{plan.model.name} has no experts")
        return
    ranks = int(sizes["tp"].value) * int(sizes["dp"].value)
    if spread is not None and spread.value:
        plan.pool["parallel.ep"] = Value(ranks, f"{spread.source}: tp x dp ranks")
    else:
        source = "off: each expert is cut over tp x dp ranks"
        plan.pool["parallel.ep"] = plan.default(1, source) if spread is None else Value(1, source)


def _speculation(plan: Plan, flags: Mapping[str, Given], options: Options) -> None:
    given = flags.get("speculative-config")
    if given is None:
        old = flags.get("speculative-model")
        if old is not None:
            plan.leave(old.source, "not_modelled", "drafts by another model")
        count = flags.get("num-speculative-tokens")
        if count is not None:
            plan.leave(count.source, "not_modelled", "drafts by another model")
        return
    config = given.value if isinstance(given.value, dict) else {}
    method = str(config.get("method") or ("a draft model" if "model" in config else "no method"))
    drafts = config.get("num_speculative_tokens", 1 if method in _MTP else 0)
    is_mtp = method in _MTP or method.endswith("_mtp")
    if not isinstance(drafts, int):
        plan.leave(given.source, "not_modelled", "num_speculative_tokens is no whole number")
        return
    put_speculation(plan, "mtp" if is_mtp else method, drafts or 1, given.source, options)


def _limits(plan: Plan, flags: Mapping[str, Given], gpu: GpuSpec | None) -> None:
    """Sequences and tokens of a step, as ``EngineArgs`` fills them in for an API server."""
    longest = flags.get("max-model-len")
    if longest is not None:
        put_longest(plan, "engine.max_model_len", longest.value, longest.source)
    context = plan.pool.get("engine.max_model_len", Value(plan.model.max_context, "")).value
    is_large, where = _is_large(gpu)
    chunked = flags.get("enable-chunked-prefill")
    is_chunked = chunked is None or bool(chunked.value)
    seqs_given, tokens_given = flags.get("max-num-seqs"), flags.get("max-num-batched-tokens")
    seqs = _stated(seqs_given, vllm.LARGE_GPU_SEQS if is_large else vllm.SMALL_GPU_SEQS)
    tokens = _stated(tokens_given, vllm.LARGE_GPU_TOKENS if is_large else vllm.SMALL_GPU_TOKENS)
    if tokens_given is None or tokens_given.value is None:
        tokens = min(tokens if is_chunked else max(tokens, context), seqs * context)
        plan.pool["engine.max_num_batched_tokens"] = plan.default(tokens, where)
    else:
        plan.pool["engine.max_num_batched_tokens"] = Value(tokens, tokens_given.source)
    if seqs_given is None or seqs_given.value is None:
        drafts = plan.deployment.get("speculation.draft_tokens", Value(0, "")).value
        seqs = max(min(seqs, tokens // (1 + drafts)), 1)
        plan.pool["engine.max_num_seqs"] = plan.default(seqs, where)
    else:
        plan.pool["engine.max_num_seqs"] = Value(seqs, seqs_given.source)
    if chunked is not None:
        if has_scheduler():
            value = Value(is_chunked, chunked.source)
            plan.pool["engine.scheduler.chunked_prefill"] = value
        elif is_chunked:
            plan.leave(chunked.source, "no_effect", "always on here, as by default there")
        else:
            why = "a prompt longer than the token budget is still cut into chunks"
            plan.leave(chunked.source, "not_modelled", why)


def _stated(given: Given | None, default: int) -> int:
    return default if given is None or given.value is None else int(given.value)


def _is_large(gpu: GpuSpec | None) -> tuple[bool, str]:
    if gpu is None:
        return True, f"a GPU of {vllm.LARGE_GPU_GIB} GiB or more, no A100"
    if "a100" in gpu.name or gpu.hbm_gb * 1e9 < vllm.LARGE_GPU_GIB * _GIB:
        return False, f"for {gpu.name}"
    return True, f"for {gpu.name}"


def _cache(plan: Plan, flags: Mapping[str, Given]) -> None:
    share = flags.get("gpu-memory-utilization")
    plan.pool["engine.gpu_memory_utilization"] = (
        plan.default(vllm.GPU_MEMORY_UTILIZATION, "later releases take 0.92")
        if share is None
        else Value(share.value, share.source)
    )
    prefixes = flags.get("enable-prefix-caching")
    plan.pool["engine.enable_prefix_caching"] = (
        plan.default(True) if prefixes is None else Value(prefixes.value, prefixes.source)
    )
    block = flags.get("block-size")
    size = vllm.MLA_BLOCK_SIZE if plan.model.is_mla else vllm.BLOCK_SIZE
    plan.deployment["block_size"] = (
        plan.default(size, "drop it to replay a trace, whose own blocks rule")
        if block is None
        else Value(int(block.value), block.source)
    )
    blocks = flags.get("num-gpu-blocks-override")
    if blocks is not None:
        size = int(plan.deployment["block_size"].value)
        source = f"{blocks.source} x {size} tokens"
        plan.pool["engine.kv_capacity_tokens"] = Value(int(blocks.value) * size, source)
    plan.pool["engine.profile"] = Value(
        PROFILE, "no profile is fitted to vLLM; kernels-vllm is bare"
    )


def _windows(plan: Plan, flags: Mapping[str, Given]) -> None:
    """Whether sliding layers keep their window alone.

    Unless the flag says otherwise, this release turns its hybrid manager off beside a connector or
    KV events; releases from 2026-05 on leave it to connectors that know it (vLLM, PR 41847).
    """
    if not plan.model.has_windows:
        return
    given = flags.get("disable-hybrid-kv-cache-manager")
    beside = ("kv-transfer-config", "kv-offloading-size", "kv-events-config")
    other = next((flags[name] for name in beside if name in flags), None)
    if given is not None:
        value = Value(not given.value, given.source)
    elif other is not None:
        why = f"off beside --{other.flag.name} unless --no-disable-hybrid-kv-cache-manager"
        value = plan.default(False, why)
    else:
        value = plan.default(True)
    plan.pool["engine.hybrid_kv_cache"] = value


def _tiers(plan: Plan, command: Command) -> None:
    size = command.given.get("kv-offloading-size")
    backend = command.given.get("kv-offloading-backend")
    if size is not None:
        whole, told = _kept_once(plan, float(size.value))
        put_host_tier(plan, whole, f"{size.source}: GiB of all TP ranks together{told}")
    if backend is not None:
        plan.leave(backend.source, "no_effect", "who moves KV to the host is not told apart")
    given = command.given.get("kv-transfer-config")
    environment = command.environment
    for connector in _connectors({} if given is None else given.value):
        name = str(connector.get("kv_connector", ""))
        extra = connector.get("kv_connector_extra_config") or {}
        if name == "OffloadingConnector" and "cpu_bytes_to_use" in extra:
            source = "cpu_bytes_to_use of --kv-transfer-config"
            whole, told = _kept_once(plan, float(extra["cpu_bytes_to_use"]) / _GIB)
            put_host_tier(plan, whole, source + told)
        elif name.startswith("LMCache") and "LMCACHE_MAX_LOCAL_CPU_SIZE" in environment:
            size_gib = environment["LMCACHE_MAX_LOCAL_CPU_SIZE"]
            tp, pp = (int(plan.pool[f"parallel.{one}"].value) for one in ("tp", "pp"))
            ranks = pp if plan.model.is_mla else tp * pp
            source = f"LMCACHE_MAX_LOCAL_CPU_SIZE={size_gib}"
            try:
                put_host_tier(plan, float(size_gib) * ranks, f"{source}: GiB of each rank")
            except ValueError:
                plan.leave(source, "not_modelled", "is no number")
        elif name:
            is_path = plan.pool["role"].value != "aggregated"
            why = "its path is deployments[].kv_transfer; set it where it differs"
            sort: Sort = "no_effect" if is_path else "not_modelled"
            plan.leave(f"kv_connector {name}", sort, why if is_path else "KV from elsewhere")
    for name, value in environment.items():
        if name.startswith("LMCACHE_") and not any(
            one.written.startswith(name) for one in plan.left
        ):
            is_read = any(one.source.startswith(name) for one in plan.pool.values())
            why = "read above" if is_read else "how LMCache works"
            plan.leave(f"{name}={value}", "no_effect" if is_read else "not_modelled", why)


def _kept_once(plan: Plan, gib: float) -> tuple[float, str]:
    """A buffer of all TP ranks, without the copies that ranks of latent attention keep."""
    tp = int(plan.pool["parallel.tp"].value)
    if not plan.model.is_mla or tp == 1:
        return gib, ""
    return gib / tp, f", each of which keeps the whole latent KV: / {tp}"


def _connectors(config: Any) -> list[Mapping[str, Any]]:
    """The connectors of a config; ``MultiConnector`` holds several."""
    if not isinstance(config, dict):
        return []
    inner = (config.get("kv_connector_extra_config") or {}).get("connectors")
    if config.get("kv_connector") == "MultiConnector" and isinstance(inner, list):
        return [one for one in inner if isinstance(one, dict)]
    return [config]
