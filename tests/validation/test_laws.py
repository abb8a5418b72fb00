"""Every law holds on the run made by hand, and notices the run in which it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hand_made_run as by_hand
import pytest

from factory.errors import InputError
from factory.records.codes import IN_FLIGHT, LEDGER_STATES
from factory.records.fact_requests import REQUESTS
from factory.validation.laws import check_run, check_tables
from factory.validation.results import departure


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_hand.write(tmp_path_factory.mktemp("runs") / "run")


def broken(run: Path) -> set[str]:
    return {law.name for law in check_run(run) if not law.holds}


def test_every_law_holds(run: Path) -> None:
    laws = check_run(run)
    assert len(laws) == 25
    assert [law.name for law in laws if not law.holds] == []
    assert all(law.measured <= law.limit for law in laws)
    assert [law.name for law in check_tables(run / "tables")] == [law.name for law in laws[1:]]


def test_littles_law_by_hand(run: Path) -> None:
    # Stays of 5.5, 5.5, 7.5, 0, 2.5 and 7 s in 35 s.
    law = next(law for law in check_run(run) if law.name == "littles_law")
    assert law.detail.startswith("L = 0.8 in the system")
    assert (5.5 + 5.5 + 7.5 + 0 + 2.5 + 7) / 35 == 0.8


REQUEST = [field.name for field in REQUESTS.raw]


def put(table: str, row: int, place: int | str, value: Any) -> Callable[[dict, dict], None]:
    """A change of one value of one row; columns of fact_requests go by name."""

    def change(streams: dict, _: dict) -> None:
        values = list(streams[table][row])
        values[REQUEST.index(place) if isinstance(place, str) else place] = value
        streams[table][row] = tuple(values)

    return change


def rows_counted(number: int) -> Callable[[dict, dict], None]:
    def change(_: dict, dims: dict) -> None:
        dims["fact_runs"][0]["requests"] = number

    return change


@pytest.mark.parametrize(
    ("change", "law"),
    [
        (rows_counted(7), "arrivals_equal_outcomes"),
        (put("fact_tenant_intervals", 1, 3, 3), "arrivals_equal_outcomes"),
        (put("fact_tenant_intervals", 1, 6, 0), "arrivals_equal_outcomes"),
        (put("fact_requests", 0, "completion_time_s", 0.5), "littles_law"),
        (put("fact_requests", 2, "prefill_start_time_s", 11.0), "instants_in_order"),
        (put("fact_requests", 5, "completion_time_s", 36.0), "instants_in_order"),
        (put("fact_requests", 2, "input_computed_tokens", 149), "tokens_of_requests"),
        (put("fact_requests", 4, "input_cached_disk_tokens", 473), "tiers_within_cached"),
        (put("fact_requests", 1, "output_tokens", 8), "tokens_of_requests"),
        (put("fact_requests", 2, "first_arrival_time_s", 11.0), "retries_follow_attempts"),
        (put("fact_requests", 2, "first_arrival_time_s", 12.5), "instants_in_order"),
        (put("fact_tenant_intervals", 1, 4, 1), "arrivals_equal_outcomes"),
        (put("fact_tenant_intervals", 1, 8, 1), "arrivals_equal_outcomes"),
        (put("fact_requests", 2, "output_tokens", 40), "tokens_conserved"),
        (put("fact_intervals", 5, 6, 90.0), "tokens_conserved"),
        (put("fact_tenant_intervals", 1, 11, 90), "tokens_conserved"),
        (put("fact_tenant_intervals", 1, 10, 400), "tokens_conserved"),
        (put("fact_requests", 2, "gpu_s_output", 15.9), "allocation_equals_working_gpu_s"),
        (put("fact_requests", 2, "gpu_s_output", 16.1), "allocation_equals_working_gpu_s"),
        (put("fact_requests", 2, "energy_input_j", 1e6), "request_energy_and_idle_are_gpu_energy"),
        (put("fact_tasks", 1, 10, 2), "tasks_add_up_to_requests"),
        (put("fact_tasks", 1, 11, 0), "tasks_add_up_to_requests"),
        (put("fact_tasks", 1, 17, 601), "tasks_add_up_to_requests"),
        (put("fact_tasks", 1, 19, 3.001), "tasks_add_up_to_requests"),
        (put("fact_tasks", 1, 23, 31.0), "tasks_add_up_to_requests"),
        (put("fact_sessions", 0, 5, 3), "tasks_add_up_to_requests"),
        (put("fact_sessions", 0, 14, 1051), "tasks_add_up_to_requests"),
        (put("fact_tasks", 1, 8, 2.6), "tasks_within_sessions"),
        (put("fact_sessions", 0, 8, 9.6), "tasks_within_sessions"),
        (put("fact_intervals", 5, 2, 41.0), "ledger_adds_up"),
        (put("fact_intervals", 5, 2, 41.0), "provisioned_within_gpus"),
        (put("fact_intervals", 5, 9, -1.0), "ledger_never_negative"),
    ],
)
def test_a_law_notices(tmp_path: Path, change: Callable[[dict, dict], None], law: str) -> None:
    assert law in broken(by_hand.write(tmp_path / "run", change))


def tried_again(**changes: Any) -> Callable[[dict, dict], None]:
    """Request 3, rejected at 15 s, comes again at 16 s and is served."""

    def change(streams: dict, _: dict) -> None:
        times = (16.0, 16.0, 16.5, 17.0, 18.0)
        values = {"attempt": 1, "root": 3, "first_s": 15.0, "prompt": 50, **changes}
        prompt = values.pop("prompt")
        tokens = (prompt, prompt, 0, 0, 7)
        again = by_hand.request(6, 1, times, tokens, (0, 0, 0), **values)
        streams["fact_requests"].append(again)

    return change


def retry_law(run: Path) -> tuple[bool, str]:
    law = next(law for law in check_run(run) if law.name == "retries_follow_attempts")
    return law.holds, law.detail


def test_a_retry_follows_its_first_attempt(tmp_path: Path) -> None:
    holds, detail = retry_law(by_hand.write(tmp_path / "run", tried_again()))
    assert (holds, detail) == (True, "1 further attempts of 6 requests")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attempt": 2}, "does not number its attempts one by one"),
        ({"root": 99}, "is no first attempt, and follows none"),
        ({"root": 2, "first_s": 14.0, "prompt": 300}, "tries again what was served"),
        ({"first_s": 16.0}, "asks for something else than its first attempt"),
        ({"prompt": 51}, "asks for something else than its first attempt"),
    ],
)
def test_a_retry_that_does_not_follow_is_noticed(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    holds, detail = retry_law(by_hand.write(tmp_path / "run", tried_again(**changes)))
    assert not holds
    assert words in detail


def test_a_retry_before_its_predecessor_left_is_noticed(tmp_path: Path) -> None:
    def late(streams: dict, dims: dict) -> None:
        tried_again()(streams, dims)
        put("fact_requests", 1, "completion_time_s", 17.0)(streams, dims)

    holds, detail = retry_law(by_hand.write(tmp_path / "run", late))
    assert not holds
    assert "arrives before its predecessor left" in detail


def scaling(streams: dict, _: dict) -> None:
    """Decode starts on 4 GPUs, is to leave them at 20 s and has left at 25 s."""
    streams["fact_events"] += [
        (20.0, "scale_down", "decode", 0.0, ""),
        (25.0, "replica_drained", "decode/0", 0.0, ""),
    ]


@pytest.mark.parametrize("state", ["given back", "spare"])
def test_gpus_are_given_back_or_spare_while_no_replica_holds_them(
    tmp_path: Path, state: str
) -> None:
    dims = [
        {
            "replica": name,
            "pool": pool,
            "deployment": "main",
            "power_node": "b-0",
            "gpus": gpus,
            "cell": 0,
        }
        for name, pool, gpus in (("prefill/0", "prefill", 2), ("decode/0", "decode", 4))
    ]

    def change(streams: dict, of: dict) -> None:
        scaling(streams, of)
        of["dim_replicas"] = dims
        # 5 s of the third window and all of the last one, of 4 GPUs each.
        place = 8 + LEDGER_STATES.index("spare")
        for row in (6, 7):
            values = list(streams["fact_intervals"][row])
            if state == "spare":
                values[place] += 20.0
            else:
                values[2] -= 20.0
            values[8 + LEDGER_STATES.index("idle")] -= 20.0
            streams["fact_intervals"][row] = tuple(values)

    run = by_hand.write(tmp_path / "run", change)
    assert "gpus_given_back" not in broken(run)
    law = next(law for law in check_run(run) if law.name == "gpus_given_back")
    back, spare = (40, 0) if state == "given back" else (0, 40)
    assert law.detail == f"{back} GPU s given back, {spare} spare"

    unsaid = by_hand.write(
        tmp_path / "unsaid", lambda streams, _: streams["fact_events"].append(
            (20.0, "scale_up", "decode", 2.0, "")
        )
    )  # fmt: skip
    assert broken(unsaid) == {"gpus_given_back"}


def test_what_is_allocated_may_fall_short_while_requests_are_in_flight(tmp_path: Path) -> None:
    def unfinished(streams: dict, _: dict) -> None:
        values = list(streams["fact_requests"][5])
        for name, value in (
            ("outcome", IN_FLIGHT),
            ("completion_time_s", None),
            ("gpu_s_output", 21.0),
        ):
            values[REQUEST.index(name)] = value
        streams["fact_requests"][5] = tuple(values)
        counts = list(streams["fact_tenant_intervals"][3])
        counts[5] = counts[6] = 0
        streams["fact_tenant_intervals"][3] = tuple(counts)

    assert broken(by_hand.write(tmp_path / "run", unfinished)) == set()


def truncated(**rows: int) -> Callable[[dict, dict], None]:
    """Asks for more than was delivered in rows of fact_requests, by number: `r3=200`."""

    def change(streams: dict, dims: dict) -> None:
        for name, asked in rows.items():
            put("fact_requests", int(name[1:]), "requested_output_tokens", asked)(streams, dims)

    return change


def test_truncated_answers_end_at_one_limit(tmp_path: Path) -> None:
    # Prompt and output of the completed rows: 141, 241, 381, 1001 and 156 tokens.
    assert broken(by_hand.write(tmp_path / "at", truncated(r4=7))) == set()
    assert broken(by_hand.write(tmp_path / "below", truncated(r3=200))) == {"tokens_of_requests"}
    apart = by_hand.write(tmp_path / "apart", truncated(r3=200, r4=7))
    assert broken(apart) == {"tokens_of_requests"}
    more = by_hand.write(tmp_path / "more", put("fact_requests", 3, "requested_output_tokens", 80))
    assert broken(more) == {"tokens_of_requests"}
    detail = next(
        law.detail for law in check_run(tmp_path / "at") if law.name == "tokens_of_requests"
    )
    assert detail.endswith("1 truncated at the limit of prompt + output")


def test_a_table_edited_by_hand_is_named(tmp_path: Path) -> None:
    run = by_hand.write(tmp_path / "run")
    (run / "tables" / "dim_models.parquet").write_bytes(
        (run / "tables" / "dim_tenants.parquet").read_bytes()
    )
    law = check_run(run)[0]
    assert (law.name, law.holds) == ("tables_as_written", False)
    assert law.detail.endswith("not as written: dim_models")


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run directory"):
        check_run(tmp_path)


def test_departure() -> None:
    assert departure(0.0, 0.0) == 0.0
    assert departure(1.0, 1.1) == pytest.approx(0.1 / 1.1)
