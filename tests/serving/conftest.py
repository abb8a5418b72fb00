from __future__ import annotations

from collections.abc import Iterator

import pytest
from drafting import drafting_model


@pytest.fixture(scope="module", autouse=True)
def _drafting_model() -> Iterator[None]:
    with drafting_model():
        yield
