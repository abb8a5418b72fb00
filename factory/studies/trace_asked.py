"""What the sessions of a trace ask, as samples that laws can be fitted to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from factory.studies.trace_contexts import LongestContexts, SessionSizes
from factory.studies.trace_prefixes import Continuations
from factory.studies.trace_reuse import ReuseDistances
from factory.studies.trace_sessions import SessionLinks, Turns
from factory.studies.trace_stats import Floats, Ints, TimeCounts, TokenCounts
from factory.workload.traces.records import BY_SESSION, Records

#: Starts of sessions that are kept one by one.
MOST_STARTS = 2_000_000
#: A context was compacted if less than this share of it is left.
_COMPACTED = 0.6


@dataclass(slots=True)
class Samples:
    """Samples of what sessions ask; a request without a session is one of its own.

    Attributes:
        requests: Requests of each session (and of each sub-agent).
        calls: Requests of each task beyond its first, where the trace tells tasks.
        inputs: Prompt tokens of every request.
        first: Prompt tokens of the first request of a session beyond the shared prefix.
        later: New prompt tokens of later requests: beyond the prompt and the answer before.
        results: Those of them that go on with a task.
        outputs: Answer tokens.
        waits_s: From the answer waited for (or, where only arrivals are known, from the request
            before) to the next request.
        tool_waits_s: Those of them within a task.
        kept: Ten-thousandths of the context before that an edited prompt begins with.
        dropped: Ten-thousandths of the rest that it left out.
        contexts: Of each session the context at which it was first compacted, or its longest.
        edited: Requests with an edited context; those that go on with a task, and all.
        followed: Requests after the first of their session; those within a task, and all.
        grown: Requests of them whose prompt is no shorter than the one before.
        starts_s: Arrivals of first requests, the first `MOST_STARTS` of them.
        correlation: Of a session's first prompt with its number of requests (Spearman's).
        sessions: Sessions in all.
        knows_answers: Whether waits are from answers.
        tells_tasks: Whether the trace tells tasks.
        inferred: Whether sessions were inferred from blocks.
    """

    requests: TokenCounts = field(default_factory=TokenCounts)
    calls: TokenCounts = field(default_factory=TokenCounts)
    inputs: TokenCounts = field(default_factory=TokenCounts)
    first: TokenCounts = field(default_factory=TokenCounts)
    later: TokenCounts = field(default_factory=TokenCounts)
    results: TokenCounts = field(default_factory=TokenCounts)
    outputs: TokenCounts = field(default_factory=TokenCounts)
    waits_s: TimeCounts = field(default_factory=TimeCounts)
    tool_waits_s: TimeCounts = field(default_factory=TimeCounts)
    kept: TokenCounts = field(default_factory=TokenCounts)
    dropped: TokenCounts = field(default_factory=TokenCounts)
    contexts: LongestContexts = field(default_factory=LongestContexts)
    edited: list[int] = field(default_factory=lambda: [0, 0])
    followed: list[int] = field(default_factory=lambda: [0, 0])
    grown: int = 0
    starts_s: list[Floats] = field(default_factory=list)
    correlation: float = 0.0
    sessions: int = 0
    knows_answers: bool = False
    tells_tasks: bool = False
    inferred: bool = False


def gather(
    batches: Iterable[Records],
    format: str,  # noqa: A002 (the trace section of a scenario has this name)
    shared_tokens: int,
) -> Samples:
    """Reads a trace once more, knowing what its prompts share.

    Where the trace names blocks and no sessions, a prompt that begins with all of an earlier one
    continues it (`Continuations`).

    Args:
        batches: As `factory.workload.traces.records.read` yields them.
        format: Of the trace.
        shared_tokens: Tokens of the prefix that its sessions share.
    """
    gathering = _Gathering(format, shared_tokens)
    for batch in batches:
        gathering.add(batch)
    return gathering.done()


class _Gathering:
    def __init__(self, kind: str, shared_tokens: int) -> None:
        self.found = Samples()
        self._has_clock = kind not in BY_SESSION
        self._shared = shared_tokens
        self._links = SessionLinks()
        self._main = SessionSizes()
        self._conversations: Continuations | None = None
        self._reuse: ReuseDistances | None = None
        self._kept_starts = 0

    def add(self, batch: Records) -> None:
        found, n = self.found, len(batch)
        found.inputs.add(batch.inputs)
        found.outputs.add(batch.outputs)
        turns = self._turns(batch)
        firsts = np.ones(n, np.bool_)
        firsts[turns.rows[~turns.is_first]] = False
        found.first.add(np.maximum(batch.inputs[firsts] - self._shared, 1))
        found.sessions += int(firsts.sum())
        self._keep_starts(batch.times_s[firsts])
        self._later(batch, turns)

    def done(self) -> Samples:
        self.found.requests.add(self._main.counts())
        self.found.correlation = self._main.correlation()
        return self.found

    def _turns(self, batch: Records) -> Turns:
        """Which request each one follows; nothing where neither sessions nor blocks tell."""
        links = self._links.link(batch)
        if batch.sessions is not None:
            self._count(batch, links)
            return links or _NONE
        if batch.blocks is None or batch.block_size is None:
            self.found.requests.add(np.ones(len(batch), np.int64))
            return _NONE
        if self._conversations is None:
            blocks = -(-self._shared // batch.block_size)
            self._conversations = Continuations(batch.block_size, blocks)
            self.found.inferred = True
        return self._continued(batch, batch.blocks, self._conversations)

    def _continued(
        self, batch: Records, blocks: list[tuple[int, ...]], found: Continuations
    ) -> Turns:
        n = len(batch)
        first = np.zeros(n, np.bool_)
        before_s = np.full(n, np.nan)
        tokens = np.zeros((2, n), np.int64)
        numbers = np.zeros(n, np.int64)
        for row, (runs, time, prompt, answer) in enumerate(
            zip(
                blocks,
                batch.times_s.tolist(),
                batch.inputs.tolist(),
                batch.outputs.tolist(),
                strict=True,
            )
        ):
            before = found.add(runs, time, prompt, answer)
            if before is None:
                first[row] = True
                numbers[row] = found.conversations - 1
            else:
                before_s[row] = before.time_s
                tokens[:, row] = before.input_tokens, before.output_tokens
                numbers[row] = before.number
        self._main.add(numbers, batch.inputs)
        rows = np.arange(n)
        return Turns(rows, np.full(n, -1), first, before_s, tokens, np.zeros(n, np.bool_))

    def _count(self, batch: Records, turns: Turns | None) -> None:
        """Requests of each session's main agent, of each sub-agent, and of tasks."""
        if turns is None:
            self.found.requests.add(np.ones(len(batch), np.int64))
            return
        alone = len(batch) - len(turns.rows)
        self.found.requests.add(np.ones(alone, np.int64))
        sessions = np.asarray(batch.sessions, np.int64)[turns.rows]
        agents = _column(batch.agents, turns.rows)
        main = agents == 0
        self._main.add(sessions[main], batch.inputs[turns.rows[main]])
        helpers = np.stack((sessions, agents))[:, agents > 0]
        if helpers.shape[1]:
            self.found.requests.add(np.unique(helpers, axis=1, return_counts=True)[1])
        if batch.tasks is not None:
            self.found.tells_tasks = True
            tasks = np.stack((sessions, _column(batch.tasks, turns.rows)))[:, agents == 0]
            if tasks.shape[1]:
                self.found.calls.add(np.unique(tasks, axis=1, return_counts=True)[1] - 1)

    def _keep_starts(self, times: Floats) -> None:
        times = times[~np.isnan(times)]
        if self._has_clock and self._kept_starts < MOST_STARTS and len(times):
            self.found.starts_s.append(times)
            self._kept_starts += len(times)

    def _later(self, batch: Records, turns: Turns) -> None:
        found = self.found
        cached = self._cached(batch)
        later = ~turns.is_first
        rows = turns.rows[later]
        if not len(rows):
            return
        prompt = batch.inputs[rows]
        before, answer = turns.before_tokens[:, later]
        context = before + answer
        goes_on = np.full(len(rows), found.tells_tasks) & ~turns.is_new_task[later]
        found.grown += int((prompt >= before).sum())
        found.followed[0] += int(goes_on.sum())
        found.followed[1] += len(rows)
        compacted = self._compacted(batch, rows, context, prompt)
        edited = np.zeros(len(rows), np.bool_)
        if cached is not None and batch.block_size is not None:
            # All whole blocks of the prompt before would be there, but perhaps the last.
            edited = cached[rows] < (before // batch.block_size - 1) * batch.block_size
            edited &= ~compacted
            found.edited[0] += int((edited & goes_on).sum())
            found.edited[1] += int(edited.sum())
            kept = cached[rows][edited]
            rest = np.maximum(context[edited] - kept, 1)
            found.kept.add(_parts(kept / np.maximum(context[edited], 1)))
            found.dropped.add(_parts((context[edited] - prompt[edited]) / rest))
        new = np.maximum(prompt - context, 1)
        plain = ~(edited & (prompt < context)) & ~compacted
        found.later.add(new[plain & ~goes_on])
        found.results.add(new[plain & goes_on])
        waits = np.maximum(batch.times_s[rows] - turns.before_s[later], 0.0)
        if batch.delays_s is not None:
            found.knows_answers = True
            waits = batch.delays_s[rows]
        known = ~np.isnan(waits)
        found.waits_s.add(waits[known & ~goes_on])
        found.tool_waits_s.add(waits[known & goes_on])

    def _compacted(
        self, batch: Records, rows: Ints, context: Ints, prompt: Ints
    ) -> NDArray[np.bool_]:
        """Which requests of main agents have lost much of the context before."""
        if batch.sessions is None:
            return np.zeros(len(rows), np.bool_)
        found: NDArray[np.bool_] = prompt < _COMPACTED * context
        main = _column(batch.agents, rows) == 0
        found &= main
        sessions = np.asarray(batch.sessions, np.int64)[rows]
        self.found.contexts.add(sessions[main], context[main], found[main])
        return found

    def _cached(self, batch: Records) -> Ints | None:
        """Tokens of each prompt that an earlier one had; None where that is not exactly known."""
        if batch.blocks is None or batch.block_size is None:
            return None
        if self._reuse is None:
            self._reuse = ReuseDistances(batch.block_size)
        add = self._reuse.add
        seen = [
            add(runs, tokens)
            for runs, tokens in zip(batch.blocks, batch.inputs.tolist(), strict=True)
        ]
        if self._reuse.rate < 1:
            return None
        return np.minimum(np.array(seen, np.int64) * batch.block_size, batch.inputs)


_NONE = Turns(
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, np.bool_),
    np.zeros(0),
    np.zeros((2, 0), np.int64),
    np.zeros(0, np.bool_),
)


def _parts(shares: Floats) -> Ints:
    found: Ints = np.rint(1e4 * np.clip(shares, 0, 1)).astype(np.int64)
    return found


def _column(values: list[int] | None, rows: Ints) -> NDArray[np.int64]:
    if values is None:
        return np.zeros(len(rows), np.int64)
    return np.asarray(values, np.int64)[rows]
