"""What every part of a scenario is made of: the frozen base model and the number types."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic.fields import FieldInfo


class Part(BaseModel):
    """A frozen piece of a scenario that accepts no unknown key.

    Null stands for the default of a section or list that has one: it switches the section off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, given: Any) -> Any:
        if not isinstance(given, dict) or None not in given.values():
            return given
        fields = written_fields(cls)
        return {
            key: value
            for key, value in given.items()
            if value is not None or not _is_section(fields.get(key))
        }


def written_fields(model: type[Part]) -> dict[str, FieldInfo]:
    """The fields of a part under the names that a scenario has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _is_section(field: FieldInfo | None) -> bool:
    """Whether a field is a section or a list with a default of its own."""
    return field is not None and isinstance(field.default, Part | tuple | dict)


def _whole(value: Any) -> Any:
    """Accept ``1e4`` for a count: YAML reads it as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _time_of_day(text: str) -> str:
    try:
        when = dt.time.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a local time of day, as 08:30") from None
    if when.tzinfo is not None:
        raise ValueError("must be a local time of day without a zone, as 08:30")
    return when.isoformat()


_Whole = Annotated[int, BeforeValidator(_whole)]

Name = Annotated[str, Field(strict=True, min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]
"""A name: letters, digits, ``_``, ``-`` and ``.``; it becomes a key in tables and file names."""

Text = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[_Whole, Field(strict=True, ge=1)]
NonNegativeCount = Annotated[_Whole, Field(strict=True, ge=0)]
"""A count that may be zero."""
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Ratio = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
"""A share in (0, 1]."""
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
"""A share in [0, 1]."""
TimeOfDay = Annotated[str, Field(strict=True), AfterValidator(_time_of_day)]
"""A local time of day, as ``08:30``."""
