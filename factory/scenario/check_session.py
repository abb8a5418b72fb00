"""Checks of what a session does."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.check_lengths import largest, length_problems
from factory.scenario.session import Session


def session_problems(path: str, session: Session) -> Iterator[Problem]:
    """What is wrong with a tenant's session.

    Args:
        path: Place of the section in the scenario.
        session: The section.
    """
    for name, length in (("turns", session.turns), ("think_time_s", session.think_time_s)):
        yield from length_problems(f"{path}.{name}", length)
    if largest(session.turns) < 1:
        yield Problem(f"{path}.turns", "must reach at least 1", largest(session.turns))
