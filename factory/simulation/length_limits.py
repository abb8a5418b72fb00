"""How long prompts and answers may be: what memory, model and engine of each pool allow."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from factory.errors import Problem
from factory.performance import build_memory
from factory.scenario import Catalog, Deployment, Pool, Scenario, Tenant
from factory.scenario.check_lengths import smallest
from factory.scenario.check_session import context_problems, mean
from factory.simulation.names import block_size
from factory.workload.demands import longest_context
from factory.workload.lengths import joint, tokens

NOTABLE_CUT = 0.01
"""Share of lengths cut at a context from which on a reader is told."""


LONGEST_SESSION = 100.0
"""Mean length of a session above which it is taken for a mistake, over that of the run's load."""


@dataclass(frozen=True, slots=True)
class LengthLimits:
    """Limits of one deployment, tokens.

    Attributes:
        prompt: Longest prompt that the pool that prefills can hold.
        sequence: Longest prompt and answer.
    """

    prompt: int
    sequence: int

    @property
    def longest_prompt(self) -> int:
        """A prompt above this is rejected: an answer needs one token."""
        return min(self.prompt, self.sequence - 1)


def kv_capacity_tokens(
    pool: Pool, deployment: Deployment, catalog: Catalog, scenario: Scenario
) -> int:
    """KV tokens of one rank: what the engine states, or what memory leaves."""
    engine = pool.engine
    if engine.kv_capacity_tokens is not None:
        return engine.kv_capacity_tokens
    if engine.step_model.kind == "fixed":
        return sys.maxsize // 2
    return build_memory(pool, deployment, catalog, scenario).kv_capacity_tokens


def length_limits(deployment: Deployment, catalog: Catalog, scenario: Scenario) -> LengthLimits:
    """The limits of a deployment."""
    block = block_size(deployment)
    model = catalog.models[deployment.model]
    speculation = deployment.speculation
    drafts = 0 if speculation is None else speculation.draft_tokens
    capacities: dict[str, int] = {}
    prompt = sys.maxsize
    sequence = sys.maxsize
    for pool in deployment.pools:
        blocks = kv_capacity_tokens(pool, deployment, catalog, scenario) // block
        # Pinned prefixes may leave only the rest to a request.
        blocks -= int(blocks * pool.kv_cache.pinned_ratio)
        capacities[pool.role] = blocks * block
        sequence = min(sequence, pool.engine.max_model_len or model.max_context)
        if pool.role != "decode":
            prompt = min(prompt, blocks * block)
            if not pool.engine.scheduler.is_chunked:
                prompt = min(prompt, pool.engine.max_num_batched_tokens)
    # The drafts of the last step take KV too.
    last = capacities.get("decode", capacities.get("aggregated", 0))
    return LengthLimits(prompt, min(sequence, last - drafts))


def length_problems(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Tenants all of whose prompts are too long for the pools that would serve them."""
    names = [deployment.name for deployment in scenario.deployments]
    for number, tenant in enumerate(scenario.workload.tenants):
        deployment = scenario.deployments[names.index(tenant.deployment or names[0])]
        yield from _endless_problems(f"workload.tenants[{number}]", tenant, scenario)
        context = longest_context(deployment, catalog)
        yield from context_problems(f"workload.tenants[{number}]", tenant, context)
        shortest = _shortest_prompt(tenant)
        if shortest is None:
            continue
        longest = length_limits(deployment, catalog, scenario).longest_prompt
        if shortest > longest:
            message = f"no pool of {deployment.name} can fit even the shortest prompt"
            if tenant.shared_prefix.tokens:
                message += f", {shortest} tokens with its shared prefix"
            remedy = (
                f"at most {max(longest, 0)} tokens, or more KV memory, max_model_len, or chunked "
                "prefill"
            )
            path = f"workload.tenants[{number}].input_tokens"
            yield Problem(path, message, shortest - tenant.shared_prefix.tokens, remedy)


def _endless_problems(path: str, tenant: Tenant, scenario: Scenario) -> Iterator[Problem]:
    """Sessions that go on for very much longer than the run's load."""
    run = scenario.run
    if run.duration_s is None or run.cut_sessions or not run.drain or run.requests is not None:
        return
    session = tenant.session
    turns = session.turns if session.requests is None else session.requests
    lasts_s = mean(turns) * mean(session.think_time_s)
    if tenant.load is not None and lasts_s > LONGEST_SESSION * max(run.duration_s, 3600.0):
        message = f"sessions think for {lasts_s:.3g} s on average, and the run waits for their end"
        remedy = "run.cut_sessions: true, run.drain: false, or shorter sessions"
        yield Problem(f"{path}.session.think_time_s", message, allowed=remedy)


def length_notes(scenario: Scenario, catalog: Catalog) -> Iterator[str]:
    """Tenants a notable share of whose lengths ends where a context does, a line each."""
    names = [deployment.name for deployment in scenario.deployments]
    for tenant in scenario.workload.tenants:
        deployment = scenario.deployments[names.index(tenant.deployment or names[0])]
        longest = longest_context(deployment, catalog)
        room = longest - 1 - tenant.shared_prefix.tokens
        if tenant.lengths is not None:
            both = joint(tenant.lengths)
            lengths = {"inputs": (both.input, room), "outputs": (both.output, longest - 1)}
        elif tenant.input_tokens is not None and tenant.output_tokens is not None:
            lengths = {
                "inputs": (tokens(tenant.input_tokens), room),
                "outputs": (tokens(tenant.output_tokens), longest - 1),
            }
        else:
            continue
        for what, (drawn, most) in lengths.items():
            cut = drawn.survival(most)
            if cut > NOTABLE_CUT:
                yield (
                    f"{cut:.1%} of the {what} of tenant {tenant.name} are cut at the {longest} "
                    f"tokens that {deployment.name} takes"
                )


def _shortest_prompt(tenant: Tenant) -> int | None:
    """Tokens that every prompt of a tenant has at least, where its lengths say so."""
    length = tenant.input_tokens
    if length is None:
        return None
    return max(int(smallest(length)), 1) + tenant.shared_prefix.tokens
