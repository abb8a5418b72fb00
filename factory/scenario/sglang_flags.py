"""The flags of ``python -m sglang.launch_server``, and what each means for a scenario.

Names and spellings: SGLang 0.5 (2025-11), "Server Arguments" of its documentation. Fewer than
vLLM's: what is not here is listed as unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from factory.scenario.engine_flags import Effect, Flag, Kind

VERSION = "SGLang 0.5 (2025-11)"
"""The version that defaults are read from."""

MEM_FRACTION_STATIC = 0.88
"""About what it chooses for a large GPU; it depends on memory, layout and CUDA graphs."""
CHUNKED_PREFILL_SIZE = 8192
"""Its default for GPUs with 60 to 160 GB; 16384 above."""
LARGE_CHUNKED_PREFILL_SIZE = 16384
LARGE_GPU_GB = 160
MAX_RUNNING_REQUESTS = 2048
"""The least it derives from the KV cache where none is stated."""
PAGE_SIZE = 1
SWA_FULL_TOKENS_RATIO = 0.8
"""Tokens of its pool for sliding layers over those of the pool for full ones."""
SWA_MODELS = ("gpt-oss", "llama-4", "mimo-v2", "step-3.5")
"""Models that it makes two pools for (``is_hybrid_swa_model``, early 2026)."""

_SETS = (
    Flag("model", "text", "sets", aliases=("--model-path",)),
    Flag("served-model-name", "text", "sets"),
    Flag("config", "text", "sets"),
    Flag("tp-size", "count", "sets", aliases=("--tp", "--tensor-parallel-size"), least=1),
    Flag("pp-size", "count", "sets", aliases=("--pp", "--pipeline-parallel-size"), least=1),
    Flag("dp-size", "count", "sets", aliases=("--dp", "--data-parallel-size"), least=1),
    Flag("ep-size", "count", "sets", aliases=("--ep", "--expert-parallel-size"), least=1),
    Flag("enable-dp-attention", "switch", "sets"),
    Flag("enable-ep-moe", "switch", "sets"),
    Flag("enable-deepep-moe", "switch", "sets"),
    Flag("moe-a2a-backend", "text", "sets"),
    Flag("mem-fraction-static", "share", "sets"),
    Flag("chunked-prefill-size", "count", "sets", least=-1),
    Flag("max-running-requests", "count", "sets", least=1),
    Flag("max-total-tokens", "count", "sets", least=1),
    Flag("context-length", "tokens", "sets", least=1),
    Flag("page-size", "count", "sets", least=1),
    Flag("disable-radix-cache", "switch", "sets"),
    Flag(
        "schedule-policy",
        "text",
        "sets",
        choices=("lpm", "random", "fcfs", "dfs-weight", "lof", "priority"),
    ),
    Flag("enable-priority-scheduling", "switch", "sets"),
    Flag("schedule-conservativeness", "number", "sets"),
    Flag("quantization", "text", "sets"),
    Flag(
        "dtype",
        "text",
        "sets",
        choices=("auto", "half", "float16", "bfloat16", "float", "float32"),
    ),
    Flag(
        "kv-cache-dtype",
        "text",
        "sets",
        choices=("auto", "bf16", "bfloat16", "fp8_e5m2", "fp8_e4m3", "fp4_e2m1"),
    ),
    Flag("speculative-algorithm", "text", "sets", aliases=("--speculative-algo",)),
    Flag("speculative-num-steps", "count", "sets", least=1),
    Flag("speculative-eagle-topk", "count", "sets", least=1),
    Flag("speculative-num-draft-tokens", "count", "sets", least=1),
    Flag("speculative-draft-model-path", "text", "sets", aliases=("--speculative-draft-model",)),
    Flag("disaggregation-mode", "text", "sets", choices=("null", "prefill", "decode")),
    Flag("enable-hierarchical-cache", "switch", "sets"),
    Flag("hicache-size", "number", "sets"),
    Flag("hicache-ratio", "number", "sets"),
    Flag("swa-full-tokens-ratio", "number", "sets"),
    Flag("disable-hybrid-swa-memory", "switch", "sets"),
)

_OTHER = "the engine profile and the GPU's measured kernels stand for these"
_NONE_SWITCHES = """
    trust-remote-code enable-metrics disable-cuda-graph-padding enable-torch-compile
    disable-custom-all-reduce enable-cache-report skip-tokenizer-init log-requests
    enable-flashinfer-allreduce-fusion disable-shared-experts-fusion show-time-cost
    skip-server-warmup disable-flashinfer-cutlass-moe-fp4-allgather is-embedding
    enable-symm-mem enable-dp-lm-head allow-auto-truncate enable-multimodal
"""
_NONE_WORDS = """
    host port api-key tokenizer-path tokenizer-mode load-format device log-level
    log-level-http attention-backend prefill-attention-backend decode-attention-backend
    sampling-backend mm-attention-backend moe-runner-backend fp8-gemm-backend grammar-backend
    cuda-graph-max-bs dist-init-addr nnodes node-rank random-seed watchdog-timeout chat-template
    tool-call-parser reasoning-parser stream-interval download-dir revision dist-timeout
    num-continuous-decode-steps scheduler-recv-interval tokenizer-worker-num base-gpu-id
    deepep-mode deepep-config flashinfer-mxfp4-moe-precision nccl-port load-balance-method
    disaggregation-transfer-backend disaggregation-ib-device disaggregation-bootstrap-port
    hicache-io-backend hicache-mem-layout crash-dump-folder moe-dense-tp-size
"""

_UNMODELLED: tuple[tuple[str, Kind, str], ...] = (
    ("max-prefill-tokens", "count", "a second limit of the tokens of a prefill step"),
    ("enable-mixed-chunk", "switch", "prompts and decode in one step"),
    ("enable-two-batch-overlap", "switch", "two micro-batches that hide the expert exchange"),
    ("enable-single-batch-overlap", "switch", "compute that hides the expert exchange"),
    ("disable-overlap-schedule", "switch", "host work that is not hidden; raise step_overhead_ms"),
    ("disable-cuda-graph", "switch", "steps without CUDA graphs; raise step_overhead_ms"),
    ("enable-eplb", "switch", "balanced experts"),
    ("ep-num-redundant-experts", "count", "copies of busy experts"),
    ("ep-dispatch-algorithm", "text", "copies of busy experts"),
    ("init-expert-location", "text", "where experts lie"),
    ("cpu-offload-gb", "number", "weights in host memory"),
    ("hicache-write-policy", "text", "when KV goes to the host"),
    ("hicache-storage-backend", "text", "a store behind host memory"),
    ("hicache-storage-prefetch-policy", "text", "a store behind host memory"),
    ("hicache-storage-backend-extra-config", "text", "a store behind host memory"),
    ("json-model-override-args", "text", "another architecture; give its config with hf_config"),
    ("max-queued-requests", "count", "a limit of the queue"),
    ("prefill-round-robin-balance", "switch", "where decode sends requests"),
    ("enable-lora", "switch", "adapters beside the model"),
    ("lora-paths", "list", "adapters beside the model"),
)


def _all() -> Iterator[Flag]:
    yield from _SETS
    for name in _NONE_SWITCHES.split():
        yield Flag(name, "switch", "none", _OTHER)
    for name in _NONE_WORDS.split():
        yield Flag(name, "list" if name == "cuda-graph-bs" else "text", "none", _OTHER)
    yield Flag("cuda-graph-bs", "list", "none", _OTHER)
    for name, kind, why in _UNMODELLED:
        yield Flag(name, kind, "unmodelled", why)


FLAGS = tuple(_all())
"""Every flag that is known."""

_VARIABLES = """
    CUDA_VISIBLE_DEVICES HF_TOKEN HF_HOME HF_HUB_OFFLINE OMP_NUM_THREADS NCCL_DEBUG
    NCCL_SOCKET_IFNAME GLOO_SOCKET_IFNAME SGL_ENABLE_JIT_DEEPGEMM SGLANG_USE_AITER MC_TE_METRIC
    PYTORCH_CUDA_ALLOC_CONF
"""
VARIABLES: Mapping[str, tuple[Effect, str]] = dict.fromkeys(_VARIABLES.split(), ("none", _OTHER))
"""Environment variables."""
