from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Prompts A B A of two blocks of 512 tokens each (600 tokens), a second apart."""
    path = tmp_path / "mine.jsonl"
    rows = [(0, [0, 1]), (1000, [2, 3]), (2000, [0, 1])]
    path.write_text(
        "".join(
            json.dumps({"timestamp": t, "input_length": 600, "output_length": 9, "hash_ids": ids})
            + "\n"
            for t, ids in rows
        )
    )
    return path
