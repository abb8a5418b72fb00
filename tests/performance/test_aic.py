"""The silicon database as a source of step times: cache, grid, errors; itself only if installed."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from factory.errors import InputError
from factory.performance import Layout
from factory.performance.aic import Question, SiliconDatabase, aic_table, cache_directory
from factory.performance.coverage import Limits
from factory.performance.step_table import StepTable

LIMITS = Limits(sequences=32, batched_tokens=2048, model_len=4096, kv_tokens=0)
QUESTION = Question(
    system="h200_sxm",
    model="Qwen/Qwen3-32B-FP8",
    backend="trtllm",
    version="current",
    layout=Layout(tp=4),
    is_moe=False,
    weights="fp8",
    kv_cache="fp8",
    draft_tokens=0,
    limits=LIMITS,
)


class StandIn:
    """Answers by formula; `asked` counts."""

    asked = 0

    def __init__(self, question: Question) -> None:
        self.scale = len(question.system)

    def decode(self, batch: int, context: int) -> float:
        StandIn.asked += 1
        return self.scale + 0.1 * batch + 1e-5 * batch * context / 3

    def prefill(self, batch: int, new: int, cached: int) -> float:
        StandIn.asked += 1
        return self.scale + 0.01 * batch * new * (1 + (cached + new) / 7e5)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    StandIn.asked = 0
    return tmp_path / "token-factory-sim" / "aic"


def asked(question: Question = QUESTION, version: str = "1.0") -> StepTable:
    return aic_table(question, StandIn, lambda: version)


def test_it_is_asked_once(cache: Path) -> None:
    first = asked()
    count = StandIn.asked
    assert count == len(first.decode) + len(first.prefill)
    again = asked()
    assert StandIn.asked == count
    assert [row.milliseconds for row in again.decode] == [row.milliseconds for row in first.decode]
    assert [row.cached for row in again.prefill] == [row.cached for row in first.prefill]
    assert again.source == first.source
    assert cache_directory() == cache
    assert [path.suffix for path in cache.iterdir()] == [".csv"]


@pytest.mark.parametrize(
    "other",
    [
        replace(QUESTION, system="h100_sxm"),
        replace(QUESTION, layout=Layout(tp=2)),
        replace(QUESTION, backend="vllm"),
        replace(QUESTION, version="1.2.3"),
        replace(QUESTION, kv_cache="fp16"),
        replace(QUESTION, draft_tokens=1),
        replace(QUESTION, limits=replace(LIMITS, sequences=33)),
    ],
    ids=["system", "layout", "backend", "version", "kv", "drafts", "limits"],
)
def test_whatever_the_answers_depend_on_is_in_the_key(cache: Path, other: Question) -> None:
    asked()
    asked(other)
    assert len(list(cache.iterdir())) == 2


def test_another_version_of_the_package_is_asked_again(cache: Path) -> None:
    asked()
    asked(version="1.1")
    assert len(list(cache.iterdir())) == 2


def test_a_broken_file_is_asked_again_and_replaced(cache: Path) -> None:
    asked()
    (file,) = cache.iterdir()
    whole = file.read_text()
    file.write_text("phase,batch\n")
    asked()
    assert file.read_text() == whole


def test_where_nothing_can_be_kept_it_still_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert asked().decode


def test_a_failed_write_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fdopen", full)
    assert asked().decode
    assert not list(cache.iterdir())


@pytest.mark.skipif(find_spec("aiconfigurator_core") is not None, reason="the package is there")
def test_without_the_package_the_error_names_the_extra() -> None:
    with pytest.raises(InputError, match=r"pip install 'token-factory-sim\[aic\]'"):
        aic_table(QUESTION)


needs_package = pytest.mark.skipif(
    find_spec("aiconfigurator_core") is None,
    reason="aiconfigurator-core is not installed (extra aic)",
)


@needs_package
def test_the_databases_own_answers() -> None:
    table = aic_table(QUESTION)
    database = SiliconDatabase(QUESTION)
    for row in table.decode[::7]:
        assert row.milliseconds == database.decode(row.batch, row.context)
    assert 4 < table.decode[0].milliseconds < 10


@needs_package
def test_formats_of_a_checkpoint_and_attention_that_was_not_measured() -> None:
    question = replace(
        QUESTION, model="deepseek-ai/DeepSeek-R1", layout=Layout(dp=8, ep=8), is_moe=True
    )
    assert 10 < SiliconDatabase(question).decode(16, 1024) < 60


@needs_package
def test_what_it_cannot_answer() -> None:
    with pytest.raises(InputError, match="has no step times of"):
        SiliconDatabase(replace(QUESTION, system="abacus"))
