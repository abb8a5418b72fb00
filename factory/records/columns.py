"""What a table is made of: raw fields as the engine gives them, columns as the file holds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from factory.records.batch import Batch

#: Types a column may have. `string` is dictionary-encoded; `id` is a string that hardly repeats;
#: `timestamp` is microseconds, UTC.
ColumnType = Literal["bool", "int32", "int64", "float64", "string", "id", "timestamp"]

#: How a column may be aggregated over rows; `key` identifies, `none` must not be aggregated.
Aggregation = Literal["sum", "mean", "max", "min", "none", "count", "key"]

#: What a raw field holds: a Python number (None, NaN or, for integers, -1 mean null) or a string.
RawKind = Literal["int", "float", "text"]


@dataclass(frozen=True, slots=True)
class Text:
    """Strings as codes into a list of values.

    Attributes:
        codes: Shape (rows,), index into `values`; negative means null.
        values: The distinct strings, in an order that does not depend on the rows of one batch.
    """

    codes: NDArray[np.int32]
    values: Sequence[str]


@dataclass(frozen=True, slots=True)
class Ids:
    """Strings made of a prefix and a number, and where there is one a point and a second number.

    Attributes:
        prefix: Letter that tells ids of different things apart.
        numbers: Shape (rows,); negative means null.
        parts: The second numbers, from 0, shape (rows,); None for ids of one number.
    """

    prefix: str
    numbers: NDArray[np.int64]
    parts: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Moments:
    """Instants, as seconds after the run's epoch.

    Attributes:
        seconds: Shape (rows,); NaN means null.
    """

    seconds: NDArray[np.float64]


#: Values of one column of one batch. In a plain array NaN means null, and so does -1 in a nullable
#: integer column.
Values = NDArray[Any] | Text | Ids | Moments


@dataclass(frozen=True, slots=True)
class Raw:
    """A field of the tuple (or mapping) that the engine hands over.

    Attributes:
        name: Its name.
        kind: What it holds.
    """

    name: str
    kind: RawKind


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table in the file.

    Attributes:
        name: snake_case, unit as suffix.
        type: See `ColumnType`.
        unit: Unit in words, empty for none.
        description: One sentence.
        aggregation: See `Aggregation`.
        nullable: Whether null may stand in it; null means "did not happen".
        made: `raw` (stored as handed over), `constant` (of the run) or `derived` (at flush).
        values: Makes the values of a batch; None for `raw`, which takes the field of that name.
    """

    name: str
    type: ColumnType
    unit: str
    description: str
    aggregation: Aggregation
    nullable: bool = False
    made: Literal["raw", "constant", "derived"] = "raw"
    values: Callable[[Batch], Values] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One grain: how its rows are handed over and how its file looks.

    Attributes:
        name: `fact_…`, `dim_…` or `bridge_…`; also the file's name.
        grain: What one row is.
        raw: Fields of a row as handed over, in order.
        columns: Columns of the file, in order.
    """

    name: str
    grain: str
    raw: tuple[Raw, ...]
    columns: tuple[Column, ...]

    @property
    def is_numeric(self) -> bool:
        """Whether every raw field is a number, so that rows convert as one matrix."""
        return all(field.kind != "text" for field in self.raw)

    def column(self, name: str) -> Column:
        """The column called `name`.

        Raises:
            KeyError: There is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name!r}")


@dataclass(frozen=True, slots=True)
class Schema:
    """Every table of a run.

    Attributes:
        name: Stands in each file's metadata.
        version: Semantic version: adding is minor, changing or removing is major.
        tables: In the order in which the data dictionary shows them.
    """

    name: str
    version: str
    tables: tuple[Table, ...]

    def table(self, name: str) -> Table:
        """The table called `name`.

        Raises:
            KeyError: There is none.
        """
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(f"no table {name!r} in {self.name} {self.version}")
