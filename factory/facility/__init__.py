"""Racks, budgets and meters: the physical side of the factory."""

from factory.facility.feed import Feed, PowerLoad
from factory.facility.ideal import IdealControl
from factory.facility.metering import EnergyBins, Windows
from factory.facility.placement import Placement, PoolNeed, Shelf, place
from factory.facility.tree import PowerNode, PowerTree

__all__ = [
    "EnergyBins",
    "Feed",
    "IdealControl",
    "Placement",
    "PoolNeed",
    "PowerLoad",
    "PowerNode",
    "PowerTree",
    "Shelf",
    "Windows",
    "place",
]
