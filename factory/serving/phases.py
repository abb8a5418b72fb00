"""The phases of a replica's life, and what the ledger calls its time in each."""

from __future__ import annotations

from factory.records.codes import (
    STATE_DRAINING,
    STATE_FAILED,
    STATE_MAINTENANCE,
    STATE_PAUSED,
    STATE_SPARE,
    STATE_STARTING,
    STATE_TRIPPED,
)
from factory.serving.meter import RELEASED

ACTIVE = 0
STARTING = 1
DRAINING = 2
OFF = 3
GIVEN_BACK = 4
FAILED = 5
TRIPPED = 6
MAINTENANCE = 7
PAUSED = 8
"""Phases of a replica's life: it serves, it loads its weights, it finishes what it has, it is
switched off but paid for, its GPUs are no longer rented; it is broken, without power, down for
maintenance, or switched off to save power."""

STATES = {
    STARTING: STATE_STARTING,
    DRAINING: STATE_DRAINING,
    OFF: STATE_SPARE,
    FAILED: STATE_FAILED,
    TRIPPED: STATE_TRIPPED,
    MAINTENANCE: STATE_MAINTENANCE,
    PAUSED: STATE_PAUSED,
    GIVEN_BACK: RELEASED,
}
"""Ledger state of each phase but `ACTIVE`."""

LOADED = (ACTIVE, STARTING, DRAINING)
"""Phases in which its GPUs have the model loaded."""
