"""The fact tables: what happened, each row keyed by run."""

from __future__ import annotations

from factory.records import derive
from factory.records.codes import EVENT_MEANINGS, LEDGER_MEANINGS, LEDGER_STATES
from factory.records.columns import Column, Raw, Table
from factory.records.fact_columns import (
    RUN_ID,
    WEIGHT,
    cell_column,
    energy_columns,
    floats,
    instant_column,
    ints,
    kwh_column,
    name_column,
    time_column,
    token_column,
    window_columns,
)
from factory.records.fact_power import DEMAND_METER, GRID, POWER
from factory.records.fact_requests import REQUESTS
from factory.records.fact_sessions import SESSIONS, TASKS

INTERVALS = Table(
    "fact_intervals",
    "pool × window; a pseudo-pool per rack group holds the GPUs that no pool uses",
    (
        *ints("pool", "window_index"),
        *floats("gpu_s_provisioned"),
        *floats("input_computed_tokens", "input_recomputed_tokens", "input_cached_tokens"),
        *floats("output_tokens", "output_good_tokens"),
        *floats(*(f"gpu_s_{state}" for state in LEDGER_STATES)),
        *floats("reference_gpu_s", "energy_gpu_j", "energy_gpu_idle_j"),
        *floats("energy_it_j", "energy_facility_j"),
        *ints("steps", "leaps"),
    ),
    (
        RUN_ID,
        WEIGHT,
        cell_column(derive.cell_of_pool),
        name_column(
            "deployment",
            "Deployment of the pool; null for unassigned GPUs.",
            derive.deployment_of_pool,
            nullable=True,
        ),
        name_column("pool", "Pool.", derive.named("pool", "pools")),
        Column(
            "role",
            "string",
            "",
            "prefill, decode, aggregated or unassigned.",
            "none",
            made="derived",
            values=derive.role_of_pool,
        ),
        *window_columns(),
        Column(
            "gpu_s_provisioned",
            "float64",
            "GPU s",
            "GPU time that is paid for; GPUs given back are not.",
            "sum",
        ),
        Column(
            "input_computed_tokens",
            "float64",
            "tokens",
            "Prompt tokens computed in the window, each once; a step across the boundary counts "
            "by its share, hence fractions.",
            "sum",
        ),
        Column(
            "input_recomputed_tokens",
            "float64",
            "tokens",
            "Tokens prefilled again in the window.",
            "sum",
        ),
        Column(
            "input_cached_tokens",
            "float64",
            "tokens",
            "Prompt tokens served from the prefix cache in the window.",
            "sum",
        ),
        Column(
            "output_tokens",
            "float64",
            "tokens",
            "Output tokens emitted in the window, each once.",
            "sum",
        ),
        Column(
            "output_good_tokens",
            "float64",
            "tokens",
            "Output tokens of good requests that completed in the window.",
            "sum",
        ),
        *(
            Column(f"gpu_s_{state}", "float64", "GPU s", f"GPU time: {meaning}.", "sum")
            for state, meaning in zip(LEDGER_STATES, LEDGER_MEANINGS, strict=True)
        ),
        Column(
            "reference_gpu_s",
            "float64",
            "GPU s",
            "GPU time that the same tokens would take at the pool's efficient operating point.",
            "sum",
        ),
        *energy_columns("the pool"),
        kwh_column(
            "energy_gpu_idle_kwh",
            "energy_gpu_idle_j",
            "Part of the energy at the GPU boundary that was drawn while a replica did nothing, "
            "or by GPUs that no replica uses; the rest is that of requests.",
        ),
        Column("steps", "int64", "", "Forward passes that ended in the window.", "sum"),
        Column("leaps", "int64", "", "Runs of steps simulated as one event.", "sum"),
    ),
)

TENANT_INTERVALS = Table(
    "fact_tenant_intervals",
    "deployment × tenant × window",
    (
        *ints("deployment", "tenant", "window_index", "offered", "retried", "completed", "good"),
        *ints("rejected", "timed_out", "failed", "input_tokens"),
        *floats("output_tokens"),
        *ints("output_good_tokens"),
    ),
    (
        RUN_ID,
        WEIGHT,
        cell_column(derive.cell_of_tenant),
        name_column("deployment", "Deployment asked.", derive.named("deployment", "deployments")),
        name_column("tenant", "Traffic class.", derive.named("tenant", "tenants")),
        *window_columns(),
        Column("offered", "int64", "", "Logical requests that arrived in the window.", "sum"),
        Column("retried", "int64", "", "Further attempts that arrived in the window.", "sum"),
        Column("completed", "int64", "", "Requests that completed in the window.", "sum"),
        Column("good", "int64", "", "Good requests that completed in the window.", "sum"),
        Column("rejected", "int64", "", "Attempts rejected in the window.", "sum"),
        Column("timed_out", "int64", "", "Attempts whose clients gave up in the window.", "sum"),
        Column("failed", "int64", "", "Attempts that were lost in the window.", "sum"),
        token_column(
            "input_tokens", "Prompt tokens of the logical requests that arrived in the window."
        ),
        Column(
            "output_tokens",
            "float64",
            "tokens",
            "Output tokens emitted in the window, each once.",
            "sum",
        ),
        token_column(
            "output_good_tokens", "Output tokens of good requests that completed in the window."
        ),
    ),
)

EVENTS = Table(
    "fact_events",
    "event: scale, failure, cap, curtailment and the like, in order of time",
    (
        *floats("time_s"),
        *(Raw(name, "text") for name in ("kind", "subject")),
        *floats("value"),
        Raw("detail", "text"),
    ),
    (
        RUN_ID,
        WEIGHT,
        cell_column(derive.cell_of_subject, nullable=True),
        time_column("event_time_s", "time_s", "When it happened, simulated seconds."),
        instant_column("event_at", "time_s", "When it happened."),
        Column(
            "kind",
            "string",
            "",
            "What happened, in one word; the value is its number. "
            + "; ".join(f"{kind}: {meaning}" for kind, meaning in EVENT_MEANINGS.items())
            + ".",
            "none",
        ),
        Column(
            "subject",
            "string",
            "",
            "Pool, replica, node or tenant it happened to.",
            "none",
            made="derived",
            values=derive.plain_subject,
        ),
        Column(
            "value",
            "float64",
            "",
            "The event's number, in the unit that `detail` says; null without one.",
            "none",
            nullable=True,
        ),
        Column("detail", "string", "", "What else is to be said.", "none", nullable=True),
    ),
)

FACTS = (REQUESTS, SESSIONS, TASKS, INTERVALS, TENANT_INTERVALS, POWER, GRID, DEMAND_METER, EVENTS)
