"""The one schema object: from it come the Parquet files, the data dictionary and the docs."""

from __future__ import annotations

from factory.records.columns import Schema
from factory.records.dims import DIMENSIONS, RUN_TABLES
from factory.records.facts import FACTS

#: Every table of a run, in the order of the data dictionary.
SCHEMA = Schema("token-factory-run", "1.5.0", (*RUN_TABLES, *FACTS, *DIMENSIONS))

#: Tables that grow while the simulation runs; the others are handed over whole.
STREAMED = tuple(table.name for table in FACTS)
