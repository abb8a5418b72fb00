"""What an engine's flags make of a deployment: values with their origin, and what was left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from factory.scenario.deployment import Engine, Pool
from factory.scenario.engine_flags import Command, Effect
from factory.scenario.engine_model import Model
from factory.scenario.specs import GpuSpec

ACCEPTANCE = (0.79, 0.61, 0.46)
"""Chance that the first, second, third draft is accepted if those before it were: from 1.79, 2.27
and 2.49 tokens per step measured with 1, 2 and 3 drafts (DeepSeek-V4-Pro, thinking, 2026)."""

Sort = Literal["no_effect", "not_modelled", "unknown"]


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the fragment, and where it came from."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Left:
    """A flag or variable that sets nothing.

    Attributes:
        written: as it was given.
        sort: why it is left out.
        why: in words.
    """

    written: str
    sort: Sort
    why: str


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line does not say.

    Attributes:
        gpu: the GPU it runs on, if known; it decides some defaults.
        role: role of the pool, in place of what the flags say.
        acceptance: chances of the drafts.
        replicas: how many servers run this command.
    """

    gpu: GpuSpec | None = None
    role: str | None = None
    acceptance: tuple[float, ...] = ()
    replicas: int = 1


@dataclass(slots=True)
class Plan:
    """One pool, and what it says of its deployment, while flags are read.

    Attributes:
        model: the model.
        deployment: fields of the deployment, by dotted path.
        pool: fields of the pool, by dotted path.
        left: what sets nothing.
        version: the engine's version that defaults are read from.
    """

    model: Model
    version: str
    deployment: dict[str, Value] = field(default_factory=dict)
    pool: dict[str, Value] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)

    def default(self, value: object, why: str = "") -> Value:
        """A value that the engine fills in itself."""
        return Value(value, f"default of {self.version}" + (f": {why}" if why else ""))

    def leave(self, written: str, sort: Sort, why: str) -> None:
        """Lists a flag that sets nothing."""
        self.left.append(Left(written, sort, why))

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        sizes = [int(self.pool[f"parallel.{name}"].value) for name in ("tp", "pp", "dp")]
        return sizes[0] * sizes[1] * sizes[2] * int(self.pool["replicas"].value)


def leave_out(plan: Plan, command: Command, variables: Mapping[str, tuple[Effect, str]]) -> None:
    """Lists the flags and variables that the table says set nothing, and the unknown ones."""
    for given in command.given.values():
        if given.flag.effect == "none":
            plan.leave(given.source, "no_effect", given.flag.why)
        elif given.flag.effect == "unmodelled" and given.value not in (False, 0, 0.0):
            plan.leave(given.source, "not_modelled", given.flag.why)
        elif given.flag.effect == "unmodelled":
            plan.leave(given.source, "no_effect", "off, as here")
    _leave_rest(plan, command)
    for name, value in command.environment.items():
        if name in variables:
            effect, why = variables[name]
            plan.leave(f"{name}={value}", "no_effect" if effect == "none" else "not_modelled", why)
        elif not any(one.written.startswith(f"{name}=") for one in plan.left):
            plan.leave(f"{name}={value}", "unknown", "variable that is not known here")
    for one in command.unknown:
        hint = f"; did you mean {one.nearest}?" if one.nearest else ""
        plan.leave(one.written, "unknown", f"flag that is not known here{hint}")


def _leave_rest(plan: Plan, command: Command) -> None:
    """Lists flags that could set something and did not, beside the others: none is dropped."""
    values = [*plan.deployment.values(), *plan.pool.values()]
    told = [value.source for value in values] + [one.written for one in plan.left]
    for given in command.given.values():
        if given.flag.effect == "sets" and not any(given.written in text for text in told):
            plan.leave(given.source, "no_effect", "changes nothing beside the other flags")


def has_scheduler() -> bool:
    """Whether the schema describes an engine's scheduler."""
    return "scheduler" in Engine.model_fields


def has_tiers() -> bool:
    """Whether the schema describes KV tiers."""
    return "kv_cache" in Pool.model_fields


def put_scheduler(plan: Plan, policy: str, order: Value) -> None:
    """The scheduler, where the schema has one; else what it cannot say is listed."""
    if has_scheduler():
        plan.pool["engine.scheduler.policy"] = Value(policy, "the engine's own scheduler")
        plan.pool["engine.scheduler.order"] = order
    elif order.value != "fcfs":
        plan.leave(order.source, "not_modelled", "an order of the queue other than first come")


def put_host_tier(plan: Plan, gib: float, source: str) -> None:
    """KV in host memory, where the schema has tiers.

    Args:
        plan: where it goes.
        gib: GiB of one attention data-parallel rank, each token of KV counted once.
        source: the flag as written.
    """
    if gib <= 0:
        plan.leave(source, "no_effect", "off, as here")
    elif has_tiers():
        tier = {"kind": "host", "capacity_gib": round(gib, 3)}
        plan.pool["kv_cache.tiers"] = Value([tier], source)
    else:
        plan.leave(source, "not_modelled", "KV in host memory")


def put_name(plan: Plan, served: str | None, source: str) -> None:
    """The deployment's name: the first served one, in the letters that a name may have."""
    plain = re.sub(r"[^A-Za-z0-9_.\-]+", "-", (served or "").rstrip("/").rsplit("/", 1)[-1])
    plain = plain.strip("._-")
    plan.deployment["name"] = (
        Value(plain, source) if plain else Value(plan.model.name, "the model's")
    )


def put_weights(plan: Plan, quantization: str | None, source: str, dtype: str | None) -> None:
    """Format of the weights: the flag's, else the checkpoint's.

    Args:
        plan: where it goes.
        quantization: the flag's value, if it was given.
        source: the flag as written.
        dtype: 16 or 32 bits for weights that are not quantized, if stated.
    """
    stored = plan.model.stored
    origin = f"format of the checkpoint ({plan.model.how})"
    kind = stored
    if quantization is not None and quantization not in ("auto", "none"):
        meant, origin = _quantized(quantization, stored), source
        if meant is None:
            plan.leave(source, "not_modelled", f"unknown method; {stored} as the checkpoint")
        kind = meant or stored
    if dtype in ("float", "float32") and kind == "fp16":
        plan.leave(f"--dtype {dtype}", "not_modelled", "weights and products in 32 bits; 16 stand")
    if kind == "int4" and plan.model.is_weight_only:
        kind = "fp4"
    elif kind in ("int4", "int8"):
        why = {"int4": "4-bit", "int8": "8-bit"}[kind]
        why += " integer weights; fp8 stands in"
        why += " (twice the bytes, products in 8 bits)" if kind == "int4" else ""
        plan.leave(source or f"{kind} checkpoint", "not_modelled", why)
        kind = "fp8"
    plan.deployment["precision.weights"] = Value(kind, origin)


def put_speculation(plan: Plan, method: str, drafts: int, source: str, options: Options) -> None:
    """Drafts by the model's own layers; any other method is listed."""
    if drafts < 1:
        plan.leave(source, "no_effect", "no drafts")
    elif method != "mtp":
        plan.leave(source, "not_modelled", f"drafts by {method}; only the model's MTP layers are")
    elif not plan.model.mtp_layers:
        why = f"{plan.model.name} has no multi-token-prediction layers here"
        plan.leave(source, "not_modelled", why)
    else:
        given = options.acceptance
        chances = given or (ACCEPTANCE + ACCEPTANCE[-1:] * drafts)[:drafts]
        how = "--acceptance" if given else "assumed: no flag says it; give --acceptance"
        plan.deployment["speculation.method"] = Value("mtp", source)
        plan.deployment["speculation.draft_tokens"] = Value(drafts, source)
        plan.deployment["speculation.acceptance"] = Value(list(chances), how)


def put_longest(plan: Plan, name: str, value: int | None, source: str) -> None:
    """The longest prompt and output, no longer than the model's."""
    most = plan.model.max_context
    if value is None:
        plan.leave(source, "not_modelled", f"fitted to the KV cache; the model's {most} stand")
    elif value > most:
        why = f"longer than the {most} tokens of {plan.model.name}, which stand"
        plan.leave(source, "not_modelled", why)
    else:
        plan.pool[name] = Value(value, source)


def _quantized(method: str, stored: str) -> str | None:
    """The format that a quantization method stands for; None if it is not known."""
    text = method.casefold()
    if text in ("compressed-tensors", "modelopt", "quark", "mixed", "torchao", "inc"):
        return {"modelopt": "fp8"}.get(text, stored) if stored == "fp16" else stored
    if "fp4" in text or "mxfp4" in text:
        return "fp4"
    if "fp8" in text or text in ("fbgemm_fp8", "ptpc_fp8"):
        return "fp8"
    if any(part in text for part in ("awq", "gptq", "bitsandbytes", "marlin", "int4", "wna16")):
        return "int4"
    if any(part in text for part in ("int8", "w8a8", "experts_int8")):
        return "int8"
    return None
