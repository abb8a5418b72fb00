"""What the sessions of a tenant hold in the mean, before any of them is asked."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import count

import numpy as np

from factory.statistics import stream
from factory.workload.sessions.agent_draws import draw, sessions_per_chunk
from factory.workload.sessions.agent_plans import Planner
from factory.workload.sessions.agents import AgentDemand
from factory.workload.sessions.tenants import TenantDemand, drawn_turns

#: Sessions, or prompts with documents, over which a mean is taken that has no closed form.
SESSIONS = 4096
#: Fewer sessions do where they have this many requests in all.
REQUESTS = 120_000

# No run has this replication: the sessions averaged are not those of a run.
_REPLICATION = 2**31 - 1


@dataclass(frozen=True, slots=True)
class SessionMeans:
    """Means of one session.

    Attributes:
        requests: Requests.
        input_tokens: Prompt tokens of all of them, cached or not.
        output_tokens: Answer tokens.
        new_input_tokens: Prompt tokens that neither an earlier prompt or answer of the session nor
            what sessions share holds.
        tasks: What a person asks for.
        sessions: Sessions averaged; 0 where the means are exact.
        relative_error: Standard error of input and output tokens together over their mean; 0 where
            the means are exact.
    """

    requests: float
    input_tokens: float
    output_tokens: float
    new_input_tokens: float
    tasks: float
    sessions: int = 0
    relative_error: float = 0.0


_known: dict[bytes, SessionMeans] = {}


def session_means(demand: TenantDemand | AgentDemand) -> SessionMeans:
    """Returns the means of a tenant's sessions, none of them cut short by the factory or the run.

    Exact for single turns and for sessions of turns; for those that draw more than one document
    at a time, and for those of agents, the mean over a fixed sample that no seed changes.
    `max_tokens` is left aside, as in sessions themselves.
    """
    base = demand.base if isinstance(demand, AgentDemand) else demand
    plain = replace(base, tenant=0, deployment=0, source=0, sources=1, seed=0, replication=0)
    asked = replace(demand, base=plain) if isinstance(demand, AgentDemand) else plain
    key = blake2b(pickle.dumps(asked)).digest()
    means = _known.get(key)
    if means is None:
        means = _sampled(asked) if isinstance(asked, AgentDemand) else _exact(asked)
        _known[key] = means
    return means


def _exact(demand: TenantDemand) -> SessionMeans:
    """E[T] turns; with growth turn t repeats the inputs and outputs of the t turns before it."""
    if demand.growth and demand.max_context:
        cut = _cut_short(demand)
        if cut is not None:
            return cut
    turns, new = demand.turns.mean(), demand.input_tokens.mean()
    output = demand.output_tokens.mean()
    standing = demand.prefix_tokens + _document_tokens(demand)
    repeated = 0.0
    if demand.growth and turns > 1:
        pairs = (demand.turns.variance() + turns**2 - turns) / 2
        repeated = pairs * (new + output)
    return SessionMeans(
        turns, turns * (standing + new) + repeated, turns * output, turns * new, turns
    )


def _cut_short(demand: TenantDemand) -> SessionMeans | None:
    """Means over a fixed sample, if the context cuts any session or answer of it short."""
    demand = replace(demand, replication=_REPLICATION)
    turns = drawn_turns(demand, 0, SESSIONS)
    sizes = turns.ends - turns.first
    free = drawn_turns(replace(demand, max_context=0), 0, SESSIONS)
    if bool((turns.ends == free.ends).all() and (turns.outputs == free.outputs).all()):
        return None
    sums = [
        np.concatenate(([0], np.cumsum(column)))
        for column in (turns.prompts, turns.outputs, turns.added)
    ]
    prompts, answers, new = (total[turns.ends] - total[turns.first] for total in sums)
    asked = float(sizes.mean())
    tokens = prompts + answers
    error = float(tokens.std(ddof=1) / math.sqrt(SESSIONS) / tokens.mean())
    return SessionMeans(
        asked, float(prompts.mean()), float(answers.mean()), float(new.mean()), asked, SESSIONS,
        error,
    )  # fmt: skip


def _document_tokens(demand: TenantDemand) -> float:
    corpus = demand.corpus()
    if corpus is None or demand.documents is None:
        return 0.0
    number = demand.documents.number
    if number.is_constant() and number.mean() == 1:
        return corpus.mean_tokens()
    rng = stream(0, _REPLICATION, f"workload/{demand.name}/documents")
    drawn = corpus.draw(rng, SESSIONS)
    return math.fsum(corpus.lengths[k] for documents in drawn for k in documents) / SESSIONS


def _sampled(demand: AgentDemand) -> SessionMeans:
    demand = replace(demand, base=replace(demand.base, replication=_REPLICATION))
    planner = Planner(demand)
    size = sessions_per_chunk(demand)
    sums: list[tuple[int, int, int, int, int]] = []
    requests = 0
    for chunk in count():
        draws = draw(demand, chunk, size, planner.corpus)
        for i in range(size):
            draft = planner.draft(draws, i, chunk * size + i)
            rows = draft.rows
            inputs, outputs = sum(row[0] for row in rows), sum(row[1] for row in rows)
            sums.append((len(rows), inputs, outputs, draft.new_tokens, rows[-1][7] + 1))
            requests += len(rows)
        if len(sums) >= SESSIONS or requests >= REQUESTS:
            break
    table = np.array(sums, dtype=np.float64)
    tokens = table[:, 1] + table[:, 2]
    error = float(tokens.std(ddof=1) / math.sqrt(len(tokens)) / tokens.mean())
    asked, prompts, answers, new, tasks = table.mean(axis=0).tolist()
    return SessionMeans(asked, prompts, answers, new, tasks, len(sums), error)
