"""How a number is written for people: its first three digits, its unit, or that there is none."""

from __future__ import annotations

import math

NONE = "–"


def known(value: object) -> float | None:
    """A finite number as a float; None for anything else (null, NaN, a missing field)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def significant(value: float, digits: int = 3) -> str:
    """A number with `digits` significant figures, thousands separated, never an exponent."""
    if value == 0:
        return "0"
    rounded = round(value, digits - 1 - math.floor(math.log10(abs(value))))
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, decimals)}f}" if abs(rounded) < 1000 else f"{rounded:,.0f}"


def usd(value: float | None) -> str:
    """US dollars: ``$0.0123``, ``$2.20``, ``$1,230``."""
    if value is None:
        return "not priced"
    if abs(value) >= 1000:
        return f"${value:,.0f}"
    if abs(value) >= 1:
        return f"${value:,.2f}"
    return f"${significant(value)}"


def percent(ratio: float | None) -> str:
    """A ratio in 0 to 1 as per cent; a small one never reads as nothing, nor a near one as all."""
    if ratio is None:
        return NONE
    if ratio in {0, 1}:
        return f"{100 * ratio:.0f}%"
    if abs(ratio) < 0.001:
        return "<0.1%"
    if 0.999 < ratio < 1:
        return ">99.9%"
    return f"{100 * ratio:.1f}%" if abs(ratio) < 0.1 or ratio >= 0.9 else f"{100 * ratio:.0f}%"


def count(value: float | None) -> str:
    """A whole number with thousands separated."""
    return NONE if value is None else f"{value:,.0f}"


_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def scaled(value: float) -> str:
    """An axis label: an SI prefix and no zeros that say nothing: ``50k``, ``1.5M``."""
    scale, prefix = next(((s, p) for s, p in _SCALES if abs(value) >= s * 0.9995), (1.0, ""))
    return f"{trimmed(value / scale)}{prefix}"


def quantity(value: float | None, unit: str = "") -> str:
    """A large quantity with an SI prefix: ``2.84M``; with `unit`, a space before it."""
    if value is None:
        return NONE
    scale, prefix = next(((s, p) for s, p in _SCALES if abs(value) >= s * 0.9995), (1.0, ""))
    return f"{significant(value / scale)}{prefix}{' ' + unit if unit else ''}"


def duration(seconds: float | None) -> str:
    """A span of time in the unit that reads best: ``12 ms``, ``4.2 s``, ``3 min``, ``2.5 h``."""
    if seconds is None:
        return NONE
    size = abs(seconds)
    for limit, unit_s, unit in ((1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min")):
        if size < limit:
            return f"{trimmed(seconds / unit_s)} {unit}"
    return f"{trimmed(seconds / 3600)} h"


def trimmed(value: float) -> str:
    """As `significant`, without zeros that say nothing: ``55``, ``4.2``."""
    text = significant(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


_SPANS = ((1.0, "ms"), (1e3, "s"), (6e4, "min"))


def milliseconds(values: tuple[float | None, ...]) -> str:
    """Several latencies in ms that share one unit: ``89.1 / 210 / 480 ms``.

    None is written much finer than the largest, so that three fit a column of 22.
    """
    present = [v for v in values if v is not None]
    if not present:
        return NONE
    least, largest = min(present), max(present)
    scale, unit = next(
        ((s, u) for s, u in _SPANS if least < 999.5 * s and largest < 9995 * s), (3.6e6, "h")
    )
    decimals = 0 if largest >= 999.5 * scale else 1 if largest >= 99.95 * scale else 2
    return " / ".join(NONE if v is None else _cut(v / scale, decimals) for v in values) + f" {unit}"


def _cut(value: float, decimals: int) -> str:
    """As `significant`, with so many decimals at most; a small value never reads as nothing."""
    text = significant(value)
    if len(text.partition(".")[2]) <= decimals:
        return text
    least = 10.0**-decimals
    return f"{value:,.{decimals}f}" if value >= least else f"<{least:.{decimals}f}"


def power(kilowatts: float | None) -> str:
    """Power in W, kW, MW or GW."""
    if kilowatts is None:
        return NONE
    if abs(kilowatts) >= 1e6:
        return f"{significant(kilowatts / 1e6)} GW"
    if abs(kilowatts) >= 1e3:
        return f"{significant(kilowatts / 1e3)} MW"
    return f"{significant(kilowatts)} kW" if abs(kilowatts) >= 1 else f"{kilowatts * 1e3:.0f} W"


def energy(kilowatt_hours: float | None) -> str:
    """Energy in Wh, kWh, MWh or GWh."""
    if kilowatt_hours is None:
        return NONE
    if abs(kilowatt_hours) >= 1e6:
        return f"{significant(kilowatt_hours / 1e6)} GWh"
    if abs(kilowatt_hours) >= 1e3:
        return f"{significant(kilowatt_hours / 1e3)} MWh"
    if abs(kilowatt_hours) >= 1 or not kilowatt_hours:
        return f"{significant(kilowatt_hours)} kWh"
    return f"{significant(kilowatt_hours * 1e3)} Wh"


def plural(n: float, one: str, many: str | None = None) -> str:
    """``1 request``, ``12,031 requests``."""
    return f"{n:,.0f} {one if n == 1 else many or one + 's'}"
