"""Unit costs by role, which mean something for disaggregated pools only."""

from __future__ import annotations

from factory.economics.totals import PricedIntervals, Totals
from factory.economics.unit_costs import divided


def role_costs(intervals: PricedIntervals) -> dict[str, dict[str, float | None]]:
    """Cost by role of every deployment; None unless all its pools are disaggregated.

    Args:
        intervals: Of a run.

    Returns:
        By deployment, as in `v_deployment_role_costs`: `prefill_cost_usd_per_mtok_input_computed`
        and `decode_cost_usd_per_mtok_output`, USD, over the measured interval.
    """
    totals = list(intervals.pool_totals().values())
    found = {}
    for deployment in dict.fromkeys(name for name in intervals.deployments if name is not None):
        pools = [
            (role, totals[i])
            for i, (name, role) in enumerate(
                zip(intervals.deployments, intervals.roles, strict=True)
            )
            if name == deployment
        ]
        found[deployment] = {
            "prefill_cost_usd_per_mtok_input_computed": _cost(
                pools, "prefill", "input_computed_tokens"
            ),
            "decode_cost_usd_per_mtok_output": _cost(pools, "decode", "output_tokens"),
        }
    return found


def _cost(pools: list[tuple[str, Totals]], role: str, column: str) -> float | None:
    costs = [total.cost_usd for of, total in pools if of == role]
    priced = [cost for cost in costs if cost is not None]
    if any(of == "aggregated" for of, _ in pools) or not costs or len(priced) < len(costs):
        return None
    return divided(sum(priced) * 1e6, sum(total.amounts[column] for _, total in pools))
