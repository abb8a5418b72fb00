"""The flags of ``vllm serve``, and what each means for a scenario.

Names, spellings and allowed values: vLLM 0.16.0 (2026-02), ``vllm/engine/arg_utils.py`` and the
configuration classes of its API reference, with those of 0.6 to 0.21 that command lines still hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from factory.scenario.engine_flags import Effect, Flag, Kind

VERSION = "vLLM 0.16.0 (2026-02)"
"""The version that defaults are read from."""

GPU_MEMORY_UTILIZATION = 0.9
"""``CacheConfig.gpu_memory_utilization``; later releases (documentation of 2026) take 0.92."""
LARGE_GPU_GIB = 70
"""Memory from which ``EngineArgs.get_batch_defaults`` takes a GPU, other than A100, for large."""
LARGE_GPU_TOKENS, SMALL_GPU_TOKENS = 8192, 2048
"""Its default of ``max_num_batched_tokens`` for an API server."""
LARGE_GPU_SEQS, SMALL_GPU_SEQS = 1024, 256
"""Its default of ``max_num_seqs`` for an API server."""
BLOCK_SIZE, MLA_BLOCK_SIZE = 16, 64
"""Tokens of a block that the CUDA platform sets: plain attention, and FlashMLA."""

_SETS = (
    Flag("model", "text", "sets"),
    Flag("served-model-name", "list", "sets"),
    Flag("config", "text", "sets"),
    Flag("tensor-parallel-size", "count", "sets", aliases=("-tp",), least=1),
    Flag("pipeline-parallel-size", "count", "sets", aliases=("-pp",), least=1),
    Flag("data-parallel-size", "count", "sets", aliases=("-dp",), least=1),
    Flag("enable-expert-parallel", "switch", "sets", aliases=("-ep",)),
    Flag("max-model-len", "tokens", "sets", least=1),
    Flag("max-num-seqs", "tokens", "sets", least=1),
    Flag("max-num-batched-tokens", "tokens", "sets", least=1),
    Flag("gpu-memory-utilization", "share", "sets"),
    Flag("enable-prefix-caching", "switch", "sets"),
    Flag("enable-chunked-prefill", "switch", "sets"),
    Flag("block-size", "count", "sets", choices=("1", "8", "16", "32", "64", "128", "256")),
    Flag("num-gpu-blocks-override", "count", "sets", least=1),
    Flag("scheduling-policy", "text", "sets", choices=("fcfs", "priority")),
    Flag("kv-offloading-size", "number", "sets"),
    Flag("kv-offloading-backend", "text", "sets", choices=("native", "lmcache")),
    Flag("kv-transfer-config", "json", "sets"),
    Flag("kv-events-config", "json", "sets"),
    Flag("disable-hybrid-kv-cache-manager", "switch", "sets"),
    Flag("speculative-config", "json", "sets", aliases=("-sc",)),
    Flag("speculative-model", "text", "sets"),
    Flag("num-speculative-tokens", "count", "sets"),
    Flag("quantization", "text", "sets", aliases=("-q",)),
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
        choices=(
            *("auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"),
            *("fp8_ds_mla", "nvfp4"),
        ),
    ),
)

_KERNELS = "the engine profile and the GPU's measured kernels stand for all of vLLM's kernels"
_HOST = "host work is part of the engine profile (step_overhead_ms)"
_CHAT = "what a token says does not change what it costs"
_START = "start-up and loading are not part of a steady run"
_NETWORK = "how a client reaches the server does not change its steps"
_LOG = "logs and metrics cost nothing here"
_NODES = "the whole replica is described, wherever its processes run"
_SHAPES = "text in, text out: no images, audio or adapters"

_NONE: Mapping[str, tuple[tuple[tuple[str, Kind], ...], str]] = {
    "kernels": (
        (
            *(("attention-backend", "text"), ("attention-config", "json")),
            *(("compilation-config", "json"), ("optimization-level", "text")),
            *(("cudagraph-capture-sizes", "list"), ("cuda-graph-sizes", "list")),
            *(("max-cudagraph-capture-size", "text"), ("max-seq-len-to-capture", "text")),
            *(("disable-custom-all-reduce", "switch"), ("disable-cascade-attn", "switch")),
            *(("calculate-kv-scales", "switch"), ("moe-backend", "text")),
            *(("kernel-config", "json"), ("enable-flashinfer-autotune", "switch")),
            *(("override-attention-dtype", "text"), ("model-impl", "text")),
            *(("mamba-backend", "text"), ("use-v2-block-manager", "switch")),
            *(("prefix-caching-hash-algo", "text"), ("performance-mode", "text")),
        ),
        _KERNELS,
    ),
    "host": (
        (
            *(("async-scheduling", "switch"), ("api-server-count", "count")),
            *(("stream-interval", "count"), ("renderer-num-workers", "count")),
            *(("tokenizer-pool-size", "count"), ("tokenizer-pool-type", "text")),
            *(("num-scheduler-steps", "count"), ("multi-step-stream-outputs", "text")),
            *(("disable-frontend-multiprocessing", "switch"), ("num-lookahead-slots", "count")),
            *(("disable-async-output-proc", "switch"), ("numa-bind", "switch")),
            *(("numa-bind-nodes", "list"), ("numa-bind-cpus", "list")),
        ),
        _HOST,
    ),
    "chat": (
        (
            *(("tokenizer", "text"), ("tokenizer-mode", "text"), ("tokenizer-revision", "text")),
            *(("chat-template", "text"), ("chat-template-content-format", "text")),
            *(("default-chat-template-kwargs", "json"), ("reasoning-parser", "text")),
            *(("enable-reasoning", "switch"), ("reasoning-parser-plugin", "text")),
            *(("enable-auto-tool-choice", "switch"), ("tool-call-parser", "text")),
            *(("tool-parser-plugin", "text"), ("tool-server", "text")),
            *(("generation-config", "text"), ("override-generation-config", "json")),
            *(("guided-decoding-backend", "text"), ("structured-outputs-config", "json")),
            *(("logits-processors", "list"), ("logits-processor-pattern", "text")),
            *(("max-logprobs", "text"), ("logprobs-mode", "text"), ("seed", "text")),
            *(("response-role", "text"), ("return-tokens-as-token-ids", "switch")),
            *(("trust-request-chat-template", "switch"), ("skip-tokenizer-init", "switch")),
            *(("exclude-tools-when-tool-choice-none", "switch"), ("revision", "text")),
            *(("code-revision", "text"), ("hf-token", "text"), ("hf-config-path", "text")),
            *(("config-format", "text"), ("task", "text"), ("runner", "text"), ("convert", "text")),
            *(("enable-prompt-tokens-details", "switch"), ("io-processor-plugin", "text")),
            ("enable-force-include-usage", "switch"),
        ),
        _CHAT,
    ),
    "start": (
        (
            *(("trust-remote-code", "switch"), ("load-format", "text"), ("download-dir", "text")),
            *(("model-loader-extra-config", "json"), ("safetensors-load-strategy", "text")),
            *(("max-parallel-loading-workers", "text"), ("use-tqdm-on-load", "switch")),
            *(("ignore-patterns", "list"), ("pt-load-map-location", "text")),
            *(("enable-sleep-mode", "switch"), ("weight-transfer-config", "json")),
            *(("enable-ep-weight-filter", "switch"), ("skip-mm-profiling", "switch")),
        ),
        _START,
    ),
    "network": (
        (
            *(("host", "text"), ("port", "text"), ("uds", "text"), ("api-key", "list")),
            *(("root-path", "text"), ("middleware", "list"), ("allow-credentials", "switch")),
            *(
                ("allowed-origins", "list"),
                ("allowed-methods", "list"),
                ("allowed-headers", "list"),
            ),
            *(("ssl-keyfile", "text"), ("ssl-certfile", "text"), ("ssl-ca-certs", "text")),
            *(("ssl-cert-reqs", "text"), ("enable-ssl-refresh", "switch")),
            *(("h11-max-incomplete-event-size", "text"), ("h11-max-header-count", "text")),
            *(("enable-server-load-tracking", "switch"), ("disable-fastapi-docs", "switch")),
            *(("enable-request-id-headers", "switch"), ("enable-offline-docs", "switch")),
            ("shutdown-timeout", "text"),
        ),
        _NETWORK,
    ),
    "log": (
        (
            *(("disable-log-requests", "switch"), ("enable-log-requests", "switch")),
            *(("disable-log-stats", "switch"), ("enable-log-outputs", "switch")),
            *(("max-log-len", "text"), ("uvicorn-log-level", "text")),
            *(("disable-uvicorn-access-log", "switch"), ("log-config-file", "text")),
            *(("otlp-traces-endpoint", "text"), ("collect-detailed-traces", "text")),
            *(("show-hidden-metrics-for-version", "text"), ("kv-cache-metrics", "switch")),
            *(("kv-cache-metrics-sample", "text"), ("cudagraph-metrics", "switch")),
            *(("enable-mfu-metrics", "switch"), ("aggregate-engine-logging", "switch")),
            *(("enable-layerwise-nvtx-tracing", "switch"), ("profiler-config", "json")),
            *(("ray-workers-use-nsight", "switch"), ("enable-log-deltas", "switch")),
            ("enable-logging-iteration-details", "switch"),
        ),
        _LOG,
    ),
    "nodes": (
        (
            *(("distributed-executor-backend", "text"), ("data-parallel-backend", "text")),
            *(("data-parallel-size-local", "count"), ("data-parallel-address", "text")),
            *(("data-parallel-rpc-port", "text"), ("data-parallel-start-rank", "count")),
            *(("data-parallel-hybrid-lb", "switch"), ("data-parallel-external-lb", "switch")),
            *(("headless", "switch"), ("nnodes", "count"), ("node-rank", "count")),
            *(("master-addr", "text"), ("master-port", "text"), ("worker-use-ray", "switch")),
            *(("distributed-timeout-seconds", "text"), ("worker-cls", "text")),
            *(("worker-extension-cls", "text"), ("data-parallel-rank", "count")),
            *(("disable-nccl-for-dp-synchronization", "switch"), ("device", "text")),
        ),
        _NODES,
    ),
    "shapes": (
        (
            *(("limit-mm-per-prompt", "text"), ("mm-processor-kwargs", "json")),
            *(("mm-encoder-tp-mode", "text"), ("mm-processor-cache-gb", "text")),
            *(("mm-processor-cache-type", "text"), ("disable-mm-preprocessor-cache", "switch")),
            *(("allowed-local-media-path", "text"), ("allowed-media-domains", "list")),
            *(("media-io-kwargs", "json"), ("language-model-only", "switch")),
            *(("interleave-mm-strings", "switch"), ("disable-chunked-mm-input", "switch")),
            *(("mm-encoder-attn-backend", "text"), ("video-pruning-rate", "text")),
            *(("mm-shm-cache-max-object-size-mb", "text"), ("enable-mm-embeds", "switch")),
            *(("enable-prompt-embeds", "switch"), ("pooler-config", "json")),
            *(("max-loras", "count"), ("max-lora-rank", "count"), ("max-cpu-loras", "count")),
            *(("lora-dtype", "text"), ("lora-extra-vocab-size", "text")),
            *(("fully-sharded-loras", "switch"), ("default-mm-loras", "json")),
        ),
        _SHAPES,
    ),
}

_RECOMPUTE = "the V1 engine preempts by recomputing and never swaps"

_WITH_REASON: tuple[tuple[str, Kind, Effect, str], ...] = (
    ("swap-space", "number", "none", _RECOMPUTE),
    ("preemption-mode", "text", "none", _RECOMPUTE),
    ("cpu-offload-gb", "number", "unmodelled", "weights in host memory"),
    ("cpu-offload-params", "list", "unmodelled", "weights in host memory"),
    ("offload-backend", "text", "unmodelled", "weights in host memory"),
    ("offload-group-size", "count", "unmodelled", "weights in host memory"),
    ("offload-num-in-group", "count", "unmodelled", "weights in host memory"),
    ("offload-prefetch-step", "count", "unmodelled", "weights in host memory"),
    (
        *("kv-cache-memory-bytes", "text", "unmodelled"),
        "KV memory in bytes; state engine.kv_capacity_tokens (tokens per rank)",
    ),
    ("enforce-eager", "switch", "unmodelled", "steps without CUDA graphs; raise step_overhead_ms"),
    ("enable-dbo", "switch", "unmodelled", "two micro-batches that hide the expert exchange"),
    ("ubatch-size", "count", "unmodelled", "micro-batches that hide the expert exchange"),
    ("dbo-decode-token-threshold", "count", "unmodelled", "dual-batch overlap"),
    ("dbo-prefill-token-threshold", "count", "unmodelled", "dual-batch overlap"),
    (
        *("enable-eplb", "switch", "unmodelled"),
        "balanced experts; an overlay with expert_skew: 0 says as much (docs/step-times.md)",
    ),
    ("eplb-config", "json", "unmodelled", "balanced experts"),
    ("num-redundant-experts", "count", "unmodelled", "copies of busy experts"),
    ("eplb-window-size", "count", "unmodelled", "balanced experts"),
    ("eplb-step-interval", "count", "unmodelled", "balanced experts"),
    ("enable-elastic-ep", "switch", "unmodelled", "expert ranks that come and go"),
    ("expert-placement-strategy", "text", "unmodelled", "where experts lie"),
    (
        *("all2all-backend", "text", "unmodelled"),
        "the way tokens reach their experts; the GPU generation's measured one is used",
    ),
    ("decode-context-parallel-size", "count", "unmodelled", "a context spread over ranks"),
    ("prefill-context-parallel-size", "count", "unmodelled", "a prompt spread over more GPUs"),
    ("dcp-comm-backend", "text", "unmodelled", "a context spread over ranks"),
    ("dcp-kv-cache-interleave-size", "count", "unmodelled", "a context spread over ranks"),
    ("cp-kv-cache-interleave-size", "count", "unmodelled", "a context spread over ranks"),
    ("max-num-partial-prefills", "count", "unmodelled", "several prompts in part at once"),
    ("max-long-partial-prefills", "count", "unmodelled", "several prompts in part at once"),
    ("long-prefill-token-threshold", "count", "unmodelled", "a cap on a long prompt's chunk"),
    ("scheduler-cls", "text", "unmodelled", "a scheduler of your own"),
    ("disable-sliding-window", "switch", "unmodelled", "attention without its window"),
    ("kv-sharing-fast-prefill", "switch", "unmodelled", "KV shared between layers"),
    ("kv-cache-dtype-skip-layers", "list", "unmodelled", "layers whose KV stays in 16 bits"),
    ("mamba-cache-dtype", "text", "unmodelled", "format of linear-attention state"),
    ("mamba-ssm-cache-dtype", "text", "unmodelled", "format of linear-attention state"),
    ("mamba-block-size", "count", "unmodelled", "blocks of linear-attention state"),
    ("mamba-cache-mode", "text", "unmodelled", "which linear-attention states are kept"),
    ("rope-scaling", "json", "unmodelled", "a longer context; give its config with hf_config"),
    ("rope-theta", "text", "unmodelled", "a longer context; give its config with hf_config"),
    ("hf-overrides", "json", "unmodelled", "another architecture; give its config with hf_config"),
    ("additional-config", "json", "unmodelled", "what a plug-in does"),
    ("enable-lora", "switch", "unmodelled", "adapters beside the model"),
    ("lora-modules", "list", "unmodelled", "adapters beside the model"),
    ("enable-lora-bias", "switch", "unmodelled", "adapters beside the model"),
    ("ec-transfer-config", "json", "unmodelled", "an encoder apart"),
)

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "compilation-config": ("-cc",),
    "optimization-level": ("-O",),
    "attention-config": ("-ac",),
    "decode-context-parallel-size": ("-dcp",),
    "prefill-context-parallel-size": ("-pcp",),
    "data-parallel-rank": ("-dpn",),
    "data-parallel-start-rank": ("-dpr",),
    "data-parallel-size-local": ("-dpl",),
    "data-parallel-address": ("-dpa",),
    "data-parallel-rpc-port": ("-dpp",),
    "data-parallel-backend": ("-dpb",),
    "data-parallel-hybrid-lb": ("-dph",),
    "data-parallel-external-lb": ("-dpe",),
    "api-server-count": ("-asc",),
    "nnodes": ("-n",),
    "node-rank": ("-r",),
}


def _all() -> Iterator[Flag]:
    yield from _SETS
    for names, why in _NONE.values():
        for name, kind in names:
            yield Flag(name, kind, "none", why, _ALIASES.get(name, ()))
    for name, kind, effect, why in _WITH_REASON:
        yield Flag(name, kind, effect, why, _ALIASES.get(name, ()))


FLAGS = tuple(_all())
"""Every flag that is known."""

VARIABLES: Mapping[str, tuple[Effect, str]] = {
    "VLLM_ATTENTION_BACKEND": ("none", _KERNELS),
    "VLLM_USE_DEEP_GEMM": ("none", _KERNELS),
    "VLLM_USE_FLASHINFER_SAMPLER": ("none", _KERNELS),
    "VLLM_FLASHINFER_MOE_BACKEND": ("none", _KERNELS),
    "VLLM_ROCM_USE_AITER": ("none", _KERNELS),
    "VLLM_ALL2ALL_BACKEND": ("unmodelled", "the way tokens reach their experts"),
    "VLLM_WORKER_MULTIPROC_METHOD": ("none", _NODES),
    "VLLM_LOGGING_LEVEL": ("none", _LOG),
    "VLLM_NO_USAGE_STATS": ("none", _LOG),
    "VLLM_HOST_IP": ("none", _NODES),
    "VLLM_API_KEY": ("none", _NETWORK),
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": ("unmodelled", "a context beyond the model's"),
    "VLLM_USE_V1": ("none", "the V1 engine is what is modelled"),
    "VLLM_USE_MODELSCOPE": ("none", _START),
    "CUDA_VISIBLE_DEVICES": ("none", _NODES),
    "NVIDIA_VISIBLE_DEVICES": ("none", _NODES),
    "HIP_VISIBLE_DEVICES": ("none", _NODES),
    "ROCR_VISIBLE_DEVICES": ("none", _NODES),
    "HF_TOKEN": ("none", _START),
    "HF_HOME": ("none", _START),
    "HF_HUB_OFFLINE": ("none", _START),
    "HF_HUB_CACHE": ("none", _START),
    "HUGGING_FACE_HUB_TOKEN": ("none", _START),
    "OMP_NUM_THREADS": ("none", _HOST),
    "PYTORCH_CUDA_ALLOC_CONF": ("none", _KERNELS),
    "PYTORCH_ALLOC_CONF": ("none", _KERNELS),
    "NCCL_DEBUG": ("none", _LOG),
    "NCCL_SOCKET_IFNAME": ("none", _NODES),
    "GLOO_SOCKET_IFNAME": ("none", _NODES),
    "UCX_NET_DEVICES": ("none", _NODES),
    "VLLM_NIXL_SIDE_CHANNEL_HOST": ("none", _NODES),
    "VLLM_NIXL_SIDE_CHANNEL_PORT": ("none", _NODES),
}
"""Environment variables; ``VLLM_USE_V1=0`` and those of LMCache are read where they matter."""
