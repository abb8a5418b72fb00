"""Requests at stated times, through the real components: the demand of hand-computed scenarios."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import observed
import pytest
from conserved import violations
from observed import BoundedKernel, Observed, differences

from factory.errors import ScenarioError
from factory.records.codes import COMPLETED
from factory.scenario import Scenario, catalog, load
from factory.serving.meter import STATES
from factory.simulation.plant import assemble
from factory.simulation.preflight import preflight
from factory.simulation.run import drive
from factory.workload import Request, Workload
from factory.workload.loops import NOTHING
from factory.workload.retries import Retries, policy

MS = 1e-3
MOST_EVENTS = 20_000

STEP = {"kind": "fixed", "base_ms": 10, "per_seq_ms": 1, "per_prefill_token_ms": 0.5}
"""A step takes 10 ms, 1 ms for each decoding sequence and 0.5 ms for each prompt token."""


def ask(
    at_ms: float,
    prompt: int,
    answer: int,
    tenant: int = 0,
    blocks: tuple[int, ...] = (),
    context: tuple[int, ...] = (),
    most: int = 0,
    after: int = -1,
) -> Request:
    """A request: when it comes, its tokens, whose it is, and the runs of blocks of its prompt.

    Args:
        at_ms: When it comes, ms; with ``after``, ms after that one has ended.
        prompt: Its tokens.
        answer: Those of its answer.
        tenant: Position of its tenant.
        blocks: Runs of its prompt, as `Request` has them.
        context: Runs of prompt and answer.
        most: Output tokens that its client allows; 0 for those of its answer.
        after: Position of the request whose end it waits for.
    """
    return Request(
        -1, tenant, 0, 0, 0, after, -1, 0, at_ms * MS, prompt, answer, blocks, context, most
    )


class Scripted:
    """A workload of exactly these requests, numbered as given."""

    block_size = (1,)
    skipped_rows = 0
    session_tenants: frozenset[int] = frozenset()

    def __init__(self, asks: Sequence[Request]) -> None:
        self._later: dict[int, list[Request]] = {}
        for index, request in enumerate(asks):
            request.index = request.root = request.session = index
            if request.parent >= 0:
                self._later.setdefault(request.parent, []).append(request)
        self._first = [request for request in asks if request.parent < 0]

    def cut_tasks(self, session: int) -> Sequence[int]:
        """None: a script ends when all of it has been sent."""
        del session
        return ()

    def start(self) -> Iterator[Request]:
        """Those that wait for nothing."""
        yield from sorted(self._first, key=lambda request: (request.arrival_s, request.index))

    def on_done(self, request: Request, time_s: float, outcome: int) -> Sequence[Request]:
        """Those that waited for this one."""
        del outcome
        later = self._later.get(request.index)
        if later is None:
            return NOTHING
        for other in later:
            other.arrival_s = other.first_s = time_s + other.arrival_s
        return later


def play(scenario: dict[str, Any], asks: Sequence[Request], **run: Any) -> Observed:
    """Runs a scenario on these requests under both engines, which agree; nothing is lost.

    Args:
        scenario: Plain data; the load of its tenants is not asked for.
        asks: The requests; they may be played again.
        run: Fields of its run.
    """
    seen = []
    for engine in ("leap", "step"):
        made = load({**scenario, "run": {"requests": len(asks), **run, "engine": engine}})
        seen.append(_observe(made, copy.deepcopy(list(asks))))
    assert not differences(*seen)
    for each in seen:
        assert not violations(each, is_drained=True)
    return seen[0]


def _observe(scenario: Scenario, asks: Sequence[Request]) -> Observed:
    """`observed.observe` on another workload than the scenario's."""
    known = catalog()
    problems = preflight(scenario, known)
    if problems:
        raise ScenarioError(problems)
    tenants, run = scenario.workload.tenants, scenario.run
    policies = {
        number: policy(tenant.name, tenant.retry)
        for number, tenant in enumerate(tenants)
        if tenant.retry is not None
    }
    workload: Workload = Scripted(asks)
    if policies:
        workload = Retries(workload, policies, run.seed, run.replication)
    rows: list[observed.Row] = []
    kernel = BoundedKernel(MOST_EVENTS)
    plant = assemble(scenario, known, workload, kernel, rows.append, [].append)
    end_s = drive(scenario, plant, kernel, lambda: None, None, 0.0)
    return observed.gathered(plant, rows, kernel, end_s)


def factory(
    *pools: dict[str, Any], tenants: Sequence[dict[str, Any]] = ({},), **deployment: Any
) -> dict[str, Any]:
    """A scenario of one deployment: blocks of one token, one replica a pool, steps as `STEP`.

    Args:
        pools: Fields of each pool; by default one aggregated pool.
        tenants: Fields of each tenant: ``t0``, ``t1`` and so on.
        deployment: Fields of the deployment.
    """
    made = []
    for pool in pools or ({},):
        role = pool.get("role", "aggregated")
        engine = {"step_model": STEP, "max_num_seqs": 8, **pool.get("engine", {})}
        made.append({"name": role, "role": role, "racks": "r", "replicas": 1, **pool})
        made[-1]["engine"] = engine
    asked = {"load": {"rate": 1.0}, "input_tokens": 1, "output_tokens": 1}
    return {
        "name": "scripted",
        "facility": {"racks": [{"name": "r", "system": "hgx-h100"}]},
        "deployments": [
            {
                "name": "d",
                "model": "llama-3.1-8b",
                "block_size": 1,
                "router": {"policy": "round_robin"},
                "pools": made,
                **deployment,
            }
        ],
        "workload": {
            "tenants": [{"name": f"t{i}", **asked, **own} for i, own in enumerate(tenants)]
        },
    }


def replica(*, tenants: Sequence[dict[str, Any]] = ({},), **engine: Any) -> dict[str, Any]:
    """`factory` with one aggregated replica, whose engine has these fields."""
    return factory({"engine": engine}, tenants=tenants)


def near(*milliseconds: float) -> Any:
    """These times, or one of them, in seconds."""
    wanted = [value * MS for value in milliseconds]
    return pytest.approx(wanted if len(wanted) > 1 else wanted[0], abs=1e-9)


def spent(seen: Observed, state: int, pool: int = 0) -> float:
    """GPU-seconds of a pool in a state of the ledger."""
    return sum(row[STATES + state] for row in seen.pools[pool])


def latencies(seen: Observed) -> tuple[list[float], list[float]]:
    """TTFT and E2E of each completed request, seconds."""
    columns = ("outcome", "arrival_s", "first_token_s", "completion_s")
    rows = [row for row in zip(*map(seen.column, columns), strict=True) if row[0] == COMPLETED]
    return [first - came for _, came, first, _ in rows], [end - came for _, came, _, end in rows]
