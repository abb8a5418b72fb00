"""Ledger → unit costs: the ratios of DESIGN's "Numbers that carry a definition".

Names and definitions are those of the columns of `v_run_summary` in `views.sql`.
"""

from __future__ import annotations

from factory.economics.totals import Totals
from factory.records.codes import LEDGER_STATES, WORKING_STATES
from factory.records.views import DENOMINATORS


def divided(numerator: float | None, denominator: float | None) -> float | None:
    """A ratio; None where it has no numerator or its denominator is 0 or unknown."""
    if numerator is None or not denominator:
        return None
    return numerator / denominator


def tokens(totals: Totals, suffix: str) -> float:
    """Tokens of a denominator.

    Args:
        totals: Of any group of rows.
        suffix: `output_good`, `output`, `computed` (input computed, and output) or `all`
            (input cached as well).
    """
    return sum(totals.amounts[column] for column in DENOMINATORS[suffix])


def unit_costs(totals: Totals) -> dict[str, float | None]:
    """Unit costs, utilization, token rates, power and ledger shares of a group of rows.

    Args:
        totals: Additive figures of the group.

    Returns:
        By column of `v_run_summary`: USD, ratios in 0 to 1, tokens/s, kW. Contracted power is the
        facility's, so `…_per_mw_provisioned` means something for all pools together only.
    """
    amounts = totals.amounts
    provisioned = amounts["gpu_s_provisioned"]
    seconds = totals.seconds
    facility_kwh = amounts["energy_facility_kwh"]
    prompt = amounts["input_cached_tokens"] + amounts["input_computed_tokens"]
    busy = sum(amounts[f"gpu_s_{LEDGER_STATES[state]}"] for state in WORKING_STATES)
    found: dict[str, float | None] = {
        "busy_ratio": divided(busy, provisioned),
        "load_factor_ratio": divided(amounts["reference_gpu_s"], provisioned),
        "cache_hit_ratio": divided(amounts["input_cached_tokens"], prompt),
        "usd_per_gpu_hour": divided(totals.cost_usd, provisioned / 3600),
        "gpus_provisioned": divided(provisioned, seconds),
    }
    for boundary in ("gpu", "it", "facility"):
        kwh = amounts[f"energy_{boundary}_kwh"]
        found[f"{boundary}_kw"] = divided(kwh * 3600, seconds)
    for suffix in DENOMINATORS:
        made = tokens(totals, suffix)
        rate = divided(made, seconds)
        cost, nameplate = _micro(totals.cost_usd), _micro(totals.nameplate_cost_usd)
        found[f"cost_usd_per_mtok_{suffix}"] = divided(cost, made)
        found[f"nameplate_cost_usd_per_mtok_{suffix}"] = divided(nameplate, made)
        found[f"tokens_per_s_{suffix}"] = rate
        found[f"tokens_per_s_{suffix}_per_gpu"] = divided(made, provisioned)
        found[f"tokens_per_s_{suffix}_per_mw_provisioned"] = divided(
            rate, totals.contracted_facility_mw
        )
        found[f"tokens_per_s_{suffix}_per_mw_measured"] = divided(made, facility_kwh * 3.6)
        found[f"tokens_per_j_{suffix}"] = divided(made, facility_kwh * 3.6e6)
    for state in LEDGER_STATES:
        found[f"ledger_{state}_ratio"] = divided(amounts[f"gpu_s_{state}"], provisioned)
    return found


def _micro(usd: float | None) -> float | None:
    """USD as what the numerator of a cost per million needs."""
    return None if usd is None else usd * 1e6
