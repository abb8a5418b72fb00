"""Rows of measured serving, in either of two layouts of columns, as benchmarks to simulate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from factory.errors import InputError
from factory.performance import Layout
from factory.scenario import catalog
from factory.scenario.nearest import nearest
from factory.validation import launch
from factory.validation.benchmark import Benchmark, Measures, Side
from factory.validation.launch import Launch
from factory.validation.names import NVFP4_MODELS, model_of, system_of, weights_of
from factory.validation.profiles import FRAMEWORKS, profile_of
from factory.validation.rows import NotPredictableError, Row, Table, require

DSR1_ACCEPTANCE = (0.72, 0.60, 0.50)
"""Acceptance of DeepSeek's MTP layer by draft position (fitted to the median TPOT of InferenceX's
MTP rows: 1.72, 2.15 and 2.37 tokens per step for 1, 2 and 3 drafts; DeepSeek-V4-Pro is measured at
1.79, 2.27 and 2.49)."""

ACCEPTANCE: Mapping[str, tuple[float, ...]] = {"deepseek-r1": DSR1_ACCEPTANCE}
"""By model of the catalogue; other models take `DSR1_ACCEPTANCE`."""


@dataclass(frozen=True, slots=True)
class Drafting:
    """Speculative decoding of rows that use it and do not say how.

    Attributes:
        draft_tokens: Tokens drafted per step; None for what the launch scripts say.
        acceptance: Probability by draft position; the last one holds for those after it. Empty for
            the model's own.
    """

    draft_tokens: int | None = None
    acceptance: tuple[float, ...] = ()

    def of(self, model: str, by_launch: int) -> tuple[float, ...]:
        """Acceptance of each drafted token of a row."""
        count = by_launch if self.draft_tokens is None else self.draft_tokens
        known = self.acceptance or ACCEPTANCE.get(model, DSR1_ACCEPTANCE)
        return tuple(known[min(place, len(known) - 1)] for place in range(count))


@dataclass(frozen=True, slots=True)
class Workers:
    """Replicas of one role, as a row states them.

    Attributes:
        count: Replicas.
        tp, dp, ep: Layout of each.
        gpus: GPUs of all of them, as the row totals them.
    """

    count: int
    tp: int
    dp: int
    ep: int
    gpus: int


@dataclass(frozen=True, slots=True)
class Limit:
    """How large an error may be.

    Attributes:
        measure: tpot, ttft or tput.
        statistic: median or mean.
        most: The largest ratio allowed.
        serving: aggregated or disaggregated; empty for all rows together.
    """

    measure: str
    statistic: str
    most: float
    serving: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """What a layout of columns is like.

    Attributes:
        name: What such a file is called in messages.
        title: What it is about.
        columns: What tells it apart, and must be there.
        group_kinds: Labels by which errors are grouped.
        measures: Columns of the scored measures: tpot, ttft and, where it is measured, tput.
        limits: The limits stated for its errors.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    group_kinds: tuple[str, ...]
    measures: Mapping[str, str]
    limits: tuple[Limit, ...]


class Kind(Protocol):
    """A layout of columns, and how its rows are read."""

    @property
    def form(self) -> Form:
        """What it is like."""
        ...

    def benchmark(self, row: Row, drafting: Drafting) -> Benchmark:
        """What a row measured.

        Raises:
            NotPredictableError: It is nothing that we can predict.
            InputError: A cell cannot be read.
        """
        ...

    def labels(self, row: Row) -> tuple[tuple[str, str], ...]:
        """Labels of a row, of the kinds of `group_kinds` and more."""
        ...

    def config(self, row: Row) -> str:
        """The configuration whose repeats share one vote."""
        ...

    def predicted(self, row: Row, measures: Measures) -> dict[str, float]:
        """Predictions by the column that they stand beside, in its unit."""
        ...


class InferenceX:
    """Rows of InferenceX: ``prefill_…`` and ``decode_…`` workers, TP and EP as it names them."""

    form = Form(
        "a file of InferenceX rows",
        "InferenceX",
        (
        "config_id", "hardware", "framework", "model", "precision", "spec_method", "disagg",
        "prefill_num_workers", "prefill_tp", "prefill_ep", "prefill_dp_attention",
        "decode_num_workers", "decode_tp", "decode_ep", "decode_dp_attention", "num_prefill_gpu",
        "num_decode_gpu", "gpus_fixed", "isl", "osl", "conc", "date", "tput_per_gpu",
        "median_tpot", "median_ttft",
        ),
        ("framework", "hardware", "precision", "serving", "spec_method"),
        {"tpot": "median_tpot", "ttft": "median_ttft", "tput": "tput_per_gpu"},
        (
            Limit("tpot", "median", 0.12),
            Limit("tpot", "mean", 0.18),
            Limit("tput", "median", 0.13),
            Limit("tput", "mean", 0.22),
            Limit("ttft", "median", 0.25, "aggregated"),
            Limit("ttft", "median", 0.50, "disaggregated"),
        ),
    )  # fmt: skip

    def labels(self, row: Row) -> tuple[tuple[str, str], ...]:
        """See `Kind`."""
        kinds = ("model", "framework", "hardware", "precision", "spec_method", "isl", "osl", "flag")
        serving = "disaggregated" if row.flag("disagg") else "aggregated"
        return (*((kind, row.text(kind)) for kind in kinds), ("serving", serving))

    def config(self, row: Row) -> str:
        """See `Kind`."""
        return row.text("config_id")

    def predicted(self, row: Row, measures: Measures) -> dict[str, float]:
        """See `Kind`."""
        return {
            "median_tpot": measures.tpot_s,
            "median_ttft": measures.ttft_s,
            "tput_per_gpu": measures.tokens_per_s / row.whole("gpus_fixed", 1),
        }

    def benchmark(self, row: Row, drafting: Drafting) -> Benchmark:
        """See `Kind`."""
        is_split = row.flag("disagg")
        spec = row.text("spec_method").lower()
        if spec not in {"mtp", "none", ""}:
            raise NotPredictableError(f'unknown spec_method "{spec}" (of mtp, none)')
        roles = ("prefill", "decode") if is_split else ("decode",)
        workers = [self._workers(row, role, is_split=is_split) for role in roles]
        total = row.whole("gpus_fixed", 1)
        if sum(one.gpus for one in workers) != total:
            raise NotPredictableError("contradicts itself: its workers' GPUs are not its total")
        return _assembled(
            row, drafting, workers, row.text("framework"), row.text("hardware"), row.text("model"),
            is_drafting=spec == "mtp",
        )  # fmt: skip

    def _workers(self, row: Row, role: str, *, is_split: bool) -> Workers:
        tp = row.whole(f"{role}_tp", 1)
        ep = row.whole(f"{role}_ep", 1)
        is_dp = row.flag(f"{role}_dp_attention")
        if not is_split:
            return Workers(1, 1 if is_dp else tp, tp if is_dp else 1, ep, tp)
        count = row.whole(f"{role}_num_workers")
        gpus = row.whole(f"num_{role}_gpu", 1)
        if count == 0:
            raise NotPredictableError("contradicts itself: it lists no workers")
        each, rest = divmod(gpus, count)
        if rest or tp not in {1, each}:
            raise NotPredictableError(
                "contradicts itself: its workers' TP is not their share of GPUs"
            )
        if tp < each and is_dp:
            # Rows that leave TP and EP at 1 run wide expert parallelism over all GPUs of a worker.
            ep = each
        return Workers(count, 1 if is_dp else each, each if is_dp else 1, ep, gpus)


class Silicon:
    """Measured points as AIConfigurator keeps them: ``silicon_ttft_ms``, MoE TP and EP sizes."""

    form = Form(
        "a file of silicon points",
        "Silicon points of several models",
        (
        "id", "backend", "model_path", "system", "precision", "mode", "isl", "osl", "conc", "date",
        "tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size", "gpus", "silicon_ttft_ms",
        "silicon_tpot_ms",
        ),
        ("model", "framework", "hardware", "precision", "serving"),
        {"tpot": "silicon_tpot_ms", "ttft": "silicon_ttft_ms"},
        (Limit("tpot", "mean", 0.22),),
    )  # fmt: skip

    def labels(self, row: Row) -> tuple[tuple[str, str], ...]:
        """See `Kind`."""
        serving = "disaggregated" if row.text("mode") == "disagg" else "aggregated"
        return (
            ("model", row.text("model_path")),
            ("framework", row.text("backend")),
            ("hardware", row.text("system")),
            ("precision", row.text("precision")),
            ("spec_method", "none"),
            ("isl", row.text("isl")),
            ("osl", row.text("osl")),
            ("flag", row.text("flag")),
            ("serving", serving),
        )

    def config(self, row: Row) -> str:
        """See `Kind`."""
        return row.text("id")

    def predicted(self, row: Row, measures: Measures) -> dict[str, float]:
        """See `Kind`."""
        gpus = row.number("gpus")
        beside = {
            "silicon_tpot_ms": measures.tpot_s * 1e3,
            "silicon_ttft_ms": measures.ttft_s * 1e3,
            "tot_tput_gpu": measures.tokens_per_s / gpus,
            "out_tput_gpu": measures.output_tokens_per_s / gpus,
            "req_s": measures.requests_per_s,
        }
        return {name: value for name, value in beside.items() if name in row.cells}

    def benchmark(self, row: Row, drafting: Drafting) -> Benchmark:
        """See `Kind`."""
        mode = row.text("mode")
        if mode not in {"agg", "disagg"}:
            raise NotPredictableError(f'unknown mode "{mode}" (of agg, disagg)')
        system = system_of(row.text("system"), catalog())
        if mode == "agg":
            workers = [self._aggregated(row)]
        else:
            is_rack = system.nvlink_domain_gpus > system.gpus_per_node
            workers = [self._side(row, role, is_rack=is_rack) for role in ("prefill", "decode")]
        model = row.text("model_path")
        if row.text("gemm_quant_mode") == "nvfp4":
            model = NVFP4_MODELS.get(model, model)
        return _assembled(
            row, drafting, workers, row.text("backend"), row.text("system"), model,
            is_drafting=False,
        )  # fmt: skip

    def _aggregated(self, row: Row) -> Workers:
        """The one replica of a row.

        With experts in parallel the file multiplies: it took TP and EP of InferenceX, which lie
        over the same GPUs, for a product (``tp_size`` 64 is TP 8 with EP 8; rows that are in both
        files agree within 3 % in TPOT).
        """
        tp, dp = row.whole("tp_size", 1), row.whole("attention_dp_size", 1)
        ep = row.whole("moe_ep_size", 1)
        if ep > 1:
            real = math.isqrt(tp * dp)
            if real * real != tp * dp:
                raise NotPredictableError("contradicts itself: its GPUs are not TP x EP")
            is_dp = tp == 1
            return Workers(1, 1 if is_dp else real, real if is_dp else 1, real, real)
        return Workers(1, tp, dp, ep, tp * dp)

    def _side(self, row: Row, role: str, *, is_rack: bool) -> Workers:
        count = row.whole(f"{role}_num_workers", 1)
        tp, dp = row.whole(f"{role}_tp_size", 1), row.whole(f"{role}_attention_dp_size", 1)
        ep, moe_tp = row.whole(f"{role}_moe_ep_size", 1), row.whole(f"{role}_moe_tp_size", 1)
        if is_rack and dp > 1 and ep == 1 and moe_tp == dp:
            ep = dp  # wide expert parallelism, which the row leaves unstated (see `InferenceX`)
        gpus = row.whole(f"{role}_gpus", 1)
        if gpus != count * tp * dp:
            raise NotPredictableError("contradicts itself: its workers' GPUs are not its total")
        return Workers(count, tp, dp, ep, gpus)


KINDS: tuple[Kind, ...] = (InferenceX(), Silicon())


def kind_of(table: Table) -> Kind:
    """Which layout of columns a file has, told by its header.

    Raises:
        InputError: Neither, or a column is missing.
    """
    forms = [kind.form for kind in KINDS]
    shared = [sum(name in table.columns for name in form.columns) for form in forms]
    best = shared.index(max(shared))
    if shared[best] < 3:
        wanted = " or ".join(f"{form.name} ({', '.join(form.columns[:4])}, …)" for form in forms)
        close = nearest(table.columns[0], [name for form in forms for name in form.columns])
        hint = f"; did you mean {close} by {table.columns[0]}?" if close else ""
        raise InputError(f"{table.name}:1: the header is neither of {wanted}{hint}")
    require(table, forms[best].columns, forms[best].name)
    return KINDS[best]


def _assembled(
    row: Row,
    drafting: Drafting,
    workers: Sequence[Workers],
    framework: str,
    hardware: str,
    model_name: str,
    *,
    is_drafting: bool,
) -> Benchmark:
    """The benchmark of a row whose layout is known.

    Raises:
        NotPredictableError: A name is unknown, or a layout cannot be.
    """
    engine = FRAMEWORKS.get(framework.lower(), "")
    if not engine:
        close = nearest(framework, FRAMEWORKS)
        hint = f" (nearest: {close})" if close else ""
        raise NotPredictableError(f'unknown framework "{framework}"{hint}')
    book = catalog()
    system, model = system_of(hardware, book).name, model_of(model_name, book).name
    precision = row.text("precision")
    weights = weights_of(precision)
    isl, osl, conc = (row.whole(name, 1) for name in ("isl", "osl", "conc"))
    last = workers[-1]
    acceptance: tuple[float, ...] = ()
    if is_drafting:
        is_dp = last.dp > 1
        share = conc / (last.count * last.dp)
        by_launch = launch.draft_tokens(
            engine, is_split=len(workers) > 1, is_dp=is_dp, conc_per_rank=share
        )
        acceptance = drafting.of(model, by_launch)
    sides = []
    roles = ("aggregated",) if len(workers) == 1 else ("prefill", "decode")
    for role, one in zip(roles, workers, strict=True):
        if (one.tp * one.dp) % one.ep:
            raise NotPredictableError("contradicts itself: EP does not divide the GPUs of a worker")
        asked = Launch(
            engine, system, weights, one.dp > 1, one.tp * one.dp, isl, osl, conc, len(acceptance)
        )
        if role == "aggregated":
            limits = launch.aggregated(asked)
        elif role == "prefill":
            limits = launch.prefill(asked)
        else:
            limits = launch.decode(asked, one.count)
        layout = Layout(tp=one.tp, dp=one.dp, ep=one.ep)
        sides.append(
            Side(role, one.count, layout, limits.max_num_seqs, limits.max_num_batched_tokens)
        )
    return Benchmark(
        system,
        model,
        weights,
        launch.kv_format(engine, system, precision),
        tuple(sides),
        isl,
        osl,
        conc,
        acceptance,
        profile_of(framework, row.text("date"), row.text("image")),
    )
