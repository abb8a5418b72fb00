"""Requests on their way into a file of another format, and what that format cannot carry."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from factory.workload.blocks import Runs


@dataclass(slots=True)
class Row:
    """One request of a trace, a run or a scenario, in order of arrival.

    Attributes:
        time_s: Arrival in the source's own clock, seconds; NaN where the source states none.
        input_tokens: The whole prompt, tokens.
        output_tokens: The answer, tokens.
        blocks: Runs of block ids of the prompt, chained; () where nothing is named.
        session: Its session; None if that has no other request.
        turn: Position in the session, from 0.
        agent: 0 for the session's main agent, 1, 2, … for its sub-agents.
        after: Position in the source of the request whose answer was the last that this one waited
            for; -1 if none or not known.
        delay_s: Seconds from that answer to the arrival; NaN if none or not known.
        answered_s: When its answer ended, in the same clock, seconds; NaN if not known.
        model: Who answered, where the source says so.
        kind: What kind of request it is, where the source says so.
        number: Position in the source, from 0, in order of arrival.
    """

    time_s: float
    input_tokens: int
    output_tokens: int
    blocks: Runs = ()
    session: str | None = None
    turn: int = 0
    agent: int = 0
    after: int = -1
    delay_s: float = math.nan
    answered_s: float = math.nan
    model: str = ""
    kind: str = ""
    number: int = -1


@dataclass(slots=True)
class Demand:
    """A source of rows.

    Attributes:
        rows: In order of arrival; read once.
        has_sessions: Whether a session can have more than one request.
        is_calendar: Whether times count from 1970-01-01 UTC, not from a start of the trace.
        on_over: Told each session that is over, so that what is kept for it can go. A source that
            cannot know never calls them.
    """

    rows: Iterator[Row]
    has_sessions: bool
    is_calendar: bool = False
    on_over: list[Callable[[str], None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that a target format cannot carry.

    Attributes:
        one: What is said of one, after its number: `prompt loses its block ids`.
        many: The same of several: `prompts lose their block ids`.
    """

    one: str
    many: str


class Losses:
    """Counts what a conversion loses."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[Loss, int] = {}

    def count(self, loss: Loss) -> None:
        """Counts one more."""
        self._counts[loss] = self._counts.get(loss, 0) + 1

    def messages(self) -> list[str]:
        """One line for each kind of loss, in the order in which they were met first."""
        return [f"{n:,} {loss.one if n == 1 else loss.many}" for loss, n in self._counts.items()]


BLOCKS = Loss("prompt loses its block ids", "prompts lose their block ids")
SESSION = Loss(
    "request is no longer tied to its session", "requests are no longer tied to their sessions"
)
DELAY = Loss(
    "request is sent at its recorded time, not after the answer it waited for",
    "requests are sent at their recorded times, not after the answers they waited for",
)
UNNAMED = Loss(
    "prompt has no block ids: its source does not record what prompts share",
    "prompts have no block ids: their source does not record what prompts share",
)
DATE = Loss(
    "arrival counts from the first one, without its date",
    "arrivals count from the first one, without their dates",
)
NO_TIME = Loss(
    "request has no recorded time and takes that of the one before",
    "requests have no recorded time and take that of the one before",
)


def from_first(rows: Iterator[Row], losses: Losses) -> Iterator[Row]:
    """Yields rows of a calendar's times counted from the first of them, to the microsecond."""
    origin: float | None = None
    for row in rows:
        if origin is None:
            origin = row.time_s
        row.time_s = round(row.time_s - origin, 6)
        row.answered_s = round(row.answered_s - origin, 6)
        losses.count(DATE)
        yield row


def timed(rows: Iterator[Row], losses: Losses) -> Iterator[Row]:
    """Yields rows that all have a time, for formats that cannot do without."""
    latest = 0.0
    for row in rows:
        if math.isnan(row.time_s):
            losses.count(NO_TIME)
            row.time_s = latest
        latest = row.time_s
        yield row


def milliseconds(time_s: float) -> int | float:
    """Milliseconds, whole where they are, else to the nanosecond."""
    value = round(time_s * 1000.0, 6)
    whole = int(value)
    return whole if whole == value else value


def seconds(time_s: float) -> int | float:
    """Seconds, whole where they are, else to the nanosecond."""
    value = round(time_s, 9)
    whole = int(value)
    return whole if whole == value else value
