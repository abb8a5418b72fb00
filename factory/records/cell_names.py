"""Names of things in the cells of a facility: those of cell 0 are plain, others carry their cell.

`prefill` of cell 2 is `prefill@2`, and its first replica `prefill@2-0`. No name in a scenario may
hold the mark, so a name with its cell is never another's.
"""

from __future__ import annotations

import re

MARK = "@"

_CELL = re.compile(rf"{MARK}(\d+)")
_LAST = re.compile(rf"{MARK}\d+(?=$|/)")


def in_cell(name: str, cell: int) -> str:
    """The name that a thing of the scenario has in a cell, numbered from 0."""
    return f"{name}{MARK}{cell}" if cell else name


def cell_of(name: str) -> int:
    """The cell of a name: 0 for one that carries none."""
    found = _CELL.search(name)
    return int(found[1]) if found else 0


def plain(name: str) -> str:
    """The name as the scenario has it, of what every cell has (a pool, a tenant, …).

    What there is once (a replica, a rack, a row) keeps the cell in its name: the number of the
    thing follows it there.
    """
    return _LAST.sub("", name)
