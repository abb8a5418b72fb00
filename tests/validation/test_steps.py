from __future__ import annotations

from pathlib import Path

import pytest
from measured import STEP, write_csv

from factory.errors import InputError
from factory.performance import Layout
from factory.validation import rows, steps
from factory.validation.outcomes import Outcome
from factory.validation.rows import NotPredictableError

DATA = Path(__file__).parents[3] / "shared" / "data" / "step_times"


def outcomes(tmp_path: Path, *changed: dict[str, str]) -> list[Outcome]:
    table = rows.read(write_csv(tmp_path / "m.csv", [{**STEP, **change} for change in changed]))
    steps.check_columns(table)
    return steps.predict(table)


@pytest.mark.parametrize(
    ("text", "layout", "drafts"),
    [
        ("tp4dp1", Layout(tp=4), 0),
        ("tp8dp1etp1ep8", Layout(tp=8, ep=8), 0),
        ("tp8dp1etp8ep1", Layout(tp=8), 0),
        ("tp1dp32etp1ep32_nextn3", Layout(dp=32, ep=32), 3),
    ],
)
def test_layouts(text: str, layout: Layout, drafts: int) -> None:
    assert steps.layout_of(text) == (layout, drafts)


@pytest.mark.parametrize(
    ("text", "why"),
    [("tp8", "is not of the form"), ("tp8dp1etp2ep8", "contradicts itself")],
)
def test_layouts_that_are_none(text: str, why: str) -> None:
    with pytest.raises(NotPredictableError, match=why):
        steps.layout_of(text)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"system": "h20_sxm"}, 'unknown system "h20_sxm" (nearest: h200)'),
        ({"model": "Llama-3.1-8"}, 'unknown model "Llama-3.1-8" (nearest: llama-3.1-8b)'),
        ({"quant": "fp6"}, 'unknown number format "fp6" (nearest: fp16)'),
        ({"metric": "op:context_attention"}, 'no prediction of metric "op:…"'),
        ({"unit": "s"}, 'unit of decode_step_time is "s", must be ms'),
        ({"mode": "static"}, 'unknown mode "static" (of static_ctx, static_gen)'),
        ({"layout": "tp1dp1_nextn2"}, "llama-3.1-8b has no MTP layers that could draft tokens"),
    ],
)
def test_rows_that_cannot_be_predicted_say_why(
    tmp_path: Path, change: dict[str, str], why: str
) -> None:
    bad, good = outcomes(tmp_path, change, {})
    assert bad.predicted is None
    assert why in bad.why_not
    assert good.predicted is not None
    assert good.why_not == ""


def test_prefill_costs_more_than_decode_and_longer_more_than_shorter(tmp_path: Path) -> None:
    context = {"mode": "static_ctx", "metric": "prefill_step_time", "batch": "1"}
    short, long, decode = outcomes(
        tmp_path, {**context, "isl": "1024"}, {**context, "isl": "8192"}, {"batch": "1"}
    )
    assert short.predicted is not None
    assert long.predicted is not None
    assert decode.predicted is not None
    assert 8 * short.predicted > long.predicted > 4 * short.predicted
    assert decode.predicted < short.predicted


def test_memory_of_a_step_that_does_not_fit_is_predicted_too(tmp_path: Path) -> None:
    held = {"metric": "memory", "unit": "GiB"}
    small, large = outcomes(tmp_path, held, {**held, "batch": "4096", "isl": "32768"})
    assert small.predicted is not None
    assert large.predicted is not None
    # 8.03e9 parameters in FP8, but 16-bit embedding and head: 8.5 GiB, and some.
    assert 8.5 < small.predicted < 16
    # KV of 32 layers x 8 heads x 128 x 2 in FP8: 64 KiB a token, 8 TiB in all.
    assert large.predicted == pytest.approx(4096 * 32768 * 64 / 2**20, rel=0.01)


def test_data_parallel_ranks_share_the_batch_of_each(tmp_path: Path) -> None:
    model = {"model": "deepseek-ai/DeepSeek-V3", "layout": "tp1dp8etp1ep8"}
    outcome, more = outcomes(tmp_path, model, {**model, "batch": "16"})
    assert outcome.predicted is not None
    assert more.predicted is not None
    assert outcome.predicted < more.predicted < 2 * outcome.predicted


def test_the_report_by_hand(tmp_path: Path) -> None:
    first, _ = outcomes(tmp_path, {}, {})
    assert first.predicted is not None
    told = [
        Outcome(first.row, 5.5),  # +10 %
        Outcome(first.row, 4.0),  # -20 %
        Outcome(first.row, None, "why"),
    ]
    report = steps.report(steps.pairs_of(told))
    (group,) = report.groups
    assert group.group == ("decode_step_time", "h200_sxm", STEP["model"], "tp1dp1")
    assert (group.n, round(group.median, 9), round(group.bias, 9)) == (2, 0.15, -0.05)
    assert {verdict.name: verdict.holds for verdict in report.verdicts} == {
        "decode_step_time median": False,
        "decode_step_time p90": True,
        f"largest bias of a group (decode_step_time h200_sxm {STEP['model']} tp1dp1)": True,
    }


def test_a_measurement_must_be_above_zero(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'm.csv:2: value: must be above 0, got "0"'):
        steps.pairs_of(outcomes(tmp_path, {"value": "0"}))


def test_workers_change_nothing(tmp_path: Path) -> None:
    made = [STEP, {**STEP, "system": "h100_sxm"}, {**STEP, "batch": "64"}]
    table = rows.read(write_csv(tmp_path / "m.csv", made))
    alone, together = steps.predict(table), steps.predict(table, workers=2)
    assert [one.predicted for one in alone] == [one.predicted for one in together]


@pytest.mark.skipif(
    not DATA.is_dir(), reason="measured step times are not beside this checkout (../shared/data)"
)
def test_every_measured_row_is_predicted_within_the_limits() -> None:
    for name in ("aic_step_times.csv", "aic_memory.csv"):
        table = rows.read(DATA / name)
        found = steps.predict(table)
        assert not [one.why_not for one in found if one.why_not]
        verdicts = steps.report(steps.pairs_of(found)).verdicts
        assert all(verdict.holds for verdict in verdicts), [str(one) for one in verdicts]
