"""The tables of a run: one schema that writes Parquet, the data dictionary and the views."""

from __future__ import annotations
