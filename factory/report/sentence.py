"""The plain sentences that open the screen and the page."""

from __future__ import annotations

from factory.economics.remarks import unpriced_remark
from factory.report.binding import LOST, Binding, binding, furthest_short
from factory.report.figures import count, duration, percent, plural, power, significant, usd
from factory.report.model import RunView, Tenant


def answer(run: RunView) -> str:
    """One sentence: cost per million good tokens, load factor, what binds, who misses a target."""
    return f"{_cost_clause(run)} {_load_clause(run)}; {binding(run).clause}{_missed_clause(run)}."


def support(run: RunView) -> tuple[str, ...]:
    """What the answer rests on: service, evidence of what binds, and what to be careful about."""
    bound: Binding = binding(run)
    return tuple(line for line in (_service(run), bound.detail, *cautions(run)) if line)


def cautions(run: RunView) -> tuple[str, ...]:
    """Why the figures should be read with care; empty when nothing speaks against them."""
    found = []
    if run.has_assumed_prices and run.is_priced:
        systems = ", ".join(o.system for o in run.offers if o.price_kind == "assumed")
        found.append(f"The price of {systems} is assumed: a placeholder, not a quotation.")
    if run.unpriced:
        remark = unpriced_remark(run.price_book, run.unpriced)
        found.append(f"{remark[0].upper()}{remark[1:]}.")
    elif not run.is_priced:
        found.append("The scenario names no prices, so it shows performance only.")
    if run.unfinished:
        found.append(
            f"{plural(run.unfinished, 'request')} had not finished when the run ended; latencies "
            "leave them out."
        )
    found += _unserved(run)
    found += [line for line in (_truncated(run), _overdrawn(run), _exceeded(run)) if line]
    found += [f"{remark[0].upper()}{remark[1:]}." for remark in run.power.above]
    ratio = run.figures.load_factor_ratio
    if ratio is not None and ratio > 1:
        found.append(
            "A load factor above 100% is no error: the efficient point that a pool states is a "
            "reference, not a limit, and this run passed it."
        )
    if run.skipped_rows:
        were = "was" if run.skipped_rows == 1 else "were"
        rows = plural(run.skipped_rows, "malformed row")
        found.append(f"{rows} of the trace {were} left out (skip_bad_rows).")
    if run.changed_tables:
        found.append(
            f"Not as the run wrote them: {', '.join(run.changed_tables)}. These figures rest on "
            "the tables as they are now."
        )
    offered = sum(tenant.offered for tenant in run.tenants)
    if 0 < offered < _FEW:
        found.append(f"Only {plural(offered, 'request')} in the measured interval: p99 is a guess.")
    if run.warmup_s == 0:
        found.append("Measured from an empty start: no warm-up was left out.")
    return tuple(found)


_FEW = 1000


def _unserved(run: RunView) -> list[str]:
    """How many attempts were not served, and why; how many were tried again; what never came."""
    attempts = run.attempts
    noun, all_of_them = attempts.noun, plural(attempts.total, attempts.noun)
    lines = []
    if attempts.too_long:
        lines.append(
            f"{count(attempts.too_long)} of {all_of_them} {_were(attempts.too_long)} rejected for "
            f"length, the shortest prompt {count(attempts.shortest_tokens)} tokens: a prompt must "
            "leave room for an answer in the model's context (max_model_len) and fit the KV memory "
            "of a replica (kv_capacity_tokens)."
        )
    if attempts.turned_away:
        lines.append(
            f"{count(attempts.turned_away)} of {all_of_them} {_were(attempts.turned_away)} turned "
            "away by admission or routing: a queue limit, a rate limit, early rejection."
        )
    if attempts.timed_out:
        lines.append(
            f"{count(attempts.timed_out)} of {all_of_them} timed out: their clients gave up. "
            f"{percent(attempts.wasted_ratio)} of the GPU time of requests went to them."
        )
    if attempts.failed:
        lines.append(
            f"{count(attempts.failed)} of {all_of_them} {_were(attempts.failed)} lost with what "
            "served them."
        )
    if attempts.retried:
        lines.append(
            f"{percent(attempts.share(attempts.retried))} of the {noun}s were retries "
            f"({count(attempts.retried)}). A request counts once, however often it is tried: in "
            f"the end {_never(run)}. E2E counts from the first attempt, TTFT from each."
        )
    if attempts.sessions:
        ended = plural(attempts.sessions, "session")
        lines.append(
            f"{ended} ended with a request that was not served: what they would have asked next "
            "never came."
        )
    share = attempts.share(attempts.turned_away + attempts.timed_out + attempts.failed)
    if share >= LOST:
        lines.append("Latencies are of completed requests: the others are not in them.")
    return lines


def _never(run: RunView) -> str:
    """How many requests had no answer, whatever was tried."""
    offered = sum(tenant.offered for tenant in run.tenants)
    left = offered - sum(tenant.completed for tenant in run.tenants)
    if left <= 0:
        return "every request had its answer"
    return f"{count(left)} of {plural(offered, 'request')} had no answer"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _truncated(run: RunView) -> str:
    if not run.truncated:
        return ""
    were = "was" if run.truncated == 1 else "were"
    return (
        f"{plural(run.truncated, 'answer')} {were} cut short, where prompt and output reach the "
        "model's context (max_model_len) or the KV memory of a replica (kv_capacity_tokens)."
    )


def _overdrawn(run: RunView) -> str:
    """That the facility drew more than is contracted, if it did."""
    peak, contracted = run.power.peak_kw, run.power.contracted_kw
    if peak is None or contracted is None or peak <= contracted * (1 + 1e-9):
        return ""
    return (
        f"The facility drew {power(peak)} from the grid at its peak, more than the "
        f"{power(contracted)} contracted (facility.contracted_mw): figures per contracted MW "
        "flatter it."
    )


def _exceeded(run: RunView) -> str:
    """That the facility did not keep to a curtailment, if it did not."""
    if run.power.excess_kwh <= 0.0:
        return ""
    return (
        f"{significant(run.power.excess_kwh)} kWh were drawn above the limit of a curtailment "
        "(facility.grid): the grid would count it as not delivered."
    )


def _missed_clause(run: RunView) -> str:
    """The tenant that falls furthest short of its target, if one does."""
    missed = furthest_short(run)
    if not missed:
        return ""
    worst = missed[0]
    text = (
        f", but only {percent(worst.attainment_ratio)} of {worst.name}'s requests were good, "
        f"target {percent(worst.target)}"
    )
    others = len(missed) - 1
    return text + (f" ({plural(others, 'more tenant')} missed theirs)" if others else "")


def _cost_clause(run: RunView) -> str:
    figures = run.figures
    if not run.is_priced:
        return "Not priced: these tokens were made"
    if figures.usd_per_mtok_output_good is None:
        return f"{usd(figures.cost_usd)} were spent and no good token was delivered"
    assumed = " (assumed prices)" if run.has_assumed_prices else ""
    return f"A million good output tokens cost {usd(figures.usd_per_mtok_output_good)}{assumed}"


def _load_clause(run: RunView) -> str:
    ratio = run.figures.load_factor_ratio
    if ratio is None:
        return "at an unknown load factor"
    return f"at a load factor of {percent(ratio)}"


def _service(run: RunView) -> str:
    missed = missed_targets(run)
    if missed:
        return " ".join(missed)
    offered = sum(tenant.offered for tenant in run.tenants)
    if not offered:
        return "No request arrived in the measured interval."
    targets = [t for t in run.tenants if t.target is not None and has_limits(t)]
    good = sum(tenant.good for tenant in run.tenants)
    if not targets:
        return (
            f"{count(good)} of {plural(offered, 'request')} completed; no service level was set, "
            "so each of these counts as good."
        )
    return (
        f"Every tenant met its target: {count(good)} of {plural(offered, 'request')} were good "
        f"over {duration(run.measured_s)}."
    )


def missed_targets(run: RunView) -> tuple[str, ...]:
    """A sentence for each tenant whose service level was not met."""
    return tuple(
        f"Tenant {tenant.name} missed its target: {percent(tenant.attainment_ratio)} of its "
        f"requests were good, {percent(tenant.target)} were wanted."
        for tenant in run.tenants
        if tenant.misses_target
    )


def has_limits(tenant: Tenant) -> bool:
    """Whether the tenant states any limit."""
    limits = tenant.limits
    return any(x is not None for x in (limits.ttft_ms, limits.itl_ms, limits.e2e_ms))
