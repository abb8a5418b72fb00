"""Rows on their way into a file: raw fields as arrays, and what derivations may know of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from factory.records.columns import Table, Text, Values

#: A raw field of a batch, shape (rows,).
RawColumn = NDArray[np.float64] | NDArray[np.int64] | Text


@dataclass(frozen=True, slots=True)
class Limits:
    """Service-level limits of a tenant, in seconds; infinite where it has none.

    Attributes:
        ttft_s: Time to first token.
        itl_s: Inter-token latency, mean over the request.
        e2e_s: End to end.
        task_s: A whole task, from its first request to its last answer.
    """

    ttft_s: float = math.inf
    itl_s: float = math.inf
    e2e_s: float = math.inf
    task_s: float = math.inf


@dataclass(frozen=True, slots=True)
class CodeTables:
    """The strings behind the engine's codes. Lists may grow while a run goes on, never change.

    Attributes:
        deployments: Names by deployment code.
        tenants: Names by tenant code.
        tenant_limits: Limits by tenant code.
        pools: Names by pool code, unique in a cell; the pseudo-pools of unassigned GPUs too.
        pool_deployments: Deployment code by pool code; -1 for unassigned GPUs.
        pool_roles: One of `codes.ROLES` by pool code.
        replicas: Names by replica code, unique over pools.
        replica_pools: Pool code by replica code.
        power_nodes: Names by power node code.
        power_node_levels: `facility`, `row`, `rack` or `node` by power node code.
        tenant_cells, pool_cells: Cell by code of tenant and pool; empty: all are of cell 0. Names
            of deployments, tenants and pools are the same in every cell.
        power_node_cells: Cell by power node code, -1 for what all cells share; empty: cell 0, and
            the facility is shared.
    """

    deployments: Sequence[str]
    tenants: Sequence[str]
    tenant_limits: Sequence[Limits]
    pools: Sequence[str]
    pool_deployments: Sequence[int]
    pool_roles: Sequence[str]
    replicas: Sequence[str]
    replica_pools: Sequence[int]
    power_nodes: Sequence[str]
    power_node_levels: Sequence[str]
    tenant_cells: Sequence[int] = ()
    pool_cells: Sequence[int] = ()
    power_node_cells: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class RunConstants:
    """What is the same in every row of a run.

    Attributes:
        run_id: Hash of resolved scenario, seed, replication and model version.
        epoch: The instant of simulated time 0, with its time zone.
        window_s: Span of a window, seconds.
        pue: Facility power over IT power.
        measured_from_s: Start of the measured interval, seconds; a multiple of `window_s`.
        measured_to_s: Its end; infinite while it is not known (see `RunTables.end_measured`).
        weight: How many cells each simulated one stands for.
        time_zone: Time zone of the facility, an IANA name; its clock cuts the demand meter.
    """

    run_id: str
    epoch: datetime
    window_s: float
    pue: float
    measured_from_s: float = 0.0
    measured_to_s: float = math.inf
    weight: float = 1.0
    time_zone: str = "UTC"


@dataclass(slots=True)
class Batch:
    """Rows of one table, by raw field, with memory for what is derived from them.

    Attributes:
        table: The table they belong to.
        rows: How many.
        raw: Arrays of shape (rows,) by raw field; float64 or int64 for numbers, `Text` for strings.
        constants: Of the run.
        codes: Of the run.
        end_s: End of the run, simulated seconds; infinite while it goes on.
    """

    table: Table
    rows: int
    raw: Mapping[str, RawColumn]
    constants: RunConstants
    codes: CodeTables
    end_s: float = math.inf
    _derived: dict[str, Values] = field(default_factory=dict)

    def number(self, name: str) -> NDArray[np.float64]:
        """A raw field, or a column derived from it, as float64 of shape (rows,)."""
        values = self.raw[name] if name in self.raw else self.values(name)
        assert isinstance(values, np.ndarray), name
        return values.astype(np.float64, copy=False)

    def code(self, name: str) -> NDArray[np.int32]:
        """A raw field that holds codes, as int32 of shape (rows,)."""
        return self.number(name).astype(np.int32)

    def values(self, name: str) -> Values:
        """The values of the column `name`, made once."""
        if name not in self._derived:
            make = self.table.column(name).values
            self._derived[name] = self.raw[name] if make is None else make(self)
        return self._derived[name]
