"""What the requests of a session wait for."""

from __future__ import annotations


def after_each(parents: list[int]) -> tuple[list[int], list[tuple[int, ...]]]:
    """Returns waits and followers of a session in which each turn waits for one other, or none."""
    followers: list[list[int]] = [[] for _ in parents]
    for row, parent in enumerate(parents):
        if parent >= 0:
            followers[parent].append(row)
    return [int(parent >= 0) for parent in parents], [tuple(rows) for rows in followers]
