"""Faults of a file: what broke in a real fleet, and for how long."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from factory.errors import InputError, Problem
from factory.scenario.document import Document
from factory.scenario.failures import Failures, Fault, Kind
from factory.scenario.fault_targets import FaultPlaces
from factory.scenario.own_files import settle_files

COLUMNS = ("time_s", "target", "duration_s", "kind")
PLACE = "facility.failures.trace"


def read_faults(path: str, places: FaultPlaces) -> tuple[Fault, ...]:
    """Reads a CSV of faults; lines that begin with # are comments.

    Args:
        path: The file.
        places: What they may hit.

    Raises:
        InputError: The file cannot be read, has other columns, or a row is not a fault of
            something that exists, or comes before the one above it; it names file and line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    faults: list[Fault] = []
    is_headed = False
    for number, raw in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in raw.split(",")]
        if not raw.strip() or raw.startswith("#"):
            continue
        place = f"{path}:{number}"
        if not is_headed:
            if tuple(cells) not in (COLUMNS, COLUMNS[:3]):
                given = ", ".join(cells)
                raise InputError(f"{place}: the columns must be {', '.join(COLUMNS)}, got {given}")
            is_headed = True
            continue
        fault = _fault(place, cells, places)
        if faults and fault.at_s < faults[-1].at_s:
            raise InputError(
                f"{place}: time_s: runs back in time, got {fault.at_s:.15g} after "
                f"{faults[-1].at_s:.15g}; sort the rows"
            )
        faults.append(fault)
    if not is_headed:
        raise InputError(f"{path}: is empty; it must begin with the columns {', '.join(COLUMNS)}")
    return tuple(faults)


def _fault(place: str, cells: list[str], places: FaultPlaces) -> Fault:
    if not 3 <= len(cells) <= len(COLUMNS):
        raise InputError(
            f"{place}: must have the cells {', '.join(COLUMNS)} (kind may be left out), got "
            f"{len(cells)}"
        )
    at_s = _number(place, "time_s", cells[0])
    duration_s = _number(place, "duration_s", cells[2])
    if at_s < 0.0:
        raise InputError(f"{place}: time_s: must be >= 0, got {cells[0]}")
    if duration_s <= 0.0:
        raise InputError(f"{place}: duration_s: must be > 0, got {cells[2]}")
    for problem in places.problem("target", cells[1]):
        raise InputError(f"{place}: {problem}")
    kind = cells[3] if len(cells) > 3 and cells[3] else "recoverable"
    if kind not in get_args(Kind):
        raise InputError(f"{place}: kind: must be {' or '.join(get_args(Kind))}, got {kind!r}")
    return Fault.model_validate(
        {"at_s": at_s, "target": cells[1], "duration_s": duration_s, "kind": kind}
    )


def _number(place: str, name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        if not cell:
            raise InputError(f"{place}: {name} is missing; fill it in")
        raise InputError(f"{place}: {name}: must be a finite number, got {cell!r}")
    return value


def settle_fault_trace(document: Document, folder: Path) -> list[Problem]:
    """Settles the file of faults, see `settle_files`."""
    section: Any = document.data
    for key in ("facility", "failures"):
        section = section.get(key) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        return []
    if isinstance(section.get("trace"), str):
        section["trace"] = {"path": section["trace"]}
    trace = section.get("trace")
    if not isinstance(trace, dict) or not isinstance(trace.get("path"), str):
        return []
    return settle_files(document, folder, [(PLACE, trace)])


def missing_fault_trace(failures: Failures) -> Iterator[Problem]:
    """A problem if the file of faults is not there."""
    trace = failures.trace
    if trace is not None and not Path(trace.path).is_file():
        yield Problem(f"{PLACE}.path", "no such file of faults", trace.path)
