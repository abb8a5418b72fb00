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
    "prefill of tokens never computed before for this request, attention over cached ones too",
    "prefill of tokens computed before and lost to a preemption",
    "nothing to run until cached KV comes from a lower tier",
    "decode",
    "stalled on a KV transfer while nothing else could run",
    "slowed by a power cap: the time above that of full clock",
    "idle while work waits (memory or batch is full)",
    "idle with nothing to do",
    "a replica that starts holds its GPUs and serves nothing yet",
    "a replica that takes no more requests waits for its last ones; its work counts as work",
    "waiting for power that a budget does not leave, or switched off for a curtailment",
    "maintenance",
    "tripped by its power node",
    "failed",
    "waiting for slower peers in lock-step (DP or PP ranks)",
    "switched off by autoscaling, and paid for all the same",
    "in no pool: GPUs that the layout strands",
)

#: Kinds of `fact_events`, and what their number means.
EVENT_MEANINGS = {
    "scale_up": "a pool is to have more replicas: their new number",
    "scale_down": "a pool is to have fewer replicas: their new number",
    "replica_ready": "a replica has started and takes requests",
    "replica_drained": "a replica has finished what it had and is off",
    "cap_began": "a limit begins to slow what is beneath a node: IT kW that the node may draw, or "
    "from a control loop the lowest clock ratio that it allows",
    "cap_ended": "a limit slows nothing beneath a node any more: IT kW that the node may draw, or "
    "from a control loop the clock ratio that it allows",
    "cap_asked": "a control loop sends a command on clocks: mean power it saw over the budget",
    "cap_changed": "a command on clocks changes an earlier one: the lowest clock ratio it allows",
    "brake_asked": "a control loop calls the brake: mean power it saw over the budget",
    "brake_release_asked": "a control loop asks the brake to let go: mean power it saw over the "
    "budget",
    "brake_began": "the brake lowers all clocks beneath a node: their clock ratio from then on",
    "brake_ended": "the brake lets go: the clock ratio that it allows",
    "breaker_tripped": "a breaker opens and what is beneath fails: power over its rating",
    "breaker_closed": "a breaker is closed again and machines start: 0",
    "failed": "a component breaks: GPUs that it takes out of service",
    "repaired": "a component works again: seconds since it failed",
    "swapped": "a spare has taken the place of what broke: seconds since it failed",
    "restart_began": "a replica that was held starts again, after what detail says: its GPUs",
    "maintenance_began": "replicas drain for planned work: their GPUs",
    "maintenance_ended": "planned work is over and replicas start: their GPUs",
    "upgrade_began": "a rolling upgrade begins: replicas to upgrade",
    "upgraded": "a replica has been upgraded: how many of the upgrade have begun",
    "curtailment_announced": "a curtailment is announced: kW of grid power that it will allow",
    "curtailment_began": "a curtailment begins: kW of grid power that it allows",
    "curtailment_ended": "a curtailment is over: kW of grid power that it allowed",
    "curtailment_missed": "more was drawn than a curtailment allowed: kWh above its limit",
    "curtailment_ramped": "a curtailment was missed because grid power may fall no faster than its "
    "ramp limit: kWh above the limit on the way down",
    "paused": "a curtailment rests a replica, which drains first: its GPUs",
    "resumed": "a curtailment no longer rests a replica: its GPUs",
    "battery_empty": "the battery has nothing left to give: kW that the facility draws",
    "battery_full": "the battery can take no more: kW that the facility draws",
    "ramp_missed": "grid power jumps beyond its ramp limit, battery or not: kW",
}

#: The event that tells after what a replica starts: its detail is `after` and a ledger state.
RESTART_BEGAN = "restart_began"

#: The states whose sum over provisioned GPU-seconds is `busy_ratio`.
WORKING_STATES = (STATE_PREFILL_NEW, STATE_PREFILL_RECOMPUTED, STATE_FETCH_CACHED, STATE_DECODE)

#: Roles of a pool; the last is the pseudo-pool of GPUs that no pool uses.
ROLES = ("prefill", "decode", "aggregated", "unassigned")
