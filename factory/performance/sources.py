"""Step times from a table or a database for a scenario's pool: built, checked and annotated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from factory.errors import InputError, Problem, ScenarioError
from factory.performance.aic import SYSTEMS, Question, aic_table, known_model
from factory.performance.build import build_memory, layout_of, system_of
from factory.performance.coverage import NOISE, Limits, completed, shortfalls
from factory.performance.measured import (
    MeasuredStepModel,
    decode_surface,
    fitted_pair_s,
    prefill_surface,
)
from factory.performance.step_table import PHASES, StepTable, read_table

if TYPE_CHECKING:
    from factory.performance.step_model import StepModel
    from factory.performance.surface import Lift
    from factory.scenario.deployment import Deployment, Pool
    from factory.scenario.schema import Scenario
    from factory.scenario.specs import Catalog


def measured_model(
    pool: Pool, deployment: Deployment, catalog: Catalog, scenario: Scenario, shape: StepModel
) -> MeasuredStepModel:
    """The step model of a pool whose step times come from a table or the database.

    Args:
        pool: Its ``engine.step_model`` is of kind ``table`` or ``aic``.
        deployment: What it serves.
        catalog: What its names refer to.
        scenario: Where it stands.
        shape: The roofline of the same pool; gives work, the clock's effect, and the times of a
            phase that a table lacks.

    Raises:
        InputError: The table cannot be read, or the database cannot answer.
    """
    table = pool_table(pool, deployment, catalog, scenario)
    limits = limits_of(pool, deployment, catalog, scenario)
    ranks = pool.parallel.dp
    overhead_s = (pool.engine.step_overhead_ms or 0.0) * 1e-3
    return MeasuredStepModel(completed(table, shape, limits, ranks), shape, ranks, overhead_s)


def pool_table(
    pool: Pool, deployment: Deployment, catalog: Catalog, scenario: Scenario
) -> StepTable:
    """The table of a pool, read or asked for.

    Raises:
        InputError: The table cannot be read, or the database cannot answer.
    """
    stated = pool.engine.step_model
    if stated.kind == "table":
        return read_table(Path(stated.path or ""))
    model = catalog.models[deployment.model]
    system = system_of(pool, scenario, catalog).name
    if stated.system is None and system not in SYSTEMS:
        raise InputError(
            f"step_model kind: aic does not know {system}; name the database's system with "
            f"step_model.system (known: {', '.join(SYSTEMS)})"
        )
    speculation = getattr(deployment, "speculation", None)
    limits = limits_of(pool, deployment, catalog, scenario, kv_tokens=0)
    return aic_table(
        Question(
            system=stated.system or SYSTEMS[system],
            model=stated.model or known_model(model.hf_id, deployment.precision.weights),
            backend=stated.backend or "trtllm",
            version=stated.version or "current",
            layout=layout_of(pool),
            is_moe=bool(model.experts),
            weights=deployment.precision.weights,
            kv_cache=deployment.precision.kv_cache,
            draft_tokens=speculation.draft_tokens if speculation else 0,
            limits=limits,
        )
    )


def limits_of(
    pool: Pool,
    deployment: Deployment,
    catalog: Catalog,
    scenario: Scenario,
    kv_tokens: int | None = None,
) -> Limits:
    """What one rank of a pool's engine can be asked for.

    Args:
        pool: The pool.
        deployment: What it serves.
        catalog: What its names refer to.
        scenario: Where it stands.
        kv_tokens: Tokens of its KV cache; by default as stated, or what memory leaves.
    """
    engine = pool.engine
    if kv_tokens is None:
        kv_tokens = engine.kv_capacity_tokens
    if kv_tokens is None:
        kv_tokens = build_memory(pool, deployment, catalog, scenario).kv_capacity_tokens
    longest = engine.max_model_len or catalog.models[deployment.model].max_context
    return Limits(engine.max_num_seqs, engine.max_num_batched_tokens, longest, kv_tokens)


def source_problems(
    pool: Pool, deployment: Deployment, catalog: Catalog, scenario: Scenario, path: str
) -> Iterator[Problem]:
    """What is wrong with a pool's table: unreadable, not monotone, or too small for the engine.

    Args:
        pool: The pool; other kinds of step model have no such problems.
        deployment: What it serves.
        catalog: What its names refer to.
        scenario: Where it stands.
        path: The pool's place in the scenario.
    """
    stated = pool.engine.step_model
    if stated.kind not in {"table", "aic"}:
        return
    place = f"{path}.engine.step_model"
    if stated.path is not None and not Path(stated.path).is_file():
        return  # told as a missing file
    try:
        table = pool_table(pool, deployment, catalog, scenario)
    except ScenarioError as error:
        yield from error.problems
        return
    except InputError as error:
        yield Problem(place, str(error))
        return
    if stated.kind == "aic":
        return
    yield from _row_problems(table, pool, place)
    if not stated.extrapolate:
        limits = limits_of(pool, deployment, catalog, scenario)
        for short in shortfalls(table, limits, pool.role):
            message = f"{short.message} ({stated.path}); step_model.extrapolate: true goes beyond"
            allowed = f"at most {short.allowed}" if short.got > short.allowed else None
            yield Problem(f"{path}.engine.{short.field}", message, short.got, allowed)


def _row_problems(table: StepTable, pool: Pool, place: str) -> Iterator[Problem]:
    """What is wrong with a table whatever its engine's limits are."""
    file = pool.engine.step_model.path
    for phase, role in zip(PHASES, ("decode", "prefill"), strict=True):
        if pool.role != role and not getattr(table, phase):
            message = f"has no {phase} rows, which a pool of role {pool.role} lives by"
            yield Problem(f"{place}.path", message, file)
    contexts: dict[int, set[int]] = {}
    for row in table.decode:
        contexts.setdefault(row.batch, set()).add(row.context)
    thin = [batch for batch, seen in contexts.items() if len(seen) < 2]
    if thin:
        message = f"decode batch {thin[0]} has one context; two or more say how context tells"
        yield Problem(f"{place}.path", message, file)
    for lift in _lifts(table):
        if lift.ratio > NOISE:
            row = lift.row
            behind = f" behind {row.cached} cached" if row.cached else ""
            message = (
                f"{row.phase} of batch {row.batch} x {row.context}{behind} takes "
                f"{row.milliseconds:g} ms, which a smaller step of the table exceeds by "
                f"{lift.ratio:.0%}; up to {NOISE:.0%} passes as noise"
            )
            yield Problem("milliseconds", message, location=f"{file}:{row.line}")


def source_notes(
    pool: Pool, deployment: Deployment, catalog: Catalog, scenario: Scenario
) -> Iterator[str]:
    """What a reader of the results must know of a pool's step times, a line each."""
    stated = pool.engine.step_model
    if stated.kind not in {"table", "aic"}:
        return
    table = pool_table(pool, deployment, catalog, scenario)
    begin = f"pool {pool.name}: step times"
    yield f"{begin} from {table.source}"
    for phase in PHASES:
        if not getattr(table, phase):
            yield f"{begin}: no {phase} rows; the roofline's stand in"
    lifts = _lifts(table)
    if lifts:
        yield (
            f"{begin}: {len(lifts)} of {len(table.decode) + len(table.prefill)} lie below those of "
            f"a smaller step, by up to {lifts[0].ratio:.1%}, and are taken to be as long as those"
        )
    limits = limits_of(pool, deployment, catalog, scenario)
    for short in shortfalls(table, limits, pool.role):
        yield f"{begin} extrapolated: {short.message}, {short.field} is {short.got}"
    if stated.kind == "table" and table.decode and pool.role != "prefill":
        first = min(row.context for row in table.decode)
        if first > 1:
            yield f"{begin}: contexts below {first} tokens take the time of {first}"


def _lifts(table: StepTable) -> tuple[Lift, ...]:
    """Times of a table that lie below those of smaller steps, the largest gap first."""
    found: list[Lift] = []
    if table.decode:
        found += decode_surface(table.decode).lifts
    if table.prefill:
        found += prefill_surface(table.prefill, fitted_pair_s(table.prefill)).lifts
    return tuple(sorted(found, key=lambda lift: -lift.ratio))
