"""What can go wrong, and how it is said.

::

    FactoryError                exit 1
    ├── InputError              exit 2   a file, a flag or a name that cannot be used
    │   └── ScenarioError       exit 2   every problem of one scenario at once
    └── RunError                exit 1   the simulation, or writing its results, failed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

_LONGEST_VALUE = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        path: where in the document, e.g. ``deployments[0].pools[0].replicas``; empty for the whole.
        message: what is wrong, without the place and the value, e.g. ``must be > 0``.
        got: the value given; None when nothing was.
        allowed: the values that would do, e.g. ``prefill, decode, aggregated``.
        nearest: the name that was probably meant.
        location: ``file:line:column``, or the flag that set it.
    """

    path: str
    message: str
    got: object | None = None
    allowed: str | None = None
    nearest: str | None = None
    location: str | None = None

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.location, self.path) if part)
        text = f"{place}: {self.message}" if place else self.message
        if self.got is not None:
            text += f", got {_shown(self.got)}"
        hints = []
        if self.allowed:
            hints.append(f"allowed: {self.allowed}")
        if self.nearest:
            hints.append(f"did you mean {self.nearest}?")
        return f"{text} ({'; '.join(hints)})" if hints else text


class FactoryError(Exception):
    """Any error this package raises on purpose; its text is fit for a user."""

    exit_code: ClassVar[int] = 1


class InputError(FactoryError):
    """A file, a flag or a name that cannot be used."""

    exit_code: ClassVar[int] = 2


class ScenarioError(InputError):
    """Everything that is wrong with one scenario; prints as one line per problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: list[Problem] = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[ScenarioError], tuple[list[Problem]]]:
        return type(self), (self.problems,)


class RunError(FactoryError):
    """The simulation failed, or its results could not be written."""


def _shown(value: object) -> str:
    """The value as the user would have written it, cut to a readable length."""
    if value is True or value is False:
        text = str(value).lower()
    elif isinstance(value, str):
        text = f'"{value}"'
    elif isinstance(value, dict):
        text = "a mapping with " + ", ".join(str(key) for key in value) if value else "{}"
    elif isinstance(value, list | tuple):
        text = f"a list of {len(value)}" if value else "[]"
    elif isinstance(value, float):
        text = f"{value:.15g}"
    else:
        text = str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
