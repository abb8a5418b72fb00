from __future__ import annotations

from pathlib import Path

import pytest
from measured import INFERENCEX, SILICON, STEP, write_csv

from factory.validation import fidelity
from factory.validation.explanations import explanation

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of measurements with one row in each file."""
    for name in ("step_times", "serving"):
        (tmp_path / name).mkdir()
    context = {"mode": "static_ctx", "metric": "prefill_step_time", "batch": "1"}
    write_csv(tmp_path / fidelity.FILES["steps"], [STEP, {**STEP, **context}])
    memory = {**STEP, "metric": "memory", "unit": "GiB"}
    write_csv(tmp_path / fidelity.FILES["memory"], [memory])
    lost = {**INFERENCEX, "hardware": "h20"}
    write_csv(tmp_path / fidelity.FILES["inferencex"], [INFERENCEX, lost])
    write_csv(tmp_path / fidelity.FILES["silicon"], [SILICON])
    return tmp_path


WRONG = "### Where we are wrong, and why we think so"
HEADINGS = [
    "# How near the predictions are",
    "## The limits that were set",
    *("## Decode steps", WRONG, "## Prefill steps", WRONG, "## Memory", WRONG),
    *("## InferenceX: time per output token", WRONG),
    *("## InferenceX: time to first token", WRONG),
    *("## InferenceX: throughput per GPU", WRONG),
    *("## Silicon points of several models: time per output token", WRONG),
    *("## Silicon points of several models: time to first token", WRONG),
    "## Rows without a prediction",
]


def test_the_page(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    assert fidelity.main([str(data), "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert fidelity.headings(text) == HEADINGS
    assert 'inferencex_dsr1.csv, 1 row: unknown system "h20" (nearest: h200)' in text
    assert "| h200_sxm | meta-llama/Meta-Llama-3.1-8B | tp1dp1 | 1 |" in text


def test_a_folder_without_measurements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fidelity.main([str(tmp_path), "--out", str(tmp_path / "page.md")]) == 2
    assert "holds none of step_times/aic_step_times.csv" in capsys.readouterr().err


def test_explanations_fit_their_groups() -> None:
    kinds = ("framework", "hardware", "serving")
    assert "10 steps" in explanation("ttft", kinds, ("sglang", "b200", "aggregated"))
    assert explanation("tpot", kinds, ("sglang", "b200", "aggregated")) == ""
    assert explanation("ttft", ("system",), ("b200",)) == ""


def test_the_page_that_ships_is_as_the_generator_writes_it() -> None:
    page = ROOT / "docs" / "fidelity.md"
    assert fidelity.headings(page.read_text(encoding="utf-8")) == HEADINGS
