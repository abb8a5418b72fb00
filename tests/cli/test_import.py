"""`factory import`: real command lines become fragments and scenarios that load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from factory.cli.app import app
from factory.scenario import Scenario, load
from factory.scenario.document import read

runner = CliRunner()

# Command lines of the kinds that vLLM's recipes and documentation print: name, system, command.
REAL = [
    (
        "deepseek-r1-node",
        "hgx-h200",
        (
            "vllm serve deepseek-ai/DeepSeek-R1 --tensor-parallel-size 8 --max-model-len 32768 "
            "--gpu-memory-utilization 0.95 --quantization fp8 --trust-remote-code"
        ),
    ),
    (
        "deepseek-mtp",
        "hgx-b200",
        (
            "VLLM_ATTENTION_BACKEND=CUTLASS_MLA vllm serve deepseek-ai/DeepSeek-R1-0528 \\\n"
            "  --tensor-parallel-size 8 \\\n  --enable-expert-parallel \\\n"
            "  --kv-cache-dtype fp8 --async-scheduling \\\n"
            '  --speculative-config \'{"method": "deepseek_mtp", "num_speculative_tokens": 1}\''
        ),
    ),
    (
        "deepseek-dep",
        "hgx-h200",
        (
            "vllm serve deepseek-ai/DeepSeek-V3 --data-parallel-size 16 "
            "--data-parallel-size-local 8 "
            "--data-parallel-address 10.0.0.1 --data-parallel-rpc-port 13345 "
            "--enable-expert-parallel "
            "--all2all-backend deepep_low_latency --enable-eplb --gpu-memory-utilization 0.9 "
            "--max-model-len 16384 --max-num-seqs 128 --api-server-count=4"
        ),
    ),
    (
        "llama-api-server",
        "hgx-h100",
        (
            "python -m vllm.entrypoints.openai.api_server --model meta-llama/Llama-3.1-8B-Instruct "
            "--dtype auto --api-key token-abc123 --swap-space 16 --disable-log-requests "
            "--max-num-seqs 256 --enable-prefix-caching --port 8000"
        ),
    ),
    (
        "llama-docker",
        "hgx-h100",
        (
            "docker run --runtime nvidia --gpus all -v "
            "~/.cache/huggingface:/root/.cache/huggingface "
            '--env "HUGGING_FACE_HUB_TOKEN=secret" -p 8000:8000 --ipc=host '
            "vllm/vllm-openai:v0.16.0 "
            "--model meta-llama/Llama-3.1-70B-Instruct -tp 4 --max-model-len 8192 "
            "--no-enable-prefix-caching --enable-chunked-prefill --max-num-batched-tokens 2048"
        ),
    ),
    (
        "gpt-oss",
        "hgx-h100",
        (
            "vllm serve openai/gpt-oss-120b --tensor-parallel-size 2 --max-num-batched-tokens 8192 "
            "--max-num-seqs 1024 --async-scheduling --no-enable-prefix-caching "
            "--max-cudagraph-capture-size 2048 --stream-interval 20 --tool-call-parser openai "
            "--enable-auto-tool-choice"
        ),
    ),
    (
        "qwen-moe",
        "hgx-h200",
        (
            "python3 -m vllm.entrypoints.openai.api_server --model=Qwen/Qwen3-235B-A22B-FP8 "
            "--served-model-name=qwen3 --tensor-parallel-size=4 --enable-expert-parallel "
            "--reasoning-parser=qwen3 --scheduling-policy=priority --block-size=32"
        ),
    ),
    (
        "kimi",
        "hgx-h200",
        (
            "vllm serve moonshotai/Kimi-K2-Instruct --port 8000 --served-model-name kimi-k2 "
            "--trust-remote-code --tensor-parallel-size 8 --pipeline-parallel-size 2 "
            "--enable-auto-tool-choice --tool-call-parser kimi_k2 "
            "--distributed-executor-backend ray"
        ),
    ),
    (
        "minimax",
        "hgx-h200",
        (
            "SAFETENSORS_FAST_GPU=1 vllm serve MiniMaxAI/MiniMax-M2.5 --trust-remote-code "
            "--tensor-parallel-size 4 --enable-auto-tool-choice --tool-call-parser minimax_m2 "
            "--reasoning-parser minimax_m2_append_think --compilation-config "
            '\'{"cudagraph_mode": "PIECEWISE"}\''
        ),
    ),
    (
        "offload",
        "hgx-h100",
        (
            "LMCACHE_LOCAL_CPU=True LMCACHE_MAX_LOCAL_CPU_SIZE=20 vllm serve Qwen/Qwen3-32B "
            "--max-model-len 32k --kv-transfer-config "
            '\'{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}\''
        ),
    ),
    (
        "dense-replicas",
        "hgx-h200",
        (
            "#!/bin/bash\n# four servers behind one address\nexport VLLM_LOGGING_LEVEL=WARNING\n"
            "exec vllm serve Qwen/Qwen3-32B \\\n  --data-parallel-size 4 -tp 2 \\ \n"
            "  --kv-offloading-size 64 --kv-offloading-backend native \\\n"
            "  > server.log 2>&1 &\n"
        ),
    ),
    (
        "nvfp4",
        "gb200-nvl72",
        (
            "vllm serve nvidia/DeepSeek-R1-0528-NVFP4-v2 -dp 4 -ep --kv-cache-dtype fp8_e4m3 "
            "--attention-config.backend FLASHINFER_MLA --max-model-len 9472 --max-num-seqs 512 "
            "--max-num-batched-tokens 16384 -O3"
        ),
    ),
]


def invoke(*arguments: str) -> Any:
    return runner.invoke(app, ["import", *arguments])


@pytest.mark.parametrize(("name", "system", "command"), REAL, ids=[one[0] for one in REAL])
def test_real_command_lines_make_sound_scenarios(
    name: str, system: str, command: str, tmp_path: Path
) -> None:
    del name
    file = tmp_path / "scenario.yaml"
    result = invoke("vllm", command, "--system", system, "--out", str(file))
    assert result.exit_code == 0, result.output
    scenario = load(str(file))
    assert isinstance(scenario, Scenario)
    (deployment,) = scenario.deployments
    (rack,) = scenario.facility.racks
    gpus = sum(pool.gpus for pool in deployment.pools)
    assert rack.count == -(-gpus // (72 if system == "gb200-nvl72" else 32))
    assert "secret" not in file.read_text(encoding="utf-8")
    assert "abc123" not in file.read_text(encoding="utf-8") + result.stderr


def test_the_fragment_says_where_each_value_came_from() -> None:
    command = REAL[0][2] + " --new-flag 7 --enforce-eager"
    result = invoke("vllm", command)
    assert result.exit_code == 0, result.output
    text = result.stdout
    for line in (
        "    model: deepseek-r1  # deepseek-ai/DeepSeek-R1 in the catalogue",
        "      weights: fp8  # --quantization fp8",
        "          tp: 8  # --tensor-parallel-size 8",
        "          max_model_len: 32768  # --max-model-len 32768",
        "          gpu_memory_utilization: 0.95  # --gpu-memory-utilization 0.95",
        "          pp: 1  # default of vLLM 0.16.0 (2026-02)",
        "#   --new-flag 7: flag that is not known here",
        "#   --trust-remote-code: start-up and loading are not part of a steady run",
    ):
        assert line in text.splitlines()
    assert "unknown: --new-flag 7" in result.stderr
    assert "not modelled: --enforce-eager" in result.stderr
    assert "trust-remote-code" not in result.stderr
    document = read(text.encode(), "fragment")
    assert not document.problems
    assert list(document.data) == ["deployments"]  # type: ignore[call-overload]


def test_json_is_one_object() -> None:
    result = invoke("vllm", "--json", "vllm serve openai/gpt-oss-20b --port 1 --new 2 --enable-dbo")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["engine"] == "vllm"
    assert told["defaults_from"] == "vLLM 0.16.0 (2026-02)"
    (deployment,) = told["fragment"]["deployments"]
    assert deployment["model"] == "gpt-oss-20b"
    assert {one["given"] for one in told["unknown"]} == {"--new 2"}
    assert {one["given"] for one in told["not_modelled"]} == {"--enable-dbo"}
    assert {one["given"] for one in told["no_effect"]} == {"--port 1"}
    (tp,) = [one for one in told["values"] if one["path"].endswith("parallel.tp")]
    assert tp["value"] == 1
    assert tp["from"].startswith("default of vLLM")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vllm serve openai/gpt-oss-20b -tp two"], "-tp: must be a whole number >= 1, got"),
        (["vllm serve nobody/nothing"], "--hf-config PATH/config.json"),
        (["ls"], "does not start vLLM"),
        (["vllm serve openai/gpt-oss-20b", "--system", "hgx-h20"], "did you mean hgx-h200?"),
        (["vllm serve openai/gpt-oss-20b", "--role", "prefil"], "did you mean prefill?"),
        (["vllm serve openai/gpt-oss-20b", "--acceptance", "2"], "must be numbers from 0 to 1"),
        (
            ["vllm serve openai/gpt-oss-20b", "--system", "hgx-h200", "--rate", "0"],
            "--rate: must be > 0",
        ),
        (
            ["vllm serve openai/gpt-oss-20b", "--system", "hgx-h200", "--role", "prefill"],
            "prefill pools need a decode pool",
        ),
        (
            ["vllm serve openai/gpt-oss-20b -tp 3", "--system", "hgx-h200"],
            "must divide the 64 attention heads",
        ),
        (["vllm serve openai/gpt-oss-20b", "--hf-config", "none.json"], "--hf-config none.json"),
        (["vllm serve openai/gpt-oss-20b --config none.yaml"], "--config: cannot be read"),
    ],
)
def test_what_cannot_be_used_is_told_with_status_2(arguments: list[str], message: str) -> None:
    result = invoke("vllm", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stdout == ""


def test_two_commands_make_prefill_and_decode(tmp_path: Path) -> None:
    transfer = '--kv-transfer-config \'{"kv_connector":"P2pNcclConnector","kv_role":"kv_%s"}\''
    file = tmp_path / "pd.yaml"
    result = invoke(
        "vllm",
        "vllm serve Qwen/Qwen3-32B -tp 2 " + transfer % "producer",
        "vllm serve Qwen/Qwen3-32B -tp 4 " + transfer % "consumer",
        *("--system", "hgx-h200", "--out", str(file)),
    )
    assert result.exit_code == 0, result.output
    (deployment,) = load(str(file)).deployments
    assert [pool.role for pool in deployment.pools] == ["prefill", "decode"]


def test_commands_come_from_files_standard_input_and_bare_words(tmp_path: Path) -> None:
    text = "vllm serve openai/gpt-oss-20b -tp 2\n"
    script = tmp_path / "serve.sh"
    script.write_text("#!/bin/sh\n" + text, encoding="utf-8")
    results = [
        invoke("vllm", text),
        invoke("vllm", str(script)),
        runner.invoke(app, ["import", "vllm", "-"], input=text),
        invoke("vllm", "--", *text.split()),
    ]
    assert [result.exit_code for result in results] == [0] * 4
    assert len({result.stdout for result in results}) == 1


def test_a_config_json_stands_for_an_unknown_model(tmp_path: Path) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "tie_word_embeddings": True,
    }
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    out = tmp_path / "small.yaml"
    result = invoke(
        *("vllm", "vllm serve meta-llama/Llama-3.2-1B", "--system", "hgx-h100"),
        *("--hf-config", str(folder / "config.json"), "--out", str(out)),
    )
    assert result.exit_code == 0, result.output
    scenario = load(str(out))
    assert scenario.deployments[0].model == "llama-3.2-1b"
    assert scenario.models["llama-3.2-1b"].layers == 16  # type: ignore[attr-defined]


def test_sglang_command_lines_make_sound_scenarios(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    command = (
        "docker run --gpus all --shm-size 32g -p 30000:30000 --ipc=host lmsysorg/sglang:latest "
        "python3 -m sglang.launch_server --model-path deepseek-ai/DeepSeek-R1 --tp 8 --dp 8 "
        "--enable-dp-attention --mem-fraction-static 0.85 --speculative-algorithm EAGLE "
        "--speculative-num-steps 3 --speculative-eagle-topk 1 --trust-remote-code "
        "--enable-hierarchical-cache --hicache-size 100 --max-running-requests 512"
    )
    result = invoke("sglang", command, "--system", "hgx-h200", "--out", str(file))
    assert result.exit_code == 0, result.output
    (pool,) = load(str(file)).deployments[0].pools
    assert (pool.parallel.tp, pool.parallel.dp, pool.gpus_per_replica) == (1, 8, 8)
    assert pool.engine.max_num_seqs == 64


def test_scheduler_and_tiers_reach_the_scenario(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    command = (
        "vllm serve Qwen/Qwen3-32B -tp 2 --scheduling-policy priority --kv-offloading-size 100 "
        "--no-enable-chunked-prefill"
    )
    result = invoke("vllm", command, "--system", "hgx-h200", "--out", str(file))
    assert result.exit_code == 0, result.output
    (pool,) = load(str(file)).deployments[0].pools
    assert (pool.engine.scheduler.policy, pool.engine.scheduler.order) == ("vllm", "priority")
    assert pool.engine.scheduler.chunked_prefill is False
    (tier,) = pool.kv_cache.tiers
    assert (tier.kind, tier.capacity_gib, tier.owner) == ("host", 100, "rank")
