"""How a replica's GPUs share the model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """Degrees of parallelism of one replica.

    Attributes:
        tp: GPUs that split the attention and MLP matrices of a rank.
        pp: Pipeline stages.
        dp: Attention ranks, each with its own sequences and KV cache.
        ep: Groups over which whole experts are spread; the ``tp * dp`` GPUs of a stage form
            ``ep`` groups, each expert being split over the ``tp * dp / ep`` GPUs of its group.
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1

    def __post_init__(self) -> None:
        if min(self.tp, self.pp, self.dp, self.ep) < 1:
            raise ValueError(f"parallel degrees must be >= 1, got {self}")
        if (self.tp * self.dp) % self.ep:
            raise ValueError(f"parallel.ep must divide tp * dp = {self.tp * self.dp}: {self.ep}")

    @property
    def gpus(self) -> int:
        """GPUs of the replica."""
        return self.tp * self.pp * self.dp

    @property
    def stage_gpus(self) -> int:
        """GPUs of one pipeline stage, over which experts are laid."""
        return self.tp * self.dp

    @property
    def expert_tp(self) -> int:
        """GPUs that split one expert."""
        return self.stage_gpus // self.ep
