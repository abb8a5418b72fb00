"""What sessions of a trace look like: how many requests, how they wait, how their prompts grow."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from factory.studies.trace_stats import Floats, Ints, TimeCounts, TokenCounts
from factory.workload.traces.records import Records


@dataclass(slots=True)
class Turns:
    """Requests of a batch beside the request of their session that came before them.

    Attributes:
        rows: Rows of the batch that belong to a session.
        before: For each of them the row before it of the same session and agent, -1 for none in
            this batch.
        is_first: Whether it is the first of its session and agent in the whole trace.
        before_s: Arrival of the request before, s; NaN for none.
        before_tokens: Prompt and answer tokens of the request before, shape (2, n); 0 for none.
        is_new_task: Whether it serves another task than the request before; False where unknown.
    """

    rows: Ints
    before: Ints
    is_first: NDArray[np.bool_]
    before_s: Floats
    before_tokens: Ints
    is_new_task: NDArray[np.bool_]


class SessionLinks:
    """Finds the request before each request of a session, also across batches.

    Holds about 56 bytes for each session of the trace. Of sub-agents only what stands in one batch
    is linked (formats with sub-agents keep a session's rows together).
    """

    __slots__ = ("_answers", "_last_s", "_prompts", "_tasks", "counts", "end_s", "start_s")

    def __init__(self) -> None:
        self.counts: Ints = np.zeros(0, np.int64)
        self.start_s: Floats = np.zeros(0)
        self.end_s: Floats = np.zeros(0)
        self._last_s: Floats = np.zeros(0)
        self._prompts: Ints = np.zeros(0, np.int64)
        self._answers: Ints = np.zeros(0, np.int64)
        self._tasks: Ints = np.zeros(0, np.int64)

    @property
    def duration_s(self) -> Floats:
        """From the first arrival of each session to its last, s; NaN where times are missing."""
        return (self.end_s - self.start_s)[self.counts > 0]

    def link(self, records: Records) -> Turns | None:
        """Returns what came before each request of a batch; None where it has no sessions."""
        if records.sessions is None:
            return None
        sessions = np.asarray(records.sessions, np.int64)
        rows = np.flatnonzero(sessions >= 0)
        if not len(rows):
            return None
        self._grow(int(sessions.max()) + 1)
        session = sessions[rows]
        agent = _column(records.agents, rows)
        task = _column(records.tasks, rows)
        order = np.lexsort((np.arange(len(rows)), agent, session))
        same = (np.diff(session[order]) == 0) & (np.diff(agent[order]) == 0)
        local = np.full(len(rows), -1)
        local[order[1:][same]] = order[:-1][same]
        if records.agents is None and records.parents is not None and records.turns is not None:
            # A session whose rows all stand here: the request waited for says what came before.
            parents = np.asarray(records.parents, np.int64)[rows]
            turns = np.asarray(records.turns, np.int64)[rows]
            start = np.arange(len(rows)) - turns
            whole = (start >= 0) & (session[np.maximum(start, 0)] == session)
            local = np.where(whole & (parents >= 0), start + parents, local)
        held = (local < 0) & (agent == 0) & (self.counts[session] > 0)
        before_s = np.where(
            local >= 0,
            records.times_s[rows][local],
            np.where(held, self._last_s[session], np.nan),
        )
        before_tokens = np.stack(
            [
                np.where(local >= 0, tokens[rows][local], np.where(held, kept[session], 0))
                for tokens, kept in (
                    (records.inputs, self._prompts),
                    (records.outputs, self._answers),
                )
            ]
        )
        earlier = np.where(local >= 0, task[local], np.where(held, self._tasks[session], task))
        found = Turns(
            rows,
            np.where(local >= 0, rows[local], -1),
            (local < 0) & ~held,
            before_s,
            before_tokens,
            task != earlier,
        )
        self._keep(records, rows, session, agent, task)
        return found

    def _keep(self, records: Records, rows: Ints, session: Ints, agent: Ints, task: Ints) -> None:
        """Remembers the last request of the main agent of each session, and counts all."""
        new, first = np.unique(session, return_index=True)
        fresh = self.counts[new] == 0
        self.start_s[new[fresh]] = self.end_s[new[fresh]] = records.times_s[rows][first[fresh]]
        np.fmax.at(self.end_s, session, records.times_s[rows])
        self.counts += np.bincount(session, minlength=len(self.counts))
        main = agent == 0
        at = session[main]
        # Of several rows of one session, NumPy keeps the last assigned.
        self._last_s[at] = records.times_s[rows][main]
        self._prompts[at] = records.inputs[rows][main]
        self._answers[at] = records.outputs[rows][main]
        self._tasks[at] = task[main]

    def _grow(self, n: int) -> None:
        if n > len(self.counts):
            more = max(n, 2 * len(self.counts)) - len(self.counts)
            for name in self.__slots__:
                old = getattr(self, name)
                setattr(self, name, np.concatenate((old, np.zeros(more, old.dtype))))


@dataclass(slots=True)
class SessionTally:
    """Sessions of a trace, taken in batch by batch.

    Attributes:
        links: Which request came before which.
        singles: Requests that belong to no session.
        first_inputs: Prompt tokens of the first request of a session (and of each sub-agent).
        growth: Prompt tokens beyond those of the request before; where a prompt shrank, not here.
        shrunk: Requests whose prompt is shorter than that of the request before.
        gaps_s: From a request to the next of its session.
        waits_s: From the answer waited for to the request, where the trace states it.
        waits_in_task_s: Those of them within a task: a tool's time.
        waits_between_s: Those of them that begin a task: a person's time.
    """

    links: SessionLinks = field(default_factory=SessionLinks)
    singles: int = 0
    first_inputs: TokenCounts = field(default_factory=TokenCounts)
    growth: TokenCounts = field(default_factory=TokenCounts)
    shrunk: int = 0
    gaps_s: TimeCounts = field(default_factory=TimeCounts)
    waits_s: TimeCounts = field(default_factory=TimeCounts)
    waits_in_task_s: TimeCounts = field(default_factory=TimeCounts)
    waits_between_s: TimeCounts = field(default_factory=TimeCounts)

    def add(self, records: Records) -> Turns | None:
        """Takes a batch in; returns its requests beside those before them."""
        turns = self.links.link(records)
        self.singles += len(records) - (0 if turns is None else len(turns.rows))
        if turns is None:
            return None
        inputs = records.inputs[turns.rows]
        later = ~turns.is_first
        self.first_inputs.add(inputs[turns.is_first])
        growth = (inputs - turns.before_tokens[0])[later]
        self.growth.add(growth[growth >= 0])
        self.shrunk += int((growth < 0).sum())
        gaps = (records.times_s[turns.rows] - turns.before_s)[later]
        self.gaps_s.add(np.maximum(gaps[~np.isnan(gaps)], 0.0))
        if records.delays_s is not None:
            waits = records.delays_s[turns.rows]
            known = ~np.isnan(waits) & later
            self.waits_s.add(np.maximum(waits[known], 0.0))
            if records.tasks is not None:
                self.waits_in_task_s.add(np.maximum(waits[known & ~turns.is_new_task], 0.0))
                self.waits_between_s.add(np.maximum(waits[known & turns.is_new_task], 0.0))
        return turns

    @property
    def sessions(self) -> int:
        """Sessions seen, single requests left out."""
        return int((self.links.counts > 0).sum())

    @property
    def requests_per_session(self) -> TokenCounts:
        """How many requests each session has."""
        return TokenCounts(self.links.counts[self.links.counts > 0])


def _column(values: list[int] | None, rows: Ints) -> Ints:
    if values is None:
        return np.zeros(len(rows), np.int64)
    return np.asarray(values, np.int64)[rows]
