"""Checks of KV transfer that need no placement: fields, networks, and racks that have no link.

Whether each two replicas have a link depends on where they stand: `factory.serving.network`.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.deployment import Deployment
from factory.scenario.schema import Scenario
from factory.scenario.transfer import LOCAL_FIELDS, ConditionalDisaggregation, KvTransfer

NIC_FIELDS = ("nics_per_node", "nic_gb_s")
"""Fields that describe the network cards of a node."""


def transfer_problems(scenario: Scenario) -> Iterator[Problem]:
    """KV transfer and conditional disaggregation of every deployment."""
    for index, deployment in enumerate(scenario.deployments):
        path = f"deployments[{index}]"
        section = deployment.kv_transfer
        yield from _field_problems(f"{path}.kv_transfer", section)
        if _is_split(deployment):
            yield from _link_problems(f"{path}.kv_transfer", deployment)
        condition = deployment.conditional_disaggregation
        if condition is not None:
            place = f"{path}.conditional_disaggregation"
            yield from condition_problems(place, condition, is_split=_is_split(deployment))
    yield from _card_problems(scenario)


def _is_split(deployment: Deployment) -> bool:
    return any(pool.role == "prefill" for pool in deployment.pools)


def _field_problems(path: str, section: KvTransfer) -> Iterator[Problem]:
    network = section.network
    stated = [
        name for name in (*NIC_FIELDS, "efficiency_ratio") if getattr(section, name) is not None
    ]
    if section.bandwidth_gb_s is not None:
        if section.bandwidth_gb_s == 0.0:
            message, remedy = "must be > 0: no KV would arrive", "leave it out for the catalogue's"
            yield Problem(f"{path}.bandwidth_gb_s", message, section.bandwidth_gb_s, remedy)
        for name in stated:
            message = "bandwidth_gb_s is stated, which takes its place: keep one of them"
            yield Problem(f"{path}.{name}", message, getattr(section, name))
    elif network == "nvlink":
        for name in NIC_FIELDS:
            if getattr(section, name) is not None:
                message = "is for network: auto, infiniband or ethernet only"
                yield Problem(f"{path}.{name}", message, getattr(section, name))
    if network == "nvlink" and section.oversubscription != 1.0:
        message = "is for network: auto, infiniband or ethernet only"
        yield Problem(f"{path}.oversubscription", message, section.oversubscription)
    if network in ("infiniband", "ethernet") and section.nics_per_node == 0:
        yield Problem(f"{path}.nics_per_node", *_no_cards(network))


def _no_cards(network: str) -> tuple[str, int, str]:
    message = f"leaves no link between the pools: network: {network} needs network cards"
    return message, 0, "at least 1, or leave it out for one for each GPU"


def _link_problems(path: str, deployment: Deployment) -> Iterator[Problem]:
    """Pools whose racks can't have a link, wherever in them replicas stand."""
    section = deployment.kv_transfer
    cards = section.nics_per_node != 0 or section.bandwidth_gb_s is not None
    if section.network in ("infiniband", "ethernet") or (section.network == "auto" and cards):
        return
    for source in deployment.pools:
        for sink in deployment.pools:
            if source.role != "prefill" or sink.role != "decode" or source.racks == sink.racks:
                continue
            if section.network == "nvlink":
                message = (
                    f"no link from pool {source.name} (racks {source.racks}) to {sink.name} (racks "
                    f"{sink.racks}): NVLink ends at the rack"
                )
                remedy = "auto, infiniband or ethernet; or both pools in one NVLink domain"
                yield Problem(f"{path}.network", message, section.network, remedy)
            else:
                message = (
                    f"leaves no link from pool {source.name} (racks {source.racks}) to "
                    f"{sink.name} (racks {sink.racks})"
                )
                remedy = "at least 1, or leave it out for one for each GPU"
                yield Problem(f"{path}.nics_per_node", message, 0, remedy)
            return


def condition_problems(
    path: str, condition: ConditionalDisaggregation, *, is_split: bool
) -> Iterator[Problem]:
    """What is wrong with a rule by itself.

    Args:
        path: Where it stands.
        condition: The rule.
        is_split: Whether its deployment has prefill and decode pools.
    """
    if not is_split:
        message = "needs prefill and decode pools: in aggregated ones every prompt stays"
        yield Problem(path, message)
    for name, policies in LOCAL_FIELDS.items():
        value = getattr(condition, name)
        if value is not None and condition.policy not in policies:
            owners = " or ".join((", ".join(policies[:-1]), policies[-1]))
            yield Problem(f"{path}.{name}", f"is for policy: {owners} only", value)


def _card_problems(scenario: Scenario) -> Iterator[Problem]:
    """The network cards of a rack group are the same for all deployments in it."""
    first: dict[str, tuple[str, KvTransfer]] = {}
    for index, deployment in enumerate(scenario.deployments):
        section = deployment.kv_transfer
        if not _is_split(deployment) or section.bandwidth_gb_s is not None:
            continue
        told: set[str] = set()
        for racks in sorted({pool.racks for pool in deployment.pools}):
            owner, other = first.setdefault(racks, (deployment.name, section))
            for name in (*NIC_FIELDS, "oversubscription"):
                value, theirs = getattr(section, name), getattr(other, name)
                if value == theirs or name in told:
                    continue
                told.add(name)
                shown = "the catalogue's" if theirs is None else f"{theirs:g}"
                message = f"deployment {owner} has {shown} in the same racks {racks}; must be equal"
                path = f"deployments[{index}].kv_transfer.{name}"
                yield Problem(path, message, "the catalogue's" if value is None else value)
