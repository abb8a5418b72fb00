"""A small model that can draft: the catalogue's smallest, with a multi-token-prediction layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from factory.scenario import catalog

MODEL = "drafting-8b"


@contextmanager
def drafting_model() -> Iterator[None]:
    """Puts `MODEL` into the catalogue for a while."""
    models = catalog().models
    assert isinstance(models, dict)
    models[MODEL] = replace(models["llama-3.1-8b"], name=MODEL, mtp_layers=1)
    try:
        yield
    finally:
        del models[MODEL]
