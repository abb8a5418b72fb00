"""Step times of AIConfigurator's silicon database, asked once and kept as a table.

The extra ``aic`` installs ``aiconfigurator-core`` (NVIDIA, Apache-2.0), whose database holds
measured operators by GPU, engine and version. It is asked for prefill and decode steps on a grid
that covers what the pool's engine can be asked for; the answers are a table as any other
(`factory.performance.measured`), kept under the user's cache directory. Its steps are bare kernels:
no host time is in them. It also answers far outside of what was measured, without a word.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from factory.errors import InputError, ScenarioError
from factory.performance.coverage import Limits, sampled
from factory.performance.layout import Layout
from factory.performance.step_table import StepTable, read_table

PACKAGE = "aiconfigurator-core"
CACHE_FORMAT = 1
"""Rises when the grid, or what is asked on it, changes."""

SYSTEMS = {
    "hgx-a100": "a100_sxm",
    "hgx-h100": "h100_sxm",
    "hgx-h200": "h200_sxm",
    "hgx-b200": "b200_sxm",
    "hgx-b300": "b300_sxm",
    "gb200-nvl72": "gb200",
    "gb300-nvl72": "gb300",
}
"""What the database calls the catalogue's systems."""

MODELS = {
    "meta-llama/Llama-3.1-8B": "meta-llama/Meta-Llama-3.1-8B",
    "meta-llama/Llama-3.1-70B": "meta-llama/Meta-Llama-3.1-70B",
    "meta-llama/Llama-3.1-405B": "meta-llama/Meta-Llama-3.1-405B",
}
"""What it calls models whose Hugging Face id has changed since; other ids are the same."""

CHECKPOINTS = {
    ("deepseek-ai/DeepSeek-R1", "fp4"): "nvidia/DeepSeek-V3.1-NVFP4",
    ("deepseek-ai/DeepSeek-V3", "fp4"): "nvidia/DeepSeek-V3.1-NVFP4",
    ("moonshotai/Kimi-K2.5", "fp4"): "nvidia/Kimi-K2.5-NVFP4",
    ("Qwen/Qwen3-32B", "fp8"): "Qwen/Qwen3-32B-FP8",
    ("Qwen/Qwen3-235B-A22B", "fp8"): "Qwen/Qwen3-235B-A22B-FP8",
    ("Qwen/Qwen3-235B-A22B", "fp4"): "nvidia/Qwen3-235B-A22B-NVFP4",
    ("Qwen/Qwen3.5-397B-A17B", "fp4"): "nvidia/Qwen3.5-397B-A17B-NVFP4",
    ("MiniMaxAI/MiniMax-M2.5", "fp4"): "nvidia/MiniMax-M2.5-NVFP4",
}
"""Checkpoints of another format that it knows, of the same architecture."""

_WEIGHTS = {"fp16": ("bfloat16",), "fp8": ("fp8",), "fp4": ("nvfp4", "w4a", "int4", "mxfp4")}
"""How the names of its formats begin, by ours."""


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that the answers depend on, besides the package's version.

    Attributes:
        system: GPU system, by the database's name.
        model: Hugging Face id, or a folder with a ``config.json``.
        backend: ``trtllm``, ``sglang`` or ``vllm``.
        version: Version of the backend; ``current`` for the newest complete one.
        layout: Layout of a replica.
        is_moe: Whether the model has experts.
        weights: ``fp16``, ``fp8`` or ``fp4``.
        kv_cache: ``fp16`` or ``fp8``.
        draft_tokens: Tokens drafted per step.
        limits: What the grid must cover.
    """

    system: str
    model: str
    backend: str
    version: str
    layout: Layout
    is_moe: bool
    weights: str
    kv_cache: str
    draft_tokens: int
    limits: Limits


def known_model(hf_id: str, weights: str) -> str:
    """The database's name of a model in a format."""
    return CHECKPOINTS.get((hf_id, weights)) or MODELS.get(hf_id, hf_id)


class Answers(Protocol):
    """Milliseconds of steps of one replica, batches per attention rank."""

    def decode(self, batch: int, context: int) -> float:
        """A step in which each of the sequences reads so many KV tokens."""
        ...

    def prefill(self, batch: int, new: int, cached: int) -> float:
        """A step of whole prompts: new tokens each behind cached ones each."""
        ...


def aic_table(
    question: Question,
    ask: Callable[[Question], Answers] | None = None,
    version: Callable[[], str] | None = None,
) -> StepTable:
    """The table that answers a question, from the cache or from the database.

    Args:
        question: What to ask.
        ask: Opens the database; by default the installed package.
        version: Tells the package's version; by default the installed one's.

    Raises:
        InputError: The package is not installed, or its database does not know an answer.
    """
    installed = (version or package_version)()
    source = (
        f"{PACKAGE} {installed}: {question.model} on {question.system}, {question.backend} "
        f"{question.version}"
    )
    key = {"format": CACHE_FORMAT, "package": installed, **asdict(question)}
    text = json.dumps(key, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    path = cache_directory() / f"{digest}.csv"
    with suppress(ScenarioError):
        kept = read_table(path)
        return StepTable(source, kept.decode, kept.prefill)
    answers = (ask or SiliconDatabase)(question)
    table = sampled(question.limits, answers.decode, answers.prefill, source)
    with suppress(OSError):  # without a cache it is asked again next time
        _keep(table, path, text)
    return table


def cache_directory() -> Path:
    """Where answers are kept: ``$XDG_CACHE_HOME``, else ``~/.cache``."""
    stated = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(stated) if Path(stated).is_absolute() else Path.home() / ".cache"
    return home / "token-factory-sim" / "aic"


def package_version() -> str:
    """Version of the installed package.

    Raises:
        InputError: It is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        raise InputError(
            f"step_model kind: aic needs {PACKAGE}, which the extra brings: "
            "pip install 'token-factory-sim[aic]'"
        ) from None


def _keep(table: StepTable, path: Path, key: str) -> None:
    """Writes a table beside, then renames: a file that is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"# {table.source}", f"# {key}", "phase,batch,context,cached,milliseconds"]
    lines += [
        f"{row.phase},{row.batch},{row.context},{row.cached},{row.milliseconds!r}"
        for row in (*table.decode, *table.prefill)
    ]
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class SiliconDatabase:
    """The installed package's answers.

    Formats are the checkpoint's own where it has the format asked for, else the plain one of that
    width. Where prefill attention was not measured in the KV cache's format, 16-bit attention
    stands in, as AIConfigurator itself falls back.

    Raises:
        InputError: The database does not know the system, the model or the operators.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._engine: Any = None
        try:
            formats = self._formats()
            self._engine = self._opened(formats, None)
            try:
                self.prefill(1, 128, 0)
            except Exception as error:
                if type(error).__name__ != "PerfDataNotAvailableError":
                    raise
                self._engine = self._opened(formats, "bfloat16")
                self.prefill(1, 128, 0)
            self.decode(1, 128)
        except InputError:
            raise
        except Exception as error:
            q = question
            raise InputError(
                f"{PACKAGE} has no step times of {q.model} on {q.system} under {q.backend} "
                f"{q.version} (tp {q.layout.tp}, dp {q.layout.dp}, ep {q.layout.ep}, weights "
                f"{q.weights}, KV {q.kv_cache}): {error}"
            ) from error

    def decode(self, batch: int, context: int) -> float:
        """Milliseconds of a decode step (see `Answers`)."""
        return float(self._engine.predict_decode_latency(batch, max(context - 1, 1)))

    def prefill(self, batch: int, new: int, cached: int) -> float:
        """Milliseconds of a prefill step (see `Answers`)."""
        return float(self._engine.predict_prefill_latency(batch, new + cached, cached))

    def _formats(self) -> dict[str, str]:
        """Formats of products and experts where they are not the checkpoint's own."""
        from aiconfigurator_core.sdk.config_builders import build_model_config
        from aiconfigurator_core.sdk.models import get_model

        question = self._question
        config = build_model_config(**self._degrees())
        get_model(question.model, config, question.backend)
        begins = _WEIGHTS[question.weights]
        formats = {}
        for name in ("gemm_quant_mode", "moe_quant_mode"):
            own = getattr(config, name)
            if own is not None and not own.name.startswith(begins):
                formats[name] = begins[0]
        if question.is_moe and len(formats) == 1 and "gemm_quant_mode" in formats:
            formats = {}  # experts in the format asked for, the rest as the checkpoint has it
        return formats

    def _degrees(self) -> dict[str, int]:
        layout = self._question.layout
        is_moe = self._question.is_moe
        return {
            "tp_size": layout.tp,
            "pp_size": layout.pp,
            "attention_dp_size": layout.dp,
            "moe_tp_size": layout.expert_tp if is_moe else 1,
            "moe_ep_size": layout.ep if is_moe else 1,
        }

    def _opened(self, formats: dict[str, str], attention: str | None) -> Any:
        from aiconfigurator_core.sdk import EngineHandle

        question = self._question
        return EngineHandle.compile(
            question.model,
            question.system,
            question.backend,
            backend_version=question.version,
            kvcache_quant_mode="bfloat16" if question.kv_cache == "fp16" else question.kv_cache,
            fmha_quant_mode=attention,
            nextn=question.draft_tokens,
            **self._degrees(),
            **formats,
        )
