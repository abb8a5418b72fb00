"""Where cached prompt tokens came from, from `fact_requests`."""

from __future__ import annotations

from factory.economics.totals import RunFacts
from factory.economics.unit_costs import divided
from factory.records.reader import RunReader

#: Tiers below GPU memory, as the columns of `fact_requests` name them.
LOWER_TIERS = ("host", "disk", "remote")


def cache_hits(reader: RunReader, run: RunFacts, prompt_tokens: float) -> dict[str, float | None]:
    """Cached prompt tokens by tier, and their share of all prompt tokens.

    A prompt counts when its prefill ends, as in the sums of pools: the tokens add up to
    `input_cached_tokens` of the measured windows, the ratios to their `cache_hit_ratio`.

    Args:
        reader: Tables of the run.
        run: Its row.
        prompt_tokens: Prompt tokens computed or cached in the measured windows.

    Returns:
        `gpu_tokens`, `host_tokens`, `disk_tokens`, `remote_tokens`, and `gpu_hit_ratio` and so on;
        a ratio is None without a prompt.

    Raises:
        InputError: A table is missing.
    """
    below = [f"input_cached_{tier}_tokens" for tier in LOWER_TIERS]
    rows = reader.read(
        "fact_requests",
        ("weight", "prefill_end_time_s", "input_cached_tokens", *below),
    )
    end_s = rows.number("prefill_end_time_s")
    is_open = run.measured_to_s >= run.end_s
    shown = (end_s >= run.measured_from_s) & ((end_s < run.measured_to_s) | is_open)
    weight = rows.number("weight")[shown]
    found = {
        tier: float((weight * rows.number(name)[shown]).sum())
        for tier, name in zip(LOWER_TIERS, below, strict=True)
    }
    cached = float((weight * rows.number("input_cached_tokens")[shown]).sum())
    found = {"gpu": cached - sum(found.values()), **found}
    return {
        **{f"{tier}_tokens": tokens for tier, tokens in found.items()},
        **{f"{tier}_hit_ratio": divided(tokens, prompt_tokens) for tier, tokens in found.items()},
    }
