"""How long prompts and answers may be: what memory, model and engine of each pool allow."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from factory.errors import Problem
from factory.performance import build_memory
from factory.scenario import Catalog, Deployment, Pool, Scenario, Tenant
from factory.simulation.names import block_size


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
        shortest = _shortest_prompt(tenant)
        if shortest is None:
            continue
        deployment = scenario.deployments[names.index(tenant.deployment or names[0])]
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


def _shortest_prompt(tenant: Tenant) -> int | None:
    """Tokens that every prompt of a tenant has at least, where its lengths say so."""
    length = tenant.input_tokens
    if length is None:
        return None
    bound = length.value if length.value is not None else length.min
    if bound is None:
        return None
    return int(bound) + tenant.shared_prefix.tokens
