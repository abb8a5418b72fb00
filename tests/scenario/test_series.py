"""Series by time: what their files may say, and what is said of those that may not."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from factory.errors import InputError
from factory.scenario.series import Series, covering_problem, listed, read, table_of

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def written(folder: Path, text: str) -> str:
    file = folder / "prices.csv"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_every_shipped_day_is_whole_and_says_that_it_is_synthetic() -> None:
    for name, table in listed().items():
        assert table.is_day
        assert table.end_s == 86_400.0
        assert len(table.values) == 24
        assert table.unit == {"price": "USD/MWh", "carbon": "g/kWh", "temperature": "C"}[
            name.split("-")[0]
        ]  # fmt: skip
        assert "Synthetic" in table.about
        assert "unit:" not in table.about


def test_a_file_of_seconds(tmp_path: Path) -> None:
    table = read(written(tmp_path, "# mine\ntime_s, value\n0,5\n\n60,-3.5\n180,7\n"), EPOCH)
    assert table.starts_s == (0.0, 60.0, 180.0)
    assert table.values == (5.0, -3.5, 7.0)
    assert table.end_s == 300.0
    assert table.mean == pytest.approx((5 * 60 - 3.5 * 120 + 7 * 120) / 300)


def test_a_file_of_instants_is_put_on_simulated_time(tmp_path: Path) -> None:
    rows = ["2025-12-31T23:00:00Z,1", "2026-01-01T01:00:00+01:00,2", "2026-01-01T01:00Z,3"]
    text = "\n".join(["timestamp,value", *rows])
    table = read(written(tmp_path, text), EPOCH)
    assert table.starts_s == (-3600.0, 0.0, 3600.0)
    assert table.end_s == 7200.0


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("time,value\n0,1\n1,2\n", 1, "the columns must be time_s, value or timestamp, value"),
        ("time_s,value\n0,1\nx,2\n", 3, "time_s: must be a finite number, got 'x'"),
        ("time_s,value\n0,1\n5,\n", 3, "value is missing; fill it in"),
        ("time_s,value\n0,1\n5,nan\n", 3, "value: must be a finite number"),
        ("time_s,value\n0,1,2\n", 2, "must have two cells, time_s and value, got 3"),
        ("time_s,value\n0,1\n10,2\n5,3\n", 4, "runs back in time by 5 s; sort the rows"),
        ("time_s,value\n0,1\n10,2\n10,3\n", 4, "is the second row of one instant"),
        ("timestamp,value\n2026-01-01T00:00:00,1\n", 2, "must name its zone"),
        ("timestamp,value\nnoon,1\n", 2, "must be a date and time with a zone"),
        (
            "# hourly\ntime_s,value\n" + "".join(f"{3600 * n},1\n" for n in range(12) if n != 7),
            10,
            "rows come every 3600 s, here 7200 s have none; fill the gap in",
        ),
        (
            "time_s,value\n0,1\n10,1\n20,1\n40,1\n50,1\n60,1\n",
            5,
            "rows come every 10 s, here 20 s have none; fill the gap in",
        ),
        ("time_s,value\n0,1\n10,1\n20,1\n40,1\n", 5, "rows come every 10 s, here 20 s have"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as refused:
        read(path, EPOCH)
    assert str(refused.value).startswith(f"{path}:{line}: ")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "times", [(0, 10, 30), (0, 10, 30, 40, 60), (0, 20, 30, 50), (0, 5, 20, 60)]
)
def test_rows_that_are_few_or_uneven_have_no_gaps(tmp_path: Path, times: tuple[int, ...]) -> None:
    rows = "".join(f"{time},1\n" for time in times)
    table = read(written(tmp_path, f"time_s,value\n{rows}"), EPOCH)
    assert table.starts_s == times


def test_what_is_no_table_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must have two rows or more"):
        read(written(tmp_path, "time_s,value\n0,1\n"), EPOCH)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read(str(tmp_path / "none.csv"), EPOCH)
    (tmp_path / "bytes.csv").write_bytes(b"time_s,value\n0,\xff\n")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read(str(tmp_path / "bytes.csv"), EPOCH)


def test_a_day_begins_at_midnight_and_ends_before_the_next(tmp_path: Path) -> None:
    path = written(tmp_path, "time_s,value\n0,1\n43200,2\n")
    table = table_of(Series(path=path, repeats="day", scale=2.0, offset=1.0), EPOCH)
    assert (table.is_day, table.end_s, table.values) == (True, 86_400.0, (3.0, 5.0))
    for text in ("time_s,value\n60,1\n120,2\n", "time_s,value\n0,1\n86400,2\n"):
        with pytest.raises(InputError, match="day"):
            read(written(tmp_path, text), EPOCH, is_day=True)


def test_a_mean_scales_over_time_not_over_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "time_s,value\n0,1\n300,3\n400,3\n")
    table = table_of(Series(path=path, mean=36.0), EPOCH)
    assert table.mean == pytest.approx(36.0)
    assert table.values == pytest.approx((20.0 * 1, 20.0 * 3, 20.0 * 3), rel=0.5)
    assert table_of(Series(shape="price-duck", mean=60.0), EPOCH).mean == pytest.approx(60.0)


def test_a_file_must_reach_over_the_run(tmp_path: Path) -> None:
    path = written(tmp_path, "time_s,value\n10,1\n20,2\n")
    section = Series(path=path)
    problems = list(covering_problem("p", section, table_of(section, EPOCH), 60.0))
    assert [str(problem) for problem in problems] == [
        f"p.path: begins 10 s after the run does ({path}): add what held before",
        f"p.path: ends at 30 s, 30 s before the run does ({path}): add rows, or say `repeats: day`",
    ]
    assert not list(covering_problem("p", section, table_of(section, EPOCH), None))[1:]


def test_a_number_alone_is_a_value() -> None:
    assert Series.model_validate(40) == Series(value=40.0)
    assert table_of(Series.model_validate(-1.5), EPOCH).values == (-1.5,)
