"""The tables of `configs/workloads/coding-agent.yaml`, and how near the workload is to the trace.

Run from the root of the checkout, with the data beside it::

    python -m experiments.workloads.coding_agent            # the fields, as YAML
    python -m experiments.workloads.coding_agent --compare  # trace and workload side by side
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from experiments.workloads.measured import Measured, asked, cached_ratio, measure, shown
from experiments.workloads.tables import Table, count_table, quantile_table, yaml_of

DATA = Path("../shared/data/traces/agentic_sessions.parquet")

BLOCK = 64
"""Tokens of a block of the trace."""

SLACK = 3
"""Blocks that an appended prompt may lose at its end (the last message is often rewritten)."""

COMPACTED = 0.7
"""A prompt that loses more and shrinks below this share of the one before was compacted."""


def read(file: Path) -> Any:
    """The requests of the main agents, each with what it keeps of the prompt before.

    Args:
        file: The trace (kv-cache-tester, Apache-2.0).

    Returns:
        A data frame: columns of the trace and `before` (input_length of the request before),
        `answer` (its output_length), `ended` (its stop), `lost` (blocks of it that are not kept)
        and `kept` (share of its blocks that are).
    """
    import pandas as pd

    rows = pd.read_parquet(file)
    rows = rows[rows.agent == "main"].reset_index(drop=True)
    session = rows.groupby("session_id", sort=False)
    rows["before"] = session.input_length.shift(1)
    rows["answer"] = session.output_length.shift(1)
    rows["ended"] = session.stop.shift(1)
    kept, blocks = [], []
    above: Any = None
    for runs, is_later in zip(rows.hash_runs, rows.before.notna(), strict=True):
        kept.append(common(runs, above) if is_later else 0)
        blocks.append(int(sum(above[1::2])) if is_later else 0)
        above = runs
    rows["lost"] = np.subtract(blocks, kept)
    rows["kept"] = np.divide(kept, np.maximum(blocks, 1))
    return rows


def common(one: Any, other: Any) -> int:
    """Leading blocks that two prompts have in common.

    Args:
        one: Flattened runs of block ids.
        other: The same.
    """
    found = i = j = at = to = 0
    while i < len(one) and j < len(other) and one[i] + at == other[j] + to:
        n = min(one[i + 1] - at, other[j + 1] - to)
        found, at, to = found + n, at + n, to + n
        if at == one[i + 1]:
            i, at = i + 2, 0
        if to == other[j + 1]:
            j, to = j + 2, 0
    return int(found)


def fitted(rows: Any) -> dict[str, Table]:
    """The tables of the workload, by field of its tenant.

    Args:
        rows: As `read` returns them.
    """
    session = rows.groupby("session_id", sort=False)
    first = session.head(1)
    prefix = float((first.tool_tokens + first.system_tokens).median())
    later = rows[rows.before.notna()]
    is_appended = later.lost <= SLACK
    is_compacted = ~is_appended & (later.input_length < COMPACTED * later.before)
    appended, edited = later[is_appended], later[~is_appended & ~is_compacted]
    added = (appended.input_length - appended.before - appended.answer).clip(lower=1)
    is_tool, is_turn = appended.ended == "tool_use", appended.ended == "end_turn"
    gap = later.think_time_s
    correlation = first.input_length.corr(
        session.size().loc[first.session_id].set_axis(first.index), method="spearman"
    )
    dropped = (edited.before - edited.input_length).clip(lower=0) / (
        edited.before * (1 - edited.kept)
    ).clip(lower=1)
    return {
        "shared_prefix.tokens": [(1.0, prefix)],
        "session.requests": count_table(session.size()),
        "session.tools.calls": count_table(_calls(rows)),
        "session.first_input_tokens": quantile_table(
            (first.input_length - prefix).clip(lower=BLOCK), fewest=4
        ),
        "session.first_input_correlation": [(1.0, round(float(correlation), 2))],
        "input_tokens": quantile_table(added[is_turn]),
        "session.tools.result_tokens": quantile_table(added[is_tool]),
        "output_tokens": quantile_table(rows.output_length[rows.stop == "end_turn"]),
        "session.tools.output_tokens": quantile_table(rows.output_length[rows.stop == "tool_use"]),
        "session.think_time_s": quantile_table(gap[later.ended == "end_turn"].dropna(), fewest=10),
        "session.tools.latency_s": quantile_table(gap[later.ended == "tool_use"].dropna()),
        "session.edits.probability": [(1.0, round(_share(later, edited, "tool_use"), 4))],
        "session.edits.turn_probability": [(1.0, round(_share(later, edited, "end_turn"), 3))],
        "session.edits.kept_ratio": quantile_table(edited.kept, fewest=4),
        "session.edits.dropped_ratio": quantile_table(dropped.clip(upper=1), fewest=4),
        "session.compaction.at_tokens": _limits(rows, later[is_compacted]),
    }


def _calls(rows: Any) -> Any:
    """Tool calls of each turn that came to its end."""
    is_end = rows.stop == "end_turn"
    turn = is_end.groupby(rows.session_id).cumsum() - is_end
    turns = rows.groupby([rows.session_id, turn], sort=False)
    return (turns.size() - 1)[turns.stop.last() == "end_turn"]


def _share(later: Any, some: Any, ended: str) -> float:
    return float((some.ended == ended).sum() / (later.ended == ended).sum())


def _limits(rows: Any, compacted: Any) -> Table:
    """Context at which a session is first compacted (Kaplan and Meier 1958).

    A session is observed from the length of its first prompt to that of its longest, or to the
    one that was compacted. Half of the sessions are never seen to be compacted.
    """
    session = rows.groupby("session_id", sort=False)
    entry = session.input_length.first()
    event = compacted.groupby("session_id", sort=False).before.first()
    exit_ = session.input_length.max()
    exit_.loc[event.index] = event
    at = np.sort(event.to_numpy())
    survival, curve = 1.0, []
    for x in at:
        at_risk = int(((entry <= x) & (exit_ >= x)).sum())
        survival *= 1 - 1 / max(at_risk, 1)
        curve.append((1 - survival, float(x)))
    shares, contexts = np.array(curve).T
    inner = np.arange(0.05, shares[-1], 0.05)
    table = [(0.0, float(contexts[0]))]
    table += [(round(float(p), 2), float(contexts[np.searchsorted(shares, p)])) for p in inner]
    table.append((1.0, float(rows.input_length.max())))
    return table


def main() -> None:
    """Prints the fields, or the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--sessions", type=int, default=2000)
    given = parser.parse_args()
    rows = read(given.data)
    if given.compare:
        theirs = of_trace(rows)
        ours = measure(asked({"like": "coding-agent"}, given.sessions))
        sys.stdout.write(f"{shown(theirs, ours)}\n")
        return
    for name, table in fitted(rows).items():
        value = f"{table[0][1]:g}" if len(table) == 1 else yaml_of(table, 4)
        sys.stdout.write(f"{name}:\n    {value}\n")


def of_trace(rows: Any) -> Measured:
    """What the trace's main agents did.

    Args:
        rows: As `read` returns them.
    """
    later = rows[rows.before.notna()]
    growth = later.input_length - later.before
    return Measured(
        requests=rows.groupby("session_id").size().to_numpy(float),
        output=rows.output_length.to_numpy(float),
        growth=growth[growth > 0].to_numpy(float),
        tool_gap=later.think_time_s[later.ended == "tool_use"].dropna().to_numpy(float),
        turn_gap=later.think_time_s[later.ended == "end_turn"].dropna().to_numpy(float),
        cached_ratio=cached_ratio(
            zip(rows.session_id, rows.input_length, rows.hash_runs, strict=True), BLOCK
        ),
    )


if __name__ == "__main__":
    main()
