"""Replaces ``model: {hf_config: PATH}`` by a name and the architecture that the file describes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factory.errors import Problem
from factory.scenario.catalog import catalog
from factory.scenario.document import Document
from factory.scenario.findings import STAND_IN
from factory.scenario.hf_config import read_config
from factory.scenario.hf_quantization import ConfigError
from factory.scenario.nearest import nearest

_KEYS = ("hf_config", "name")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


def settle_models(document: Document, folder: Path) -> list[Problem]:
    """Reads every config that a deployment names and writes its architecture under ``models``.

    The document then says all that a run needs: the file is not read again.

    Args:
        document: the scenario as written; changed in place.
        folder: what relative paths start from; those of a ``--set`` start from the working folder.

    Returns:
        What is wrong with the configs.
    """
    data: Any = document.data
    deployments = data.get("deployments")
    problems: list[Problem] = []
    for index, deployment in enumerate(deployments if isinstance(deployments, list) else []):
        given = deployment.get("model") if isinstance(deployment, dict) else None
        if not isinstance(given, dict):
            continue
        path = f"deployments[{index}].model"
        deployment["model"] = STAND_IN
        name, fields, found = _read(given, path, document, folder)
        problems += found
        if fields is None:
            continue
        models = data.setdefault("models", {})
        if isinstance(models, dict) and models.setdefault(name, fields) != fields:
            message = f"is another model than models.{name}; give it a name of its own"
            place = document.locations.of(path)
            problems.append(Problem(f"{path}.name", message, name, location=place))
            continue
        deployment["model"] = name
    return problems


def _read(
    given: Mapping[str, Any], path: str, document: Document, folder: Path
) -> tuple[str, dict[str, Any] | None, list[Problem]]:
    places = document.locations
    problems = []
    for key in given:
        if key not in _KEYS:
            hint = nearest(key, _KEYS)
            place = places.of_key(f"{path}.{key}")
            found = Problem(f"{path}.{key}", "unknown field", None, None, hint, place)
            problems.append(found)
    where = f"{path}.hf_config"
    written = given.get("hf_config")
    if problems and written is None:
        return STAND_IN, None, problems
    if not isinstance(written, str) or not written:
        message = "must be the path of a Hugging Face config.json"
        problems.append(Problem(where, message, written, location=places.of(path)))
        return STAND_IN, None, problems
    name = given.get("name", _name_of(Path(written)))
    message = ""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = "may hold letters, digits, _, - and . only, the first a letter or digit"
    elif name in catalog().models:
        message = "is a model of the catalogue; give this one another with name: NAME"
    if message:
        place = places.of(f"{path}.name" if "name" in given else where)
        problems.append(Problem(f"{path}.name", message, name, location=place))
    if problems:
        return STAND_IN, None, problems
    place = places.of(where)
    file = Path(written) if (place or "").startswith("--set") else folder / written
    try:
        fields = read_config(file)
    except ConfigError as refused:
        told = f"{written}: {refused.key} {refused.message}" if refused.key else refused.message
        got = refused.got if refused.key else written
        found = Problem(where, told, got, refused.allowed, refused.nearest, place)
        return STAND_IN, None, [found]
    return name, {"hf_id": str(name), **fields}, []


def _name_of(file: Path) -> str:
    """The folder of a ``config.json``; of any other file its stem, without ``config``."""
    stem = re.sub(r"[_\-.]?config$", "", file.stem) or file.resolve().parent.name
    bare = stem.rsplit("--", 1)[-1]
    return re.sub(r"[^A-Za-z0-9_.\-]+", "-", bare).lstrip("._-") or "model"
