"""Prices → ledger: additive figures of a run, its windows and its pools, weighted by cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.errors import InputError
from factory.records.codes import LEDGER_STATES
from factory.records.columns import Text
from factory.records.reader import RunReader

#: Additive columns of `fact_intervals` that totals carry.
ADDITIVE = (
    "gpu_s_provisioned",
    "input_computed_tokens",
    "input_recomputed_tokens",
    "input_cached_tokens",
    "output_tokens",
    "output_good_tokens",
    *(f"gpu_s_{state}" for state in LEDGER_STATES),
    "reference_gpu_s",
    "energy_gpu_kwh",
    "energy_gpu_idle_kwh",
    "energy_it_kwh",
    "energy_facility_kwh",
)


@dataclass(frozen=True, slots=True)
class Totals:
    """Additive figures of one group of pool × window rows.

    Attributes:
        seconds: Span of simulated time that the group covers.
        contracted_facility_mw: Facility power contracted, all cells.
        cost_usd: Provisioned GPU-seconds at the price of their system; None where one has none.
        nameplate_cost_usd: Reference GPU-seconds likewise: the cost at load factor 1.
        amounts: By name in `ADDITIVE`: GPU seconds, tokens, kWh.
    """

    seconds: float
    contracted_facility_mw: float
    cost_usd: float | None
    nameplate_cost_usd: float | None
    amounts: dict[str, float]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The one row of `fact_runs`, as far as economics needs it.

    Attributes:
        end_s: End of the run, simulated seconds.
        measured_from_s: Start of the measured interval, simulated seconds.
        measured_to_s: Its end (excluded).
        contracted_facility_mw: Facility power contracted, all cells.
        pricing_id: The run's own pricing; None for performance only.
        events: Events fired.
        cells: Cells that the run stands for.
        cells_simulated: Cells simulated.
    """

    end_s: float
    measured_from_s: float
    measured_to_s: float
    contracted_facility_mw: float
    pricing_id: str | None
    events: int
    cells: int
    cells_simulated: int

    @property
    def measured_s(self) -> float:
        """Span of the measured interval, seconds."""
        return self.measured_to_s - self.measured_from_s


def run_facts(reader: RunReader) -> RunFacts:
    """The run's row.

    Raises:
        InputError: The table does not hold exactly one.
    """
    numbers = (
        "end_time_s",
        "measured_from_s",
        "measured_to_s",
        "contracted_facility_mw",
        "events",
        "cells",
        "cells_simulated",
    )
    rows = reader.read("fact_runs", (*numbers, "pricing_id"))
    if rows.rows != 1:
        raise InputError(f"{reader.directory}: fact_runs must have one row, has {rows.rows}")
    value = {name: float(rows.number(name)[0]) for name in numbers}
    return RunFacts(
        end_s=value["end_time_s"],
        measured_from_s=value["measured_from_s"],
        measured_to_s=value["measured_to_s"],
        contracted_facility_mw=value["contracted_facility_mw"],
        pricing_id=rows.strings("pricing_id")[0],
        events=int(value["events"]),
        cells=int(value["cells"]),
        cells_simulated=int(value["cells_simulated"]),
    )


@dataclass(frozen=True, slots=True)
class PricedIntervals:
    """`fact_intervals` with prices, weighted; every array has shape (rows,).

    Attributes:
        run: The run's row.
        pool: Code of the pool, into `pools`.
        cell: Simulated cell.
        pools: Names.
        roles: Role by pool.
        deployments: Deployment by pool; None for unassigned GPUs.
        usd_per_gpu_hour: Price by pool; NaN where its system has none.
        window_index: Number of the window.
        window_start_s: Start of the window, simulated seconds.
        window_s: Span of the window.
        is_measured: Whether it is in the measured interval.
        amounts: By name in `ADDITIVE`, and `cost_usd` and `nameplate_cost_usd`: NaN where GPUs are
            provisioned whose system has no price.
    """

    run: RunFacts
    pool: NDArray[np.int32]
    cell: NDArray[np.int32]
    pools: Sequence[str]
    roles: Sequence[str]
    deployments: Sequence[str | None]
    usd_per_gpu_hour: Sequence[float]
    window_index: NDArray[np.int64]
    window_start_s: NDArray[np.float64]
    window_s: NDArray[np.float64]
    is_measured: NDArray[np.bool_]
    amounts: dict[str, NDArray[np.float64]]

    def total(self, rows: NDArray[np.bool_], seconds: float) -> Totals:
        """The total over some rows.

        Args:
            rows: Which, shape (rows,).
            seconds: Simulated time that they cover.
        """
        sums = {name: float(values[rows].sum()) for name, values in self.amounts.items()}
        return self._totals(seconds, sums)

    def run_total(self) -> Totals:
        """The total over the measured interval."""
        return self.total(self.is_measured, self.run.measured_s)

    def pool_totals(self) -> dict[str, Totals]:
        """Totals over the measured interval by pool, pseudo-pools too."""
        return {
            pool: self.total(self.is_measured & (self.pool == code), self.run.measured_s)
            for code, pool in enumerate(self.pools)
        }

    def window_totals(self) -> dict[int, Totals]:
        """Totals by number of window, all windows, in order."""
        windows, first, group = np.unique(self.window_index, return_index=True, return_inverse=True)
        sums = {name: np.bincount(group, amounts) for name, amounts in self.amounts.items()}
        spans = self.window_s[first].tolist()
        return {
            window: self._totals(spans[i], {name: float(sums[name][i]) for name in sums})
            for i, window in enumerate(windows.tolist())
        }

    def _totals(self, seconds: float, amounts: dict[str, float]) -> Totals:
        cost, nameplate = amounts.pop("cost_usd"), amounts.pop("nameplate_cost_usd")
        return Totals(
            seconds=seconds,
            contracted_facility_mw=self.run.contracted_facility_mw,
            cost_usd=None if math.isnan(cost) else cost,
            nameplate_cost_usd=None if math.isnan(nameplate) else nameplate,
            amounts=amounts,
        )


def priced_intervals(reader: RunReader) -> PricedIntervals:
    """`fact_intervals` with the run's own prices.

    Raises:
        InputError: A table is missing, or a pool stands in no dimension.
    """
    run = run_facts(reader)
    keys = ("weight", "cell", "pool", "window_index", "window_start_time_s", "window_s")
    rows = reader.read("fact_intervals", (*keys, "is_measured", *ADDITIVE))
    pools = reader.read("dim_pools", ("pool", "system", "role", "deployment"))
    prices = reader.read("dim_prices", ("pricing_id", "system", "usd_per_gpu_hour"))
    by_system = {
        system: usd
        for pricing, system, usd in zip(
            prices.strings("pricing_id"),
            prices.strings("system"),
            prices.number("usd_per_gpu_hour").tolist(),
            strict=True,
        )
        if pricing == run.pricing_id
    }
    names = [str(name) for name in pools.strings("pool")]
    pool = _placed(rows.text("pool"), names, f"{reader.directory}: dim_pools")
    prices_by_pool = [by_system.get(system, math.nan) for system in pools.strings("system")]
    price = np.array(prices_by_pool)[pool]
    weight = rows.number("weight")
    amounts = {name: weight * rows.number(name) for name in ADDITIVE}
    is_paid = amounts["gpu_s_provisioned"] > 0
    amounts |= {
        cost: np.where(is_paid, amounts[gpu_s] / 3600 * price, 0.0)
        for cost, gpu_s in (
            ("cost_usd", "gpu_s_provisioned"),
            ("nameplate_cost_usd", "reference_gpu_s"),
        )
    }
    return PricedIntervals(
        run=run,
        pool=pool,
        cell=rows.number("cell").astype(np.int32),
        pools=names,
        roles=[str(role) for role in pools.strings("role")],
        deployments=pools.strings("deployment"),
        usd_per_gpu_hour=prices_by_pool,
        window_index=rows.number("window_index").astype(np.int64),
        window_start_s=rows.number("window_start_time_s"),
        window_s=rows.number("window_s"),
        is_measured=rows.flag("is_measured"),
        amounts=amounts,
    )


def _placed(text: Text, names: Sequence[str], where: str) -> NDArray[np.int32]:
    """Positions in `names` of strings, shape (rows,).

    Raises:
        InputError: A string stands in no dimension.
    """
    place = {name: index for index, name in enumerate(names)}
    used = set(np.unique(text.codes).tolist())
    lacking = [v for code, v in enumerate(text.values) if code in used and v not in place]
    if lacking:
        raise InputError(f"{where} lacks {lacking[0]}")
    to_place = np.array([place.get(value, -1) for value in text.values] or [-1], np.int32)
    return to_place[text.codes]
