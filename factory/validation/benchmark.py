"""One closed-loop benchmark, simulated whole: every prompt, the rush at the start and the drain.

As InferenceX measures (utils/bench_serving, Apache-2.0, read 2026-11): ``2 x conc`` warm-ups end
before ``10 x conc`` prompts begin, ``conc`` of them at once and each other one as another ends.
Prompts are random, so the warm-ups leave nothing behind and are not simulated. Input and output
lengths are whole numbers, uniform in [0.8, 1] x nominal, drawn apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factory.errors import ScenarioError
from factory.validation.rows import NotPredictableError

if TYPE_CHECKING:
    from factory.performance import Layout
    from factory.performance.architecture import Format

PROMPTS_PER_SLOT = 10
SHORTEST = 0.8
NEVER_S = 1e9
UTILIZATIONS = (0.9, 0.95, 0.98)
"""Shares of GPU memory; the first that holds model and requests: a measured row did fit."""

LEAST_KV = 0.03
"""Share of GPU memory for KV where none of them does (assumed)."""

COLUMNS = (
    "outcome",
    "arrival_time_s",
    "first_token_time_s",
    "completion_time_s",
    "input_tokens",
    "output_tokens",
)


@dataclass(frozen=True, slots=True)
class Side:
    """One pool.

    Attributes:
        role: prefill, decode or aggregated.
        replicas: How many.
        layout: Parallel layout of each.
        max_num_seqs, max_num_batched_tokens: Limits of the engine, per attention rank.
    """

    role: str
    replicas: int
    layout: Layout
    max_num_seqs: int
    max_num_batched_tokens: int

    @property
    def gpus(self) -> int:
        """GPUs of the pool."""
        return self.replicas * self.layout.gpus


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Everything that decides how a benchmark goes; equal ones have equal results.

    Attributes:
        system, model: Names in the catalogue.
        weights, kv_cache: Formats.
        sides: The pools: one aggregated, or prefill and decode.
        isl, osl: Nominal lengths, tokens.
        conc: Requests in flight.
        acceptance: Probability that each draft token is accepted given those before it were; empty
            without speculative decoding.
        profile: Engine profile of the catalogue; empty for the default.
    """

    system: str
    model: str
    weights: Format
    kv_cache: Format
    sides: tuple[Side, ...]
    isl: int
    osl: int
    conc: int
    acceptance: tuple[float, ...] = ()
    profile: str = ""

    @property
    def gpus(self) -> int:
        """GPUs of all pools."""
        return sum(side.gpus for side in self.sides)

    @property
    def cost(self) -> float:
        """How long it takes to simulate, in no particular unit: leaps times ranks."""
        ranks = sum(4 + side.layout.dp for side in self.sides)
        return float(PROMPTS_PER_SLOT * self.conc * ranks)


@dataclass(frozen=True, slots=True)
class Measures:
    """What a benchmark reports.

    Attributes:
        ttft_s, tpot_s: Medians over requests, seconds.
        tokens_per_s: Input and output tokens over the whole duration, drain included.
        output_tokens_per_s, requests_per_s: The same of output tokens and requests.
    """

    ttft_s: float
    tpot_s: float
    tokens_per_s: float
    output_tokens_per_s: float
    requests_per_s: float


def simulate(benchmark: Benchmark, changes: Mapping[str, Any] | None = None) -> Measures | str:
    """Simulates a benchmark in memory: no tables, no page.

    Args:
        benchmark: What to simulate.
        changes: Changes of the catalogue, as a scenario's ``catalog_changes``.

    Returns:
        What it measures, or why it cannot be simulated.
    """
    try:
        return _measured(benchmark, changes or {})
    except NotPredictableError as error:
        return str(error)


def scenario_of(
    benchmark: Benchmark, utilization: float = UTILIZATIONS[0], kv_tokens: int | None = None
) -> dict[str, Any]:
    """The benchmark as a scenario, plain data for `factory.scenario.load`."""
    from factory.scenario import catalog

    deployment: dict[str, Any] = {
        "name": "server",
        "model": benchmark.model,
        "precision": {"weights": benchmark.weights, "kv_cache": benchmark.kv_cache},
        "router": {"policy": "least_loaded"},
        "decode_router": {"policy": "least_loaded"},
        "pools": [_pool(benchmark, side, utilization, kv_tokens) for side in benchmark.sides],
    }
    if benchmark.acceptance:
        drafts = len(benchmark.acceptance)
        deployment["speculation"] = {
            "draft_tokens": drafts,
            "acceptance": list(benchmark.acceptance),
        }
    system = catalog().systems[benchmark.system]
    racks = [
        {"name": name, "system": system.name, "count": -(-gpus // system.gpus_per_rack)}
        for name, gpus in _racks(benchmark, system.nvlink_domain_gpus).items()
    ]
    lengths = {
        name: {"distribution": "uniform", "min": int(SHORTEST * nominal), "max": nominal}
        for name, nominal in (("input_tokens", benchmark.isl), ("output_tokens", benchmark.osl))
    }
    return {
        "name": "benchmark",
        "facility": {"racks": racks},
        "deployments": [deployment],
        "workload": {
            "tenants": [{"name": "client", "load": {"concurrency": benchmark.conc}, **lengths}]
        },
        "run": {"requests": PROMPTS_PER_SLOT * benchmark.conc, "window_s": NEVER_S},
    }


def _racks(benchmark: Benchmark, domain: int) -> Mapping[str, int]:
    """GPUs of each rack group: one for all pools where an NVLink domain holds them."""
    if benchmark.gpus <= domain:
        return {"racks": benchmark.gpus}
    return {side.role: side.gpus for side in benchmark.sides}


def _pool(
    benchmark: Benchmark, side: Side, utilization: float, kv_tokens: int | None
) -> dict[str, Any]:
    from factory.scenario import catalog

    layout = side.layout
    domain = catalog().systems[benchmark.system].nvlink_domain_gpus
    engine: dict[str, Any] = {
        "max_num_seqs": side.max_num_seqs,
        "max_num_batched_tokens": side.max_num_batched_tokens,
        "gpu_memory_utilization": utilization,
        "enable_prefix_caching": False,
    }
    if kv_tokens is not None:
        engine["kv_capacity_tokens"] = kv_tokens
    if benchmark.profile:
        engine["profile"] = benchmark.profile
    return {
        "name": side.role,
        "role": side.role,
        "racks": "racks" if len(_racks(benchmark, domain)) == 1 else side.role,
        "replicas": side.replicas,
        "parallel": {"tp": layout.tp, "pp": layout.pp, "dp": layout.dp, "ep": layout.ep},
        "engine": engine,
    }


def _measured(benchmark: Benchmark, changes: Mapping[str, Any]) -> Measures:
    """Runs it at the first share of memory that holds the model.

    Raises:
        NotPredictableError: None does, the scenario has another fault, or a request is turned away.
    """
    from factory.scenario import catalog_of, load
    from factory.simulation import preflight

    told = ""
    tried = [(share, None) for share in UTILIZATIONS]
    for utilization, kv_tokens in (*tried, (UTILIZATIONS[-1], _least_kv(benchmark))):
        try:
            stated = scenario_of(benchmark, utilization, kv_tokens)
            scenario = load({**stated, "catalog_changes": changes})
            problems = preflight(scenario, catalog_of(scenario))
        except ScenarioError as error:
            problems = error.problems
        if problems:
            told = told or problems[0].message
            continue
        try:
            return _run(scenario)
        except NotPredictableError as error:
            told = str(error)
    raise NotPredictableError(told)


def _least_kv(benchmark: Benchmark) -> int:
    """KV tokens of a rank where the plan finds no room: what `LEAST_KV` of a GPU's memory holds."""
    from factory.performance.memory import kv_bytes_per_token_per_gpu
    from factory.scenario import catalog

    known = catalog()
    memory = known.gpus[known.systems[benchmark.system].gpu].hbm_gb * 1e9 * LEAST_KV
    layout = benchmark.sides[-1].layout
    model = known.models[benchmark.model]
    return int(memory / kv_bytes_per_token_per_gpu(model, layout, benchmark.kv_cache))


def _run(scenario: Any) -> Measures:
    """Runs a sound scenario and takes its measures.

    Raises:
        NotPredictableError: A request was turned away.
    """
    import numpy as np

    from factory.kernel import Kernel
    from factory.records.codes import COMPLETED
    from factory.records.fact_requests import REQUESTS
    from factory.scenario import catalog_of
    from factory.simulation.names import block_size
    from factory.simulation.plant import assemble
    from factory.simulation.run import drive
    from factory.workload import build

    names = [field.name for field in REQUESTS.raw]
    places = [names.index(name) for name in COLUMNS]
    kept: list[tuple[float, ...]] = []

    def keep(row: tuple[Any, ...]) -> None:
        kept.append(tuple([row[place] for place in places]))

    kernel = Kernel()
    sizes = [block_size(deployment) for deployment in scenario.deployments]
    known = catalog_of(scenario)
    workload = build(scenario, known, sizes)
    plant = assemble(scenario, known, workload, kernel, keep, lambda _: None)
    drive(scenario, plant, kernel, lambda: None, None, 0.0)
    outcome, arrival, first, completion, given, made = np.array(kept, dtype=np.float64).T
    if lost := int((outcome != COMPLETED).sum()):
        raise NotPredictableError(
            f"{lost} of {len(kept)} requests were turned away: a prompt and its answer do not fit "
            "the KV cache"
        )
    duration = float(completion.max())
    many = made > 1
    tpot = (completion[many] - first[many]) / (made[many] - 1)
    return Measures(
        ttft_s=float(np.median(first - arrival)),
        tpot_s=float(np.median(tpot)) if many.any() else math.nan,
        tokens_per_s=float((given + made).sum()) / duration,
        output_tokens_per_s=float(made.sum()) / duration,
        requests_per_s=len(kept) / duration,
    )
