"""Checks of what a session does, and of what its prompts share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from factory.errors import Problem
from factory.scenario.base import Part
from factory.scenario.check_lengths import largest, length_problems, smallest
from factory.scenario.demand import Tenant
from factory.scenario.lengths import Length, constant
from factory.scenario.session import Documents, Session

#: Mean requests of a session above which it is taken for one that never ends.
MOST_REQUESTS = 100_000
#: Most documents of a tenant: their popularity and lengths are held in memory.
MOST_DOCUMENTS = 1 << 22
#: Most pairs of a shared prefix and a document: each has a run of block ids.
MOST_PLACES = 1 << 26
#: Most requests of a turn that another turn waits for: each of those waits for all of these.
MOST_AWAITED = 1024

# Names of lengths that may be 0, in every part of a session.
_MAY_BE_ZERO = frozenset({"think_time_s", "latency_s", "calls", "kept_ratio", "dropped_ratio"})


def session_problems(path: str, session: Session) -> Iterator[Problem]:
    """What is wrong with a tenant's session.

    Args:
        path: Place of the section in the scenario.
        session: The section.
    """
    yield from _length_problems(path, session)
    for name in ("tools", "subagents", "compaction", "edits"):
        part = getattr(session, name)
        if part is not None:
            yield from _length_problems(f"{path}.{name}", part)
    if session.requests is not None and session.turns != constant(1):
        message = "takes the place of turns; state one of them"
        yield Problem(f"{path}.requests", message, None, "requests, or turns")
    yield from _end_problems(path, session)
    yield from _first_problems(path, session)
    yield from _fan_out_problems(path, session)
    team = session.subagents
    if team is not None and largest(team.calls) > 0 and team.result_tokens is None:
        message = "is missing: sub-agents that call tools need it"
        place = f"{path}.subagents.result_tokens"
        yield Problem(place, message, None, "a number or a distribution")
    if session.edits is not None:
        for name in ("kept_ratio", "dropped_ratio"):
            most = largest(getattr(session.edits, name))
            if most > 1:
                message = "is a share of the context; it must not pass 1"
                got = None if math.isinf(most) else most
                yield Problem(f"{path}.edits.{name}", message, got, "max: 1")


def context_problems(path: str, tenant: Tenant, longest: int | None = None) -> Iterator[Problem]:
    """Contexts that cannot be, as far as the lengths of a tenant say.

    Args:
        path: Place of the tenant in the scenario.
        tenant: The section.
        longest: Longest prompt and answer that its deployment takes, tokens, if known.
    """
    standing = float(tenant.shared_prefix.tokens)
    documents = tenant.documents
    if documents is not None:
        yield from _document_problems(f"{path}.documents", tenant, documents)
        standing += mean(documents.tokens) * mean(documents.number)
    if longest is not None and documents is not None and standing >= longest:
        message = f"with the shared prefix leaves no room in the {longest} tokens of a context"
        yield Problem(f"{path}.documents", message, round(standing), f"less than {longest}")
    compaction = tenant.session.compaction
    if compaction is None:
        return
    place = f"{path}.session.compaction.at_tokens"
    if documents is not None and documents.per == "turn":
        standing = float(tenant.shared_prefix.tokens)
    least = standing + mean(compaction.summary_tokens)
    at_tokens = mean(compaction.at_tokens)
    if at_tokens <= least:
        message = (
            f"must be above the {least:.0f} tokens of a context just compacted (shared prefix, "
            "documents, summary): it would be full again at once"
        )
        yield Problem(place, message, round(at_tokens), "more, or a shorter summary")
    least_at = smallest(compaction.at_tokens)
    if longest is not None and least_at > longest:
        message = f"must be <= the {longest} tokens of a context: sessions would end before it"
        yield Problem(place, message, round(least_at), "less, or a max")


def mean(length: Length) -> float:
    """The mean of a distribution, bounds left aside where it is no table; may be infinite."""
    if length.components is not None:
        weights = math.fsum(part.weight for part in length.components)
        return math.fsum(part.weight * mean(part) for part in length.components) / (weights or 1.0)
    known = _table_mean(length)
    if known is None:
        known = _law_mean(length)
    return min(max(known, smallest(length)), largest(length))


def _table_mean(length: Length) -> float | None:
    if length.quantiles is not None:
        table = pairwise(length.quantiles)
        return math.fsum((q - p) * (low + high) / 2 for (p, low), (q, high) in table)
    values = length.values
    if length.edges is not None:
        values = tuple((low + high) / 2 for low, high in pairwise(length.edges))
    if values is None:
        return None
    weights = length.weights if length.weights is not None else (1.0,) * len(values)
    total = math.fsum(weights) or 1.0
    return math.fsum(w * value for w, value in zip(weights, values, strict=False)) / total


def _law_mean(length: Length) -> float:
    kind = length.distribution
    if kind == "uniform":
        return ((length.min or 0.0) + (length.max or 0.0)) / 2
    if kind == "pareto":
        alpha, scale = length.alpha or 1.0, length.min or 0.0
        return math.inf if alpha <= 1 else alpha * scale / (alpha - 1)
    if length.mean is not None:
        return length.mean
    if kind == "weibull" and length.shape and length.scale is not None:
        return length.scale * math.gamma(1 + 1 / length.shape)
    if kind == "lognormal":
        return _lognormal_mean(length)
    return length.value or 0.0


def _lognormal_mean(length: Length) -> float:
    mu = length.mu
    if mu is None:
        mu = math.log(length.median) if length.median else 0.0
    sigma = length.sigma
    if sigma is None:
        tail = (length.p99 or 1.0) / (length.median or 1.0)
        sigma = math.log(max(tail, 1.0)) / 2.3263478740408408  # the normal's 99th percentile
    exponent = mu + sigma**2 / 2
    return math.inf if exponent > 700 else math.exp(exponent)


def _length_problems(path: str, part: Part) -> Iterator[Problem]:
    for name in type(part).model_fields:
        length = getattr(part, name)
        if not isinstance(length, Length):
            continue
        yield from length_problems(f"{path}.{name}", length)
        if name not in _MAY_BE_ZERO and largest(length) < 1:
            yield Problem(f"{path}.{name}", "must reach at least 1", largest(length))


def _end_problems(path: str, session: Session) -> Iterator[Problem]:
    """Sessions that can never end."""
    calls = 0.0 if session.tools is None else mean(session.tools.calls)
    jobs = 1.0 if session.fan_out is None else mean(session.fan_out)
    team = session.subagents
    agents = 0.0
    if team is not None:
        agents = team.probability * (mean(team.count) * (mean(team.calls) + 1) + 1)
    turns, name = mean(session.turns), "turns"
    if session.requests is not None:
        turns, name = mean(session.requests) / (calls + 1), "requests"
    requests = turns * (calls + jobs + agents)
    if requests <= MOST_REQUESTS:
        return
    lengths = {
        name: turns,
        "tools.calls": calls,
        "fan_out": jobs,
        "subagents.count": agents,
    }
    worst = max(lengths, key=lengths.__getitem__)
    shown = "no end of" if math.isinf(requests) else f"{requests:.0f}"
    message = f"makes {shown} requests a session in the mean: sessions would never end"
    remedy = f"at most {MOST_REQUESTS:,}; give the distribution a max"
    yield Problem(f"{path}.{worst}", message, None, remedy)


def _first_problems(path: str, session: Session) -> Iterator[Problem]:
    if not session.first_input_correlation:
        return
    place = f"{path}.first_input_correlation"
    if session.first_input_tokens is None:
        message = "has no effect without first_input_tokens"
        yield Problem(place, message, session.first_input_correlation)
    size = "turns" if session.requests is None else "requests"
    for name in ("first_input_tokens", size):
        length = getattr(session, name)
        if length is not None and length.distribution == "mixture":
            message = "cannot be correlated: a mixture's quantiles have no closed form"
            yield Problem(f"{path}.{name}", message, None, "its quantile table (empirical)")
        if length is not None and length.distribution == "constant":
            yield Problem(place, f"has no effect: {name} is constant")


def _fan_out_problems(path: str, session: Session) -> Iterator[Problem]:
    if session.fan_out is None:
        return
    place = f"{path}.fan_out"
    for name in ("growth", "requests", "tools", "subagents", "compaction", "edits"):
        if getattr(session, name):
            message = f"is for independent requests, which {name} has no meaning for"
            yield Problem(place, message, None, f"leave out fan_out or {name}")
    most = largest(session.fan_out)
    if largest(session.turns) > 1 and most > MOST_AWAITED:
        message = "must be bounded where a turn waits for the one before"
        got = None if math.isinf(most) else most
        yield Problem(place, message, got, f"max: {MOST_AWAITED}, or one turn")


def _document_problems(path: str, tenant: Tenant, documents: Documents) -> Iterator[Problem]:
    yield from _length_problems(path, documents)
    if smallest(documents.number) > documents.count:
        message = f"must not always pass count ({documents.count}): none is put in twice"
        yield Problem(f"{path}.number", message, smallest(documents.number))
    if documents.count > MOST_DOCUMENTS:
        yield Problem(f"{path}.count", f"must be <= {MOST_DOCUMENTS:,}", documents.count)
    elif documents.count * tenant.shared_prefix.count > MOST_PLACES:
        message = f"must be <= {MOST_PLACES:,} divided by shared_prefix.count"
        yield Problem(f"{path}.count", message, documents.count)
