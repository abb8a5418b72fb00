"""A number over time, such as a price or a temperature: stated, shipped by shape, or of a file."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from factory.errors import InputError, Problem
from factory.scenario.base import Name, Number, Part, Positive
from factory.scenario.document import Document
from factory.scenario.nearest import nearest
from factory.scenario.own_files import settle_files
from factory.scenario.resources import configs

DAY_S = 86_400.0

PLACES = ("facility.grid.price", "facility.grid.carbon", "facility.cooling.temperature")
"""Where a scenario may have a series."""

_REGULAR_ROWS = 4
"""Rows from which on a step wider than the most common one is taken for missing rows."""

_COMMON_RATIO = 2 / 3
"""Share of the steps that the most common one must have, for rows to be even."""


class Series(Part):
    """A number over time that holds until the next one: exactly one of value, shape and path.

    A number alone is a value.
    """

    value: Number | None = Field(default=None, description="The number, all the time.")
    shape: Name | None = Field(
        default=None,
        description="A shipped day by its name (`factory catalog series`), synthetic; it repeats "
        "on the local clock of the facility.",
    )
    path: Annotated[str, Field(strict=True, min_length=1)] | None = Field(
        default=None,
        description="CSV of time_s, value (seconds from the start of the run) or of timestamp, "
        "value (ISO 8601 with zone); relative to the scenario's file. A value holds until the next "
        "row, the last for as long as the one before it.",
    )
    repeats: Literal["day"] | None = Field(
        default=None,
        description="day: the file's time_s are seconds after local midnight, and come again each "
        "day.",
    )
    scale: Positive = Field(default=1.0, description="Multiplies shape or file.")
    mean: Number | None = Field(
        default=None,
        description="Shape or file is multiplied so that its time mean is this, in place of scale.",
    )
    offset: Number = Field(default=0.0, description="Added to shape or file, after scale or mean.")
    sha256: str | None = Field(
        default=None, description="Digest of the file's content; filled in when it is read."
    )

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, given: Any) -> Any:
        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        return {"value": given} if is_number else given


@dataclass(frozen=True, slots=True)
class Table:
    """Steps of a series as written.

    Attributes:
        starts_s: When each value begins, s of simulated time, or after local midnight; rising.
        values: The values, as many.
        end_s: How far the last one reaches, s.
        unit: What the file's comment says that they are in, if it does.
        about: The rest of the file's comment.
        is_day: Whether times are seconds after local midnight of every day.
    """

    starts_s: tuple[float, ...]
    values: tuple[float, ...]
    end_s: float
    unit: str = ""
    about: str = field(default="", compare=False)
    is_day: bool = False

    @property
    def mean(self) -> float:
        """Time mean from the first value's beginning to the last one's end."""
        ends = (*self.starts_s[1:], self.end_s)
        whole = math.fsum(
            value * (end - start)
            for start, end, value in zip(self.starts_s, ends, self.values, strict=True)
        )
        return whole / (self.end_s - self.starts_s[0])


def shapes() -> list[str]:
    """Names of the shipped days, sorted."""
    files = (configs() / "series").iterdir()
    return sorted(file.name.removesuffix(".csv") for file in files if file.name.endswith(".csv"))


def shape(name: str) -> Table:
    """A shipped day; its name must be one of `shapes`."""
    label = f"configs/series/{name}.csv"
    text = (configs() / "series" / f"{name}.csv").read_text(encoding="utf-8")
    return _parse(label, text, None, is_day=True)


def table_of(section: Series, epoch: dt.datetime) -> Table:
    """The steps of a series, scaled.

    Args:
        section: As stated, one that `series_problems` does not object to.
        epoch: Instant of simulated time 0, aware.

    Raises:
        InputError: Its file cannot be used; it names file and line.
    """
    if section.value is not None:
        return Table((0.0,), (section.value,), math.inf)
    if section.shape is not None:
        raw = shape(section.shape)
    else:
        assert section.path is not None
        raw = read(section.path, epoch, is_day=section.repeats == "day")
    scale = section.scale
    if section.mean is not None:
        if raw.mean == 0.0:
            raise InputError(f"{section.path or section.shape}: its mean is 0: state scale instead")
        scale = section.mean / raw.mean
    values = tuple(value * scale + section.offset for value in raw.values)
    return Table(raw.starts_s, values, raw.end_s, raw.unit, raw.about, raw.is_day)


def read(path: str, epoch: dt.datetime, *, is_day: bool = False) -> Table:
    """Reads a CSV of `time_s, value` or `timestamp, value`; lines that begin with # are comments.

    Args:
        path: The file.
        epoch: Instant of simulated time 0, aware.
        is_day: Whether its times are seconds after local midnight.

    Raises:
        InputError: The file cannot be read, has other columns, or a row is not a time and a
            number, is out of order or follows a gap; it names file and line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    return _parse(path, text, epoch, is_day=is_day)


def settle_series(document: Document, folder: Path) -> list[Problem]:
    """Settles each file of a series, see `settle_files`."""
    return settle_files(document, folder, list(_sections(document.data)))


def _sections(data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for place in PLACES:
        section = data
        for key in place.split("."):
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict) and isinstance(section.get("path"), str):
            yield place, section


def series_problems(
    path: str, section: Series, unit: str, least: float = -math.inf, most: float = math.inf
) -> Iterator[Problem]:
    """What is wrong with a series that needs no file of one's own.

    Args:
        path: Where it is.
        section: The series.
        unit: What its values must be in.
        least: The lowest value allowed.
        most: The highest value allowed.
    """
    ways = {"value": section.value, "shape": section.shape, "path": section.path}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        message = "must give exactly one of value, shape and path"
        yield Problem(path, message, " and ".join(given) or "none")
        return
    for name in ("scale", "mean", "offset", "repeats"):
        # A resolved scenario states every default.
        is_stated = getattr(section, name) != Series.model_fields[name].default
        if section.value is not None and is_stated:
            yield Problem(f"{path}.{name}", "is for a shape or a file; a value stands as it is")
    if section.mean is not None and section.scale != 1.0:
        yield Problem(f"{path}.mean", "stands in place of scale: give one of them", section.mean)
    if section.repeats is not None and section.shape is not None:
        yield Problem(f"{path}.repeats", "is for a file; a shape repeats anyway", section.repeats)
    if section.value is not None and section.value < least:
        yield Problem(f"{path}.value", f"must be >= {least:g}", section.value)
    if section.value is not None and section.value > most:
        yield Problem(f"{path}.value", f"must be <= {most:g}", section.value)
    if section.shape is not None:
        yield from _shape_problems(path, section.shape, unit)


def _shape_problems(path: str, name: str, unit: str) -> Iterator[Problem]:
    known = shapes()
    fitting = [other for other in known if shape(other).unit == unit]
    if name not in known:
        hint = nearest(name, fitting)
        yield Problem(f"{path}.shape", "unknown shape", name, ", ".join(fitting), hint)
    elif name not in fitting:
        message = f"is a shape in {shape(name).unit}; this takes {unit}"
        yield Problem(f"{path}.shape", message, name, ", ".join(fitting))


def covering_problem(
    path: str, section: Series, table: Table, duration_s: float | None
) -> Iterator[Problem]:
    """A problem if a file does not reach over the run."""
    if section.path is None or table.is_day:
        return
    first = table.starts_s[0]
    if first > 0.0:
        message = f"begins {first:.15g} s after the run does ({section.path}): add what held before"
        yield Problem(f"{path}.path", message)
    if duration_s is not None and table.end_s < duration_s:
        message = (
            f"ends at {table.end_s:.15g} s, {duration_s - table.end_s:.15g} s before the run does "
            f"({section.path}): add rows, or say `repeats: day`"
        )
        yield Problem(f"{path}.path", message)


def _parse(path: str, text: str, epoch: dt.datetime | None, *, is_day: bool) -> Table:
    comments: list[str] = []
    header = ""
    starts: list[float] = []
    values: list[float] = []
    lines: list[int] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line:
            continue
        if line.startswith("#"):
            comments.append(line.lstrip("# "))
        elif not header:
            header = _header(path, number, line, is_day=is_day)
        else:
            start_s, value = _row(path, number, line, header, epoch)
            _check_order(f"{path}:{number}: {header}", starts, start_s, is_day=is_day)
            starts.append(start_s)
            values.append(value)
            lines.append(number)
    if len(starts) < 2:
        raise InputError(f"{path}: must have two rows or more below its header; a number that "
                         "stays is a `value`")  # fmt: skip
    notes = dict(part.split(":", 1) for part in comments if part.startswith("unit:"))
    about = " ".join(part for part in comments if not part.startswith("unit:"))
    _check_gaps(path, header, starts, lines)
    end_s = DAY_S if is_day else starts[-1] + (starts[-1] - starts[-2])
    unit = notes.get("unit", "").strip()
    return Table(tuple(starts), tuple(values), end_s, unit, about, is_day)


def _header(path: str, number: int, line: str, *, is_day: bool) -> str:
    names = [name.strip() for name in line.split(",")]
    wanted = ("time_s",) if is_day else ("time_s", "timestamp")
    if len(names) != 2 or names[1] != "value" or names[0] not in wanted:
        columns = " or ".join(f"{name}, value" for name in wanted)
        raise InputError(f"{path}:{number}: the columns must be {columns}, got {', '.join(names)}")
    return names[0]


def _row(
    path: str, number: int, line: str, header: str, epoch: dt.datetime | None
) -> tuple[float, float]:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != 2:
        raise InputError(
            f"{path}:{number}: must have two cells, {header} and value, got {len(cells)}"
        )
    if header == "time_s":
        return _number(path, number, "time_s", cells[0]), _number(path, number, "value", cells[1])
    try:
        when = dt.datetime.fromisoformat(cells[0])
    except ValueError:
        raise InputError(
            f"{path}:{number}: timestamp: must be a date and time with a zone, as "
            f"2026-01-01T00:00:00Z, got {cells[0]!r}"
        ) from None
    if when.tzinfo is None:
        raise InputError(
            f"{path}:{number}: timestamp: must name its zone, as 2026-01-01T00:00:00Z, got "
            f"{cells[0]!r}"
        )
    assert epoch is not None
    return (when - epoch).total_seconds(), _number(path, number, "value", cells[1])


def _number(path: str, number: int, name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        if not cell:
            raise InputError(f"{path}:{number}: {name} is missing; fill it in")
        raise InputError(f"{path}:{number}: {name}: must be a finite number, got {cell!r}")
    return value


def _check_order(place: str, starts: list[float], start_s: float, *, is_day: bool) -> None:
    if is_day and not starts and start_s != 0.0:
        raise InputError(f"{place}: a day's first row must be at 0, midnight, got {start_s:.15g}")
    if is_day and start_s >= DAY_S:
        raise InputError(f"{place}: a day ends before {DAY_S:g} s, got {start_s:.15g}")
    if starts and start_s == starts[-1]:
        raise InputError(f"{place}: is the second row of one instant; keep the one that holds")
    if starts and start_s < starts[-1]:
        raise InputError(
            f"{place}: runs back in time by {starts[-1] - start_s:.15g} s; sort the rows"
        )


def _check_gaps(path: str, header: str, starts: list[float], lines: list[int]) -> None:
    """Rows that come at one step must all come."""
    if len(starts) < _REGULAR_ROWS:
        return
    steps = [later - earlier for earlier, later in pairwise(starts)]
    # A step that most steps have is their median too.
    usual = median(steps)
    common = sum(abs(step - usual) <= 0.01 * usual for step in steps)
    wide = [number for number, step in enumerate(steps) if step > 1.5 * usual]
    if common >= _COMMON_RATIO * len(steps) - 1e-9 and wide:
        at = wide[0]
        raise InputError(
            f"{path}:{lines[at + 1]}: {header}: rows come every {usual:.15g} s, here "
            f"{steps[at]:.15g} s have none; fill the gap in, if only with the value that holds"
        )


def listed() -> Mapping[str, Table]:
    """Every shipped day by its name."""
    return {name: shape(name) for name in shapes()}
