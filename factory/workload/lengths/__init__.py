"""How long prompts and answers are: laws of probability, with their moments."""

from __future__ import annotations

from factory.workload.lengths.distributions import Distribution, clipped
from factory.workload.lengths.joints import Clipped
from factory.workload.lengths.sections import counts, joint, seconds, tokens

__all__ = ["Clipped", "Distribution", "clipped", "counts", "joint", "seconds", "tokens"]
