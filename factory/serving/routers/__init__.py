"""Routers: which slot a request goes to.

A router is an object with one method, `choose(ask, slots)`. It sees a prompt's length and blocks,
and the columns of `Slots`; never how long the answer will be. A new one is a module here, a line in
`MAKERS` and a row of `factory.scenario.routing.POLICY_FIELDS`; or, outside of this package, any
callable that takes `Surroundings` (``policy: custom``; see docs/routers.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module

from factory.errors import FactoryError
from factory.scenario.routing import INDEX_READERS, settings_of
from factory.scenario.routing import Router as Section
from factory.serving.approximate_index import ApproximateIndex, Both
from factory.serving.delayed_index import DelayedIndex
from factory.serving.prefix_index import PrefixIndex
from factory.serving.routers.approximate import Remembering
from factory.serving.routers.checked import Checked
from factory.serving.routers.choice import drawer, uniform_from
from factory.serving.routers.kv_aware import KvAware
from factory.serving.routers.kv_cost import KvCost
from factory.serving.routers.min_ttft import MinTtft
from factory.serving.routers.plain import LeastLoaded, PowerOfTwo, Random, RoundRobin
from factory.serving.routers.power_aware import PowerAware
from factory.serving.routers.prefix import LongestPrefix, PrefixThreshold
from factory.serving.routers.protocol import REJECT, Ask, Index, Router, Surroundings
from factory.serving.routers.session_affinity import SessionAffinity
from factory.serving.routers.stale import StaleSignals
from factory.serving.routers.weighted_scorers import WeightedScorers

__all__ = [
    "MAKERS",
    "REJECT",
    "Ask",
    "Index",
    "Router",
    "Surroundings",
    "build",
    "drawer",
    "event_index",
    "uniform_from",
]

MAKERS: Mapping[str, Callable[..., Router]] = {
    "random": Random,
    "round_robin": lambda _around: RoundRobin(),
    "least_loaded": lambda _around: LeastLoaded(),
    "session_affinity": lambda _around, max_sessions: SessionAffinity(max_sessions),
    "power_of_two": PowerOfTwo,
    "prefix_threshold": PrefixThreshold,
    "kv_cost": KvCost,
    "weighted_scorers": WeightedScorers,
    "min_ttft": MinTtft,
    "power_aware": PowerAware,
    "kv_aware": KvAware,
    "longest_prefix": LongestPrefix,
}
"""Policy → what makes its router, from `Surroundings` and the policy's own settings."""

_GENERAL = ("index", "index_delay_s", "index_ttl_s", "signal_interval_s")


def build(section: Section, surroundings: Surroundings) -> Router:
    """The router of a scenario's ``router`` section.

    Args:
        section: Policy and settings.
        surroundings: The pool that it works for; its `index` is that of `event_index`, or any (an
            empty one does) where that is None.

    Raises:
        FactoryError: If the policy is not known, or a router from outside cannot be had.
    """
    settings = settings_of(section)
    general = {name: settings.pop(name, None) for name in _GENERAL}
    approximate = None
    if general["index"] == "approximate":
        approximate = ApproximateIndex(surroundings.slots, general["index_ttl_s"])
        surroundings = replace(surroundings, index=approximate, tiers=())
    elif general["index"] == "both":
        approximate = ApproximateIndex(surroundings.slots, general["index_ttl_s"])
        surroundings = replace(surroundings, index=Both(surroundings.index, approximate))
    if section.policy == "custom":
        router: Router = Checked(_from_outside(settings["entry"])(surroundings), settings["entry"])
    elif section.policy in MAKERS:
        router = MAKERS[section.policy](surroundings, **settings)
    else:
        raise FactoryError(f"router policy {section.policy!r} is not known")
    if approximate is not None:
        router = Remembering(router, approximate)
    if general["signal_interval_s"]:
        router = StaleSignals(router, general["signal_interval_s"])
    return router


def event_index(
    section: Section, slots: int, clock: Callable[[], float]
) -> PrefixIndex | DelayedIndex | None:
    """The index that the caches of a pool report to; None if its router reads none.

    Args:
        section: Policy and settings.
        slots: Number of slots of the pool.
        clock: The simulated time, seconds.
    """
    if section.policy not in INDEX_READERS:
        return None
    settings = settings_of(section)
    if settings["index"] == "approximate":
        return None
    delay_s = settings["index_delay_s"]
    return DelayedIndex(slots, delay_s, clock) if delay_s else PrefixIndex(slots)


def _from_outside(entry: str) -> Callable[[Surroundings], Router]:
    """What ``entry: package.module:name`` names."""
    module, _, name = entry.partition(":")
    try:
        made: Callable[[Surroundings], Router] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise FactoryError(f"router entry {entry!r} cannot be had: {error}") from error
    return made
