"""A deployment made of engine flags, as YAML whose comments say where each value came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factory.errors import InputError
from factory.scenario.document import parse_value
from factory.scenario.engine_import import Left, Plan, Value
from factory.scenario.specs import Catalog

_HEADS = {
    "unknown": "Unknown here; nothing was made of them:",
    "not_modelled": "Not modelled:",
    "no_effect": "No effect here:",
}


@dataclass(frozen=True, slots=True)
class Demand:
    """What a runnable scenario needs beside the deployment.

    Attributes:
        system: system of the racks, from the catalogue.
        rate: sessions per second.
        input_tokens: mean prompt, tokens.
        output_tokens: mean output, tokens.
    """

    system: str
    rate: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """What an import gives.

    Attributes:
        data: the scenario, or the mapping with ``deployments`` alone, as plain values.
        text: the same as YAML with comments.
        values: every value with its path and origin.
        left: flags and variables that set nothing.
        version: the engine's version that defaults are read from.
    """

    data: Mapping[str, Any]
    text: str
    values: tuple[tuple[str, Value], ...]
    left: tuple[Left, ...]
    version: str


def fragment(
    plans: Sequence[Plan], catalog: Catalog, demand: Demand | None, hf_config: str | None
) -> Fragment:
    """The deployment of one or several servers of one model, each a pool.

    Args:
        plans: one for each command.
        catalog: the systems and prices.
        demand: makes it a whole scenario.
        hf_config: path of the model's config, as the scenario shall name it.

    Raises:
        InputError: the commands do not make one deployment.
    """
    first = plans[0]
    for other in plans[1:]:
        _must_agree(first, other)
    deployment: dict[str, Any] = {"name": first.deployment["name"]}
    named = Value(first.model.name, first.model.how)
    if hf_config is None:
        deployment["model"] = named
    else:
        model = {"hf_config": hf_config, "name": first.model.name}
        deployment["model"] = Value(model, "its file, relative to the scenario's")
    for plan in reversed(plans):
        for path, value in plan.deployment.items():
            _put(deployment, path, value)
    deployment["pools"] = [_pool(plan, number, plans) for number, plan in enumerate(plans)]
    whole: dict[str, Any] = {"deployments": [deployment]}
    if demand is not None:
        whole = _scenario(deployment, plans, catalog, demand)
    left = tuple(dict.fromkeys(one for plan in plans for one in plan.left))
    lines = [*_head(first, plans, demand), *_yaml(whole, 0), *_foot(left)]
    values = tuple(_values(whole, ""))
    return Fragment(_bare(whole), "\n".join(lines) + "\n", values, left, first.version)


def _must_agree(first: Plan, other: Plan) -> None:
    if other.model != first.model:
        message = f"the commands serve {first.model.name} and {other.model.name}"
        raise InputError(f"factory import: {message}; one deployment serves one model")
    for path in ("precision.weights", "precision.kv_cache"):
        one, two = first.deployment[path], other.deployment[path]
        if one.value != two.value:
            message = f"{path} is {one.value} ({one.source}) and {two.value} ({two.source})"
            raise InputError(f"factory import: {message}; the pools of a deployment share it")


def _pool(plan: Plan, number: int, plans: Sequence[Plan]) -> dict[str, Any]:
    name = plan.pool["name"]
    same = [other.pool["name"].value for other in plans[:number]].count(name.value)
    pool: dict[str, Any] = {}
    order = ("name", "role", "racks", "replicas", "parallel", "engine", "kv_cache")
    pool["name"] = Value(f"{name.value}-{same + 1}", name.source) if same else name
    pool["role"] = plan.pool["role"]
    pool["racks"] = Value("racks", "name of the racks it stands in")
    for path, value in sorted(plan.pool.items(), key=lambda item: order.index(_root(item[0]))):
        if path not in ("name", "role"):
            _put(pool, path, value)
    return pool


def _root(path: str) -> str:
    return path.split(".", 1)[0]


def _put(tree: dict[str, Any], path: str, value: Value) -> None:
    *above, last = path.split(".")
    for key in above:
        tree = tree.setdefault(key, {})
    tree[last] = value


def _scenario(
    deployment: dict[str, Any], plans: Sequence[Plan], catalog: Catalog, demand: Demand
) -> dict[str, Any]:
    per_rack = catalog.systems[demand.system].gpus_per_rack
    gpus = sum(plan.gpus for plan in plans)
    racks = -(-gpus // per_rack)
    spare = racks * per_rack - gpus
    told = f"{gpus} GPUs of {racks * per_rack}"
    if spare:
        told += f"; {spare} idle ones are on the bill: raise replicas to fill the racks"
    priced = [
        n for n, book in catalog.price_books.items() if demand.system in book.usd_per_gpu_hour
    ]
    name = f"{deployment['name'].value}-{demand.system}"
    scenario: dict[str, Any] = {
        "schema_version": Value(1, ""),
        "name": Value(name, ""),
        "facility": {
            "racks": [
                {
                    "name": Value("racks", ""),
                    "system": Value(demand.system, "--system"),
                    "count": Value(racks, told),
                }
            ]
        },
        "deployments": [deployment],
        "workload": {
            "tenants": [
                {
                    "name": Value("requests", "a stand-in for your demand"),
                    "load": {"rate": Value(demand.rate, "--rate, requests per second")},
                    "input_tokens": {
                        "distribution": Value("exponential", ""),
                        "mean": Value(demand.input_tokens, "--input"),
                        "min": Value(1, ""),
                        "max": Value(_longest(plans, demand.output_tokens), "fits the context"),
                    },
                    "output_tokens": Value(demand.output_tokens, "--output"),
                }
            ]
        },
    }
    if priced:
        scenario["prices"] = {"book": Value(priced[0], "`factory catalog prices`")}
    scenario["run"] = {"duration_s": Value(600, ""), "warmup_s": Value(120, "not measured")}
    return scenario


def _longest(plans: Sequence[Plan], output_tokens: int) -> int:
    limits = [plan.pool.get("engine.max_model_len") for plan in plans]
    contexts = [plans[0].model.max_context, *(int(one.value) for one in limits if one is not None)]
    longest = min(contexts) - output_tokens
    if longest < 1:
        message = f"--output must leave room in the context of {min(contexts)} tokens"
        raise InputError(f"factory import: {message}, got {output_tokens}")
    return longest


def _head(first: Plan, plans: Sequence[Plan], demand: Demand | None) -> list[str]:
    engine = first.version.split()[0]
    several = f" {len(plans)} commands" if len(plans) > 1 else " a command line"
    lines = [f"# Made from{several} of {engine}. Defaults filled in are those of {first.version}."]
    if demand is None:
        lines.append("# A fragment: `racks` must name a rack group of facility.racks.")
    return lines


def _foot(left: Sequence[Left]) -> list[str]:
    lines = []
    for sort, head in _HEADS.items():
        found = [one for one in left if one.sort == sort]
        if found:
            lines += ["#", f"# {head}"]
            lines += [f"#   {_line(one.written)}: {_line(one.why)}" for one in found]
    return lines


def _yaml(tree: Mapping[str, Any], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for key, node in tree.items():
        if isinstance(node, Value):
            yield f"{pad}{key}: {_scalar(node.value)}" + _comment(node.source)
        elif isinstance(node, dict):
            yield f"{pad}{key}:"
            yield from _yaml(node, depth + 1)
        else:
            yield f"{pad}{key}:"
            for item in node:
                lines = list(_yaml(item, depth + 2))
                yield f"{pad}  - {lines[0].lstrip()}"
                yield from lines[1:]


def _comment(source: str) -> str:
    return f"  # {_line(source)}" if source else ""


def _line(text: str) -> str:
    """Text on one line, without what a comment cannot hold."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def _scalar(value: object) -> str:
    """A value as YAML; words that YAML would take for something else are quoted."""
    if isinstance(value, str):
        try:
            is_plain = value.isprintable() and parse_value(value) == value and ": " not in value
        except ValueError:
            is_plain = False
        return value if is_plain and " #" not in value else json.dumps(value)
    if isinstance(value, float):
        return f"{value:.12g}"
    return json.dumps(value)


def _values(node: object, path: str) -> Iterator[tuple[str, Value]]:
    if isinstance(node, Value):
        yield path, node
    elif isinstance(node, dict):
        for key, below in node.items():
            yield from _values(below, f"{path}.{key}" if path else key)
    elif isinstance(node, list):
        for index, below in enumerate(node):
            yield from _values(below, f"{path}[{index}]")


def _bare(node: Any) -> Any:
    """The plain values."""
    if isinstance(node, Value):
        return node.value
    if isinstance(node, dict):
        return {key: _bare(below) for key, below in node.items()}
    return [_bare(below) for below in node]
