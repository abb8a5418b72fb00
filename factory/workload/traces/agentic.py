"""Sessions of coding agents, as kv-cache-tester records them (Parquet, one row per request)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
from numpy.typing import NDArray

from factory.workload.blocks import Chains, Runs, chained, merged
from factory.workload.sessions.plan import SessionPlan
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.parquet_rows import Lists, Strings, batches, column_names
from factory.workload.traces.rows import MAX_TOKENS
from factory.workload.traces.waits import after_each

#: Tokens of a block.
BLOCK_SIZE = 64

_COLUMNS = {
    "session_id": "str",
    "agent": "str",
    "t_s": "float",
    "input_length": "int",
    "output_length": "int",
    "hash_runs": "list",
    "think_time_s": "float",
    "api_time_s": "float",
}
#: How an answer ended; a file may lack it, and then a session is one task.
_STOP = "stop"
_END_OF_TASK = "end_turn"


@dataclass(frozen=True, slots=True)
class AgentSession:
    """The requests of one recorded session, in file order.

    Attributes:
        inputs: Prompt tokens.
        outputs: Answer tokens, each ≥ 1.
        blocks: Runs of the whole blocks of each prompt, chained, local to the session.
        span: Every block id is below this.
        after: Row whose answer a request waits for; -1 if it starts with the session.
        delays_s: Seconds from that answer (or from the session's start) to the request.
        times_s: Recorded times, seconds from the session's start.
        depths: 0 for the main agent, 1 for its sub-agents, and so on.
        tasks: Number of the task that a request serves: the main agent's next one begins after an
            answer whose `stop` is `end_turn`; a sub-agent's requests serve the task it began in.
        agents: 0 for the main agent, 1, 2, … for the sub-agents in order of their first rows.
    """

    inputs: list[int]
    outputs: list[int]
    blocks: list[Runs]
    span: int
    after: list[int]
    delays_s: list[float]
    times_s: list[float]
    depths: list[int]
    tasks: list[int]
    agents: list[int]

    def plan(self) -> SessionPlan:
        """The session as one whose requests wait for answers, with its own block ids."""
        n = len(self.inputs)
        waits, followers = after_each(self.after)
        return SessionPlan(
            self.inputs,
            self.outputs,
            self.blocks,
            [()] * n,
            waits,
            followers,
            self.delays_s,
            self.after,
            self.tasks,
            self.agents,
        )


@dataclass(slots=True)
class _Columns:
    """Rows as they stand in the file."""

    lines: list[int]
    sessions: list[str]
    agents: list[str]
    times: list[float]
    inputs: list[int]
    outputs: list[int]
    runs: list[Runs]
    thinks: list[float]
    calls: list[float]
    stops: list[str]

    def part(self, start: int, stop: int) -> _Columns:
        return _Columns(*(getattr(self, name)[start:stop] for name in self.__slots__))

    def after(self, other: _Columns) -> _Columns:
        names = self.__slots__
        return _Columns(*(getattr(other, name) + getattr(self, name) for name in names))


def read(bad: BadRows, sessions: int | None, limit: int | None) -> Iterator[AgentSession]:
    """Yields sessions in file order; a session's rows stand together.

    A turn waits for the answer to the turn of the same agent before it, plus its recorded think
    time (where that is missing, what the recorded times leave). The first turn of a sub-agent
    (`main/agent_001`) waits for the answer to the latest turn of its parent (`main`) before it in
    the file, plus what the recorded times leave. Sessions whose block ids are not chained are
    renamed. Only whole blocks are named; what they do not cover is private to the request.

    Args:
        bad: The file, and what to do about malformed rows (their number is that of the row).
        sessions: Sessions to read at most.
        limit: Rows to read at most.

    Raises:
        InputError: A row is malformed, a session's rows do not stand together, or the file cannot
            be read or holds no row.
    """
    seen: set[str] = set()
    count = 0
    for rows in _sessions(bad, limit):
        name = rows.sessions[0]
        if name in seen:
            bad.report(
                rows.lines[0],
                f"session_id: the rows of session {name!r} must stand together; sort the file",
            )
            continue
        seen.add(name)
        yield _session(rows)
        count += 1
        if count == sessions:
            return
    if not count:
        raise bad.nothing_left()


def _sessions(bad: BadRows, limit: int | None) -> Iterator[_Columns]:
    """Good rows, grouped by session."""
    held: _Columns | None = None
    for batch in _batches(bad, limit):
        rows = batch if held is None else batch.after(held)
        start = 0
        ids = rows.sessions
        for i in _changes(ids):
            yield rows.part(start, i)
            start = i
        held = rows.part(start, len(ids))
    if held is not None:
        yield held


def _changes(ids: Sequence[str]) -> list[int]:
    """Positions where the session differs from the one before."""
    return [i for i, (a, b) in enumerate(pairwise(ids), 1) if a is not b and a != b]


def _batches(bad: BadRows, limit: int | None) -> Iterator[_Columns]:
    line = 1
    has_stops = _STOP in column_names(bad.path)
    for batch in batches(bad.path, {**_COLUMNS, **({_STOP: "str"} if has_stops else {})}):
        rows = _columns(batch, line)
        n = len(rows.lines)
        line += n
        sound = _is_sound(batch)
        if limit is not None and line > limit + 1:
            rows = rows.part(0, n - (line - limit - 1))
        if not sound:
            rows = _good(rows, bad)
        if rows.lines:
            yield rows
        if limit is not None and line > limit:
            return


def _columns(batch: Mapping[str, object], line: int) -> _Columns:
    lists = cast("Lists", batch["hash_runs"])
    flat: list[int] = lists.values.tolist()
    offsets: list[int] = lists.offsets.tolist()

    def numbers(name: str) -> NDArray[np.float64]:
        return cast("NDArray[np.float64]", batch[name])

    return _Columns(
        list(range(line, line + len(offsets) - 1)),
        cast("Strings", batch["session_id"]).to_list(),
        cast("Strings", batch["agent"]).to_list(),
        numbers("t_s").tolist(),
        cast("NDArray[np.int64]", batch["input_length"]).tolist(),
        cast("NDArray[np.int64]", batch["output_length"]).tolist(),
        [tuple(flat[a:b]) for a, b in pairwise(offsets)],
        numbers("think_time_s").tolist(),
        np.nan_to_num(numbers("api_time_s"), nan=0.0).tolist(),
        cast("Strings", batch[_STOP]).to_list() if _STOP in batch else [""] * (len(offsets) - 1),
    )


def _is_sound(batch: Mapping[str, object]) -> bool:
    """Whether no row of a batch needs a closer look, and no runs need merging."""
    lists = cast("Lists", batch["hash_runs"])
    prompt = cast("NDArray[np.int64]", batch["input_length"])
    answer = cast("NDArray[np.int64]", batch["output_length"])
    times = cast("NDArray[np.float64]", batch["t_s"])
    thinks = cast("NDArray[np.float64]", batch["think_time_s"])
    values = lists.values[lists.offsets[0] : lists.offsets[-1]]
    offsets = lists.offsets - lists.offsets[0]
    if bool((offsets % 2).any()) or (len(values) and values.min() < 0):
        return False
    first, counts, bounds = values[::2], values[1::2], offsets // 2
    total = np.concatenate(([0], np.cumsum(counts)))
    continues = first[1:] == first[:-1] + counts[:-1]
    continues[bounds[(bounds > 0) & (bounds < len(first))] - 1] = False
    return not (
        bool((counts == 0).any())
        or bool(continues.any())
        or bool((np.diff(total[bounds]) * BLOCK_SIZE > prompt).any())
        or not bool((times >= 0).all())
        or bool((thinks < 0).any())
        or prompt.min() < 1
        or prompt.max() > MAX_TOKENS
        or answer.min() < 0
        or answer.max() > MAX_TOKENS
    )


def _good(rows: _Columns, bad: BadRows) -> _Columns:
    """The rows without those that are malformed, their runs merged."""
    keep = []
    for i, (t, n, m, runs, think) in enumerate(
        zip(rows.times, rows.inputs, rows.outputs, rows.runs, rows.thinks, strict=True)
    ):
        problem = _problem(t, n, m, runs, think)
        if problem:
            bad.report(rows.lines[i], problem)
        else:
            keep.append(i)
    good = _Columns(*([getattr(rows, name)[i] for i in keep] for name in rows.__slots__))
    good.runs = [merged(runs) for runs in good.runs]
    return good


def _problem(t: float, n: int, m: int, runs: Runs, think: float) -> str | None:
    if not t >= 0:
        return f"t_s: must be a time >= 0 s, got {t}"
    if not 1 <= n <= MAX_TOKENS:
        return f"input_length: must be a whole number of tokens >= 1, got {n}"
    if not 0 <= m <= MAX_TOKENS:
        return f"output_length: must be a whole number of tokens >= 0, got {m}"
    if think < 0:
        return f"think_time_s: must be >= 0 s, got {think}"
    if len(runs) % 2 or min(runs, default=0) < 0:
        return f"hash_runs: must be [first, count, first, count, …], each >= 0, got {list(runs)}"
    blocks = sum(runs[1::2])
    if blocks * BLOCK_SIZE > n:
        return (
            f"hash_runs: {blocks} whole blocks of {BLOCK_SIZE} tokens for input_length {n}, "
            f"at most {n // BLOCK_SIZE}"
        )
    return None


def _session(rows: _Columns) -> AgentSession:
    after, delays = _order(rows)
    blocks = rows.runs
    chains = Chains()
    if any(map(chains.admit, blocks)):
        blocks = chained(blocks)
        chains = Chains()
        assert not any(map(chains.admit, blocks))
    outputs = [n or 1 for n in rows.outputs]
    depths = [agent.count("/") for agent in rows.agents]
    return AgentSession(
        rows.inputs,
        outputs,
        blocks,
        chains.span(),
        after,
        delays,
        rows.times,
        depths,
        _tasks(rows, after, depths),
        _agents(rows.agents, depths),
    )


def _tasks(rows: _Columns, after: list[int], depths: list[int]) -> list[int]:
    tasks: list[int] = []
    current = 0
    for before, depth, stop in zip(after, depths, rows.stops, strict=True):
        if depth:
            tasks.append(tasks[before] if before >= 0 else current)
            continue
        tasks.append(current)
        current += stop == _END_OF_TASK
    return tasks


def _agents(names: list[str], depths: list[int]) -> list[int]:
    main = next((name for name, depth in zip(names, depths, strict=True) if not depth), names[0])
    numbers = {main: 0}
    return [numbers.setdefault(name, len(numbers)) for name in names]


def _order(rows: _Columns) -> tuple[list[int], list[float]]:
    """For each row the one it waits for, and how long after that one's answer it is sent."""
    latest: dict[str, int] = {}
    after: list[int] = []
    delays: list[float] = []
    times, calls = rows.times, rows.calls
    for i, (agent, t, think) in enumerate(zip(rows.agents, times, rows.thinks, strict=True)):
        previous = latest.get(agent, -1)
        if previous < 0:
            previous = latest.get(agent.rpartition("/")[0], -1)
            think = math.nan  # noqa: PLW2901 (the sub-agent waits for no person)
        latest[agent] = i
        after.append(previous)
        if previous < 0:
            delays.append(0.0)
        elif math.isnan(think):
            delays.append(max(0.0, t - times[previous] - calls[previous]))
        else:
            delays.append(think)
    return after, delays
