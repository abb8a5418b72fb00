"""`fact_sessions` and `fact_tasks`: what became of conversations, and of what people asked in them.

Only tenants whose sessions can have more than one request have rows here (`has_sessions` in
`dim_tenants`); the views `v_sessions` and `v_tasks` add those of the others.
"""

from __future__ import annotations

from factory.records import derive
from factory.records.columns import Column, Table
from factory.records.fact_columns import (
    RUN_ID,
    WEIGHT,
    cell_column,
    floats,
    instant_column,
    ints,
    name_column,
    token_column,
)

#: Raw fields that tasks and sessions share: who, what became of it, when, and sums over requests.
_WHO = ints("session", "deployment", "tenant", "outcome", "is_whole")
_WHEN = floats("start_time_s", "end_time_s")
_SUMS = (
    *ints("requests", "requests_good", "attempts", "subagent_requests", "agents"),
    *ints("input_tokens", "input_computed_tokens", "input_cached_tokens", "output_tokens"),
    *floats("gpu_s_input_computed", "gpu_s_input_cached", "gpu_s_input_at_decode"),
    *floats("gpu_s_output", "energy_j"),
)


def _seconds(name: str, description: str, values: derive.Derivation) -> Column:
    return Column(name, "float64", "s", description, "mean", True, "derived", values)


def _ids(of: str) -> tuple[Column, ...]:
    return (
        Column(
            "session_id",
            "id",
            "",
            f"Session{of}.",
            "key",
            made="derived",
            values=derive.ids("s", "session"),
        ),
    )


def _who(of: str) -> tuple[Column, ...]:
    return (
        name_column("deployment", "Deployment asked.", derive.named("deployment", "deployments")),
        name_column("tenant", "Traffic class.", derive.named("tenant", "tenants")),
        Column(
            "outcome",
            "string",
            "",
            f"completed where every request {of} completed, at whichever attempt; rejected, "
            "timed_out or failed, as the first that was not served, where one was not: what waits "
            "for it never comes; else in_flight: a request is inside, or to come after the run.",
            "none",
            made="derived",
            values=derive.outcome,
        ),
    )


def _when() -> tuple[Column, ...]:
    return (
        Column(
            "is_whole",
            "bool",
            "",
            "Whether it began in the run. One under way when the run began is not whole: it starts "
            "here with what it sent next, and is not measured.",
            "count",
        ),
        Column("start_time_s", "float64", "s", "Arrival of its first request.", "none"),
        instant_column("started_at", "start_time_s", "Arrival of its first request."),
        Column(
            "end_time_s",
            "float64",
            "s",
            "When its last request left, whatever the outcome; null where one is yet to.",
            "none",
            nullable=True,
        ),
        instant_column("ended_at", "end_time_s", "When its last request left.", nullable=True),
    )


def _sums() -> tuple[Column, ...]:
    return (
        Column("requests", "int32", "", "Logical requests, retries counted once.", "sum"),
        Column("requests_good", "int32", "", "Of these, within every limit of a request.", "sum"),
        Column("attempts", "int32", "", "Attempts of its requests.", "sum"),
        Column("subagent_requests", "int32", "", "Logical requests of sub-agents.", "sum"),
        Column("agents", "int32", "", "Agents that asked, the main one among them.", "none"),
        Column(
            "is_measured",
            "bool",
            "",
            "Whether it is whole and starts in the measured interval.",
            "none",
            made="derived",
            values=derive.measured_whole,
        ),
        token_column("input_tokens", "Prompt tokens, of all attempts."),
        token_column("input_computed_tokens", "Prompt tokens computed, each once per attempt."),
        token_column(
            "input_cached_tokens", "Prompt tokens served from the prefix cache, any tier."
        ),
        token_column("output_tokens", "Output tokens delivered to the client, each once."),
        Column(
            "gpu_s_input_computed",
            "float64",
            "GPU s",
            "GPU time of its prompt tokens computed and recomputed, of all attempts.",
            "sum",
        ),
        Column(
            "gpu_s_input_cached",
            "float64",
            "GPU s",
            "GPU time of its cached prompt tokens, of all attempts.",
            "sum",
        ),
        Column(
            "gpu_s_input_at_decode",
            "float64",
            "GPU s",
            "Of the GPU time of its prompts, computed and cached, that of prompts prefilled where "
            "they decode: all in an aggregated pool, those kept local in a disaggregated one.",
            "sum",
        ),
        Column("gpu_s_output", "float64", "GPU s", "GPU time of its output tokens.", "sum"),
        Column("energy_j", "float64", "J", "GPU energy of its requests, by their share.", "sum"),
    )


TASKS = Table(
    "fact_tasks",
    "task of a session of several requests, in the order in which sessions end",
    (*_WHO, *ints("task"), *_WHEN, *floats("waited_s", "first_token_time_s"), *_SUMS),
    (
        RUN_ID,
        WEIGHT,
        cell_column(derive.cell_of_tenant),
        Column(
            "task_id",
            "id",
            "",
            "The task, unique in the run; `fact_requests` has the same.",
            "key",
            made="derived",
            values=derive.task_ids,
        ),
        *_ids(" of the task"),
        Column("task", "int32", "", "Number of the task in its session, from 0.", "none"),
        *_who("of the task"),
        *_when(),
        _seconds(
            "task_s",
            "Task completion time, from the arrival of its first request to its last answer; null "
            "unless it completed.",
            derive.completed_span("start_time_s", "end_time_s"),
        ),
        Column(
            "waited_s",
            "float64",
            "s",
            "Time in which one of its requests at least was inside the factory, up to the end of "
            "the run.",
            "mean",
        ),
        _seconds(
            "tools_s",
            "The rest of its span: tools at work, and clients that wait before they try again; "
            "null while in flight.",
            derive.tools_s,
        ),
        _seconds(
            "ttft_s",
            "From its start to the first token of any of its answers; null without one.",
            derive.span("start_time_s", "first_token_time_s"),
        ),
        Column(
            "is_good",
            "bool",
            "",
            "Completed, and within the tenant's limit on tasks (`slo_task_s`); where it has none, "
            "with every request good.",
            "count",
            made="derived",
            values=derive.is_good_task,
        ),
        *_sums(),
    ),
)

SESSIONS = Table(
    "fact_sessions",
    "session of a tenant whose sessions have several requests, in the order in which they end",
    (*_WHO, *ints("tasks"), *_WHEN, *floats("think_s"), *_SUMS, *ints("peak_context_tokens")),
    (
        RUN_ID,
        WEIGHT,
        cell_column(derive.cell_of_tenant),
        *_ids(", unique in the run"),
        *_who("of the session"),
        *_when(),
        _seconds(
            "session_s",
            "From the arrival of its first request until the last has left; null while in flight.",
            derive.span("start_time_s", "end_time_s"),
        ),
        Column(
            "think_s",
            "float64",
            "s",
            "Time between its start and its end in which no task was under way: a person reads and "
            "thinks; null while in flight.",
            "mean",
            nullable=True,
        ),
        Column("tasks", "int32", "", "Tasks that began.", "sum"),
        *_sums(),
        Column(
            "peak_context_tokens",
            "int64",
            "tokens",
            "Longest prompt with its answer, as far as delivered.",
            "max",
        ),
    ),
)
