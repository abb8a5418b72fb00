"""The data dictionary, generated from the schema."""

from __future__ import annotations

from factory.records.columns import Column, Schema, Table

_HEAD = """\
# Data dictionary

Schema `{name}` {version}. One Parquet file per table,
`tables/<table>.parquet`; every row carries `run_id`.

- Units stand in the names: `_s` seconds, `_kw`, `_kwh`, `_tokens`, `_usd`, `_ratio` (0 to 1).
- `*_at` are instants, UTC, from the epoch of the run; `*_time_s` are the same as simulated seconds.
- Null means "did not happen". Ratios are not stored: `views.sql` makes them from additive columns.
- `weight` is the number of cells that a simulated one stands for: multiply additive columns by it.
- Aggregation says what may be done over rows: `sum`, `mean`, `max`, `min`, `count` (of true),
  `key` (identifies), `none`.
"""


def data_dictionary(schema: Schema) -> str:
    """The data dictionary of a schema, as Markdown."""
    parts = [_HEAD.format(name=schema.name, version=schema.version)]
    parts += [_section(table) for table in schema.tables]
    return "\n".join(parts)


def _section(table: Table) -> str:
    rows = [_row(column) for column in table.columns]
    return "\n".join(
        [
            f"## {table.name}",
            "",
            f"One row per {table.grain}.",
            "",
            "| column | type | unit | null | aggregation | made | description |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _row(column: Column) -> str:
    null = "yes" if column.nullable else "no"
    kind = {"id": "string", "timestamp": "timestamp[us, UTC]"}.get(column.type, column.type)
    cells = [
        f"`{column.name}`",
        kind,
        column.unit,
        null,
        column.aggregation,
        column.made,
        column.description.replace("|", "\\|"),
    ]
    return f"| {' | '.join(cells)} |"
