"""What no step may do, whatever the model, machine, layout, format, engine and drafts.

The floors are worked out here from the published shape of a model, not with the package's own
operators.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice, pairwise, product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory.performance import Layout, RankWork, RooflineStepModel
from factory.performance.forward import storage
from factory.performance.hardware import efficiency
from factory.scenario import catalog
from factory.scenario.specs import ModelSpec

CATALOG = catalog()
ULPS = 1 + 1e-9
BYTES = {"fp16": 2.0, "fp8": 1.0, "fp4": 0.5}
SYSTEMS = ("hgx-h200", "hgx-b200", "gb300-nvl72", "hgx-a100", "mi355x")
PROFILES = tuple(name for name in CATALOG.engines if "@" not in name)
DENSE = (
    Layout(),
    Layout(tp=8),
    Layout(tp=4, dp=2),
    Layout(tp=2, pp=2),
    Layout(tp=4, pp=3),
    Layout(tp=2, dp=2, pp=2),
)
SPARSE = (
    Layout(tp=8, ep=8),
    Layout(tp=16, ep=16),
    Layout(dp=8, ep=8),
    Layout(tp=2, dp=4, ep=8),
    Layout(tp=4, dp=4),
    Layout(dp=32, ep=32),
    Layout(tp=4, pp=2, ep=4),
)


@dataclass(frozen=True)
class Case:
    """One replica."""

    model: str
    system: str
    layout: Layout
    weights: str
    kv_cache: str
    profile: str
    drafts: int = 0

    @property
    def spec(self) -> ModelSpec:
        return CATALOG.models[self.model]


@cache
def build(case: Case, field: str = "", by: float = 1.0) -> RooflineStepModel:
    system = CATALOG.systems[case.system]
    gpu = CATALOG.gpus[system.gpu]
    if field and getattr(gpu, field):
        gpu = replace(gpu, **{field: getattr(gpu, field) * by})
    return RooflineStepModel(
        case.spec,
        gpu,
        system,
        case.layout,
        case.weights,  # type: ignore[arg-type]
        case.kv_cache,  # type: ignore[arg-type]
        None,
        efficiency(gpu.generation, case.profile),
        draft_tokens=case.drafts,
    )


def some_cases() -> Iterator[Case]:
    """Every model on some of everything: a prime stride through all combinations."""
    for first, (name, model) in enumerate(sorted(CATALOG.models.items())):
        layouts = DENSE + SPARSE if model.experts else DENSE
        others = product(SYSTEMS, layouts, BYTES, ("fp16", "fp8"), PROFILES, range(4))
        yield from (Case(name, *other) for other in islice(others, 89 * first, None, 997))


cases = st.sampled_from(tuple(some_cases()))
clocks = st.sampled_from((0.4, 1.0))

# An engine's fitted factors alone would put the first two below the roofline: attention below HBM,
# 16-bit products above their peak. The last has as few distinct experts as there can be.
TOO_QUICK = (
    Case("llama-3.1-8b", "hgx-b200", Layout(dp=8), "fp16", "fp8", "trtllm-2026-01"),
    Case("llama-3.1-405b", "hgx-b200", Layout(dp=8), "fp16", "fp8", "sglang-2025-11"),
    Case("gpt-oss-20b", "hgx-h200", Layout(), "fp16", "fp16", "generic"),
)


@dataclass(frozen=True)
class Load:
    """What every rank does in a step: sequences of a context; one prompt after a prefix."""

    sequences: int
    context: int
    prompt: int
    prefix: int

    def ranks(self, case: Case, slope: float = 1.0) -> list[RankWork]:
        n, t, p = self.sequences, self.prompt, self.prefix
        work = RankWork(
            n,
            n * self.context,
            t,
            t * p + t * (t + 1) / 2,
            0.0,
            p + t if t else 0,
            0,
            n + (t > 0),
            context_slope=n * slope,
        )
        return [work] * case.layout.dp


@st.composite
def loads(draw: st.DrawFn, kind: str | None = None) -> Load:
    kind = kind or draw(st.sampled_from(["decode", "decode", "prefill", "mixed"]))
    n = context = prompt = prefix = 0
    if kind != "prefill":
        n = draw(st.sampled_from([1, 2, 7, 32, 150, 700]) | st.integers(1, 1200))
        context = draw(st.sampled_from([1, 128, 1000, 8000, 100_000]))
    if kind != "decode":
        prompt = draw(st.sampled_from([1, 100, 1025, 8192]) | st.integers(1, 16_384))
        prefix = draw(st.sampled_from([0, 0, 500, 100_000]))
    return Load(n, context, prompt, prefix)


def seconds(case: Case, load: Load, clock: float = 1.0) -> float:
    return build(case).plan(load.ranks(case), clock, 1).base_s


# -- floors worked out by hand -----------------------------------------------------------------


def attention_parameters(m: ModelSpec) -> float:
    """Of one layer of attention over context."""
    if m.attention == "mla":
        query = m.heads * (m.qk_nope_head_dim + m.qk_rope_head_dim)
        into = m.hidden * m.q_lora_rank + m.q_lora_rank * query
        latent = m.hidden * (m.kv_lora_rank + m.qk_rope_head_dim)
        expansion = m.kv_lora_rank * m.heads * (m.qk_nope_head_dim + m.v_head_dim)
        return into + latent + expansion + m.heads * m.v_head_dim * m.hidden
    width = m.heads * m.head_dim
    return m.hidden * (width * (3 if m.attention_gate else 2) + 2 * m.kv_heads * m.head_dim)


def linear_parameters(m: ModelSpec) -> float:
    """Of one layer of linear attention."""
    values = m.linear_value_heads * m.linear_value_head_dim
    keys = m.linear_key_heads * m.linear_key_head_dim
    return m.hidden * (2 * keys + 3 * values)


def expert(m: ModelSpec) -> float:
    return 3.0 * m.hidden * m.moe_intermediate


def rank_parameters(m: ModelSpec, layers: int, attending: int) -> float:
    """Of all that every rank holds of so many layers: attention, dense and shared MLPs."""
    dense = layers if not m.experts else min(m.dense_layers, layers - 1)
    found = attending * attention_parameters(m) + dense * 3.0 * m.hidden * m.dense_intermediate
    found += (layers - attending) * linear_parameters(m)
    return found + (layers - dense) * m.shared_experts * expert(m)


def kv_bytes(case: Case, context: int, sliding: bool = True) -> float:
    """KV that attention reads of one sequence on one GPU, over all layers."""
    m, tp = case.spec, case.layout.tp
    windowed = m.sliding_layers if sliding else 0
    attending = m.layers - m.linear_layers - windowed
    tokens = attending * context + windowed * min(context, m.sliding_window or context)
    if m.attention == "mla":
        return tokens * (m.kv_lora_rank + m.qk_rope_head_dim) * BYTES[case.kv_cache]
    return tokens * 2 * m.kv_heads / tp * m.head_dim * BYTES[case.kv_cache]


def hand_bytes(case: Case, load: Load) -> float:
    """Least bytes per GPU: weights once per microbatch, one token's experts, KV of the context."""
    m, at = case.spec, case.layout
    sparse = m.layers - m.dense_layers if m.experts else 0
    value = BYTES[case.weights]
    one = m.experts_per_token * expert(m) / at.stage_gpus
    held = rank_parameters(m, m.layers, m.layers - m.linear_layers) / at.tp + sparse * one
    head = 2.0 * m.vocab * m.hidden / at.tp
    microbatches = min(load.sequences + load.prompt, at.pp)
    found = value * held * microbatches / at.pp + head / at.pp
    found += load.sequences * kv_bytes(case, load.context) / at.pp
    if load.sequences and case.drafts:
        layer = value * (rank_parameters(m, 1, 1) / at.tp + (one if m.experts else 0.0))
        found += case.drafts * (layer + head) / at.pp
    if load.prompt:
        full = kv_bytes(case, load.prefix, sliding=False)
        found += full * (1 - m.sliding_layers / m.layers) / at.pp
    return found


def hand_flops(case: Case, load: Load) -> float:
    """FLOPs per GPU: rows times parameters, and pairs of queries and keys."""
    m, at = case.spec, case.layout
    sparse = m.layers - m.dense_layers if m.experts else 0
    rows = load.sequences * (1 + case.drafts)
    tokens = rows + load.prompt
    attending = m.layers - m.linear_layers
    held = rank_parameters(m, m.layers, attending)
    if m.attention == "mla":
        # Prompts pay the expansion of latents by what they attend to.
        held -= attending * m.kv_lora_rank * m.heads * (m.qk_nope_head_dim + m.v_head_dim)
    routed = sparse * m.experts_per_token * expert(m) * at.dp / at.stage_gpus
    found = 2.0 * tokens * (held / at.tp + routed) + 2.0 * rows * m.vocab * m.hidden / at.tp
    windowed = m.sliding_layers
    full = attending - windowed
    near = min(load.context, m.sliding_window or load.context)
    seen = load.prompt * load.prefix + load.prompt * (load.prompt + 1) / 2
    if m.attention == "mla":
        absorbed = 2.0 * m.heads * (2 * m.kv_lora_rank + m.qk_rope_head_dim)
        expanded = 2.0 * m.heads * (m.qk_nope_head_dim + m.qk_rope_head_dim + m.v_head_dim)
    else:
        absorbed = expanded = 4.0 * m.heads * m.head_dim
    pairs = rows * (full * load.context + windowed * near) * absorbed + full * seen * expanded
    return (found + pairs / at.tp) / at.pp


@settings(max_examples=100, deadline=None)
@given(cases, loads(), clocks)
@example(TOO_QUICK[0], Load(32, 100_000, 0, 0), 1.0)
@example(TOO_QUICK[1], Load(0, 0, 16_384, 0), 1.0)
@example(TOO_QUICK[2], Load(1, 1, 0, 0), 1.0)
def test_never_under_the_roofline(case: Case, load: Load, clock: float) -> None:
    model = build(case)
    machine = model.forward.machine
    s = model.plan(load.ranks(case), clock, 1)
    fastest = max(machine.fp16, machine.peak(storage(case.spec, case.weights)))  # type: ignore[arg-type]
    elapsed = s.base_s * ULPS
    assert elapsed >= s.flops / (fastest * clock)
    assert elapsed >= s.hbm_bytes / machine.hbm
    assert elapsed >= s.net_bytes / (machine.nvlink + machine.scaleout)
    assert elapsed >= hand_bytes(case, load) / machine.hbm
    assert elapsed >= hand_flops(case, load) / (fastest * clock)
    assert s.hbm_bytes * 1.05 >= hand_bytes(case, load)
    assert s.flops * ULPS >= hand_flops(case, load)
    assert s.flops <= model.peak_flops * clock * elapsed
    assert s.hbm_bytes <= model.peak_hbm * elapsed


@settings(max_examples=100, deadline=None)
@given(cases, loads(), clocks, st.data())
def test_more_work_never_takes_less(
    case: Case, load: Load, clock: float, data: st.DataObject
) -> None:
    grown = [name for name in ("sequences", "context", "prompt", "prefix") if getattr(load, name)]
    name = data.draw(st.sampled_from(grown))
    by = data.draw(st.sampled_from([1, 2, 60, 3000]))
    more = replace(load, **{name: getattr(load, name) + by})
    assert seconds(case, more, clock) * ULPS >= seconds(case, load, clock)


@settings(max_examples=100, deadline=None)
@given(
    cases,
    loads(),
    st.sampled_from(
        ["fp16_tflops", "fp8_tflops", "fp4_tflops", "hbm_tb_s", "nvlink_gb_s", "scaleout_gb_s"]
    ),
    st.sampled_from([1.1, 3.0]),
)
def test_better_hardware_never_hurts(case: Case, load: Load, field: str, by: float) -> None:
    better = build(case, field, by).plan(load.ranks(case), 0.4, 1).base_s
    assert better <= seconds(case, load, 0.4) * ULPS


@settings(max_examples=100, deadline=None)
@given(cases, loads())
def test_a_lower_clock_never_helps(case: Case, load: Load) -> None:
    plans = [build(case).plan(load.ranks(case), clock, 1) for clock in (0.4, 0.7, 1.0)]
    for slow, quick in pairwise(plans):
        assert slow.base_s * ULPS >= quick.base_s
        assert slow.full_base_s == pytest.approx(plans[-1].base_s, rel=1e-12)
    assert plans[0].base_s * 0.4 <= plans[-1].base_s * ULPS


@settings(max_examples=100, deadline=None)
@given(cases, loads("decode"))
def test_drafts_cost_more_than_none_and_less_than_their_steps(case: Case, load: Load) -> None:
    load = replace(load, sequences=min(load.sequences, 32))
    times = [seconds(replace(case, drafts=k), load) for k in range(4)]
    for k, (fewer, more) in enumerate(pairwise(times)):
        assert more > fewer
        assert more <= times[0] * (k + 2) * ULPS


@settings(max_examples=100, deadline=None)
@given(cases, loads(), clocks, st.floats(1.0, 4.0), st.integers(1, 500))
def test_parts_add_up_with_any_pace(
    case: Case, load: Load, clock: float, pace: float, steps: int
) -> None:
    ranks = load.ranks(case, pace)
    s = build(case).plan(ranks, clock, steps)
    context = load.sequences * load.context * len(ranks)
    growth = load.sequences * pace * len(ranks)
    parts = s.prefill_base_s + s.decode_fixed_s + s.decode_token_s * context + s.wait_base_s
    assert parts == pytest.approx(s.base_s, rel=1e-9)
    slopes = s.prefill_slope_s + s.decode_token_s * growth + s.wait_slope_s
    assert slopes == pytest.approx(s.slope_s, rel=1e-9, abs=1e-15)
    assert s.wait_base_s <= 1e-9 * s.base_s
    assert min(s.prefill_base_s, s.decode_fixed_s) >= 0.0
    last = s.steps - 1
    for rank in ranks[:1]:
        rank.context += rank.context_slope * last
    later = build(case).plan(ranks, clock, 1)
    assert later.base_s == pytest.approx(s.base_s + s.slope_s * last, rel=1e-9)
    assert later.flops == pytest.approx(s.flops + s.flops_slope * last, rel=1e-9)
    assert later.hbm_bytes == pytest.approx(s.hbm_bytes + s.hbm_slope * last, rel=1e-9)
