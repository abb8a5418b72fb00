"""Columns that several fact tables share."""

from __future__ import annotations

from factory.records import derive
from factory.records.columns import Aggregation, Column, Raw

RUN_ID = Column(
    "run_id",
    "string",
    "",
    "Hash of resolved scenario, seed, replication and model version.",
    "key",
    made="constant",
    values=derive.run_id,
)
WEIGHT = Column(
    "weight",
    "float64",
    "cells",
    "How many cells the simulated one stands for; multiply every additive column by it.",
    "none",
    made="constant",
    values=derive.weight,
)


def cell_column(values: derive.Derivation, *, nullable: bool = False) -> Column:
    """The simulated cell, from 0; null for what all cells share."""
    shared = "; null for what all cells share" if nullable else ""
    text = f"Simulated cell, from 0{shared}."
    return Column("cell", "int32", "", text, "key", nullable, "derived", values)


def ints(*names: str) -> tuple[Raw, ...]:
    """Raw fields that hold integers."""
    return tuple(Raw(name, "int") for name in names)


def floats(*names: str) -> tuple[Raw, ...]:
    """Raw fields that hold floats."""
    return tuple(Raw(name, "float") for name in names)


def name_column(
    name: str, description: str, values: derive.Derivation, *, nullable: bool = False
) -> Column:
    """A name that identifies, made from a code."""
    return Column(name, "string", "", description, "key", nullable, "derived", values)


def instant_column(name: str, of: str, description: str, *, nullable: bool = False) -> Column:
    """The instant behind a column of simulated seconds."""
    return Column(
        name, "timestamp", "UTC", description, "none", nullable, "derived", derive.moment(of)
    )


def token_column(name: str, description: str) -> Column:
    """A whole number of tokens."""
    return Column(name, "int64", "tokens", description, "sum")


def window_columns() -> tuple[Column, ...]:
    """What every table of windows says of its window."""
    return (
        Column("window_index", "int64", "", "Number of the window, 0 at the epoch.", "key"),
        Column(
            "window_start_time_s",
            "float64",
            "s",
            "Start of the window, simulated seconds.",
            "none",
            made="derived",
            values=derive.window_start_time_s,
        ),
        instant_column("window_start_at", "window_start_time_s", "Start of the window."),
        Column(
            "window_s",
            "float64",
            "s",
            "Span of the window; the end of the run cuts the last one.",
            "none",
            made="derived",
            values=derive.window_s,
        ),
        Column(
            "is_measured",
            "bool",
            "",
            "Whether the window belongs to the measured interval.",
            "none",
            made="derived",
            values=derive.measured_window,
        ),
    )


def time_column(name: str, of: str, description: str) -> Column:
    """An instant in simulated seconds, as a raw field has it."""
    return Column(
        name, "float64", "s", description, "none", made="derived", values=derive.scaled(of, 1.0)
    )


def kwh_column(
    name: str,
    of: str,
    description: str,
    aggregation: Aggregation = "sum",
    *,
    nullable: bool = False,
) -> Column:
    """An energy in kWh, made from a raw field of joules."""
    return Column(
        name, "float64", "kWh", description, aggregation, nullable, "derived", derive.kwh(of)
    )


def energy_columns(what: str) -> tuple[Column, ...]:
    """Energy at the three boundaries, made from joules."""
    return (
        kwh_column("energy_gpu_kwh", "energy_gpu_j", f"Energy of {what} at the GPU boundary."),
        kwh_column(
            "energy_it_kwh",
            "energy_it_j",
            f"Energy of {what} at the IT boundary: GPUs and their share of hosts, network, fans "
            "and power supplies.",
        ),
        kwh_column(
            "energy_facility_kwh",
            "energy_facility_j",
            f"Energy of {what} at the facility boundary: the overhead of a window goes by IT "
            "energy.",
        ),
    )
