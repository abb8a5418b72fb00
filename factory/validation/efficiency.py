"""Named efficiency parameters of the catalogue as a vector that can be fitted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factory.errors import InputError
from factory.performance.hardware import Efficiency, efficiency
from factory.scenario.nearest import nearest

FRACTION = 1.0
FITTABLE: Mapping[str, Mapping[str, float]] = {
    "kernels": {
        "decode_compute": FRACTION,
        "decode_memory": FRACTION,
        "decode_fp8_memory": FRACTION,
        "decode_launch_us": math.inf,
        "prefill_compute": FRACTION,
        "prefill_launch_us": math.inf,
        "stream_memory": FRACTION,
        "stream_launch_us": math.inf,
        "link": FRACTION,
        "reduce_launch_us": math.inf,
        "exchange_launch_us": math.inf,
        "scaleout_launch_us": math.inf,
    },
    "products": {
        "compute": FRACTION,
        "memory": FRACTION,
        "launch_us": math.inf,
        "experts_compute": FRACTION,
        "experts_memory": FRACTION,
        "experts_launch_us": math.inf,
    },
    "engines": {
        "step_overhead_ms": math.inf,
        "layer_overhead_us": math.inf,
        "sequence_overhead_us": math.inf,
        "kernel_time": math.inf,
    },
}
"""Fields that measured step times can tell, by section of the catalogue, with upper bounds."""

FROM_ZERO = {"step_overhead_ms": 0.1, "layer_overhead_us": 1.0, "sequence_overhead_us": 1.0}
"""Where the fit of a field begins whose value in the catalogue is 0: a factor cannot move it."""

USUAL = tuple(field for section in ("kernels", "products") for field in FITTABLE[section])


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of the catalogue.

    Attributes:
        section: kernels, products or engines.
        key: Its record.
        field: Its field.
        start: Its value, from which factors count.
        most: The largest value it may have.
    """

    section: str
    key: str
    field: str
    start: float
    most: float

    @property
    def path(self) -> str:
        """Its place in the catalogue."""
        return f"{self.section}.{self.key}.{self.field}"


def checked(names: Sequence[str]) -> list[str]:
    """Names of fields to fit.

    Raises:
        InputError: One is unknown; names the nearest.
    """
    known = [field for fields in FITTABLE.values() for field in fields]
    for name in names:
        if name not in known:
            close = nearest(name, known)
            meant = f"; did you mean {close}?" if close else ""
            raise InputError(f"--fit {name}: unknown field (of {', '.join(known)}{meant})")
    return list(dict.fromkeys(names))


def parameters(generations: Sequence[str], engine: str, names: Sequence[str]) -> list[Parameter]:
    """What fields of the records behind some GPU generations and an engine profile hold.

    Args:
        generations: GPU generations.
        engine: Engine profile.
        names: Fields, from `checked`.
    """
    found: dict[str, Parameter] = {}
    for generation in generations:
        reached = efficiency(generation, engine)
        records: list[tuple[str, str, object]] = [("kernels", generation, reached.kernels)]
        records += [
            ("products", f"{generation}-{storage}", spec)
            for storage, spec in reached.products.items()
        ]
        records.append(("engines", reached.engine.name, reached.engine))
        for section, key, spec in records:
            for field, most in FITTABLE[section].items():
                if field in names:
                    value = float(getattr(spec, field)) or FROM_ZERO.get(field, 0.0)
                    if value > 0.0:
                        one = Parameter(section, key, field, value, max(most, value))
                        found.setdefault(one.path, one)
    return list(found.values())


def moved(generation: str, engine: str, values: Mapping[Parameter, float]) -> Efficiency:
    """The catalogue's efficiency with other values in it."""
    reached = efficiency(generation, engine)
    changes: dict[tuple[str, str], dict[str, Any]] = {}
    for parameter, value in values.items():
        changes.setdefault((parameter.section, parameter.key), {})[parameter.field] = value
    products = {
        storage: dataclasses.replace(
            spec, **changes.get(("products", f"{generation}-{storage}"), {})
        )
        for storage, spec in reached.products.items()
    }
    return Efficiency(
        dataclasses.replace(reached.kernels, **changes.get(("kernels", generation), {})),
        products,
        dataclasses.replace(reached.engine, **changes.get(("engines", reached.engine.name), {})),
    )
