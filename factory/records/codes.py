"""The small integers that the engine counts with, and the strings that tables show for them."""

from __future__ import annotations

COMPLETED = 0
REJECTED = 1
TIMED_OUT = 2
FAILED = 3
IN_FLIGHT = 4

#: Outcomes of a request, by code.
OUTCOMES = ("completed", "rejected", "timed_out", "failed", "in_flight")

STATE_PREFILL_NEW = 0
STATE_PREFILL_RECOMPUTED = 1
STATE_FETCH_CACHED = 2
STATE_DECODE = 3
STATE_STALLED_TRANSFER = 4
STATE_POWER_CAPPED = 5
STATE_IDLE_WAITING_WORK = 6
STATE_IDLE = 7
STATE_STARTING = 8
STATE_DRAINING = 9
STATE_PAUSED = 10
STATE_MAINTENANCE = 11
STATE_TRIPPED = 12
STATE_FAILED = 13
STATE_WAITING_PEERS = 14
STATE_SPARE = 15
STATE_UNASSIGNED = 16

#: States of the ledger, by code: every provisioned GPU-second is in exactly one.
LEDGER_STATES = (
    "prefill_new",
    "prefill_recomputed",
    "fetch_cached",
    "decode",
    "stalled_transfer",
    "power_capped",
    "idle_waiting_work",
    "idle",
    "starting",
    "draining",
    "paused",
    "maintenance",
    "tripped",
    "failed",
    "waiting_peers",
    "spare",
    "unassigned",
)

#: What each state of the ledger means, in the order of `LEDGER_STATES`.
LEDGER_MEANINGS = (
    "prefill of tokens never computed before for this request",
    "prefill of tokens computed before and lost to a preemption",
    "fetch of cached KV",
    "decode",
    "stalled on a KV transfer while nothing else could run",
    "slowed by a power cap: the time above that of full clock",
    "idle while work waits (memory or batch is full)",
    "idle with nothing to do",
    "starting",
    "draining",
    "paused",
    "maintenance",
    "tripped by its power node",
    "failed",
    "waiting for slower peers in lock-step (DP or PP ranks)",
    "spare",
    "in no pool: GPUs that the layout strands",
)

#: The states whose sum over provisioned GPU-seconds is `busy_ratio`.
WORKING_STATES = (STATE_PREFILL_NEW, STATE_PREFILL_RECOMPUTED, STATE_FETCH_CACHED, STATE_DECODE)

#: Roles of a pool; the last is the pseudo-pool of GPUs that no pool uses.
ROLES = ("prefill", "decode", "aggregated", "unassigned")
