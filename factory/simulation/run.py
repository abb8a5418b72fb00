"""One run: assemble, simulate, write, summarize."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.economics import summarize
from factory.economics.remarks import budget_remarks
from factory.errors import RunError, ScenarioError
from factory.kernel import Kernel
from factory.records.batch import RunConstants
from factory.records.run_directory import RunDirectory, run_id
from factory.records.tables import RunTables
from factory.scenario import Scenario, catalog_of, resolved
from factory.simulation.cells import expand
from factory.simulation.dimensions import write_dimensions
from factory.simulation.facts import measured_until, write_facts
from factory.simulation.names import block_size, lay_out
from factory.simulation.plant import Plant, assemble
from factory.simulation.power_builder import settled
from factory.simulation.preflight import notes, preflight, warnings
from factory.simulation.session_tally import SessionTally
from factory.simulation.site_builder import write_site
from factory.workload import build as build_workload

_EVENTS_PER_LOOK = 20_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        simulated_s: Simulated time, seconds.
        until_s: When no more requests arrive, seconds; infinite if not known.
        requests_done: Requests that have left.
        events: Events fired.
        wall_s: Seconds since the run began.
    """

    simulated_s: float
    until_s: float
    requests_done: int
    events: int
    wall_s: float


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run: where it is, and its figures (the keys of ``factory run --json``)."""

    run_dir: Path
    summary: dict[str, Any]


def simulate(
    scenario: Scenario,
    out: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> RunResult:
    """Simulates a scenario and leaves a run directory.

    Args:
        scenario: From `factory.scenario.load`.
        out: Where the run shall be; by default ``runs/<name>-<run id>``.
        progress: Told every few thousand events how far the run has come.

    Returns:
        The run's directory and its figures.

    Raises:
        ScenarioError: If `preflight` finds something.
        InputError: If the run directory exists, or a trace is malformed.
        RunError: If results cannot be written.
    """
    began = time.perf_counter()
    data = resolved(scenario)
    run = scenario.run
    version = _version()
    identity = run_id(data, run.seed, run.replication, version)
    known = catalog_of(scenario)
    problems = preflight(scenario, known)
    if problems:
        raise ScenarioError(problems)
    scenario = settled(scenario, known)
    built = expand(scenario)
    with RunDirectory(out, scenario.name, identity) as directory:
        constants = RunConstants(
            run_id=identity,
            epoch=run.epoch_at,
            window_s=run.window_s,
            pue=scenario.facility.pue or 1.0,
            measured_from_s=math.ceil(run.warmup_s / run.window_s) * run.window_s,
            measured_to_s=measured_until(scenario, None, 0.0),
            weight=scenario.cells.count / scenario.cells.simulated,
            time_zone=scenario.facility.time_zone,
        )
        layout = lay_out(built, known)
        tables = RunTables(directory.tables, constants, layout.codes)
        kernel = Kernel()
        sizes = [block_size(deployment) for deployment in built.deployments]
        workload = build_workload(built, known, sizes)
        write = tables.appender("fact_requests")
        tally = None
        if workload.session_tenants:
            tally = SessionTally(
                workload,
                layout.codes.tenant_limits,
                write,
                tables.appender("fact_sessions"),
                tables.appender("fact_tasks"),
            )
        plant = assemble(
            built,
            known,
            tally or workload,
            kernel,
            tally.write if tally else write,
            tables.appender("fact_events"),
            1.0 / constants.weight,
        )
        cpu = time.process_time()
        end_s = drive(scenario, plant, kernel, tables.maybe_flush, progress, began)
        if tally is not None:
            tally.finish(end_s)
        cpu = time.process_time() - cpu
        measured_to_s = measured_until(scenario, plant.intake.last_s, end_s)
        _require_measured(plant, constants.measured_from_s, measured_to_s, run.drain)
        tables.end_measured(measured_to_s)
        metered = plant.site.read(end_s)
        write_facts(plant, tables, metered, end_s)
        write_site(metered, built, tables, end_s)
        sessions = workload.session_tenants
        write_dimensions(scenario, known, plant, tables, version, kernel.fired, end_s, sessions)
        rows = tables.finish(end_s)
        summary = summarize(directory.tables)
        requests = plant.intake.taken
        summary = {
            "run_dir": str(directory.final),
            **summary,
            "skipped_rows": workload.skipped_rows,
            "warnings": [str(warning) for warning in warnings(scenario, known)],
            "notes": notes(scenario, known) + budget_remarks(summary["power"]) + _silent(summary),
            "simulated_s": end_s,
            "events": kernel.fired,
            "events_per_request": kernel.fired / requests if requests else None,
            "sim_cpu_s": cpu,
            "requests_per_cpu_s": requests / cpu if cpu > 0.0 else None,
            "peak_rss_mib": _peak_rss_mib(),
        }
        manifest = {
            "name": scenario.name,
            "run_id": identity,
            "version": version,
            "seed": run.seed,
            "replication": run.replication,
            "wall_s": time.perf_counter() - began,
            "scenario": data,
            "summary": summary,
        }
        return RunResult(directory.commit(manifest, rows), summary)


def drive(
    scenario: Scenario,
    plant: Plant,
    kernel: Kernel,
    flush: Callable[[], None],
    progress: Callable[[Progress], None] | None,
    began: float,
) -> float:
    """Fires events until the run is over; returns when that was, simulated seconds."""
    run = scenario.run
    stop_s = math.inf
    if not run.drain and run.duration_s is not None:
        stop_s = run.duration_s
    was_enabled = gc.isenabled()
    gc.freeze()
    gc.disable()  # the simulation makes no cycles; looking for them takes a tenth of its time
    try:
        plant.intake.open()
        for deployment in plant.deployments:
            deployment.open()
        while kernel.run_events(_EVENTS_PER_LOOK, stop_s):
            flush()
            if progress is not None:
                until_s = math.inf if run.duration_s is None else run.duration_s
                done = sum(deployment.completed for deployment in plant.deployments)
                wall = time.perf_counter() - began
                progress(Progress(kernel.now, until_s, done, kernel.fired, wall))
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
    flush()
    end_s = kernel.acted_s
    if run.duration_s is not None:
        end_s = max(end_s, run.duration_s) if run.drain else run.duration_s
    for pool in plant.pools:
        for replica in pool.replicas:
            replica.close(end_s)
    plant.tree.close(end_s)
    for deployment in plant.deployments:
        deployment.close()
    return end_s


def _silent(summary: Mapping[str, Any]) -> list[str]:
    """Tenants that asked nothing while it was measured, a line each."""
    return [
        f"tenant {name} asked nothing in the measured interval"
        for name, tenant in summary["attainment"].items()
        if not tenant["offered"]
    ]


def _require_measured(plant: Plant, from_s: float, to_s: float, drain: bool) -> None:
    """Refuses a run that measured nothing, or that stopped with requests inside.

    Raises:
        RunError: It is such a run.
    """
    stuck = sum(len(deployment.inside) for deployment in plant.deployments)
    if drain and stuck:
        raise RunError(f"{stuck} requests never finished: a defect of the simulator, please report")
    if from_s >= to_s > 0.0:
        raise RunError(
            f"nothing was measured: the run's load ended at {to_s:g} s, within the warm-up "
            f"(run.warmup_s, {from_s:g} s in whole windows); make it shorter or the run longer"
        )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("token-factory-sim")
    except PackageNotFoundError:
        return "0+unknown"


def _peak_rss_mib() -> float:
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 if sys.platform != "darwin" else 1024.0 * 1024.0)
