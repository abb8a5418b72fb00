"""Engine command lines: how text is read, and what each flag makes of a deployment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory.errors import InputError, ScenarioError
from factory.scenario import catalog
from factory.scenario.engine_command import SGLANG, VLLM, take_apart
from factory.scenario.engine_flags import Command, parse
from factory.scenario.engine_fragment import fragment
from factory.scenario.engine_import import ACCEPTANCE, Options, Plan, has_scheduler, has_tiers
from factory.scenario.engine_model import NATIVE, find_model
from factory.scenario.import_sglang import plan_sglang
from factory.scenario.import_vllm import plan_vllm
from factory.scenario.sglang_flags import FLAGS as SGLANG_FLAGS
from factory.scenario.vllm_flags import FLAGS as VLLM_FLAGS


def vllm(arguments: str, files: dict[str, str] | None = None) -> Command:
    def read_file(name: str) -> bytes:
        try:
            return (files or {})[name].encode()
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory") from None

    return parse(f"vllm serve {arguments}", VLLM, VLLM_FLAGS, read_file)


def planned(arguments: str, options: Options | None = None) -> Plan:
    command = vllm(arguments)
    model = find_model(str(command.model.value), catalog(), "vllm")
    return plan_vllm(command, model, options or Options())


def planned_sglang(arguments: str) -> Plan:
    command = parse(f"python -m sglang.launch_server {arguments}", SGLANG, SGLANG_FLAGS)
    model = find_model(str(command.model.value), catalog(), "sglang")
    return plan_sglang(command, model, Options())


def left(plan: Plan, start: str) -> str:
    """The sort under which a flag is listed."""
    (sort,) = {one.sort for one in plan.left if one.written.startswith(start)}
    return sort


def wrong(arguments: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        vllm(arguments)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        "vllm serve m -tp 8",
        "/opt/venv/bin/vllm serve m -tp 8",
        "python -m vllm.entrypoints.openai.api_server m -tp 8",
        "python3 -u -m vllm.entrypoints.openai.api_server m -tp 8",
        "python3 -m vllm.entrypoints.cli.main serve m -tp 8",
        "A=1 B='x y' vllm serve m -tp 8 > log.txt 2>&1 &",
        "export A=1 && vllm serve m -tp 8 | tee log",
        "#!/bin/bash\n# the server\nset -x\nvllm serve m \\\n  -tp 8\n",
        "vllm serve m \\  \n  -tp 8",
        "docker run --gpus all -p 8000:8000 --ipc=host vllm/vllm-openai:v0.16.0 m -tp 8",
        "docker run --rm -it -v ~/.cache:/root -e HF_TOKEN=x vllm/vllm-openai:latest m -tp 8",
        "podman run --device nvidia.com/gpu=all registry.io/a/vllm-cuda-rhel9:3.2 m -tp 8",
        "docker run --entrypoint vllm vllm/vllm-openai serve m -tp 8",
        "docker run ubuntu bash -c 'vllm serve m -tp 8'",
        "TP=8; vllm serve m -tp $TP",
        "vllm serve m -tp ${TP:-8}",
    ],
)
def test_the_servers_words_are_found(text: str) -> None:
    assert take_apart(text, VLLM).arguments == ("m", "-tp", "8")


def test_environment_is_kept_and_secrets_are_not() -> None:
    command = parse(
        "HF_TOKEN=abc VLLM_USE_V1=1 docker run -e VLLM_API_KEY=abc -e A=2 --name x=y "
        "vllm/vllm-openai:latest --model m --api-key abc",
        VLLM,
        VLLM_FLAGS,
    )
    assert command.environment == {
        "HF_TOKEN": "***",
        "VLLM_USE_V1": "1",
        "VLLM_API_KEY": "***",
        "A": "2",
    }
    assert command.image == "vllm/vllm-openai:latest"
    assert command.given["api-key"].written == "--api-key ***"


@pytest.mark.parametrize("text", ["", "ls -l", "sglang serve m", "docker run redis --model m"])
def test_other_programs_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="does not start vLLM"):
        take_apart(text, VLLM)


def test_an_open_quote_is_told() -> None:
    with pytest.raises(InputError, match="a quote is not closed"):
        take_apart("vllm serve m --speculative-config '{", VLLM)


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        ("m --tensor-parallel-size=4", "tensor-parallel-size", 4),
        ("m --tensor_parallel_size 4", "tensor-parallel-size", 4),
        ("m -tp=4", "tensor-parallel-size", 4),
        ("m --tensor-parallel 4", "tensor-parallel-size", 4),
        ("m -tp 2 -tp 4", "tensor-parallel-size", 4),
        ("m --max-model-len 32k", "max-model-len", 32_000),
        ("m --max-model-len 32K", "max-model-len", 32_768),
        ("m --max-model-len 25.6k", "max-model-len", 25_600),
        ("m --max-model-len auto", "max-model-len", None),
        ("m --max-model-len -1", "max-model-len", None),
        ("m --no-enable-prefix-caching", "enable-prefix-caching", False),
        ("m --enable-prefix-caching=false", "enable-prefix-caching", False),
        ("m -ep", "enable-expert-parallel", True),
        ("--enable-expert-parallel m", "enable-expert-parallel", True),
        ("m --served-model-name a b --port 1", "served-model-name", ("a", "b")),
        ("m -O3", "optimization-level", "3"),
        (
            """m --speculative-config '{"method": "mtp", "num_speculative_tokens": 1}'""",
            "speculative-config",
            {"method": "mtp", "num_speculative_tokens": 1},
        ),
        (
            "m --speculative-config.method mtp --speculative-config.num_speculative_tokens 2",
            "speculative-config",
            {"method": "mtp", "num_speculative_tokens": 2},
        ),
    ],
)
def test_values_are_read(arguments: str, name: str, value: Any) -> None:
    command = vllm(arguments)
    assert command.model.value == "m"
    assert command.given[name].value == value


def test_a_wrong_value_says_flag_value_and_what_is_allowed() -> None:
    assert wrong("m -tp eight --max-num-seqs 0 --gpu-memory-utilization 95") == [
        'vLLM command: -tp: must be a whole number >= 1, got "eight"',
        (
            "vLLM command: --max-num-seqs: must be a whole number >= 1, as 32768, 32k, 32K "
            "or auto, "
            'got "0"'
        ),
        'vLLM command: --gpu-memory-utilization: must be a number > 0 and <= 1, got "95"',
    ]
    (message,) = wrong("m --scheduling-policy prioritty")
    assert "allowed: fcfs, priority; did you mean priority?" in message
    assert "is not JSON" in wrong("m --speculative-config {method:mtp}")[0]
    assert "needs a value" in wrong("m -tp --port 1")[0]
    assert "shell variable" in wrong("m -tp $N")[0]
    assert "names no model" in wrong("-tp 8")[0]
    assert "named already" in wrong("m n -tp 8")[0]


def test_unknown_flags_are_kept_with_the_nearest_name() -> None:
    command = vllm("m --max-num-seq5 8 --brand-new a b --quiet")
    assert [(one.written, one.nearest) for one in command.unknown] == [
        ("--max-num-seq5 8", "--max-num-seqs"),
        ("--brand-new a b", None),
        ("--quiet", None),
    ]


def test_config_files_give_what_the_command_line_does_not() -> None:
    files = {
        "c.yaml": "model: m\ntensor-parallel-size: 4\nmax_num_seqs: 64\n"
        "enable-prefix-caching: false\nenable_expert_parallel: true\nnew-thing: 3\n"
        "speculative-config: {method: mtp, num_speculative_tokens: 1}\nseed: null\n"
    }
    command = vllm("--config c.yaml -tp 8", files)
    assert command.model.value == "m"
    values = {name: given.value for name, given in command.given.items()}
    assert values == {
        "config": "c.yaml",
        "tensor-parallel-size": 8,
        "max-num-seqs": 64,
        "enable-prefix-caching": False,
        "enable-expert-parallel": True,
        "speculative-config": {"method": "mtp", "num_speculative_tokens": 1},
    }
    assert command.given["max-num-seqs"].source == "--max-num-seqs 64 (c.yaml)"
    assert [one.written for one in command.unknown] == ["--new-thing 3"]
    with pytest.raises(ScenarioError, match="--config: cannot be read"):
        vllm("m --config none.yaml", files)
    with pytest.raises(ScenarioError, match=r"bad\.yaml: --max-num-seqs: must be a whole number"):
        vllm("m --config bad.yaml", {"bad.yaml": "max-num-seqs: many\n"})


def test_flag_names_are_unique() -> None:
    for flags in (VLLM_FLAGS, SGLANG_FLAGS):
        spelled = [s for flag in flags for s in (f"--{flag.name}", *flag.aliases)]
        assert len(set(spelled)) == len(spelled)
        assert all(flag.why for flag in flags if flag.effect != "sets")


@pytest.mark.parametrize(
    ("written", "name", "stored"),
    [
        ("deepseek-ai/DeepSeek-R1", "deepseek-r1", "fp8"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-r1", "fp8"),
        ("nvidia/DeepSeek-R1-0528-NVFP4-v2", "deepseek-r1", "fp4"),
        ("/models/DeepSeek-R1/", "deepseek-r1", "fp8"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b", "fp16"),
        ("meta-llama/Meta-Llama-3.1-70B-Instruct", "llama-3.1-70b", "fp16"),
        ("RedHatAI/Meta-Llama-3.1-70B-Instruct-FP8-dynamic", "llama-3.1-70b", "fp8"),
        ("Qwen/Qwen3-235B-A22B-FP8", "qwen3-235b-a22b", "fp8"),
        ("Qwen/Qwen3-32B-AWQ", "qwen3-32b", "int4"),
        ("openai/gpt-oss-120b", "gpt-oss-120b", "fp4"),
        ("moonshotai/Kimi-K2-Instruct-0905", "kimi-k2", "fp8"),
    ],
)
def test_models_are_found(written: str, name: str, stored: str) -> None:
    model = find_model(written, catalog(), "vllm")
    assert (model.name, model.stored) == (name, stored)


def test_an_unknown_model_says_how_to_give_its_config() -> None:
    with pytest.raises(InputError, match=r"--hf-config PATH/config\.json"):
        find_model("nobody/Nothing-7B", catalog(), "vllm")
    with pytest.raises(InputError, match=r"did you mean Qwen/Qwen3-32B\?"):
        find_model("Qwen/Qwen3-32", catalog(), "vllm")
    assert set(NATIVE) <= set(catalog().models)


def test_defaults_follow_the_gpu() -> None:
    def limits(gpu: str | None, more: str = "") -> tuple[int, int]:
        options = Options(gpu=None if gpu is None else catalog().gpus[gpu])
        pool = planned(f"Qwen/Qwen3-32B {more}", options).pool
        return pool["engine.max_num_seqs"].value, pool["engine.max_num_batched_tokens"].value

    assert limits(None) == (1024, 8192)
    assert limits("h200-sxm") == (1024, 8192)
    a100 = next(name for name in catalog().gpus if name.startswith("a100"))
    assert limits(a100) == (256, 2048)
    # Without chunks a step must hold the longest prompt: vLLM raises the budget to it.
    assert limits(None, "--no-enable-chunked-prefill") == (1024, 40_960)
    # As many sequences as the token budget at most.
    assert limits(None, "--max-num-batched-tokens 512") == (512, 512)


def test_layout_of_experts_and_of_dense_models() -> None:
    moe = planned("deepseek-ai/DeepSeek-R1 -tp 4 -dp 4 --enable-expert-parallel").pool
    sizes = {name: moe[f"parallel.{name}"].value for name in ("tp", "pp", "dp", "ep")}
    assert sizes == {"tp": 4, "pp": 1, "dp": 4, "ep": 16}
    assert moe["replicas"].value == 1
    dense = planned("Qwen/Qwen3-32B -tp 2 -dp 4 --enable-expert-parallel")
    assert (dense.pool["replicas"].value, dense.pool["parallel.dp"].value) == (4, 1)
    assert left(dense, "--enable-expert-parallel") == "no_effect"
    assert "parallel.ep" not in dense.pool


@pytest.mark.parametrize(
    ("arguments", "weights", "kv"),
    [
        ("deepseek-ai/DeepSeek-R1", "fp8", "fp16"),
        ("Qwen/Qwen3-32B", "fp16", "fp16"),
        ("Qwen/Qwen3-32B --quantization fp8 --kv-cache-dtype fp8", "fp8", "fp8"),
        ("Qwen/Qwen3-32B -q modelopt_fp4 --kv-cache-dtype fp8_e4m3", "fp4", "fp8"),
        ("Qwen/Qwen3-32B-AWQ --quantization awq_marlin --dtype half", "fp8", "fp16"),
        ("openai/gpt-oss-20b --kv-cache-dtype bfloat16", "fp4", "fp16"),
        ("Qwen/Qwen3-32B-FP8 -q compressed-tensors", "fp8", "fp16"),
    ],
)
def test_precision(arguments: str, weights: str, kv: str) -> None:
    plan = planned(arguments)
    assert plan.deployment["precision.weights"].value == weights
    assert plan.deployment["precision.kv_cache"].value == kv


def test_speculation_is_mtp_or_listed() -> None:
    spec = """--speculative-config '{"method": "%s", "num_speculative_tokens": %d}'"""
    mtp = planned(f"deepseek-ai/DeepSeek-R1 {spec % ('deepseek_mtp', 4)}")
    assert mtp.deployment["speculation.draft_tokens"].value == 4
    assert mtp.deployment["speculation.acceptance"].value == [*ACCEPTANCE, ACCEPTANCE[-1]]
    assert mtp.pool["engine.max_num_seqs"].value == 1024
    eagle = planned(f"deepseek-ai/DeepSeek-R1 {spec % ('eagle3', 4)}")
    assert "speculation.method" not in eagle.deployment
    assert left(eagle, "--speculative-config") == "not_modelled"
    without = planned(f"Qwen/Qwen3-32B {spec % ('mtp', 1)}")
    assert left(without, "--speculative-config") == "not_modelled"


@pytest.mark.parametrize(
    ("role", "pool"),
    [("kv_producer", "prefill"), ("kv_consumer", "decode"), ("kv_both", "aggregated")],
)
def test_kv_role_is_the_pools_role(role: str, pool: str) -> None:
    config = f"""'{{"kv_connector": "MooncakeConnector", "kv_role": "{role}"}}'"""
    plan = planned(f"Qwen/Qwen3-32B --kv-transfer-config {config}")
    assert plan.pool["role"].value == pool


def test_sections_are_written_only_where_the_schema_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = "Qwen/Qwen3-32B --scheduling-policy priority --kv-offloading-size 64"
    for there in (True, False):
        for name in ("has_scheduler", "has_tiers"):
            monkeypatch.setattr(f"factory.scenario.engine_import.{name}", lambda there=there: there)
        plan = planned(arguments)
        if there:
            assert plan.pool["engine.scheduler.policy"].value == "vllm"
            assert plan.pool["engine.scheduler.order"].value == "priority"
            tiers = plan.pool["kv_cache.tiers"].value
            assert [(tier["kind"], tier["capacity_gib"]) for tier in tiers] == [("host", 64)]
        else:
            assert left(plan, "--scheduling-policy") == "not_modelled"
            assert left(plan, "--kv-offloading-size") == "not_modelled"
    monkeypatch.undo()
    from factory.scenario.deployment import Engine, Pool

    assert has_scheduler() == ("scheduler" in Engine.model_fields)
    assert has_tiers() == ("kv_cache" in Pool.model_fields)


def test_what_sets_nothing_is_listed() -> None:
    plan = planned(
        "Qwen/Qwen3-32B --swap-space 16 --cpu-offload-gb 10 --enforce-eager --port 1 --load-format "
        "dummy --async-scheduling --new 1 --max-model-len 131072 --cpu-offload-params"
    )
    assert left(plan, "--swap-space") == "no_effect"
    assert left(plan, "--cpu-offload-gb") == "not_modelled"
    assert left(plan, "--enforce-eager") == "not_modelled"
    assert left(plan, "--async-scheduling") == "no_effect"
    assert left(plan, "--new") == "unknown"
    assert left(plan, "--max-model-len") == "not_modelled"
    assert "engine.max_model_len" not in plan.pool


def test_blocks_override_is_capacity() -> None:
    plan = planned("Qwen/Qwen3-32B --num-gpu-blocks-override 1000 --block-size 32")
    assert plan.pool["engine.kv_capacity_tokens"].value == 32_000


@pytest.mark.parametrize(
    ("flags", "is_hybrid", "told"),
    [
        ("", True, "default"),
        ("--disable-hybrid-kv-cache-manager", False, "--disable-hybrid-kv-cache-manager"),
        ("--kv-offloading-size 64", False, "--kv-offloading-size"),
        ('--kv-events-config \'{"publisher": "zmq"}\'', False, "--kv-events-config"),
        (
            "--kv-offloading-size 64 --no-disable-hybrid-kv-cache-manager",
            True,
            "--no-disable-hybrid-kv-cache-manager",
        ),
    ],
)
def test_windows_are_kept_alone_unless_something_forbids(
    flags: str, is_hybrid: bool, told: str
) -> None:
    plan = planned(f"openai/gpt-oss-120b {flags}")
    value = plan.pool["engine.hybrid_kv_cache"]
    assert value.value is is_hybrid
    assert told in value.source
    # Without windows there is nothing to keep.
    other = planned(f"Qwen/Qwen3-32B {flags}")
    assert "engine.hybrid_kv_cache" not in other.pool


def test_sglang_has_a_pool_of_windows() -> None:
    def windows(flags: str) -> tuple[object, object]:
        plan = planned_sglang(f"--model-path {flags}")
        names = ("engine.hybrid_kv_cache", "engine.sliding_kv_ratio")
        hybrid, ratio = (plan.pool.get(name) for name in names)
        return hybrid and hybrid.value, ratio and ratio.value

    assert windows("openai/gpt-oss-120b") == (None, 0.8)
    assert windows("openai/gpt-oss-120b --swa-full-tokens-ratio 0.2") == (None, 0.2)
    assert windows("openai/gpt-oss-120b --swa-full-tokens-ratio 2") == (False, None)
    assert windows("openai/gpt-oss-120b --disable-hybrid-swa-memory") == (False, None)
    assert windows("deepseek-ai/DeepSeek-R1 --swa-full-tokens-ratio 0.2") == (None, None)


def test_sglang_attention_ranks_lie_inside_tp() -> None:
    plan = planned_sglang(
        "--model-path deepseek-ai/DeepSeek-R1 --tp 16 --dp 8 --enable-dp-attention "
        "--moe-a2a-backend deepep --mem-fraction-static 0.85 --chunked-prefill-size 65536 "
        "--max-running-requests 1024 --page-size 64 --disable-radix-cache --schedule-policy lpm "
        "--speculative-algorithm EAGLE --speculative-num-steps 2"
    )
    values = {path: value.value for path, value in plan.pool.items()}
    assert [values[f"parallel.{name}"] for name in ("tp", "pp", "dp", "ep")] == [2, 1, 8, 16]
    assert values["engine.max_num_seqs"] == 128
    assert values["engine.max_num_batched_tokens"] == 8192
    assert values["engine.gpu_memory_utilization"] == 0.85
    assert values["engine.enable_prefix_caching"] is False
    assert plan.deployment["speculation.draft_tokens"].value == 2
    assert plan.deployment["block_size"].value == 64
    # Without a radix cache SGLang falls back to first come.
    assert values["engine.scheduler.order"] == "fcfs"
    lpm = planned_sglang("--model Qwen/Qwen3-32B --schedule-policy lpm")
    assert lpm.pool["engine.scheduler.order"].value == "lpm"
    lof = planned_sglang("--model Qwen/Qwen3-32B --schedule-policy lof")
    assert left(lof, "--schedule-policy") == "not_modelled"


def test_sglang_without_dp_attention_counts_servers() -> None:
    plan = planned_sglang("--model Qwen/Qwen3-32B --tp-size 2 --dp-size 4")
    assert plan.pool["replicas"].value == 4
    assert plan.pool["parallel.dp"].value == 1


def test_commands_of_one_deployment_must_agree() -> None:
    role: Callable[[str], Options] = lambda name: Options(role=name)  # noqa: E731
    one = planned("Qwen/Qwen3-32B -tp 2", role("prefill"))
    two = planned("Qwen/Qwen3-32B -tp 4", role("decode"))
    made = fragment([one, two], catalog(), None, None)
    pools = made.data["deployments"][0]["pools"]
    assert [(pool["name"], pool["parallel"]["tp"]) for pool in pools] == [
        ("prefill", 2),
        ("decode", 4),
    ]
    with pytest.raises(InputError, match=r"precision\.kv_cache is fp16 .* and fp8"):
        fragment([one, planned("Qwen/Qwen3-32B --kv-cache-dtype fp8")], catalog(), None, None)
    with pytest.raises(InputError, match="one deployment serves one model"):
        fragment([one, planned("openai/gpt-oss-20b")], catalog(), None, None)


def test_served_names_become_names() -> None:
    plan = planned("Qwen/Qwen3-32B --served-model-name Qwen/Qwen3-32B qwen")
    assert plan.deployment["name"].value == "Qwen3-32B"
    assert planned("Qwen/Qwen3-32B --served-model-name 'my model!'").deployment["name"].value == (
        "my-model"
    )


def test_no_flag_is_dropped() -> None:
    """Every flag given stands in a value's origin or in a list, whatever it is."""
    examples = {"text": "x", "count": "64", "tokens": "64", "number": "1", "share": "0.5"}
    examples |= {"switch": "", "json": "'{}'", "list": "x"}
    for flag in VLLM_FLAGS:
        if flag.name in ("model", "config"):
            continue
        value = flag.choices[-1] if flag.choices else examples[flag.kind]
        plan = planned(f"deepseek-ai/DeepSeek-R1 --{flag.name} {value}")
        sources = [one.source for one in (*plan.deployment.values(), *plan.pool.values())]
        sources += [one.written for one in plan.left]
        assert any(f"--{flag.name}" in source for source in sources), flag.name


def test_the_page_names_every_flag_that_sets_something() -> None:
    page = Path(__file__).parents[2] / "docs" / "import.md"
    text = page.read_text(encoding="utf-8")
    lacking = [flag.name for flag in VLLM_FLAGS if flag.effect == "sets" and flag.name not in text]
    assert lacking == []


def test_a_host_tier_counts_latent_kv_once() -> None:
    """The buffer is of all TP ranks, and each rank of latent attention keeps all of the KV."""
    mla = planned("deepseek-ai/DeepSeek-R1 -tp 8 --kv-offloading-size 160")
    assert mla.pool["kv_cache.tiers"].value[0]["capacity_gib"] == 20
    lmcache = parse(
        "LMCACHE_MAX_LOCAL_CPU_SIZE=20 vllm serve Qwen/Qwen3-32B -tp 4 --kv-transfer-config "
        """'{"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"}'""",
        VLLM,
        VLLM_FLAGS,
    )
    plan = plan_vllm(lmcache, find_model("Qwen/Qwen3-32B", catalog(), "vllm"), Options())
    assert plan.pool["kv_cache.tiers"].value[0]["capacity_gib"] == 80
