"""Laws over the attempts of a logical request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factory.records.reader import RunReader
from factory.validation.results import LawResult, within

_SLACK_S = 1e-9
_UNSERVED = ("rejected", "timed_out", "failed")


def retries(reader: RunReader) -> LawResult:
    """Attempts of one root follow each other, ask for the same, and count from the first arrival.

    Attempt 0 is the root itself; attempt n + 1 arrives after attempt n left without its answer;
    all of them have one first arrival, prompt, answer, tenant and session; E2E counts from it.

    Args:
        reader: Tables of the run.

    Raises:
        InputError: A table is missing.
    """
    if not reader.read("fact_requests", ("attempt",)).number("attempt").any():
        return _first_attempts(reader)
    texts = ("request_id", "root_request_id", "session_id", "tenant", "deployment", "outcome")
    numbers = (
        "attempt",
        "first_arrival_time_s",
        "arrival_time_s",
        "completion_time_s",
        "e2e_s",
        "input_tokens",
        "requested_output_tokens",
    )
    rows = reader.read("fact_requests", (*texts, *numbers))
    attempt = rows.number("attempt").astype(np.int64)
    root = rows.text("root_request_id")
    ids = rows.text("request_id")
    place = {name: code for code, name in enumerate(root.values)}
    # A request that is nobody's root has a code that no root has.
    own = np.array([place.get(name, -1) for name in ids.values] or [-1], np.int64)[ids.codes]
    first_s, arrival_s = rows.number("first_arrival_time_s"), rows.number("arrival_time_s")
    left_s, e2e_s = rows.number("completion_time_s"), rows.number("e2e_s")

    first = attempt == 0
    broken: dict[str, NDArray[np.bool_]] = {
        "is no root, or no first attempt": first != (own == root.codes),
        "does not count from its arrival": first & (first_s != arrival_s),
        "has an E2E from another instant": np.abs(left_s - first_s - e2e_s) > _SLACK_S,
    }
    order = np.lexsort((attempt, root.codes))
    same = root.codes[order][1:] == root.codes[order][:-1]
    now, before = order[1:], order[:-1]
    follows = np.zeros(rows.rows, np.bool_)
    follows[now] = same
    broken["is no first attempt, and follows none"] = ~first & ~follows
    unserved = np.zeros(rows.rows, np.bool_)
    for outcome in _UNSERVED:
        unserved |= rows.is_equal("outcome", outcome)
    alike = ("input_tokens", "requested_output_tokens", "first_arrival_time_s")
    pairs = {
        "does not number its attempts one by one": attempt[now] != attempt[before] + 1,
        "tries again what was served or is in flight": ~unserved[before],
        "arrives before its predecessor left": ~(arrival_s[now] >= left_s[before] - _SLACK_S),
        "asks for something else than its first attempt": np.logical_or.reduce(
            [rows.number(name)[now] != rows.number(name)[before] for name in alike]
            + [
                rows.text(name).codes[now] != rows.text(name).codes[before]
                for name in ("session_id", "tenant", "deployment")
            ]
        ),
    }
    for words, wrong in pairs.items():
        broken[words] = np.zeros(rows.rows, np.bool_)
        broken[words][now] = same & wrong
    number = int(np.logical_or.reduce(list(broken.values())).sum())
    detail = f"{int((~first).sum())} further attempts of {int(first.sum())} requests"
    for words, wrong in broken.items():
        if wrong.any():
            detail += f"; row {int(wrong.argmax())} {words}"
            break
    return within("retries_follow_attempts", number, 0, detail)


def _first_attempts(reader: RunReader) -> LawResult:
    """The same where nothing was tried again: ids, which are many, need not be read."""
    names = ("first_arrival_time_s", "arrival_time_s", "completion_time_s", "e2e_s")
    rows = reader.read("fact_requests", names)
    first_s, arrival_s, left_s, e2e_s = (rows.number(name) for name in names)
    wrong = (first_s != arrival_s) | (np.abs(left_s - first_s - e2e_s) > _SLACK_S)
    detail = f"no further attempts of {rows.rows} requests"
    if wrong.any():
        detail += f"; row {int(wrong.argmax())} does not count from its arrival"
    return within("retries_follow_attempts", int(wrong.sum()), 0, detail)
