"""One figure as the screen and the page show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One figure: what, how much, and what that means."""

    label: str
    value: str
    meaning: str
