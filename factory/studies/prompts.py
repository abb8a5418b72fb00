"""The prompts of a trace, in order of arrival, as a router is asked about them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from factory.errors import InputError
from factory.scenario.nearest import nearest
from factory.scenario.resolve import MOONCAKE_TICK_S, TRACE_BLOCK_SIZE
from factory.serving.routers.protocol import Ask
from factory.workload.blocks import refined
from factory.workload.replay import TraceReplay, moved
from factory.workload.traces import agentic, mooncake
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.rows import first_rows, from_zero, spread

#: Trace formats that name the blocks of prompts, and the ends of their files' names.
FORMATS = {"mooncake": (".jsonl", ".json"), "agentic": (".parquet",)}
#: Formats that `factory run` replays too, but that say nothing about what prompts share.
_WITHOUT_BLOCKS = ("azure", "burstgpt", "servegen", "fact_requests")


@dataclass(frozen=True, slots=True)
class Prompts:
    """What a trace asks.

    Attributes:
        asks: One per request, by arrival.
        format: Format of the trace.
        block_size: Tokens per block.
    """

    asks: list[Ask]
    format: str
    block_size: int


def read_prompts(
    path: str,
    format: str | None = None,  # noqa: A002 (the trace section of a scenario has this name)
    *,
    block_size: int | None = None,
    limit: int | None = None,
    sessions: int | None = None,
    session_interval_s: float = 60.0,
    subagents: bool = False,
    skip_bad_rows: int = 0,
    seed: int = 0,
) -> Prompts:
    """Reads the prompts of a trace.

    Requests come at their recorded times: those of a Mooncake trace spread over the 3 s of its
    clock's ticks, in file order; those of an agent session counted from the session's start, one
    session starting each `session_interval_s`.

    Args:
        path: The file; gzip is understood.
        format: `mooncake` or `agentic`; None to go by the file's name.
        block_size: Tokens per block, a divisor of the trace's own; None for that one.
        limit: Requests to read at most.
        sessions: agentic: sessions to read at most, in file order.
        session_interval_s: agentic: seconds from the start of a session to the next one's.
        subagents: agentic: whether to take the requests of sub-agents too.
        skip_bad_rows: Malformed rows to leave out.
        seed: Root of the random stream that spreads arrivals.

    Raises:
        InputError: The format is unknown or names no blocks, the block size does not divide the
            trace's, or the file cannot be used.
    """
    chosen = format or _format_of(path)
    _check_format(chosen)
    if chosen != "agentic" and sessions is not None:
        raise InputError(f"--sessions: goes with agentic traces, {path} is read as {chosen}")
    hashed = TRACE_BLOCK_SIZE[chosen]
    size = block_size or hashed
    if hashed % size:
        allowed = ", ".join(str(d) for d in range(1, hashed + 1) if hashed % d == 0)
        raise InputError(
            f"--block-size: must divide the {hashed} tokens of a block of the {chosen} trace, "
            f"got {size} (allowed: {allowed})"
        )
    bad = BadRows(path, skip_bad_rows)
    if chosen == "agentic":
        chain = agentic.read(bad, sessions, limit)
        asks = _agentic(chain, hashed // size, session_interval_s, subagents=subagents)
    else:
        rows = first_rows(mooncake.read(bad), limit)
        rows = spread(rows, MOONCAKE_TICK_S, seed, 0, "workload/trace/spread")
        replay = TraceReplay(from_zero(rows, 1.0), bad, 0, 0, 0, 1, size, hashed // size, math.inf)
        asks = [Ask(r.arrival_s, r.input_tokens, r.blocks, r.session) for r in replay.start()]
    return Prompts(asks, chosen, size)


def distinct_blocks(asks: Sequence[Ask]) -> int:
    """Counts the blocks that prompts name: a cache that holds them all never evicts. O(runs)."""
    longest: dict[int, int] = {}
    for ask in asks:
        runs = iter(ask.blocks)
        for first, count in zip(runs, runs, strict=True):
            if count > longest.get(first, 0):
                longest[first] = count
    return sum(longest.values())


def _agentic(
    sessions: Iterator[agentic.AgentSession], factor: int, interval_s: float, *, subagents: bool
) -> list[Ask]:
    asks: list[Ask] = []
    base = 0
    for number, rows in enumerate(sessions):
        start_s = number * interval_s
        for time_s, depth, tokens, runs in zip(
            rows.times_s, rows.depths, rows.inputs, rows.blocks, strict=True
        ):
            if subagents or not depth:
                blocks = moved(refined(runs, factor), base)
                asks.append(Ask(start_s + time_s, tokens, blocks, number))
        base += rows.span * factor
    # Requests of one instant keep their order in the file.
    asks.sort(key=attrgetter("now_s"))
    return asks


def _format_of(path: str) -> str:
    names = [suffix.casefold() for suffix in Path(path).suffixes if suffix.casefold() != ".gz"]
    for kind, ends in FORMATS.items():
        if names and names[-1] in ends:
            return kind
    ends_known = ", ".join(end for ends in FORMATS.values() for end in ends)
    raise InputError(
        f"{path}: the name does not say which trace this is: give --format "
        f"({' or '.join(FORMATS)}; names that do end in {ends_known})"
    )


def _check_format(name: str) -> None:
    known = ", ".join(FORMATS)
    if name in _WITHOUT_BLOCKS:
        raise InputError(
            f"--format: a trace of format {name} names no blocks of its prompts, so nothing in it "
            f"can hit a cache (allowed: {known})"
        )
    if name not in FORMATS:
        close = nearest(name, FORMATS)
        meant = f"; did you mean {close}?" if close else ""
        raise InputError(f'--format: is not a format, got "{name}" (allowed: {known}{meant})')
