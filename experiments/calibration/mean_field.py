"""A closed-loop benchmark at its mean: TPOT, TTFT and throughput in a millisecond, to fit with.

The steady state of `factory.validation.benchmark`: every sequence half way through its answer, each
attention rank with its share of them, prompts arriving as answers end. What it leaves out (the rush
at the start, the drain, the spread of lengths) the simulation has; see README.md for how far apart
the two are.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from factory.performance.attention import context_edges, decode_lines, prefill_rates
from factory.performance.hardware import Efficiency, efficiency
from factory.scenario import catalog
from factory.validation.benchmark import SHORTEST, Measures
from factory.validation.steps import Machine, step_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factory.performance.operators import Vector
    from factory.scenario.kernels import EngineSpec
    from factory.validation.benchmark import Benchmark, Side

MEAN_LENGTH = (1.0 + SHORTEST) / 2.0
COUNTS = np.concatenate([[0.0], np.geomspace(1e-2, 4e6, 240)])
"""Counts of tokens and sequences, fractions among them, between which step times are interpolated:
28 of them in each factor of ten keep the error below 0.2 %."""
ROUNDS = 40


class StepTimes:
    """Seconds of the steps of one replica, for fractional loads.

    Args:
        machine: What it runs on.
        reached: What its kernels reach and its engine adds.
    """

    def __init__(self, machine: Machine, reached: Efficiency) -> None:
        forward = step_model(machine, reached).forward
        self.drafts = machine.draft_tokens
        self.ranks = machine.layout.dp
        self._prompt_s = reached.engine.prompt_overhead_ms * 1e-3
        self._rates = prefill_rates(forward, 1.0)
        self._lines = decode_lines(forward, 1.0, int(COUNTS[-1]))
        self._edges = context_edges(forward)
        self._decode = forward.decode_step(COUNTS, 1.0).seconds
        self._body = forward.body(COUNTS, 1.0).seconds
        self._head = forward.head(COUNTS, 1.0).seconds
        self._decoding = forward.decoding(COUNTS, 1.0).seconds
        self._experts: Vector | None = None
        self._draft_experts: Vector | None = None
        if self.ranks > 1 and forward.model.experts:
            self._experts = forward.experts(COUNTS, 1.0).seconds
            if self.drafts:
                self._draft_experts = forward.draft_experts(COUNTS, 1.0).seconds

    def decode(self, sequences: float, context: float) -> float:
        """A pure decode step.

        Args:
            sequences: Of each rank.
            context: KV tokens of each sequence.
        """
        seconds = _at(self._decode, sequences) + self._attention(sequences, context)
        return seconds + self._of_all_ranks(sequences, 0.0)

    def mixed(
        self, sequences: float, context: float, length: float, prompts: float, of_all: float
    ) -> float:
        """A step that takes whole prompts along with its decoding sequences.

        Args:
            sequences: Decoding sequences of each rank.
            context: KV tokens of each of them.
            length: Tokens of a prompt.
            prompts: Prompts of the rank that has most.
            of_all: Prompts of all ranks together.
        """
        tokens = prompts * length
        pairs = prompts * length * (length + 1.0) / 2.0
        rates = self._rates
        seconds = _at(self._body, sequences * (self.drafts + 1) + tokens)
        seconds += _at(self._head, sequences * (self.drafts + 1) + prompts)
        if sequences:
            seconds += _at(self._decoding, sequences) + self._attention(sequences, context)
        seconds += max(rates.pair_s * pairs + rates.context_s * tokens, rates.read_s * tokens)
        seconds += rates.window_s * min(pairs, rates.window * tokens)
        seconds += rates.token_s * tokens + rates.fixed_s * (prompts > 0.0)
        return seconds + self._of_all_ranks(sequences, of_all * length) + self._prompt_s * prompts

    def _attention(self, sequences: float, context: float) -> float:
        line = self._lines[-1 if self._edges and context > self._edges[0] else 0]
        return sequences * (line.fixed_s + line.token_s * context)

    def _of_all_ranks(self, sequences: float, tokens: float) -> float:
        """Experts that serve every rank's decoding sequences and prompt tokens."""
        if self._experts is None:
            return 0.0
        decoding = sequences * self.ranks
        seconds = _at(self._experts, decoding * (self.drafts + 1) + tokens)
        if self._draft_experts is not None:
            seconds += _at(self._draft_experts, decoding)
        return seconds


class MeanField:
    """Benchmarks under one set of engine parameters.

    Args:
        engine: The parameters; a benchmark's own profile counts for nothing.
    """

    def __init__(self, engine: EngineSpec) -> None:
        self.engine = engine
        self._times: dict[Machine, StepTimes] = {}

    def measures(self, benchmark: Benchmark) -> Measures:
        """What it would measure."""
        first = benchmark.sides[0]
        if len(benchmark.sides) == 1:
            ttft_s, tpot_s, per_s = self._aggregated(benchmark, first)
        else:
            ttft_s, tpot_s, per_s = self._disaggregated(benchmark, first, benchmark.sides[1])
        inputs, outputs = MEAN_LENGTH * benchmark.isl, MEAN_LENGTH * benchmark.osl
        return Measures(ttft_s, tpot_s, per_s * (inputs + outputs), per_s * outputs, per_s)

    def times(self, benchmark: Benchmark, side: Side) -> StepTimes:
        """Step times of one side of a benchmark, computed once."""
        drafts = 0 if side.role == "prefill" else len(benchmark.acceptance)
        machine = Machine(
            benchmark.system, benchmark.model, side.layout, benchmark.weights, benchmark.kv_cache,
            draft_tokens=drafts,
        )  # fmt: skip
        if machine not in self._times:
            book = catalog()
            generation = book.gpus[book.systems[machine.system].gpu].generation
            reached = dataclasses.replace(efficiency(generation), engine=self.engine)
            self._times[machine] = StepTimes(machine, reached)
        return self._times[machine]

    def _aggregated(self, benchmark: Benchmark, side: Side) -> tuple[float, float, float]:
        times, ranks = self.times(benchmark, side), side.layout.dp
        isl, osl = MEAN_LENGTH * benchmark.isl, MEAN_LENGTH * benchmark.osl
        places = side.replicas * ranks
        n = min(benchmark.conc / places, side.max_num_seqs)
        context = isl + osl / 2.0
        per_step = tokens_per_step(benchmark.acceptance)
        decode_s = times.decode(n, context)
        arriving = n * per_step / osl * ranks  # prompts per step of a replica
        step_s = decode_s
        if ranks == 1:
            prompt_s = times.mixed(n, context, isl, 1.0, 1.0) - decode_s
            step_s += arriving * prompt_s
        else:
            # The rank with most prompts sets the step; a step without any is a decode step.
            share = 1.0 - np.exp(-arriving)
            most = max(mean_of_most(arriving / ranks, ranks) / share, 1.0)
            together = times.mixed(n, context, isl, most, arriving / share)
            step_s += share * (together - decode_s)
            prompt_s = times.mixed(n, context, isl, 1.0, 1.0) - decode_s
        engine = self.engine
        waited_s = engine.request_overhead_ms * 1e-3 + engine.request_wait_steps * step_s
        ttft_s = waited_s + step_s / 2.0 + prompt_s + decode_s
        tpot_s = step_s / per_step
        served_s = ttft_s + (osl - 1.0) * tpot_s
        # Those who find no place wait for one.
        ttft_s += served_s * (benchmark.conc / (n * places) - 1.0)
        return ttft_s, tpot_s, n * places / served_s

    def _disaggregated(
        self, benchmark: Benchmark, prefill: Side, decode: Side
    ) -> tuple[float, float, float]:
        entry, times = self.times(benchmark, prefill), self.times(benchmark, decode)
        isl, osl = MEAN_LENGTH * benchmark.isl, MEAN_LENGTH * benchmark.osl
        places = decode.replicas * decode.layout.dp
        per_step = tokens_per_step(benchmark.acceptance)
        alone_s = entry.mixed(0.0, 0.0, isl, 1.0, 1.0)
        batch = max(1.0, prefill.max_num_batched_tokens / isl)
        full_s = entry.mixed(0.0, 0.0, isl, batch, batch * prefill.layout.dp)
        most_per_s = prefill.replicas * prefill.layout.dp * batch / full_s
        engine = self.engine
        decoding, step_s, per_s = float(benchmark.conc), 0.0, 0.0
        for _ in range(ROUNDS):
            n = min(decoding / places, decode.max_num_seqs)
            step_s = times.decode(n, isl + osl / 2.0)
            answer_s = (osl - 1.0) * step_s / per_step
            before_s = engine.request_overhead_ms * 1e-3 + alone_s
            before_s += engine.handover_wait_steps * step_s
            per_s = min(benchmark.conc / (before_s + answer_s), most_per_s)
            decoding = max((decoding + per_s * answer_s) / 2.0, 0.1 * places)
        ttft_s = benchmark.conc / per_s - answer_s
        return ttft_s, step_s / per_step, per_s


def tokens_per_step(acceptance: Sequence[float]) -> float:
    """Mean tokens of a sequence and step: ``1 + p1 + p1 p2 + …``."""
    return 1.0 + float(np.cumprod(acceptance).sum()) if acceptance else 1.0


def mean_of_most(mean: float, ranks: int) -> float:
    """Mean of the largest of so many Poisson counts: ``Σ 1 - F(k) ** ranks``."""
    counts = np.arange(int(mean + 10.0 * np.sqrt(mean) + 12.0))
    log_factorials = np.cumsum(np.log(np.maximum(counts, 1)))
    cumulated = np.cumsum(np.exp(counts * np.log(mean) - mean - log_factorials))
    return float(np.sum(1.0 - np.minimum(cumulated, 1.0) ** ranks))


def _at(table: Vector, count: float) -> float:
    return float(np.interp(count, COUNTS, table))
