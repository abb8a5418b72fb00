"""The demand of a finished run, from its own `fact_requests` table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from factory.workload.blocks import Runs, merged
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.parquet_rows import Strings, batches, column_names
from factory.workload.traces.rows import MAX_TOKENS

_COLUMNS = {
    "request_id": "id",
    "attempt": "int",
    "parent_request_id": "id",
    "session_id": "id",
    "turn": "int",
    "tenant": "str",
    "arrival_time_s": "float",
    "input_tokens": "int",
    "requested_output_tokens": "int",
}
_NUMBERS = [name for name, kind in _COLUMNS.items() if kind != "str"]


@dataclass(frozen=True, slots=True)
class RecordedDemand:
    """First attempts of a run, by arrival time.

    Attributes:
        columns: By name (those of `fact_requests`), each of shape (n,): request_id,
            parent_request_id (-1: none), session_id, turn, arrival_time_s, input_tokens and
            requested_output_tokens.
        tenants: Index into `tenant_names`, shape (n,).
        tenant_names: As recorded.
        blocks: Runs of block ids by row, or None if none were recorded.
    """

    columns: dict[str, NDArray[np.int64] | NDArray[np.float64]]
    tenants: NDArray[np.int64]
    tenant_names: list[str]
    blocks: list[Runs] | None


def table_path(path: str) -> str:
    """The table inside a run directory, or the path itself."""
    place = Path(path)
    return str(place / "tables" / "fact_requests.parquet") if place.is_dir() else path


def read(bad: BadRows, limit: int | None, block_size: int) -> RecordedDemand:
    """Reads the demand of a run: retries are left out, they were an answer to that factory.

    Rows of `fact_requests` stand in the order in which requests left, so all are read at once and
    sorted by arrival (about 80 bytes a row).

    Args:
        bad: The table or run directory, and what to do about malformed rows.
        limit: Requests to keep at most.
        block_size: Tokens of the smallest block that a recorded run of blocks may count.

    Raises:
        InputError: A row is malformed, or the table cannot be read or holds no row.
    """
    path = bad.path
    has_blocks = "blocks" in column_names(path)
    wanted = {**_COLUMNS, **({"blocks": "str"} if has_blocks else {})}
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in _NUMBERS}
    tenants: list[NDArray[np.int64]] = []
    names: dict[str, int] = {}
    runs: list[Runs] = []
    done = 0
    for batch in batches(path, wanted, rows=1 << 16):
        table = {name: cast("NDArray[np.float64]", batch[name]) for name in _NUMBERS}
        good = _good(table, bad, done)
        if has_blocks:
            spelled = cast("Strings", batch["blocks"]).to_list()
            runs += _runs(spelled, -(table["input_tokens"] // -block_size), good, bad, done)
        done += len(good)
        for name, values in table.items():
            parts[name].append(values[good])
        strings = cast("Strings", batch["tenant"])
        codes = np.array([names.setdefault(v, len(names)) for v in strings.values], dtype=np.int64)
        tenants.append(codes[strings.codes[good]])
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items() if arrays}
    if not columns or not len(columns["request_id"]):
        raise bad.nothing_left()
    order = np.lexsort((columns["request_id"], columns["arrival_time_s"]))[:limit]
    return RecordedDemand(
        {name: values[order] for name, values in columns.items()},
        np.concatenate(tenants)[order],
        list(names),
        [runs[i] for i in order.tolist()] if has_blocks else None,
    )


def _good(table: dict[str, NDArray[np.float64]], bad: BadRows, done: int) -> NDArray[np.bool_]:
    """Which rows are first attempts and make sense."""
    arrival, prompt = table["arrival_time_s"], table["input_tokens"]
    answer = table["requested_output_tokens"]
    sound = (
        (arrival >= 0)
        & (arrival < np.inf)
        & (prompt >= 1)
        & (prompt <= MAX_TOKENS)
        & (answer >= 1)
        & (answer <= MAX_TOKENS)
    )
    for i in np.flatnonzero(~sound).tolist():
        bad.report(
            done + i + 1,
            "arrival_time_s must be >= 0 and input_tokens and requested_output_tokens >= 1, "
            f"got {arrival[i]}, {prompt[i]} and {answer[i]}",
        )
    first: NDArray[np.bool_] = sound & (table["attempt"] == 0)
    return first


def _runs(
    texts: list[str], most: NDArray[np.float64], good: NDArray[np.bool_], bad: BadRows, done: int
) -> list[Runs]:
    """Runs of the good rows, spelled `first,count,…`; rows that are not become bad."""
    result = []
    for i in np.flatnonzero(good).tolist():
        runs = _parsed(texts[i])
        if runs is None or sum(runs[1::2]) > most[i]:
            good[i] = False
            bad.report(
                done + i + 1,
                "blocks: must be first,count,first,count,… of whole numbers and cover at most "
                f"{most[i]:.0f} blocks, got {texts[i]!r}",
            )
        else:
            result.append(merged(runs))
    return result


def _parsed(text: str) -> Runs | None:
    try:
        runs = tuple(map(int, text.split(","))) if text else ()
    except ValueError:
        return None
    return None if len(runs) % 2 or min(runs, default=0) < 0 else runs
