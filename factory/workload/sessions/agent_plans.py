"""Plans of sessions, made of what was drawn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

from factory.workload.blocks import RUN_SPAN, SESSION_BASE, SOURCE_SPAN, Runs
from factory.workload.sessions.agent_draws import AgentDraws, draw, sessions_per_chunk
from factory.workload.sessions.contexts import Context, Draft
from factory.workload.sessions.documents import subagent_prefix
from factory.workload.sessions.plan import SessionPlan

if TYPE_CHECKING:
    from factory.workload.sessions.agents import AgentDemand

# Of a session's ids, the main agent's contexts take those below, its sub-agents' those above.
_HALF = RUN_SPAN // 2


class Planner:
    """Makes plans of what was drawn."""

    def __init__(self, demand: AgentDemand) -> None:
        base = demand.base
        self.demand = demand
        self.corpus = base.corpus()
        self.limit = demand.max_context or sys.maxsize
        self.size = base.block_size
        self.per_turn = base.documents is not None and base.documents.per == "turn"
        self.prefix_blocks = base.prefix_tokens // base.block_size
        self.base_id = base.source * SOURCE_SPAN
        team = demand.subagents
        self.team_tokens = 0 if team is None else team.prefix_tokens
        self.team_prefix: Runs = ()
        if self.team_tokens >= self.size:
            slot = self.base_id + RUN_SPAN * subagent_prefix(base.prefix_count)
            self.team_prefix = (slot, self.team_tokens // self.size)

    def plan(self, draws: AgentDraws, i: int, number: int) -> SessionPlan:
        """Returns session i of a chunk, the tenant's session `number`."""
        draft = self.draft(draws, i, number)
        inputs, outputs, blocks, contexts, waits, delays_s, parents, tasks, agents = map(
            list, zip(*draft.rows, strict=True)
        )
        return SessionPlan(
            inputs, outputs, blocks, contexts, waits, draft.followers, delays_s, parents, tasks,
            agents,
        )  # fmt: skip

    def draft(self, draws: AgentDraws, i: int, number: int) -> Draft:
        """Returns the requests of session i of a chunk, the tenant's session `number`."""
        draft = Draft()
        if self.demand.base.growth:
            self._converse(draft, draws, i, number)
        else:
            self._fan_out(draft, draws, i)
        return draft

    def _standing(self, draws: AgentDraws, i: int) -> tuple[Runs, int]:
        """Runs and tokens of what every prompt of a session begins with."""
        if self.corpus is not None and not self.per_turn:
            return self.corpus.place(draws.prefixes[i], draws.documents[i])
        return self.prefix(draws, i)

    def prefix(self, draws: AgentDraws, i: int) -> tuple[Runs, int]:
        """Runs and tokens of a session's shared prefix."""
        blocks = self.prefix_blocks
        runs = (self.base_id + RUN_SPAN * draws.prefixes[i], blocks) if blocks else ()
        return runs, self.demand.base.prefix_tokens

    def _fan_out(self, draft: Draft, draws: AgentDraws, i: int) -> None:
        """Turns of independent requests, each of which waits for all of the turn before."""
        runs, tokens = self._standing(draws, i)
        limit = self.limit
        rows, followers = draft.rows, draft.followers
        waits, parent, earlier = 0, -1, range(0)
        begin = draws.turns[i]
        for turn in range(begin, draws.turns[i + 1]):
            if self.per_turn and self.corpus is not None:
                runs, tokens = self.corpus.place(draws.prefixes[i], draws.documents[turn])
            delay_s = draws.thinks_s[turn] if waits else 0.0
            jobs = range(draws.jobs[turn], draws.jobs[turn + 1])
            now = range(len(rows), len(rows) + len(jobs))
            sent = tuple(now)
            for row in earlier:
                followers[row] = sent
            for job in jobs:
                prompt = min(tokens + draws.inputs[job], max(tokens + 1, limit - 1))
                output = max(min(draws.outputs[job], limit - prompt), 1)
                draft.new_tokens += prompt - tokens
                rows.append((prompt, output, runs, (), waits, delay_s, parent, turn - begin, 0))
                followers.append(())
            waits, parent, earlier = len(jobs), now[-1], now

    def _converse(self, draft: Draft, draws: AgentDraws, i: int, number: int) -> None:
        """Turns that continue each other, with tools and sub-agents."""
        runs, tokens = self._standing(draws, i)
        private = self.base_id + SESSION_BASE + number * RUN_SPAN
        main = Context(draft, self.size, self.limit, runs, tokens, private, private + _HALF)
        begin = draws.turns[i]
        documents = self.corpus if self.per_turn else None
        if documents is not None:
            main.read(*documents.place(draws.prefixes[i], draws.documents[begin]))
        if draws.at_tokens:
            offset, summaries = draws.calls[begin] + begin, draws.summaries
            main.summaries = (summaries[k % len(summaries)] for k in count(offset))
            if main.tokens + draws.inputs[begin] <= draws.at_tokens[i]:
                main.at_tokens = draws.at_tokens[i]
        team = _Team(self, draft, draws, i, private) if draws.teams else None
        for turn in range(begin, draws.turns[i + 1]):
            main.task = turn - begin
            new, delay_s = draws.inputs[turn], 0.0
            if turn > begin:
                delay_s = draws.thinks_s[turn]
                if documents is not None:
                    new += sum(map(documents.lengths.__getitem__, draws.documents[turn]))
                edit = draws.edits.get(draws.calls[turn] + turn)
                if edit is not None:
                    main.rewrite(*edit)
            if team is not None and turn in draws.teams:
                if not main.ask(new, draws.teams[turn], delay_s):
                    return
                new, delay_s = team.work(main, turn), 0.0
            if not _loop(main, draws, turn, new, delay_s):
                return


def _loop(main: Context, draws: AgentDraws, turn: int, new: int, delay_s: float) -> bool:
    """Adds a turn's calls and its last answer; returns whether all found room."""
    ask, edits = main.ask, draws.edits
    calling, latencies_s, results = draws.calling, draws.latencies_s, draws.results
    for call in range(draws.calls[turn], draws.calls[turn + 1]):
        if not ask(new, calling[call], delay_s):
            return False
        new, delay_s = results[call], latencies_s[call]
        if call + turn + 1 in edits:
            main.rewrite(*edits[call + turn + 1])
    return ask(new, draws.outputs[turn], delay_s)


class _Team:
    """The sub-agents of a session."""

    def __init__(
        self,
        planner: Planner,
        draft: Draft,
        draws: AgentDraws,
        session: int,
        private: int,
    ) -> None:
        self._draft = draft
        self._draws = draws
        self._size = planner.size
        self._limit = planner.limit
        own = planner.team_tokens
        self._standing = (planner.team_prefix, own) if own else planner.prefix(draws, session)
        self._free = private + _HALF
        self._end = private + RUN_SPAN
        self._agents = 0

    def work(self, main: Context, turn: int) -> int:
        """Adds the sub-agents that a turn starts; the main agent's next request waits for them.

        Returns:
            Tokens of their answers.
        """
        draws, rows = self._draws, self._draft.rows
        last: list[int] = []
        for k in range(draws.members[turn], draws.members[turn + 1]):
            self._agents += 1
            agent = Context(
                self._draft,
                self._size,
                self._limit,
                *self._standing,
                self._free,
                self._end,
                (main.row,),
                main.task,
                self._agents,
            )
            self._run(agent, k)
            self._free = agent.free()
            if agent.row >= 0:
                last.append(agent.row)
        if not last:
            return 1  # the session's ids are used up
        main.after = tuple(last)
        return sum(rows[row][1] for row in last)

    def _run(self, agent: Context, k: int) -> None:
        draws = self._draws
        new, delay_s = draws.member_inputs[k], 0.0
        for call in range(draws.member_calls[k], draws.member_calls[k + 1]):
            if not agent.ask(new, draws.member_calling[call], delay_s):
                return
            new, delay_s = draws.member_results[call], draws.member_latencies_s[call]
        agent.ask(new, draws.member_answers[k], delay_s)


def plans(demand: AgentDemand) -> Iterator[SessionPlan]:
    """Yields the sessions of a tenant, without end.

    Session i is a function of the seed, the replication, the tenant's name and i. Sessions whose
    next prompt would not fit `max_context` end there.
    """
    planner = Planner(demand)
    size = sessions_per_chunk(demand)
    for chunk in count():
        draws = draw(demand, chunk, size, planner.corpus)
        for session in range(size):
            yield planner.plan(draws, session, chunk * size + session)
