"""Checks of deployments: names, roles, layouts and whether the GPUs are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from factory.errors import Problem
from factory.scenario.deployment import Deployment, Pool, Speculation, StepModel
from factory.scenario.findings import repeated, unknown
from factory.scenario.schema import Scenario
from factory.scenario.specs import Catalog, GpuSpec, ModelSpec

STEP_MODEL_FIELDS: Mapping[str, tuple[str, ...]] = {
    "fixed": ("base_ms", "per_seq_ms", "per_prefill_token_ms"),
    "table": ("path", "sha256", "extrapolate"),
    "aic": ("backend", "version", "system", "model"),
}
"""Fields of a step model that belong to one kind."""

WEIGHT_ONLY = ("mxfp4", "int4")
"""4-bit checkpoints whose weights are expanded to 16 bits where a GPU has no units for them."""


def serving_problems(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Every deployment by itself, then all of them against the racks."""
    yield from repeated("deployments", (deployment.name for deployment in scenario.deployments))
    for index, deployment in enumerate(scenario.deployments):
        path = f"deployments[{index}]"
        yield from unknown(f"{path}.model", "model", deployment.model, catalog.models)
        yield from repeated(f"{path}.pools", (pool.name for pool in deployment.pools))
        yield from _role_problems(f"{path}.pools", deployment)
        yield from _speculation_problems(path, deployment, catalog)
        for number, pool in enumerate(deployment.pools):
            place = f"{path}.pools[{number}]"
            groups = [group.name for group in scenario.facility.racks]
            yield from unknown(f"{place}.racks", "rack group", pool.racks, groups)
            profile = f"{place}.engine.profile"
            # Entries for one generation are taken by the plain name.
            engines = [name for name in catalog.engines if "@" not in name]
            yield from unknown(profile, "engine profile", pool.engine.profile, engines)
            yield from _engine_problems(place, pool, deployment.speculation)
            yield from _step_model_problems(f"{place}.engine.step_model", pool.engine.step_model)
            model = catalog.models.get(deployment.model)
            if model is not None:
                yield from _layout_problems(place, pool, model)
                gpu = _gpu(pool, scenario, catalog)
                if gpu is not None:
                    yield from _precision_problems(path, deployment, model, gpu)
    yield from _pool_name_problems(scenario)
    yield from _space_problems(scenario, catalog)


def _role_problems(path: str, deployment: Deployment) -> Iterator[Problem]:
    roles = [pool.role for pool in deployment.pools]
    prefill, decode, aggregated = (role in roles for role in ("prefill", "decode", "aggregated"))
    if aggregated and (prefill or decode):
        message = "a deployment is aggregated or split into prefill and decode, not both"
    elif prefill and not decode:
        message = "cannot serve: prefill pools need a decode pool to hand over to"
    elif decode and not prefill:
        message = "cannot serve: decode pools need a prefill pool that feeds them"
    else:
        return
    yield Problem(path, message, ", ".join(roles))


def _layout_problems(path: str, pool: Pool, model: ModelSpec) -> Iterator[Problem]:
    parallel = pool.parallel
    place = f"{path}.parallel"
    if model.heads % parallel.tp:
        message = f"must divide the {model.heads} attention heads of {model.name}"
        yield Problem(f"{place}.tp", message, parallel.tp, _divisors(model.heads))
    elif model.attention == "gqa" and model.kv_heads % parallel.tp and parallel.tp % model.kv_heads:
        message = f"must divide, or be a multiple of, the {model.kv_heads} KV heads of {model.name}"
        yield Problem(f"{place}.tp", message, parallel.tp)
    if parallel.pp > model.layers:
        message = f"must be <= the {model.layers} layers of {model.name}"
        yield Problem(f"{place}.pp", message, parallel.pp)
    if parallel.ep > 1:
        yield from _expert_problems(place, pool, model)
    longest = pool.engine.max_model_len
    if longest is not None and longest > model.max_context:
        message = f"must be <= the {model.max_context} tokens of {model.name}"
        yield Problem(f"{path}.engine.max_model_len", message, longest)


def _expert_problems(place: str, pool: Pool, model: ModelSpec) -> Iterator[Problem]:
    parallel = pool.parallel
    ranks = parallel.tp * parallel.dp
    if model.experts == 0:
        message = f"must be 1: {model.name} has no experts"
    elif parallel.ep > model.experts:
        message = f"must be <= the {model.experts} experts of {model.name}"
    elif ranks % parallel.ep:
        message = f"must divide tp x dp ({parallel.tp} x {parallel.dp} = {ranks})"
    else:
        return
    yield Problem(f"{place}.ep", message, parallel.ep)


def _precision_problems(
    path: str, deployment: Deployment, model: ModelSpec, gpu: GpuSpec
) -> Iterator[Problem]:
    """Whether the GPU can compute with the weights; weight-only 4 bits become 16 on any."""
    able = {
        "fp16": True,
        "fp8": gpu.fp8_tflops is not None,
        "fp4": gpu.fp4_tflops is not None or model.fp4_kind in WEIGHT_ONLY,
    }
    weights = deployment.precision.weights
    if not able[weights]:
        allowed = ", ".join(name for name, is_able in able.items() if is_able)
        message = f"{gpu.name} has no such arithmetic"
        if weights == "fp4":
            message += f", and {model.name} in {model.fp4_kind} needs it"
        yield Problem(f"{path}.precision.weights", message, weights, allowed)


def _speculation_problems(path: str, deployment: Deployment, catalog: Catalog) -> Iterator[Problem]:
    speculation = deployment.speculation
    if speculation is None:
        return
    place = f"{path}.speculation"
    drafts, given = speculation.draft_tokens, len(speculation.acceptance)
    if given not in (1, drafts):
        message = f"must be one number, or {drafts}: one for each of the draft_tokens"
        yield Problem(f"{place}.acceptance", message, f"{given} numbers")
    model = catalog.models.get(deployment.model)
    # Whoever states step times states them with the drafts, whatever makes these.
    modelled = any(pool.engine.step_model.kind == "roofline" for pool in deployment.pools)
    if model is not None and modelled and not model.mtp_layers:
        message = f"{model.name} has no multi-token-prediction layers that could draft"
        able = [name for name, other in catalog.models.items() if other.mtp_layers]
        allowed = ", ".join(able) or None
        yield Problem(f"{place}.method", message, speculation.method, allowed)


def _engine_problems(path: str, pool: Pool, speculation: Speculation | None) -> Iterator[Problem]:
    engine = pool.engine
    rows = 1 if speculation is None else 1 + speculation.draft_tokens
    if pool.role != "prefill" and engine.max_num_seqs * rows > engine.max_num_batched_tokens:
        allowed, takes = f"max_num_batched_tokens ({engine.max_num_batched_tokens})", "one token"
        if rows > 1:
            allowed += f" / {rows}"
            takes = f"{rows} tokens, its own and its drafts,"
        message = f"must be <= {allowed}: each decoding sequence takes {takes} of a step"
        yield Problem(f"{path}.engine.max_num_seqs", message, engine.max_num_seqs)
    if engine.sliding_kv_ratio is not None and not engine.hybrid_kv_cache:
        message = "needs hybrid_kv_cache: true, or sliding layers keep what full ones do"
        yield Problem(f"{path}.engine.sliding_kv_ratio", message, engine.sliding_kv_ratio)


def _step_model_problems(path: str, step_model: StepModel) -> Iterator[Problem]:
    kind = step_model.kind
    for owner, names in STEP_MODEL_FIELDS.items():
        for name in names:
            value = getattr(step_model, name)
            if value is not None and owner != kind:
                yield Problem(f"{path}.{name}", f"is for kind: {owner} only", value)
    times = STEP_MODEL_FIELDS["fixed"]
    if kind == "fixed" and not any(getattr(step_model, name) for name in times):
        yield Problem(path, f"kind: fixed needs at least one of {', '.join(times)} above 0")
    if kind == "table" and not step_model.path:
        yield Problem(path, "kind: table needs path, a CSV file of step times")


def _pool_name_problems(scenario: Scenario) -> Iterator[Problem]:
    """Pool names are keys of tables, so they differ over all deployments."""
    first: dict[str, str] = {}
    for index, deployment in enumerate(scenario.deployments):
        for number, pool in enumerate(deployment.pools):
            path = f"deployments[{index}].pools[{number}].name"
            owner = first.setdefault(pool.name, deployment.name)
            if owner != deployment.name:
                message = f"is a pool of deployment {owner} too; names must differ"
                yield Problem(path, message, pool.name)


def _space_problems(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Whether each rack group has the GPUs that its pools take."""
    for group in scenario.facility.racks:
        if group.system not in catalog.systems:
            continue
        free = total = catalog.systems[group.system].gpus_per_rack * group.count
        for path, pool in _pools_in(scenario, group.name):
            if pool.gpus_per_replica > total:
                parallel = pool.parallel
                message = (
                    f"a replica takes {pool.gpus_per_replica} GPUs (tp {parallel.tp} x pp "
                    f"{parallel.pp} x dp {parallel.dp}), racks {group.name} hold {total}"
                )
                yield Problem(f"{path}.parallel", message)
                continue
            if pool.gpus > free:
                message = (
                    f"takes {pool.gpus} GPUs ({pool.most_replicas} x {pool.gpus_per_replica}), "
                    f"racks {group.name} have {free} of {total} left"
                )
                allowed = f"at most {free // pool.gpus_per_replica}"
                field = "replicas"
                if pool.most_replicas > pool.replicas:
                    field = "autoscaling.max_replicas"
                yield Problem(f"{path}.{field}", message, pool.most_replicas, allowed)
            free = max(free - pool.gpus, 0)


def _pools_in(scenario: Scenario, group: str) -> Iterator[tuple[str, Pool]]:
    for index, deployment in enumerate(scenario.deployments):
        for number, pool in enumerate(deployment.pools):
            if pool.racks == group:
                yield f"deployments[{index}].pools[{number}]", pool


def _gpu(pool: Pool, scenario: Scenario, catalog: Catalog) -> GpuSpec | None:
    for group in scenario.facility.racks:
        if group.name == pool.racks and group.system in catalog.systems:
            return catalog.gpus[catalog.systems[group.system].gpu]
    return None


def _divisors(number: int) -> str:
    return ", ".join(str(value) for value in range(1, number + 1) if number % value == 0)
