"""``factory catalog series``: the shipped days of prices, carbon intensities and temperatures."""

from __future__ import annotations

from factory.cli.output import print_columns
from factory.scenario.series import Table, listed, shape

_SYNTHETIC = " Synthetic: drawn by hand for this project, measured nowhere."
"""How every shipped file says so."""


def show_series(name: str | None) -> None:
    """Prints all days, or one hour by hour."""
    if name is None:
        rows = [
            [each, *_cells(table), table.about.removesuffix(_SYNTHETIC)]
            for each, table in listed().items()
        ]
        head = ["name", "unit", "mean", "lowest", "highest", "what it is"]
        print_columns(head, rows, [False, False, True, True, True, False])
        print("\nEvery day is synthetic: drawn by hand for this project, measured nowhere.")
        return
    table = shape(name)
    print(f"{name}, {table.unit}. {table.about}\n")
    rows = [
        [f"{int(start_s) // 3600:02d}:{int(start_s) % 3600 // 60:02d}", f"{value:g}"]
        for start_s, value in zip(table.starts_s, table.values, strict=True)
    ]
    print_columns(["from", table.unit], rows, [False, True])


def _cells(table: Table) -> list[str]:
    return [
        table.unit, f"{table.mean:.1f}", f"{min(table.values):g}", f"{max(table.values):g}"
    ]  # fmt: skip
