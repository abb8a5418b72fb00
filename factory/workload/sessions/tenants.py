"""What the sessions of a synthetic tenant ask, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, repeat
from typing import TYPE_CHECKING

import numpy as np

from factory.records.codes import COMPLETED
from factory.statistics import stream
from factory.workload.arrivals import CHUNK
from factory.workload.blocks import RUN_SPAN, SESSION_BASE, SOURCE_SPAN, Runs, trimmed
from factory.workload.lengths.distributions import Distribution
from factory.workload.loops import Script
from factory.workload.request import Request
from factory.workload.sessions.documents import Corpus, Documents

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from factory.workload.lengths.joints import Joint

# Fewest sessions drawn at a time, however many turns they have.
_FEWEST_SESSIONS = 16


@dataclass(frozen=True, slots=True)
class TenantDemand:
    """All that the sessions of one tenant are drawn from.

    Attributes:
        name: Name of the tenant; names its random streams.
        tenant: Position of the tenant in the scenario.
        deployment: Position of the deployment that serves it.
        source: Position of this source among the `sources` of the workload.
        sources: How many sources the workload has; session numbers step by it.
        block_size: Tokens per block of the deployment.
        input_tokens: New prompt tokens of each turn.
        output_tokens: Answer tokens of each turn.
        turns: Turns of a session.
        think_time_s: Seconds from an answer to the next turn.
        growth: Whether a turn's prompt contains the whole session so far.
        prefix_tokens: Tokens before every prompt that sessions share.
        prefix_count: Distinct shared prefixes; each session has one of them.
        max_tokens: Output tokens that its clients allow; 0 for those of each answer.
        seed: Root of the run's streams.
        replication: Repetition under the same seed.
        documents: Documents that prompts of different sessions have in common, if any.
        joint: Input and output tokens drawn together, in place of both; None: independently.
        max_context: Longest prompt and answer, tokens: a session ends where its next prompt would
            not fit, an answer where the context does; 0: no limit.
    """

    name: str
    tenant: int
    deployment: int
    source: int
    sources: int
    block_size: int
    input_tokens: Distribution
    output_tokens: Distribution
    turns: Distribution
    think_time_s: Distribution
    growth: bool
    prefix_tokens: int
    prefix_count: int
    seed: int
    replication: int
    max_tokens: int = 0
    documents: Documents | None = None
    joint: Joint | None = None
    max_context: int = 0

    def stream(self, what: str, chunk: int) -> np.random.Generator:
        """The random stream of one aspect, so that changing one leaves the others alone."""
        return stream(self.seed, self.replication, f"workload/{self.name}/{what}", chunk)

    def lengths(self, chunk: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draws the new prompt tokens and the answer tokens of n turns."""
        if self.joint is not None:
            inputs, outputs = self.joint.sample(self.stream("lengths", chunk), n)
        else:
            inputs = self.input_tokens.sample(self.stream("input_tokens", chunk), n)
            outputs = self.output_tokens.sample(self.stream("output_tokens", chunk), n)
        return inputs.astype(np.int64), outputs.astype(np.int64)

    def prefix_picks(self, chunk: int, n: int) -> list[int]:
        """Which of the shared prefixes each of n sessions has."""
        if self.prefix_count == 1 or not self.prefix_tokens:
            return [0] * n
        picks: list[int] = self.stream("prefix", chunk).integers(self.prefix_count, size=n).tolist()
        return picks

    def prefix_runs(self, chunk: int, n: int) -> Iterator[Runs]:
        """The shared run of each of n sessions: whole blocks of its prefix, or nothing."""
        blocks = self.prefix_tokens // self.block_size
        base = self.source * SOURCE_SPAN
        if not blocks:
            return repeat((), n)
        if self.prefix_count == 1:
            return repeat((base, blocks), n)
        return ((base + RUN_SPAN * pick, blocks) for pick in self.prefix_picks(chunk, n))

    def corpus(self) -> Corpus | None:
        """The documents, with nothing drawn yet."""
        if self.documents is None:
            return None
        return Corpus(
            self.documents,
            self.name,
            self.source,
            self.block_size,
            self.prefix_tokens,
            self.prefix_count,
        )


class SingleTurns:
    """Sessions of one request."""

    __slots__ = ("_corpus", "_demand", "_deployment", "_next", "_session", "_step", "_tenant")

    def __init__(self, demand: TenantDemand) -> None:
        self._demand = demand
        self._tenant = demand.tenant
        self._deployment = demand.deployment
        self._session = demand.source
        self._step = demand.sources
        self._corpus = demand.corpus()
        rows = chain.from_iterable(map(self._rows, count()))
        self._next: Callable[[], tuple[int, int, Runs]] = rows.__next__

    @property
    def session_tenants(self) -> frozenset[int]:
        """None: every session is one request."""
        return frozenset()

    def begin(self, time_s: float) -> Sequence[Request]:
        """Starts the next session."""
        input_tokens, output_tokens, blocks = self._next()
        session = self._session
        self._session = session + self._step
        return (
            Request(
                -1,
                self._tenant,
                self._deployment,
                session,
                0,
                -1,
                -1,
                0,
                time_s,
                input_tokens,
                output_tokens,
                blocks,
                (),
                self._demand.max_tokens,
            ),
        )

    def follow(
        self,
        request: Request,  # noqa: ARG002 (every session is over after its one request)
        time_s: float,  # noqa: ARG002
        outcome: int,  # noqa: ARG002
    ) -> None:
        """Nothing follows."""
        return

    def _rows(self, chunk: int) -> Iterator[tuple[int, int, Runs]]:
        demand = self._demand
        inputs, outputs = demand.lengths(chunk, CHUNK)
        runs: Iterable[Runs]
        if self._corpus is None:
            runs = demand.prefix_runs(chunk, CHUNK)
            inputs += demand.prefix_tokens
        else:
            drawn = self._corpus.draw(demand.stream("documents", chunk), CHUNK)
            placed = map(self._corpus.place, demand.prefix_picks(chunk, CHUNK), drawn)
            runs, tokens = zip(*placed, strict=True)
            inputs += np.array(tokens)
        most = demand.max_context
        if most:
            if self._corpus is not None and int(inputs.max()) >= most:
                np.minimum(inputs, most - 1, out=inputs)
                size = demand.block_size
                whole = (inputs // size).tolist()
                runs = tuple(map(trimmed, runs, whole))
            outputs = _answered(inputs, outputs, most)
        return zip(inputs.tolist(), outputs.tolist(), runs, strict=True)


def _answered(
    prompts: NDArray[np.int64], outputs: NDArray[np.int64], most: int
) -> NDArray[np.int64]:
    """Answers, cut where the context ends."""
    return np.minimum(outputs, np.maximum(most - prompts, 1))


@dataclass(slots=True)
class Turns:
    """Turns of sessions drawn together: session i has those from `first[i]` up to `ends[i]`.

    Attributes:
        first: Where each session begins, shape (sessions,).
        ends: Where it ends: behind its last turn that fits the context.
        added: New prompt tokens of each turn, shape (turns,).
        prompts: Prompt tokens of each turn.
        outputs: Answer tokens of each turn.
    """

    first: NDArray[np.int64]
    ends: NDArray[np.int64]
    added: NDArray[np.int64]
    prompts: NDArray[np.int64]
    outputs: NDArray[np.int64]


def drawn_turns(demand: TenantDemand, chunk: int, sessions: int) -> Turns:
    """Draws the turns of so many sessions."""
    turns = demand.turns.sample(demand.stream("turns", chunk), sessions).astype(np.int64)
    ends = np.cumsum(turns)
    first = ends - turns
    added, outputs = demand.lengths(chunk, int(ends[-1]))
    prompts = added
    if demand.growth:
        history = np.cumsum(added + outputs) - outputs
        prompts = history - np.repeat(history[first] - added[first], turns)
    prompts = prompts + demand.prefix_tokens
    if demand.max_context:
        # Prompts grow with each turn, so those that fit are a session's first.
        fits = np.concatenate(([0], np.cumsum(prompts < demand.max_context)))
        ends = first + np.maximum(fits[ends] - fits[first], 1)
        outputs = _answered(prompts, outputs, demand.max_context)
    return Turns(first, ends, added, prompts, outputs)


@dataclass(slots=True)
class _Rows:
    """Sessions drawn together: session i has the turns `first[i]` up to `ends[i]`."""

    first: list[int]
    ends: list[int]
    prompts: list[int]
    outputs: list[int]
    thinks: list[float]
    prefixes: list[Runs]


class _Live:
    """A session that has turns to come."""

    __slots__ = ("at", "end", "prefix", "private", "rows")

    def __init__(self, rows: _Rows, at: int, end: int, prefix: Runs, private: int) -> None:
        self.rows = rows
        self.at = at
        self.end = end
        self.prefix = prefix
        self.private = private


class Sessions:
    """Sessions of several turns; a turn is sent some time after the answer before it.

    With growth the prompt of turn t is shared prefix, all earlier inputs and outputs, new input:
    its whole blocks are the prefix's run, then a run of the session's own that gets longer with
    every turn, beginning with the block in which the prefix ends. A session ends early when a
    turn of it is not completed, and where the next prompt would not fit the context.
    """

    __slots__ = ("_chunk", "_demand", "_live", "_row", "_rows", "_size")

    def __init__(self, demand: TenantDemand) -> None:
        self._demand = demand
        per_session = min(max(demand.turns.mean(), 1.0), CHUNK)
        self._size = max(_FEWEST_SESSIONS, int(CHUNK / per_session))
        self._chunk = -1
        self._row = 0
        self._rows = _Rows([0], [], [], [], [], [])
        self._live: dict[int, _Live] = {}

    @property
    def session_tenants(self) -> frozenset[int]:
        """The tenant."""
        return frozenset((self._demand.tenant,))

    def begin(self, time_s: float) -> Sequence[Request]:
        """Starts the next session."""
        demand = self._demand
        row = self._row
        self._row = row + 1
        chunk, i = divmod(row, self._size)
        if chunk != self._chunk:
            self._chunk = chunk
            self._rows = self._draw(chunk)
        rows = self._rows
        session = demand.source + row * demand.sources
        at, end = rows.first[i], rows.ends[i]
        private = demand.source * SOURCE_SPAN + SESSION_BASE + row * RUN_SPAN
        live = _Live(rows, at, end, rows.prefixes[i], private)
        if end - at > 1:
            self._live[session] = live
        return (self._turn(live, session, 0, -1, time_s),)

    def follow(self, request: Request, time_s: float, outcome: int) -> Sequence[Request] | None:
        """Returns the next turn, or None after the last one or one that was not completed."""
        live = self._live.get(request.session)
        if live is None:
            return None
        at = live.at + 1
        if at == live.end or outcome != COMPLETED:
            del self._live[request.session]
            return None
        live.at = at
        sent_s = time_s + live.rows.thinks[at]
        return (self._turn(live, request.session, request.turn + 1, request.index, sent_s),)

    def _turn(self, live: _Live, session: int, turn: int, parent: int, time_s: float) -> Request:
        demand = self._demand
        rows, at, blocks = live.rows, live.at, live.prefix
        prompt = rows.prompts[at]
        context: Runs = ()
        if demand.growth and (turn or live.end - at > 1):
            size = demand.block_size
            shared = demand.prefix_tokens // size
            private = prompt // size - shared
            answered = (prompt + rows.outputs[at]) // size - shared
            if answered:
                context = (*blocks, live.private, answered)
            if private:
                blocks = (*blocks, live.private, private)
        return Request(
            -1,
            demand.tenant,
            demand.deployment,
            session,
            turn,
            parent,
            -1,
            0,
            time_s,
            prompt,
            rows.outputs[at],
            blocks,
            context,
            demand.max_tokens,
            None,
            turn,
        )

    def _draw(self, chunk: int) -> _Rows:
        demand = self._demand
        turns = drawn_turns(demand, chunk, self._size)
        thinks = demand.think_time_s.sample(demand.stream("think_time_s", chunk), len(turns.added))
        return _Rows(
            turns.first.tolist(),
            turns.ends.tolist(),
            turns.prompts.tolist(),
            turns.outputs.tolist(),
            thinks.tolist(),
            list(demand.prefix_runs(chunk, self._size)),
        )


def script(demand: TenantDemand) -> Script:
    """Returns the lightest script that serves a tenant's demand.

    Documents over several turns are for the plans of `agents`.
    """
    if demand.turns.is_constant() and demand.turns.quantile(0.5) == 1:
        return SingleTurns(demand)
    return Sessions(demand)
