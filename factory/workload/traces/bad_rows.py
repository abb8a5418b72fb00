"""Rows of a trace that cannot be used."""

from __future__ import annotations

from factory.errors import InputError


class BadRows:
    """Names malformed rows, and tolerates as many as it may.

    Attributes:
        path: The trace, as the user gave it.
        count: Rows left out so far.
    """

    __slots__ = ("_tolerated", "count", "path")

    def __init__(self, path: str, tolerated: int = 0) -> None:
        self.path = path
        self._tolerated = tolerated
        self.count = 0

    def report(self, line: int, problem: str, path: str | None = None) -> None:
        """Counts a malformed row.

        Args:
            line: Its number in the file, from 1.
            problem: What is wrong, what was given and what is allowed.
            path: The file, where the trace is a folder of files.

        Raises:
            InputError: More rows are malformed than may be.
        """
        if self.count >= self._tolerated:
            raise InputError(
                f"{path or self.path}:{line}: {problem} (workload.trace.skip_bad_rows is "
                f"{self._tolerated}; more would leave such rows out)"
            )
        self.count += 1

    def anew(self, path: str | None = None) -> BadRows:
        """Returns a count of its own, for another reading of the trace or for a file of it."""
        return BadRows(path or self.path, self._tolerated)

    def nothing_left(self) -> InputError:
        """The error for a trace without a single good row."""
        if self.count:
            return InputError(f"{self.path}: no usable row, {self.count} malformed ones left out")
        return InputError(f"{self.path}: the trace is empty")
