"""Racks, budgets and meters: the physical side of the factory."""

from factory.facility.budget import PowerLoad, RackBudget
from factory.facility.metering import EnergyBins, Windows
from factory.facility.placement import Placement, PoolNeed, Shelf, place

__all__ = [
    "EnergyBins",
    "Placement",
    "PoolNeed",
    "PowerLoad",
    "RackBudget",
    "Shelf",
    "Windows",
    "place",
]
