"""What people see of a run: the terminal screen and the page."""

from __future__ import annotations
