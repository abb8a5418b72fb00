"""Modules of `experiments/`, which is not installed: found beside the tests, or the test skips."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def experiment(name: str) -> ModuleType:
    """Imports `experiments.<name>`; to be called at the top of a test module."""
    if not (ROOT / "experiments").is_dir():
        pytest.skip("this copy of the tests is without experiments/", allow_module_level=True)
    # Last, so that `factory` stays the installed one.
    sys.path.append(str(ROOT))
    try:
        return importlib.import_module(f"experiments.{name}")
    finally:
        sys.path.remove(str(ROOT))
