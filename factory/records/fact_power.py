"""The tables of power: nodes of the tree, the site's meter, and what a demand tariff bills."""

from __future__ import annotations

from factory.records import derive
from factory.records.columns import Column, Table
from factory.records.fact_columns import (
    RUN_ID,
    WEIGHT,
    cell_column,
    energy_columns,
    floats,
    instant_column,
    ints,
    kwh_column,
    name_column,
    time_column,
    window_columns,
)


def _kw(name: str, of: str, description: str, *, nullable: bool = False) -> Column:
    """A power in kW from a raw field of watts; the highest of a window."""
    return Column(
        name, "float64", "kW", description, "max", nullable, "derived", derive.scaled(of, 1e-3)
    )


def _limit(name: str, of: str, description: str) -> Column:
    """A limit in kW from a raw field of watts; null without one."""
    return Column(
        name, "float64", "kW", description, "min", True, "derived", derive.scaled(of, 1e-3)
    )


def _mean(name: str, of: str, description: str) -> Column:
    """A mean power in kW over the row's window, from a raw field of joules; null without span."""
    return Column(
        name, "float64", "kW", description, "mean", True, "derived", derive.mean_kw(of, "window_s")
    )


def _seconds(name: str, description: str) -> Column:
    return Column(name, "float64", "s", description, "sum")


def _mean_number(name: str, unit: str, description: str) -> Column:
    return Column(name, "float64", unit, description, "mean", nullable=True)


POWER = Table(
    "fact_power",
    "power node × window",
    (
        *ints("power_node", "window_index"),
        *floats("energy_gpu_j", "energy_other_j", "energy_loss_j", "energy_it_j"),
        *floats("energy_facility_j", "peak_1s_it_w", "budget_w", "limit_w", "headroom_j"),
        *floats("capped_s", "braked_s", "dark_s", "curtailed_s"),
    ),
    (
        RUN_ID,
        WEIGHT,
        cell_column(derive.cell_of_node, nullable=True),
        name_column("power_node", "Power node.", derive.named("power_node", "power_nodes")),
        Column(
            "level",
            "string",
            "",
            "facility, row, rack or node; never add up different levels.",
            "none",
            made="derived",
            values=derive.level_of_node,
        ),
        *window_columns(),
        *energy_columns("the node"),
        kwh_column(
            "energy_other_kwh",
            "energy_other_j",
            "Energy of hosts, network, storage, fans and pumps under the node.",
        ),
        kwh_column(
            "energy_loss_kwh", "energy_loss_j", "Energy lost in power supplies under the node."
        ),
        _mean(
            "mean_it_kw",
            "energy_it_j",
            "Mean IT power over the window; null for a window without span.",
        ),
        _kw("peak_1s_it_kw", "peak_1s_it_w", "Highest IT power over any second of the window."),
        Column(
            "budget_it_kw",
            "float64",
            "kW",
            "IT power budget of the node as stated; null without one.",
            "none",
            nullable=True,
            made="derived",
            values=derive.scaled("budget_w", 1e-3),
        ),
        _limit(
            "limit_it_kw",
            "limit_w",
            "Lowest limit on IT power in the window: the budget, or what a curtailment leaves of "
            "it; null without one.",
        ),
        _mean(
            "mean_headroom_it_kw",
            "headroom_j",
            "Mean of the limit less the power over the window; null without a limit.",
        ),
        _seconds(
            "capped_s",
            "Time with clocks lowered to keep the limit of this node; what a control loop lowers "
            "counts on the nodes beneath it too.",
        ),
        _seconds("braked_s", "Time under a power brake."),
        _seconds("dark_s", "Time without power: a breaker that tripped, or a failed rack."),
        _seconds("curtailed_s", "Time in which the grid curtailed the facility."),
    ),
)

GRID = Table(
    "fact_grid",
    "window: the facility at its grid connection",
    (
        *ints("window_index"),
        *floats("energy_it_j", "energy_facility_j", "energy_grid_j"),
        *floats("battery_charged_j", "battery_discharged_j", "battery_level_j"),
        *floats("peak_1s_grid_w", "limit_w", "excess_j", "curtailed_s", "outside_c"),
        *floats("price_usd_per_mwh", "carbon_g_per_kwh", "electricity_usd", "emissions_g"),
    ),
    (
        RUN_ID,
        WEIGHT,
        *window_columns(),
        kwh_column("energy_it_kwh", "energy_it_j", "IT energy of the facility."),
        kwh_column(
            "energy_facility_kwh",
            "energy_facility_j",
            "Energy of the facility: IT and overhead (cooling, transformers), without its battery.",
        ),
        kwh_column(
            "energy_grid_kwh",
            "energy_grid_j",
            "Energy drawn from the grid: the facility's, plus what charged the battery, less what "
            "the battery gave.",
        ),
        kwh_column(
            "battery_charged_kwh", "battery_charged_j", "Energy that went into the battery."
        ),
        kwh_column(
            "battery_discharged_kwh", "battery_discharged_j", "Energy that the battery gave."
        ),
        kwh_column(
            "battery_level_kwh",
            "battery_level_j",
            "Energy in the battery at the end of the window; null without one.",
            "none",
            nullable=True,
        ),
        _mean(
            "mean_grid_kw",
            "energy_grid_j",
            "Mean power drawn from the grid; null for a window without span.",
        ),
        _kw("peak_1s_grid_kw", "peak_1s_grid_w", "Highest grid power over any second."),
        _limit(
            "limit_grid_kw",
            "limit_w",
            "Lowest limit on grid power in the window, of a curtailment; null without one.",
        ),
        kwh_column("excess_kwh", "excess_j", "Energy drawn above the limit while there was one."),
        _seconds("curtailed_s", "Time under a curtailment."),
        _mean_number("outside_c", "°C", "Mean outside temperature; null where it is not stated."),
        _mean_number(
            "price_usd_per_mwh",
            "USD/MWh",
            "Mean price of electricity over time; null without a series.",
        ),
        _mean_number(
            "carbon_g_per_kwh",
            "g/kWh",
            "Mean carbon intensity of the grid over time; null without a series.",
        ),
        Column(
            "electricity_usd",
            "float64",
            "USD",
            "Grid energy at the price of each instant; null without a series of prices.",
            "sum",
            nullable=True,
        ),
        Column(
            "emissions_g",
            "float64",
            "g",
            "Grid energy at the carbon intensity of each instant; null without a series.",
            "sum",
            nullable=True,
        ),
    ),
)

DEMAND_METER = Table(
    "fact_demand_meter",
    "quarter of an hour of the facility's local clock: what a demand tariff meters",
    (
        *ints("quarter_index"),
        *floats("start_s", "end_s", "energy_grid_j"),
        *ints("is_whole"),
    ),
    (
        RUN_ID,
        WEIGHT,
        Column("quarter_index", "int64", "", "Number of the quarter, 0 at the epoch.", "key"),
        time_column("start_time_s", "start_s", "Start of what was metered, simulated seconds."),
        instant_column("start_at", "start_s", "Start of what was metered."),
        time_column(
            "end_time_s", "end_s", "End of what was metered (excluded), simulated seconds."
        ),
        instant_column("end_at", "end_s", "End of what was metered (excluded)."),
        Column(
            "quarter_local",
            "string",
            "",
            "Start by the facility's clock, with its offset from UTC, which tells the two hours "
            "apart when clocks go back.",
            "none",
            made="derived",
            values=derive.local_clock("start_s"),
        ),
        Column(
            "is_whole",
            "bool",
            "",
            "Whether all of the quarter was simulated; the run's ends may cut its first and last.",
            "none",
            made="derived",
            values=derive.is_set("is_whole"),
        ),
        Column(
            "is_measured",
            "bool",
            "",
            "Whether the middle of the quarter lies in the measured interval.",
            "none",
            made="derived",
            values=derive.measured_quarter,
        ),
        kwh_column("energy_grid_kwh", "energy_grid_j", "Energy drawn from the grid."),
        Column(
            "mean_grid_kw",
            "float64",
            "kW",
            "Mean grid power over what was metered: the demand of the quarter; null without span.",
            "max",
            nullable=True,
            made="derived",
            values=derive.mean_kw("energy_grid_j", "metered_s"),
        ),
        Column(
            "metered_s",
            "float64",
            "s",
            "Span of what was metered.",
            "sum",
            made="derived",
            values=derive.span("start_s", "end_s"),
        ),
    ),
)
