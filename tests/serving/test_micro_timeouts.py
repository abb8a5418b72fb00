"""Clients that give up, in every stage: 10 ms a step, 1 per decoding sequence, 0.5 per token.

What is in a step leaves at its end; what waits leaves at once. The blocks are given back: another
request starts just then. That nothing is left over is checked by `scripted.play`.
"""

from __future__ import annotations

from typing import Any

from scripted import ask, factory, near, play, replica, spent

from factory.records.codes import COMPLETED, STATE_IDLE, STATE_PREFILL_NEW, TIMED_OUT

TRANSFER = {"bandwidth_gb_s": 0.065536, "latency_ms": 2}


def patience(milliseconds: float, limit: str = "timeout_s", **more: Any) -> list[dict[str, Any]]:
    """Clients of t0 wait so long, those of t1 for ever."""
    return [{"timeouts": {limit: milliseconds / 1e3}, **more}, {}]


def test_waiting() -> None:
    """A runs until 15 + 44 = 59. B gives up at 31, and C, behind it, is next."""
    scenario = replica(tenants=patience(30), max_num_seqs=1)
    seen = play(scenario, [ask(0, 10, 5, tenant=1), ask(1, 10, 5), ask(2, 10, 1, tenant=1)])
    assert seen.column("outcome") == [COMPLETED, TIMED_OUT, COMPLETED]
    assert seen.column("completion_s") == near(59, 31, 74)
    assert seen.column("computed") == [10, 0, 10]


def test_waiting_at_the_head_for_kv() -> None:
    """20 blocks; A holds 8 and grows, B needs 14. When B gives up, at 31, C fits: 36, A's step."""
    scenario = replica(tenants=patience(30), kv_capacity_tokens=20)
    asks = [ask(0, 8, 10, tenant=1), ask(1, 14, 1), ask(2, 2, 1, tenant=1)]
    seen = play(scenario, asks)
    assert seen.column("outcome") == [COMPLETED, TIMED_OUT, COMPLETED]
    assert seen.column("prefill_start_s")[2] == near(14 + 2 * 11)


def test_prefilling() -> None:
    """A prompt in chunks leaves after the one that it is in.

    Four tokens a step, 12 ms; 24 blocks. B's 20 tokens would take until 60; it gives up at 30
    and leaves at 36, with 12 tokens computed. C, which found no room beside it, starts there.
    """
    scenario = replica(
        tenants=patience(30), max_num_batched_tokens=4, max_num_seqs=4, kv_capacity_tokens=24
    )
    seen = play(scenario, [ask(0, 20, 4), ask(1, 8, 1, tenant=1)])
    assert seen.column("outcome") == [TIMED_OUT, COMPLETED]
    assert seen.column("computed") == [12, 8]
    assert seen.column("completion_s") == near(36, 36 + 24)
    assert seen.column("prefill_start_s") == near(0, 36)
    assert seen.column("gpu_s_computed") == near(36, 24)
    assert spent(seen, STATE_PREFILL_NEW) == near(60)


def test_decoding() -> None:
    """A sequence that decodes leaves after its step.

    B: 12 ms, then steps of 11: it gives up at 30 and leaves at 34, with three tokens. C, which
    needs the room of 10 blocks, starts there.
    """
    scenario = replica(tenants=patience(30), kv_capacity_tokens=15)
    seen = play(scenario, [ask(0, 4, 10), ask(13, 10, 1, tenant=1)])
    assert seen.column("outcome") == [TIMED_OUT, COMPLETED]
    assert seen.column("output_tokens") == [3, 1]
    assert seen.column("completion_s") == near(34, 34 + 15)
    assert seen.column("gpu_s_output") == [near(22), 0.0]


def test_decoding_while_sitting_out() -> None:
    """It leaves at the end of a step that it had no part in.

    sglang: A has its first token at 12 and its second at 23; then B's chunks of four run alone.
    A gives up at 40 and leaves at 47, the end of B's second; B's prompt goes on: 71.
    """
    scenario = replica(
        tenants=patience(40), max_num_batched_tokens=4, max_num_seqs=4,
        scheduler={"policy": "sglang"},
    )  # fmt: skip
    seen = play(scenario, [ask(0, 4, 10), ask(13, 16, 2, tenant=1)])
    assert seen.column("outcome") == [TIMED_OUT, COMPLETED]
    assert seen.column("completion_s") == near(47, 23 + 4 * 12 + 11)
    assert seen.column("output_tokens") == [2, 2]
    assert seen.column("gpu_s_output") == near(11, 11)


def test_a_first_token_in_time_ends_the_first_limit() -> None:
    """The first token comes at 12 of 12 ms: in time. The rest has no limit."""
    scenario = replica(tenants=patience(12, "ttft_timeout_s"))
    seen = play(scenario, [ask(0, 4, 10)])
    assert seen.column("outcome") == [COMPLETED]
    scenario = replica(tenants=patience(11.9, "ttft_timeout_s"))
    seen = play(scenario, [ask(0, 4, 10)])
    assert seen.column("outcome") == [TIMED_OUT]
    assert seen.column("completion_s") == [near(12)]


def split(clients: list[dict[str, Any]]) -> dict[str, Any]:
    """Room for two prompts of 8 tokens before, and for one answer of 6 behind."""
    return factory(
        {"role": "prefill", "engine": {"kv_capacity_tokens": 16}},
        {"role": "decode", "engine": {"kv_capacity_tokens": 14}},
        tenants=clients,
        kv_transfer=TRANSFER,
    )


def test_waiting_for_room_to_decode() -> None:
    """What a prompt held where it was computed is free at once.

    A: prefill until 14, there at 24, decodes until 79. B's prompt is done at 28, C's at 42, and
    both wait for room; D for room to prefill. B gives up at 51: D starts at once, 14 ms. At 79 C
    goes: there at 89, done at 144. D: 144 + 65 = 209.
    """
    asks = [ask(at, 8, 6, tenant=0 if at == 1 else 1) for at in range(4)]
    seen = play(split(patience(50)), asks)
    assert seen.column("outcome") == [COMPLETED, TIMED_OUT, COMPLETED, COMPLETED]
    assert seen.column("prefill_start_s") == near(0, 14, 28, 51)
    assert seen.column("completion_s") == near(79, 51, 144, 209)
    assert seen.column("output_tokens") == [6, 0, 6, 6]
    assert seen.column("computed") == [8, 8, 8, 8]


def test_on_the_transfer() -> None:
    """What was taken for a sequence on both sides is free at once.

    A's KV is on the way from 14 to 24; it gives up at 20. B, whose prompt is done at 28, finds
    the room behind and the way free: there at 38, done at 93.
    """
    seen = play(split(patience(20)), [ask(0, 8, 6), ask(1, 8, 6, tenant=1)])
    assert seen.column("outcome") == [TIMED_OUT, COMPLETED]
    assert seen.column("completion_s") == near(20, 93)
    assert seen.column("first_token_s")[1] == near(38)
    assert spent(seen, STATE_IDLE, 1) == near(14 + 8)


def test_room_of_a_transfer_that_is_given_up() -> None:
    """Who waits for that room gets it at once.

    B waits for A's room from 28 on; A has 26 tokens, which are on the way until 23 + 28 = 51,
    and gives up at 40: B goes at once, and is there at 50.
    """
    scenario = factory(
        {"role": "prefill"},
        {"role": "decode", "engine": {"kv_capacity_tokens": 32}},
        tenants=patience(40),
        kv_transfer=TRANSFER,
    )
    seen = play(scenario, [ask(0, 26, 6), ask(1, 8, 6, tenant=1)])
    assert seen.column("prefill_end_s") == near(23, 37)
    assert seen.column("first_token_s")[1] == near(50)
    assert seen.column("completion_s") == near(40, 50 + 55)


def test_outside() -> None:
    """Held before the door until A leaves, at 59: B gives up at 31, C is next."""
    scenario = replica(tenants=patience(30))
    scenario["deployments"][0]["admission"] = {"max_concurrency": 1}
    seen = play(scenario, [ask(0, 10, 5, tenant=1), ask(1, 10, 5), ask(2, 10, 1, tenant=1)])
    assert seen.column("outcome") == [COMPLETED, TIMED_OUT, COMPLETED]
    assert seen.column("completion_s") == near(59, 31, 74)


def test_retries_with_back_off() -> None:
    """Waits of 100 and 200 ms between attempts.

    A runs for 15 + 29 x 11 = 334. B waits for 30 ms, from 1, from 31 + 100 and from
    161 + 200 = 361, where it is served: 10 + 5, the end at 376.
    """
    retry = {"attempts": 3, "backoff_s": 0.1, "multiplier": 2.0, "jitter": 0.0}
    scenario = replica(tenants=patience(30, retry=retry), max_num_seqs=1)
    seen = play(scenario, [ask(0, 10, 30, tenant=1), ask(1, 10, 1)])
    assert seen.column("outcome") == [COMPLETED, TIMED_OUT, TIMED_OUT, COMPLETED]
    assert seen.column("attempt") == [0, 0, 1, 2]
    assert seen.column("root") == [0, 1, 1, 1]
    assert seen.column("arrival_s") == near(0, 1, 131, 361)
    assert seen.column("first_arrival_s") == near(0, 1, 1, 1)
    assert seen.column("completion_s") == near(334, 31, 161, 376)


def test_the_last_attempt_is_the_last() -> None:
    """Two attempts, A runs for 334: 1 to 31, 131 to 161, and no more."""
    retry = {"attempts": 2, "backoff_s": 0.1, "jitter": 0.0}
    scenario = replica(tenants=patience(30, retry=retry), max_num_seqs=1)
    seen = play(scenario, [ask(0, 10, 30, tenant=1), ask(1, 10, 1)])
    assert seen.column("outcome") == [COMPLETED, TIMED_OUT, TIMED_OUT]
    assert seen.column("completion_s") == near(334, 31, 161)
