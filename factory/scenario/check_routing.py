"""Checks of router sections: fields that belong to the policy, and routers from outside."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from factory.errors import Problem
from factory.scenario.routing import POLICY_FIELDS, DecodeRouter, Router, settings_of
from factory.scenario.schema import Scenario


def routing_problems(scenario: Scenario) -> Iterator[Problem]:
    """The routers of every deployment."""
    for index, deployment in enumerate(scenario.deployments):
        path = f"deployments[{index}]"
        yield from router_problems(f"{path}.router", deployment.router)
        yield from router_problems(f"{path}.decode_router", deployment.decode_router)


def router_problems(path: str, section: Router) -> Iterator[Problem]:
    """What is wrong with one section.

    Args:
        path: Of the section, e.g. ``deployments[0].router``.
        section: The section.
    """
    yield from _field_problems(path, section)
    yield from _index_problems(path, section)
    if section.policy == "custom":
        yield from _entry_problems(f"{path}.entry", section.entry)
    if section.policy == "min_ttft" and isinstance(section, DecodeRouter):
        message = (
            "estimates prefill, of which a decode pool has none; choose by load, as least_loaded"
        )
        yield Problem(f"{path}.policy", message, section.policy)


def _field_problems(path: str, section: Router) -> Iterator[Problem]:
    """Fields that the policy does not read."""
    own = POLICY_FIELDS[section.policy]
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name == "policy" or value is None or name in own:
            continue
        readers = [policy for policy, fields in POLICY_FIELDS.items() if name in fields]
        message = f"is not for policy: {section.policy}; remove it, or choose {_either(readers)}"
        allowed = ", ".join(own) or "no settings"
        yield Problem(f"{path}.{name}", message, value, allowed)


def _index_problems(path: str, section: Router) -> Iterator[Problem]:
    """Fields of the kind of index that was not chosen."""
    if "index" not in POLICY_FIELDS[section.policy]:
        return
    if _index(section) == "approximate":
        if section.index_delay_s is not None:
            message = "is for index: events only; an approximate index waits for none"
            yield Problem(f"{path}.index_delay_s", message, section.index_delay_s)
    elif section.index_ttl_s is not None and _index(section) != "both":
        message = "is for index: approximate or both; events say when a block is gone"
        yield Problem(f"{path}.index_ttl_s", message, section.index_ttl_s)


def _entry_problems(path: str, entry: str | None) -> Iterator[Problem]:
    """Whether a router from outside can be had."""
    if entry is None:
        message = "is missing: what makes the router, as package.module:name"
        yield Problem(path, message)
        return
    module, _, name = entry.partition(":")
    try:
        made = getattr(import_module(module), name, None)
    except Exception as error:  # noqa: BLE001 (a user's module may fail in any way)
        message = f"cannot be imported ({type(error).__name__}: {error}); is its folder on "
        yield Problem(path, message + "PYTHONPATH?", entry)
        return
    if made is None:
        yield Problem(path, f"module {module} has no {name}", entry)
    elif not callable(made):
        yield Problem(path, "must be a class or a function that makes a router", entry)


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _index(section: Router) -> str | None:
    """The index that a router reads, as stated or by default; None if it reads none."""
    index: str | None = settings_of(section).get("index")
    return index
