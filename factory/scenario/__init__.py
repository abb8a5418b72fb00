"""What to simulate: the schema of a scenario, its YAML loader and the catalogue it refers to."""

from __future__ import annotations

from factory.scenario.catalog import catalog
from factory.scenario.demand import Demand, Slo, Tenant
from factory.scenario.deployment import (
    Deployment,
    Engine,
    Parallel,
    Pool,
    Precision,
    Reference,
    Speculation,
    StepModel,
)
from factory.scenario.facility import Facility, RackGroup
from factory.scenario.lengths import Length
from factory.scenario.loader import check, load, locate, missing_files
from factory.scenario.models import catalog_of
from factory.scenario.overlays import read_overlays
from factory.scenario.pool_power import PoolPower
from factory.scenario.resolve import contracted_mw, facility_pue, flatten, resolved
from factory.scenario.resources import shipped
from factory.scenario.routing import Router
from factory.scenario.rows import Row
from factory.scenario.schema import Cells, Prices, Run, Scenario
from factory.scenario.session import Session, SharedPrefix
from factory.scenario.specs import (
    Catalog,
    GpuSpec,
    ModelSpec,
    PriceBook,
    Provenance,
    SystemSpec,
)
from factory.scenario.tenant_load import Load
from factory.scenario.trace import Trace
from factory.scenario.transfer import KvTransfer

__all__ = [
    "Catalog",
    "Cells",
    "Demand",
    "Deployment",
    "Engine",
    "Facility",
    "GpuSpec",
    "KvTransfer",
    "Length",
    "Load",
    "ModelSpec",
    "Parallel",
    "Pool",
    "PoolPower",
    "Precision",
    "PriceBook",
    "Prices",
    "Provenance",
    "RackGroup",
    "Reference",
    "Router",
    "Row",
    "Run",
    "Scenario",
    "Session",
    "SharedPrefix",
    "Slo",
    "Speculation",
    "StepModel",
    "SystemSpec",
    "Tenant",
    "Trace",
    "catalog",
    "catalog_of",
    "check",
    "contracted_mw",
    "facility_pue",
    "flatten",
    "load",
    "locate",
    "missing_files",
    "read_overlays",
    "resolved",
    "shipped",
]
