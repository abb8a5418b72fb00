"""Fills one mapping of a document in from another document, places included."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from factory.scenario.document import Locations, is_within, join

_SECTIONS = frozenset(
    {
        "slo", "load", "timeouts", "shared_prefix", "documents", "session", "tools", "subagents",
        "compaction", "edits",
    }
)  # fmt: skip
"""Fields that are filled in part by part; others are stated or taken as a whole."""

_BOUNDS = frozenset({"min", "max"})
"""A distribution of which these alone are stated tightens the one that it is filled in with."""

_OPEN_LOOP = ("arrival", "cv", "bursts", "profile")

_IN_PLACE_OF: Mapping[str, tuple[str, ...]] = {
    "lengths": ("input_tokens", "output_tokens"),
    "input_tokens": ("lengths",),
    "output_tokens": ("lengths",),
    "shares": ("schedule",),
    "schedule": ("shares",),
    "arrival": ("cv", "bursts"),
    "concurrency": ("rate", *_OPEN_LOOP),
    "turns": ("requests", "first_input_correlation"),
    "requests": ("turns",),
    "first_input_tokens": ("first_input_correlation",),
}
"""What a stated field keeps from being filled in."""


def fill_in(
    mine: dict[str, Any],
    theirs: Mapping[str, Any],
    path: str,
    source: str,
    places: Locations,
    their_places: Locations,
) -> None:
    """Takes over what is not stated: sections part by part, distributions and lists whole.

    Args:
        mine: What is stated; changed in place.
        theirs: What fills it in.
        path: Place of `mine` in its document.
        source: Place of `theirs` in its own.
        places: Those of the document of `mine`; they learn where the new values were written.
        their_places: Those of the document of `theirs`.
    """
    stated = [key for key, value in mine.items() if not _is_bound(value)]
    kept_out = {name for key in stated for name in _IN_PLACE_OF.get(key, ())}
    if path not in places.values and source in their_places.values:
        places.values[path] = their_places.values[source]
    for key, value in theirs.items():
        if key in mine:
            own = mine[key]
            if not isinstance(own, dict) or not isinstance(value, dict):
                continue
            if key in _SECTIONS or _is_bound(own):
                fill_in(own, value, join(path, key), join(source, key), places, their_places)
        elif key not in kept_out:
            mine[key] = copy.deepcopy(value)
            _copy_places(join(path, key), join(source, key), places, their_places)


def _is_bound(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and value.keys() <= _BOUNDS


def _copy_places(path: str, source: str, places: Locations, their_places: Locations) -> None:
    tables = ((places.values, their_places.values), (places.keys, their_places.keys))
    for table, theirs in tables:
        for known in [known for known in theirs if is_within(known, source)]:
            table[path + known.removeprefix(source)] = theirs[known]
