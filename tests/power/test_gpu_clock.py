"""What a clock does to prefill and to decode: a consequence of the step model and the power law."""

from __future__ import annotations

import pytest

from factory.performance import Layout, RankWork, RooflineStepModel
from factory.power import power_law
from factory.scenario import catalog

BOOK = catalog()


class Rank:
    """A server of Llama-3.1-70B, with the work of prefill and of decode.

    Args:
        system: In the catalogue.
        tp: GPUs.
        sequences: Of a decode step.
    """

    def __init__(self, system: str, tp: int, sequences: int) -> None:
        spec = BOOK.systems[system]
        self.gpu = BOOK.gpus[spec.gpu]
        model = BOOK.models["llama-3.1-70b"]
        self.model = RooflineStepModel(model, self.gpu, spec, Layout(tp=tp), "fp16", "fp16")
        self.law = power_law(self.gpu, self.model.peak_flops, self.model.peak_hbm)
        self.prefill = RankWork(
            prefill_tokens=8192, prefill_pairs=8192 * 1024, prefill_context=8192, logit_rows=4
        )
        self.decode = RankWork(decode=sequences, context=sequences * 1024, logit_rows=sequences)

    def step(self, work: RankWork, clock: float) -> tuple[float, float]:
        """Seconds and watts of a step."""
        segment = self.model.plan([work], clock, 1)
        return segment.base_s, self.law(segment.base_s, segment.flops, segment.hbm_bytes, clock)


def test_a_lower_clock_slows_prefill_and_hardly_decode() -> None:
    rank = Rank("hgx-h100", 4, 32)
    prefill_s, prefill_w = rank.step(rank.prefill, 1.0)
    decode_s, decode_w = rank.step(rank.decode, 1.0)
    slow_prefill_s, slow_prefill_w = rank.step(rank.prefill, 0.7)
    slow_decode_s, slow_decode_w = rank.step(rank.decode, 0.7)
    assert slow_prefill_s > 1.3 * prefill_s
    assert slow_decode_s < 1.03 * decode_s
    assert slow_prefill_w < 0.75 * prefill_w
    assert slow_decode_w < 0.80 * decode_w
    assert prefill_w > decode_w


def test_decode_on_h100_keeps_its_speed_at_350_w() -> None:
    # Decode is hardly touched by caps from 700 down to 350 W (published, see docs/power-model.md).
    rank = Rank("hgx-h100", 4, 32)
    full_s, full_w = rank.step(rank.decode, 1.0)
    assert full_w > 450
    clock = next(c / 100 for c in range(100, 39, -1) if rank.step(rank.decode, c / 100)[1] <= 350)
    assert rank.step(rank.decode, clock)[0] < 1.05 * full_s


@pytest.mark.parametrize("system", ["hgx-a100", "hgx-h100", "hgx-b200"])
def test_a_fifth_less_peak_power_costs_inference_at_most_seven_percent(system: str) -> None:
    # POLCA (Patel et al., ASPLOS 2024): 20 % less peak power for at most 7 % of performance. A
    # request of 1,024 prompt tokens and 256 answer tokens; the peak is prefill's.
    rank = Rank(system, 8, 16)

    def seconds(clock: float) -> float:
        prefill_s, _ = rank.step(rank.prefill, clock)
        decode_s, _ = rank.step(rank.decode, clock)
        return prefill_s / 8 + 256 / 16 * decode_s

    peak_w = rank.step(rank.prefill, 1.0)[1]
    clocks = (c / 100 for c in range(100, 39, -1))
    clock = next(c for c in clocks if rank.step(rank.prefill, c)[1] <= 0.8 * peak_w)
    assert seconds(1.0) / seconds(clock) >= 0.93


@pytest.mark.parametrize(("tp", "sequences"), [(4, 64), (8, 128)])
def test_b200_saves_energy_at_97_percent_of_its_speed(tp: int, sequences: int) -> None:
    # NVIDIA's max-Q profile of B200 (arXiv:2510.03872, 2025): up to 15 % less energy at no less
    # than 97 % performance. Requests of 1,024 prompt tokens and 256 answer tokens.
    rank = Rank("hgx-b200", tp, sequences)

    def cost(clock: float) -> tuple[float, float]:
        prefill_s, prefill_w = rank.step(rank.prefill, clock)
        decode_s, decode_w = rank.step(rank.decode, clock)
        prefill_s, decode_s = prefill_s / 8, decode_s * 256 / sequences
        return prefill_s + decode_s, prefill_s * prefill_w + decode_s * decode_w

    full_s, full_j = cost(1.0)
    costs = [cost(c / 100) for c in range(40, 101)]
    saved = max(1.0 - joules / full_j for seconds, joules in costs if full_s / seconds >= 0.97)
    assert 0.03 < saved <= 0.15


def test_power_can_fall_as_the_batch_grows() -> None:
    rank = Rank("hgx-h100", 4, 1)
    host_s = 2e-3

    def watts(sequences: int) -> float:
        work = RankWork(decode=sequences, context=sequences * 1024, logit_rows=sequences)
        one = rank.model.plan([work], 1.0, 1)
        waiting_s = host_s + 4e-4 * sequences
        seconds = one.base_s + waiting_s
        return rank.law(seconds, one.flops, one.hbm_bytes, 1.0, waiting_s)

    # A host that works longer for each sequence leaves the GPU idle (ML.ENERGY v2, vLLM 0.5.4).
    assert watts(256) < watts(8)
