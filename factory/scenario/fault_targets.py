"""What a fault can hit, by name: racks and their parts, rows, uplinks, replicas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from factory.errors import Problem
from factory.scenario.nearest import nearest, stem_of

if TYPE_CHECKING:
    from factory.scenario.schema import Scenario
    from factory.scenario.specs import Catalog, SystemSpec

Level = Literal["gpu", "node", "nvlink_domain", "rack", "row", "network", "replica"]

NETWORK = "network/"
PARTS = {"gpu": "gpu", "node": "node", "tray": "node", "domain": "nvlink_domain"}
"""What a part of a rack is called in a target, and what it is."""

_PART = re.compile(r"(?P<rack>.+)/(?P<part>[a-z]+)-(?P<number>\d+)")
_FORMS = "RACK, RACK/node-N, RACK/gpu-N, RACK/domain-N, network/RACK, a row or a replica"


@dataclass(frozen=True, slots=True)
class FaultTarget:
    """What a fault hits.

    Attributes:
        level: What it is.
        number: Of the rack, row or replica, in order over the whole scenario.
        part: Of the rack, where it is a GPU, a node or a domain of it.
    """

    level: Level
    number: int
    part: int = 0


@dataclass(frozen=True, slots=True)
class FaultPlaces:
    """Everything in a scenario that a fault can hit.

    Attributes:
        racks: Each rack and its system.
        rows: Each row.
        replicas: Each replica, those that there is only room for included.
    """

    racks: tuple[tuple[str, SystemSpec], ...]
    rows: tuple[str, ...]
    replicas: tuple[str, ...]

    def find(self, name: str) -> FaultTarget | None:
        """What a name stands for; None if there is no such thing."""
        racks = [rack for rack, _ in self.racks]
        if name in self.rows:
            return FaultTarget("row", self.rows.index(name))
        if name in racks:
            return FaultTarget("rack", racks.index(name))
        if name in self.replicas:
            return FaultTarget("replica", self.replicas.index(name))
        if name.startswith(NETWORK) and name.removeprefix(NETWORK) in racks:
            return FaultTarget("network", racks.index(name.removeprefix(NETWORK)))
        found = _PART.fullmatch(name)
        if found is None or found["rack"] not in racks or found["part"] not in PARTS:
            return None
        rack = racks.index(found["rack"])
        level, number = PARTS[found["part"]], int(found["number"])
        if number >= parts_of(self.racks[rack][1], level):
            return None
        return FaultTarget(level, rack, number)  # type: ignore[arg-type]

    def problem(self, path: str, name: str) -> Iterator[Problem]:
        """A problem if a name stands for nothing."""
        if self.find(name) is not None:
            return
        found = _PART.fullmatch(name)
        for rack, system in self.racks:
            if found is None or found["rack"] != rack:
                continue
            if found["part"] in PARTS:
                most = parts_of(system, PARTS[found["part"]]) - 1
                part = found["part"]
                allowed = f"{rack}/{part}-0 to {rack}/{part}-{most}"
                yield Problem(path, f"rack {rack} has no such {part}", name, allowed)
                return
            allowed = ", ".join(f"{rack}/{part}-N" for part in PARTS)
            meant = nearest(found["part"], PARTS)
            hint = meant and f"{rack}/{meant}-{found['number']}"
            yield Problem(path, "names no part of a rack", name, allowed, hint)
            return
        before = NETWORK if name.startswith(NETWORK) else ""
        base, slash, rest = name.removeprefix(before).partition("/")
        names = [rack for rack, _ in self.racks]
        if not before:
            names += [*self.rows, *self.replicas]
        stem, meant = _meant(base, names)
        numbers = [other for other in names if stem and stem_of(other) == stem]
        if meant is None and numbers:
            what = "number" if stem == stem_of(base) else "name"
            ends = dict.fromkeys(f"{before}{end}{slash}{rest}" for end in (numbers[0], numbers[-1]))
            yield Problem(path, f"there is nothing of this {what}", name, " to ".join(ends))
            return
        hint = meant and f"{before}{meant}{slash}{rest}"
        yield Problem(path, "there is nothing of this name", name, _FORMS, hint)


def _meant(name: str, known: Sequence[str]) -> tuple[str | None, str | None]:
    """What a name with a number probably is one of, and the known name that was probably meant.

    There may be none of its number.
    """
    stem = stem_of(name)
    if stem == name:
        return None, nearest(name, known)
    stems = dict.fromkeys(stem_of(other) for other in known if stem_of(other) != other)
    found = stem if stem in stems else nearest(stem, stems)
    if found is None:
        return None, nearest(name, known)
    exact = found + name.removeprefix(stem)
    return found, exact if exact in known else None


def parts_of(system: SystemSpec, level: str) -> int:
    """GPUs, nodes or NVLink domains of a rack."""
    if level == "gpu":
        return system.gpus_per_rack
    each = system.gpus_per_node if level == "node" else domain_gpus(system)
    return -(-system.gpus_per_rack // each)


def domain_gpus(system: SystemSpec) -> int:
    """GPUs of an NVLink domain, which does not reach beyond its rack here."""
    return min(system.nvlink_domain_gpus, system.gpus_per_rack)


def fault_places(scenario: Scenario, catalog: Catalog) -> FaultPlaces:
    """What a fault can hit in a scenario whose systems are known."""
    facility = scenario.facility
    return FaultPlaces(
        tuple(
            (f"{group.name}-{number}", catalog.systems[group.system])
            for group in facility.racks
            for number in range(group.count)
        ),
        tuple(
            row.name if row.count == 1 else f"{row.name}-{copy}"
            for row in facility.rows
            for copy in range(row.count)
        ),
        tuple(
            f"{pool.name}-{number}"
            for deployment in scenario.deployments
            for pool in deployment.pools
            for number in range(pool.most_replicas)
        ),
    )
