"""Which format a trace is in, from its name and its first rows."""

from __future__ import annotations

import json
from pathlib import Path

from factory.errors import InputError
from factory.workload.traces.lines import line_blocks

#: What tells each format, for messages.
SIGNS = {
    "mooncake": "JSON lines with timestamp, input_length and output_length",
    "aiperf": "JSON lines with session_id and turns",
    "azure": "CSV of TIMESTAMP,ContextTokens,GeneratedTokens",
    "burstgpt": "CSV of Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
    "bailian": "JSON lines with chat_id and parent_chat_id",
    "servegen": "a folder with chunk-N-trace.csv and chunk-N-dataset.json",
    "agentic": "Parquet with session_id, agent and hash_runs",
    "fact_requests": "a run, or its tables/fact_requests.parquet",
}

_PARQUET_MAGIC = b"PAR1"
_AIPERF_KEYS = ({"turns"}, {"orchestrator"}, {"text"}, {"texts"})


def detect(path: str) -> str:
    """Returns the format of a trace.

    Args:
        path: A file or folder; gzip is understood.

    Raises:
        InputError: It cannot be read, or is in none of the formats.
    """
    place = Path(path)
    found = _of_folder(place) if place.is_dir() else _of_file(path, place)
    if found is None:
        signs = "; ".join(f"{name}: {sign}" for name, sign in SIGNS.items())
        raise InputError(f"{path}: is in no format that can be told from its first row ({signs})")
    return found


def of_line(line: str) -> str | None:
    """Returns the format that a file's first line looks like, or None."""
    text = line.strip().removeprefix("\ufeff")
    if text.startswith("{"):
        return _of_object(text)
    names = {name.strip().casefold() for name in text.split(",")}
    if {"timestamp", "contexttokens", "generatedtokens"} <= names:
        return "azure"
    if {"timestamp", "request tokens", "response tokens"} <= names:
        return "burstgpt"
    return None


def looks_like(line: str, wanted: str) -> str:
    """Returns a hint for a message if a first line looks like another format than wanted."""
    found = of_line(line)
    return "" if found in (None, wanted) else f"; it looks like {found}: set format: {found}"


def _of_object(text: str) -> str | None:
    try:
        row = json.loads(text)
    except ValueError:
        return None
    keys = set(row)
    if "chat_id" in keys:
        return "bailian"
    if any(sign <= keys for sign in _AIPERF_KEYS):
        return "aiperf"
    return "mooncake" if "input_length" in keys else None


def _of_folder(place: Path) -> str | None:
    if (place / "tables" / "fact_requests.parquet").exists():
        return "fact_requests"
    return "servegen" if next(place.glob("chunk-*-trace.csv"), None) else None


def _of_file(path: str, place: Path) -> str | None:
    try:
        with place.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror or error}") from error
    if magic == _PARQUET_MAGIC:
        return _of_columns(path)
    name = place.name
    if name.startswith("chunk-") and name.endswith(("-trace.csv", "-dataset.json")):
        return "servegen"
    for _, lines in line_blocks(path):
        first = next((line for line in lines if line.strip()), "")
        return of_line(first)
    raise InputError(f"{path}: the file is empty")


def _of_columns(path: str) -> str | None:
    from factory.workload.traces.parquet_rows import column_names

    names = set(column_names(path))
    if "hash_runs" in names:
        return "agentic"
    return "fact_requests" if {"request_id", "arrival_time_s"} <= names else None
