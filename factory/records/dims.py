"""Runs, their parameters and the dimensions: what the facts are about."""

from __future__ import annotations

from factory.records import derive
from factory.records.columns import Aggregation, Column, ColumnType, Raw, RawKind, Table
from factory.records.fact_columns import RUN_ID

_RAW_KIND: dict[ColumnType, RawKind] = {
    "bool": "int",
    "int32": "int",
    "int64": "int",
    "float64": "float",
    "string": "text",
    "id": "text",
    "timestamp": "float",
}


def _text(name: str, description: str, *, nullable: bool = False) -> Column:
    return Column(name, "string", "", description, "none", nullable)


def _key(name: str, description: str, *, nullable: bool = False) -> Column:
    return Column(name, "string", "", description, "key", nullable)


def _int(
    name: str,
    unit: str,
    description: str,
    aggregation: Aggregation = "none",
    *,
    nullable: bool = False,
) -> Column:
    return Column(name, "int64", unit, description, aggregation, nullable)


def _float(
    name: str,
    unit: str,
    description: str,
    aggregation: Aggregation = "none",
    *,
    nullable: bool = False,
) -> Column:
    return Column(name, "float64", unit, description, aggregation, nullable)


def _instant(name: str, of: str, description: str, *, nullable: bool = False) -> Column:
    return Column(
        name, "timestamp", "UTC", description, "none", nullable, "derived", derive.moment(of)
    )


def _table(name: str, grain: str, *columns: Column) -> Table:
    """A table whose rows are handed over as mappings from its own column names."""
    raw = tuple(Raw(c.name, _RAW_KIND[c.type]) for c in columns if c.made == "raw")
    return Table(name, grain, raw, (RUN_ID, *columns))


RUNS = _table(
    "fact_runs",
    "run",
    Column(
        "weight",
        "float64",
        "",
        "1: a run counts once, however many cells it stands for.",
        "none",
        made="constant",
        values=derive.one,
    ),
    _text("scenario", "Name of the scenario."),
    _key("study_id", "Study that the run belongs to.", nullable=True),
    _key("point_id", "Point of the study's design.", nullable=True),
    _int("replication", "", "Number of the replication, from 0."),
    _key("baseline_run_id", "Run that this one is compared with, under one seed.", nullable=True),
    _text("contrast", "What differs from the baseline run.", nullable=True),
    _key("pricing_id", "Prices in `dim_prices`; null for performance only.", nullable=True),
    _int("seed", "", "Root of the random streams."),
    _text("engine", "leap or step."),
    _text("model_version", "Version of the simulator that made the run."),
    _text("time_zone", "Time zone of the facility, an IANA name."),
    Column(
        "epoch_at",
        "timestamp",
        "UTC",
        "The instant of simulated time 0.",
        "none",
        made="constant",
        values=derive.epoch,
    ),
    _float("end_time_s", "s", "End of the run, simulated seconds.", "max"),
    _float("measured_from_s", "s", "Start of the measured interval, simulated seconds."),
    _float("measured_to_s", "s", "End of the measured interval (excluded), simulated seconds."),
    _instant("measured_from_at", "measured_from_s", "Start of the measured interval."),
    _instant("measured_to_at", "measured_to_s", "End of the measured interval."),
    _float("window_s", "s", "Span of a window."),
    _float("pue", "", "Facility power over IT power."),
    _float(
        "contracted_facility_mw",
        "MW",
        "Facility power contracted, of all cells together.",
        "sum",
    ),
    _int("cells", "", "Cells that the run stands for.", "sum"),
    _int("cells_simulated", "", "Cells simulated.", "sum"),
    _int("requests", "", "Attempts of requests, all outcomes.", "sum"),
    _int("events", "", "Events fired, stale ones included.", "sum"),
)

RUN_PARAMETERS = _table(
    "fact_run_parameters",
    "run × path of the resolved scenario",
    _key("path", "Path in the scenario, as `--set` takes it."),
    _text("value", "Its value in words; null where the scenario says null.", nullable=True),
    Column(
        "value_number",
        "float64",
        "",
        "The value as a number, null if it is none.",
        "none",
        nullable=True,
        made="derived",
        values=derive.as_number("value"),
    ),
)

DEPLOYMENTS = _table(
    "dim_deployments",
    "deployment",
    _key("deployment", "Deployment."),
    _key("model", "Model served."),
    _text("weights_precision", "fp16, fp8 or fp4."),
    _text("kv_cache_precision", "fp16 or fp8."),
    _text("router_policy", "Policy that sends a request to its first replica."),
    _text(
        "decode_router_policy",
        "Policy that picks the decode replica; null without disaggregated pools.",
        nullable=True,
    ),
    _int("block_size_tokens", "tokens", "Tokens per block of the prefix cache."),
    _int("draft_tokens", "tokens", "Drafts of each sequence that a decode step verifies; 0: none."),
    _int(
        "longest_prompt_tokens",
        "tokens",
        "Longest prompt that can be served: it leaves room for an answer in the model's context, "
        "and fits the KV memory of a replica. Longer ones are rejected.",
    ),
)

POOLS = _table(
    "dim_pools",
    "pool; a pseudo-pool per rack group holds the GPUs that no pool uses; counts are of one cell",
    _key("pool", "Pool, unique in a cell; every cell has it."),
    _key("deployment", "Deployment of the pool; null for unassigned GPUs.", nullable=True),
    _text("role", "prefill, decode, aggregated or unassigned."),
    _key("system", "System of its GPUs."),
    _text("racks", "Rack group that holds it."),
    _int("replicas", "", "Replicas at the start; autoscaling may change them.", "sum"),
    _int("gpus_per_replica", "GPUs", "GPUs of a replica; null for unassigned.", nullable=True),
    _int("gpus", "GPUs", "GPUs of the pool, with as many replicas as it may have.", "sum"),
    _int("tp", "", "Tensor-parallel ranks; null for unassigned.", nullable=True),
    _int("pp", "", "Pipeline stages; null for unassigned.", nullable=True),
    _int("dp", "", "Attention-data-parallel ranks; null for unassigned.", nullable=True),
    _int("ep", "", "Expert-parallel ranks; null for unassigned.", nullable=True),
    _int("kv_capacity_tokens", "tokens", "KV capacity of a DP rank.", nullable=True),
    _float(
        "reference_gpu_s_per_input_computed_token",
        "GPU s",
        "GPU time of a computed prompt token at the efficient operating point.",
        nullable=True,
    ),
    _float(
        "reference_gpu_s_per_input_cached_token",
        "GPU s",
        "GPU time of a cached prompt token at the efficient operating point.",
        nullable=True,
    ),
    _float(
        "reference_gpu_s_per_output_token",
        "GPU s",
        "GPU time of an output token at the efficient operating point.",
        nullable=True,
    ),
)

REPLICAS = _table(
    "dim_replicas",
    "replica",
    _key("replica", "Replica, unique in the run."),
    _key("pool", "Pool of the replica."),
    _key("deployment", "Deployment of the replica."),
    _key("power_node", "Power node that feeds it; its first where it spans several."),
    _int("gpus", "GPUs", "GPUs of the replica.", "sum"),
    _int("cell", "", "Simulated cell that it is in, from 0."),
)

POWER_NODES = _table(
    "dim_power_nodes",
    "power node",
    _key("power_node", "Power node, unique in the run."),
    _int("cell", "", "Simulated cell, from 0; null for what all cells share.", nullable=True),
    _text("level", "facility, row, rack or node."),
    _key("parent_power_node", "Power node above; null at the top.", nullable=True),
    _key("system", "System of its GPUs; null where they are mixed.", nullable=True),
    _int("gpus", "GPUs", "GPUs under the node; never add up different levels."),
    _float("design_it_kw", "kW", "IT power at design peak."),
    _float("budget_it_kw", "kW", "IT power budget (rating); null without one.", nullable=True),
    _float(
        "usable_it_kw",
        "kW",
        "IT power that the node can draw: the least of its budget and what is usable beneath it; "
        "a rack without a budget can draw its nameplate.",
    ),
    _float(
        "stranded_it_kw",
        "kW",
        "IT power of its own budget that nothing beneath it can draw; 0 without a budget.",
    ),
)

TENANTS = _table(
    "dim_tenants",
    "tenant",
    _key("tenant", "Traffic class."),
    _key("deployment", "Deployment that serves it."),
    _int("priority", "", "Higher goes first."),
    _float("slo_ttft_s", "s", "Limit of time to first token; null for none.", nullable=True),
    _float("slo_itl_s", "s", "Limit of inter-token latency; null for none.", nullable=True),
    _float("slo_e2e_s", "s", "Limit of end-to-end latency; null for none.", nullable=True),
    _float("slo_task_s", "s", "Limit of a whole task; null for none.", nullable=True),
    Column(
        "has_sessions",
        "bool",
        "",
        "Whether its sessions can have more than one request: then `fact_sessions` and "
        "`fact_tasks` hold them; else each is one request, and `v_sessions` and `v_tasks` make it.",
        "none",
    ),
    _float("target_ratio", "0-1", "Attainment that the tenant is promised."),
)

MODELS = _table(
    "dim_models",
    "model",
    _key("model", "Model."),
    _text("hf_id", "Its name at Hugging Face.", nullable=True),
    _text("attention", "gqa or mla."),
    _int("layers", "", "Transformer layers."),
    _int("hidden", "", "Width of the residual stream."),
    _int("experts", "", "Routed experts per MoE layer; 0 for dense models."),
    _int("experts_per_token", "", "Routed experts that a token visits; 0 for dense models."),
    _int("vocab", "tokens", "Size of the vocabulary."),
    _int("max_context_tokens", "tokens", "Longest context."),
)

PRICES = _table(
    "dim_prices",
    "pricing × system",
    _key("pricing_id", "Pricing; a run's own is named in `fact_runs`."),
    _key("system", "System."),
    _float("usd_per_gpu_hour", "USD/GPU h", "Price of a provisioned GPU-hour."),
    _text("price_book", "Price book; null where the scenario states the price.", nullable=True),
    _text("price_date", "Date of the price book; dollars are nominal at it.", nullable=True),
    _text("covers", "What the price includes, separated by commas."),
    _text("kind", "measured, published, fitted or assumed."),
    _text("source", "Where the price is from.", nullable=True),
)

REPLICA_STATE = _table(
    "bridge_replica_state",
    "replica × span of time in one role",
    _key("replica", "Replica."),
    _text("role", "Role in the span."),
    _float("valid_from_time_s", "s", "Start of the span, simulated seconds."),
    _float(
        "valid_to_time_s",
        "s",
        "End of the span (excluded), simulated seconds; null until the end of the run.",
        nullable=True,
    ),
    _instant("valid_from_at", "valid_from_time_s", "Start of the span."),
    _instant("valid_to_at", "valid_to_time_s", "End of the span.", nullable=True),
)

RUN_TABLES = (RUNS, RUN_PARAMETERS)
DIMENSIONS = (
    DEPLOYMENTS,
    POOLS,
    REPLICAS,
    POWER_NODES,
    TENANTS,
    MODELS,
    PRICES,
    REPLICA_STATE,
)
