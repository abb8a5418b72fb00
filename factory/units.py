"""Units: factors between them, and reading a quantity somebody wrote as text.

Inside the package everything is in seconds, watts, joules, bytes and tokens; names carry a suffix
(``_s``, ``_ms``, ``_kw`` …) wherever a number is in another unit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SECONDS_PER_HOUR = 3600.0
SECONDS_PER_MINUTE = 60.0
JOULES_PER_KWH = 3.6e6
WATTS_PER_KW = 1e3
WATTS_PER_MW = 1e6
MILLISECONDS_PER_SECOND = 1e3
BYTES_PER_GB = 1e9
BYTES_PER_GIB = float(2**30)
TOKENS_PER_MTOK = 1e6

SUFFIX_UNITS: Mapping[str, str] = {
    "_gb_s": "GB/s",
    "_tb_s": "TB/s",
    "_ms": "ms",
    "_s": "s",
    "_kwh": "kWh",
    "_kw": "kW",
    "_mw": "MW",
    "_w": "W",
    "_gb": "GB",
    "_tflops": "TFLOP/s",
    "_tokens": "tokens",
    "_ratio": "ratio",
}
"""The unit that the end of a name declares."""

UNIT_NAMES: Mapping[str, str] = {
    "s": "seconds",
    "ms": "milliseconds",
    "ratio": "a ratio between 0 and 1",
}

_NAMED_UNITS: Mapping[str, str] = {
    "tokens": "tokens",
    "max_model_len": "tokens",
    "rate": "sessions/s",
    "requests_per_s": "requests/s",
    "tokens_per_s": "tokens/s",
    "ageing_tokens_per_s": "tokens/s",
    "usd_per_gpu_hour": "USD per GPU-hour",
}

_DIMENSIONS: tuple[Mapping[str, float], ...] = (
    {
        "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "msec": 1e-3, "s": 1.0, "sec": 1.0, "secs": 1.0,
        "second": 1.0, "seconds": 1.0, "min": 60.0, "mins": 60.0, "minute": 60.0,
        "minutes": 60.0, "m": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "hours": 3600.0,
        "d": 86400.0, "day": 86400.0, "days": 86400.0,
    },
    {"w": 1.0, "kw": 1e3, "mw": 1e6, "gw": 1e9},
    {"mb/s": 1e6, "gb/s": 1e9, "tb/s": 1e12, "gbit/s": 1.25e8, "gbps": 1.25e8, "tbit/s": 1.25e11},
    {"mb": 1e6, "gb": 1e9, "tb": 1e12, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40},
    {"tokens": 1.0, "token": 1.0, "tok": 1.0, "k": 1e3, "k tokens": 1e3, "m": 1e6, "mtok": 1e6},
    {"ratio": 1.0, "%": 1e-2, "percent": 1e-2},
    {
        "sessions/s": 1.0, "/s": 1.0, "rps": 1.0, "qps": 1.0, "req/s": 1.0, "requests/s": 1.0,
        "/min": 1 / 60.0, "rpm": 1 / 60.0, "qpm": 1 / 60.0, "/h": 1 / 3600.0,
    },
    {"tokens/s": 1.0, "tok/s": 1.0, "tps": 1.0, "tokens/min": 1 / 60.0, "tpm": 1 / 60.0},
    {"usd per gpu-hour": 1.0, "usd": 1.0, "$": 1.0, "usd/h": 1.0, "$/h": 1.0},
)  # fmt: skip

_QUANTITY = re.compile(r"\s*([-+]?[\d.,_]*\d\.?(?:[eE][-+]?\d+)?)\s*(\D*?)\s*")


def unit_of(path: str) -> str | None:
    """The unit that a path declares by the names in it, innermost first.

    ``tenants[0].think_time_s.mean`` is in seconds, because ``mean`` declares nothing.
    """
    for name in reversed(re.sub(r"\[[^]]*\]", "", path).split(".")[-2:]):
        if name in _NAMED_UNITS:
            return _NAMED_UNITS[name]
        for suffix, unit in SUFFIX_UNITS.items():
            if name.endswith(suffix):
                return unit
    return None


def number_in(text: str, unit: str | None) -> float | None:
    """The number that ``text`` means in ``unit``: ``"500 ms"`` in ``s`` is 0.5.

    Args:
        text: a number with or without a unit, e.g. ``"5 kW"``.
        unit: the unit wanted; None if it has none.

    Returns:
        The number, or None if the text is not a quantity or of another dimension.
    """
    match = _QUANTITY.fullmatch(text.replace("$", "", 1) if unit and "USD" in unit else text)
    if match is None:
        return None
    try:
        value = float(match[1].replace(",", "").replace("_", ""))
    except ValueError:
        return None
    given = match[2].casefold()
    if not given:
        return value
    if unit is None:
        return value * 1e3 if given == "k" else None
    for dimension in _DIMENSIONS:
        if unit.casefold() in dimension and given in dimension:
            return value * dimension[given] / dimension[unit.casefold()]
    return None


def kilowatts(value: float) -> str:
    """A power in kW for a message: four digits, never an exponent, thousands separated."""
    if abs(value) < 1000.0:
        return f"{value:.4g} kW" if abs(value) >= 1e-4 else "0 kW"
    return f"{value:,.0f} kW"
