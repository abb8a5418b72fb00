"""The links between ranks, as the hardware has them.

Inside an NVLink domain a rank sends over its own GPUs' ports, through a switch that never blocks.
Beyond it, over its GPUs' own network cards, or its node's, which all replicas there share; the
rack's uplinks bind if they are oversubscribed. All links are full duplex: one `Link` each way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

from factory.errors import Problem
from factory.serving.links import Link, Path
from factory.serving.stands import GB, Stand

if TYPE_CHECKING:
    from factory.scenario.transfer import KvTransfer

Kind = Literal["nvlink", "infiniband", "ethernet"]
Uses = tuple[tuple[Link, float], ...]

_MOST_PATHS = 100_000


@dataclass(frozen=True, slots=True)
class Carrier:
    """What a kind of network does to transfers.

    Attributes:
        efficiency: Bytes of KV per byte that the links could carry.
        latency_s: From the last byte sent until the receiver knows, seconds.
    """

    efficiency: float
    latency_s: float


CARRIERS: Mapping[Kind, Carrier] = {
    "nvlink": Carrier(0.9, 1e-4),
    "infiniband": Carrier(0.9, 1e-4),
    "ethernet": Carrier(0.87, 2e-4),
}
"""Ethernet (published): Mooncake's transfer engine moves 87 GB/s over four 200 Gbit/s RoCE cards
(its README, 2024). NVLink and InfiniBand (assumed): between that and the 0.91 to 0.96 that copies
between two GPUs reach on NVLink (Dell, 2018, P100 and V100). Latencies (assumed): posting and
noticing a transfer; what the wires add is microseconds."""


class Cables:
    """Links that more than one rank may use, of a whole run.

    Deployments whose replicas share nodes and racks share them.
    """

    __slots__ = ("_links",)

    def __init__(self) -> None:
        self._links: dict[tuple[str, int, int, bool], Link] = {}

    def link(self, kind: str, rack: int, node: int, outward: bool, bytes_per_s: float) -> Link:
        """The link of that kind there; made, with this bandwidth, when first asked for."""
        key = (kind, rack, node, outward)
        link = self._links.get(key)
        if link is None:
            link = self._links[key] = Link(bytes_per_s)
        return link


class Network:
    """How the KV of one deployment moves.

    Args:
        section: Its ``kv_transfer``.
        cables: The links that it shares with the run's other deployments.
    """

    __slots__ = ("_cables", "_paths", "_section")

    def __init__(self, section: KvTransfer, cables: Cables) -> None:
        self._section = section
        self._cables = cables
        self._paths: dict[tuple[Stand, Stand], Path] = {}

    def path(self, source: Stand, sink: Stand) -> Path:
        """The links from one rank to another.

        Raises:
            ValueError: If there are none (see `link_problems`).
        """
        way = self._paths.get((source, sink))
        if way is None:
            if len(self._paths) >= _MOST_PATHS:
                self._paths.clear()
            way = self._paths[source, sink] = self._path(source, sink)
        return way

    def kind(self, source: Stand, sink: Stand) -> Kind | None:
        """The network that joins two ranks; None if none does."""
        section = self._section
        near = source.rack == sink.rack and source.domain == sink.domain >= 0
        if section.network == "nvlink" or (section.network == "auto" and near):
            return "nvlink" if near else None
        if section.nics_per_node == 0 and section.bandwidth_gb_s is None:
            return None
        return "ethernet" if section.network == "ethernet" else "infiniband"

    def _path(self, source: Stand, sink: Stand) -> Path:
        section = self._section
        kind = self.kind(source, sink)
        if kind is None:
            raise ValueError(f"no link joins {source} and {sink}")
        carrier = CARRIERS[kind]
        latency_s = carrier.latency_s
        if section.latency_ms is not None:
            latency_s = section.latency_ms * 1e-3
        efficiency = section.efficiency_ratio or carrier.efficiency
        most = inf
        if section.bandwidth_gb_s is not None:
            efficiency = 1.0
        elif section.nics_per_node is not None and kind != "nvlink":
            hosts = (stand.gpus * stand.host_bytes_per_s for stand in (source, sink))
            most = min(hosts)
        uses = self._half(source, kind, efficiency, outward=True)
        if kind != "nvlink" and source.rack != sink.rack and section.oversubscription > 1.0:
            uses += ((self._uplink(source, outward=True), 1.0 / efficiency),)
            uses += ((self._uplink(sink, outward=False), 1.0 / efficiency),)
        uses += self._half(sink, kind, efficiency, outward=False)
        return Path(uses, latency_s, most)

    def _half(self, stand: Stand, kind: Kind, efficiency: float, *, outward: bool) -> Uses:
        """The links between a rank and the switch, or the leaf of its rack."""
        section = self._section
        if section.bandwidth_gb_s is not None:
            own, bytes_per_s = "stated", section.bandwidth_gb_s * GB
        elif kind == "nvlink":
            own, bytes_per_s = "nvlink", stand.nvlink_bytes_per_s
        elif section.nics_per_node is None:
            own, bytes_per_s = "nic", self._card(stand)
        else:
            node_bytes_per_s = section.nics_per_node * self._card(stand)
            return tuple(
                (
                    self._cables.link("node", stand.rack, node, outward, node_bytes_per_s),
                    part / efficiency,
                )
                for node, part in stand.nodes
            )
        pair = stand.links.get(own)
        if pair is None:
            total = stand.gpus * bytes_per_s
            pair = stand.links[own] = (Link(total), Link(total))
        return ((pair[0 if outward else 1], 1.0 / efficiency),)

    def _card(self, stand: Stand) -> float:
        """Bytes/s of a network card."""
        stated = self._section.nic_gb_s
        return stand.nic_bytes_per_s if stated is None else stated * GB

    def _uplink(self, stand: Stand, *, outward: bool) -> Link:
        """A rack's way to the spine: what its cards carry over the oversubscription."""
        section = self._section
        if section.bandwidth_gb_s is not None:
            cards, bytes_per_s = float(stand.rack_gpus), section.bandwidth_gb_s * GB
        elif section.nics_per_node is None:
            cards, bytes_per_s = float(stand.rack_gpus), self._card(stand)
        else:
            cards = section.nics_per_node * stand.rack_gpus / stand.node_gpus
            bytes_per_s = self._card(stand)
        total = cards * bytes_per_s / section.oversubscription
        return self._cables.link("uplink", stand.rack, 0, outward, total)


def link_problems(
    path: str,
    network: Network,
    sources: Seq[tuple[str, Stand]],
    sinks: Seq[tuple[str, Stand]],
) -> Iterator[Problem]:
    """A problem if a prefill rank has no link to a decode rank that a router may choose for it.

    Args:
        path: Where the ``kv_transfer`` section stands.
        network: Made from it.
        sources: Names of prefill replicas, each with where one of its ranks stands.
        sinks: The same of decode replicas.
    """
    # Whether two are joined depends on their domains alone.
    far = [{(s.rack, s.domain): (name, s) for name, s in side} for side in (sources, sinks)]
    for source_name, source in far[0].values():
        for sink_name, sink in far[1].values():
            if network.kind(source, sink) is None:
                message = (
                    f"no link from {source_name} (rack {source.rack}) to {sink_name} (rack "
                    f"{sink.rack}): they stand in different NVLink domains, and nothing else joins "
                    "them"
                )
                remedy = (
                    "network: auto, infiniband or ethernet with at least one network card; or "
                    "both pools in one NVLink domain"
                )
                yield Problem(path, message, None, remedy)
                return
