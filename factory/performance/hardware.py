"""Rates of a GPU in its system, and what kernels and engine make of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.scenario import catalog

if TYPE_CHECKING:
    from factory.scenario.kernels import EngineSpec, KernelSpec, ProductSpec
    from factory.scenario.specs import Catalog, GpuSpec, SystemSpec

DEFAULT_ENGINE = "generic"


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What kernels reach on a GPU generation, and what an engine adds.

    Attributes:
        kernels: Attention, element-wise kernels and collectives.
        products: Matrix products by storage of the weights (``fp8_block`` beside the formats).
        engine: The serving engine.
    """

    kernels: KernelSpec
    products: Mapping[str, ProductSpec]
    engine: EngineSpec


def efficiency(
    generation: str, engine: str = DEFAULT_ENGINE, book: Catalog | None = None
) -> Efficiency:
    """The catalogue's kernels of a GPU generation under an engine profile.

    An engine's kernels differ by generation, so a profile may have an entry of its own for one:
    ``sglang-2025-12@hopper`` beside ``sglang-2025-12``.

    Args:
        generation: GPU generation.
        engine: Engine profile.
        book: The catalogue; by default the shipped one, without a scenario's changes.
    """
    book = book or catalog()
    prefix = f"{generation}-"
    products = {
        key.removeprefix(prefix): spec
        for key, spec in book.products.items()
        if key.startswith(prefix)
    }
    own = book.engines.get(f"{engine}@{generation}") or book.engines[engine]
    return Efficiency(book.kernels[generation], products, own)


@dataclass(frozen=True, slots=True)
class Machine:
    """One GPU and the links around it, in SI units.

    Attributes:
        fp16, fp8, fp4: Peak dense FLOP/s of matrix products by weight format. A GPU without units
            for a format expands its weights and computes in FP16.
        hbm: HBM bytes/s.
        nvlink, scaleout: One-way bytes/s per GPU inside and beyond the NVLink domain.
        domain: GPUs of an NVLink domain.
    """

    fp16: float
    fp8: float
    fp4: float
    hbm: float
    nvlink: float
    scaleout: float
    domain: int

    def peak(self, stored: str) -> float:
        """Peak dense FLOP/s with weights stored so (a ``ProductSpec``'s storage)."""
        if stored == "nvfp4":
            return self.fp4
        return self.fp8 if stored in {"fp8", "fp8_block"} else self.fp16


def machine(gpu: GpuSpec, system: SystemSpec) -> Machine:
    """The machine that a catalogue GPU is in a catalogue system."""
    fp16 = gpu.fp16_tflops * 1e12
    return Machine(
        fp16=fp16,
        fp8=gpu.fp8_tflops * 1e12 if gpu.fp8_tflops else fp16,
        fp4=gpu.fp4_tflops * 1e12 if gpu.fp4_tflops else fp16,
        hbm=gpu.hbm_tb_s * 1e12,
        nvlink=gpu.nvlink_gb_s * 1e9,
        scaleout=gpu.scaleout_gb_s * 1e9,
        domain=system.nvlink_domain_gpus,
    )
