"""Where the shipped configuration is: inside the installed package, or in the repository."""

from __future__ import annotations

import importlib.resources
from importlib.resources.abc import Traversable
from pathlib import Path

from factory.errors import InputError


def configs() -> Traversable:
    """The folder that holds ``catalog`` and ``scenarios``.

    Raises:
        InputError: the installation lacks it.
    """
    installed = importlib.resources.files("factory") / "_configs"
    if installed.is_dir():
        return installed
    repository = Path(__file__).resolve().parents[2] / "configs"
    if repository.is_dir():
        return repository
    raise InputError("the installation lacks its configs folder; install the package again")


def shipped() -> list[str]:
    """Names of the shipped scenarios, sorted."""
    files = (configs() / "scenarios").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))
