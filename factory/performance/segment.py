"""A run of steps over which everything is affine in the step index."""

from __future__ import annotations

from math import sqrt


class Segment:
    """How long each of the next steps lasts, and what it computes and moves.

    Step ``k`` (from 0) lasts ``base_s + slope_s * k`` seconds, for ``k < steps``. The parts add up:
    ``base_s = prefill_base_s + decode_fixed_s + decode_token_s * context + wait_base_s`` and
    ``slope_s = prefill_slope_s + decode_token_s * context_slope + wait_slope_s``, where ``context``
    and ``context_slope`` (by which it grows per step) are summed over all ranks. With several ranks
    the parts are means over ranks of replica seconds, so ``part * gpus_per_replica`` is
    GPU-seconds, and one sequence with ``c`` tokens of context takes
    ``decode_fixed_s / decode + decode_token_s * c`` of a step.

    Attributes:
        steps: Steps for which this line holds, at least 1.
        base_s, slope_s: Seconds of step 0 and seconds added per step, at the clock asked for.
        full_base_s, full_slope_s: The same at clock 1.0.
        prefill_base_s, prefill_slope_s: The part that prefill causes (what the step lasts beyond
            the same step without its prompt tokens).
        decode_fixed_s: The decode part that its sequences share equally: all but attention over
            their context.
        decode_token_s: Seconds per KV token of decode attention.
        prefill_pair_s: Seconds per query-key pair of prefill attention; 0 without prefill.
        wait_base_s, wait_slope_s: Mean over ranks of waiting for the slowest rank; a rank without
            work waits the whole step.
        flops, hbm_bytes, net_bytes: Mean per GPU in step 0.
        flops_slope, hbm_slope: Added per step.
    """

    __slots__ = (
        "base_s",
        "decode_fixed_s",
        "decode_token_s",
        "flops",
        "flops_slope",
        "full_base_s",
        "full_slope_s",
        "hbm_bytes",
        "hbm_slope",
        "net_bytes",
        "prefill_base_s",
        "prefill_pair_s",
        "prefill_slope_s",
        "slope_s",
        "steps",
        "wait_base_s",
        "wait_slope_s",
    )

    def __init__(
        self,
        steps: int,
        base_s: float,
        slope_s: float,
        full_base_s: float,
        full_slope_s: float,
        prefill_base_s: float,
        prefill_slope_s: float,
        decode_fixed_s: float,
        decode_token_s: float,
        prefill_pair_s: float,
        wait_base_s: float,
        wait_slope_s: float,
        flops: float,
        hbm_bytes: float,
        net_bytes: float,
        flops_slope: float,
        hbm_slope: float,
    ) -> None:
        self.steps = steps
        self.base_s = base_s
        self.slope_s = slope_s
        self.full_base_s = full_base_s
        self.full_slope_s = full_slope_s
        self.prefill_base_s = prefill_base_s
        self.prefill_slope_s = prefill_slope_s
        self.decode_fixed_s = decode_fixed_s
        self.decode_token_s = decode_token_s
        self.prefill_pair_s = prefill_pair_s
        self.wait_base_s = wait_base_s
        self.wait_slope_s = wait_slope_s
        self.flops = flops
        self.hbm_bytes = hbm_bytes
        self.net_bytes = net_bytes
        self.flops_slope = flops_slope
        self.hbm_slope = hbm_slope

    def elapsed(self, k: int) -> float:
        """Seconds from the anchor to the end of the ``k``-th step: the one formula of boundaries.

        Never falls as ``k`` grows, in floats too: both terms are products of non-negative
        numbers, and rounding keeps order.
        """
        return self.base_s * k + self.slope_s * (k * (k - 1) * 0.5)

    def steps_by(self, anchor_s: float, now_s: float) -> int:
        """Largest ``k <= steps`` with ``anchor_s + elapsed(k) <= now_s``, as floats compare.

        Boundaries are ``anchor_s + elapsed(k)`` as rounded; comparing them, rather than
        ``now_s - anchor_s`` with ``elapsed(k)``, keeps a leap and single steps on the same side of
        every tie.
        """
        steps = self.steps
        base_s = self.base_s
        slope_s = self.slope_s
        if anchor_s + (base_s * steps + slope_s * (steps * (steps - 1) * 0.5)) <= now_s:
            return steps
        t = now_s - anchor_s
        if t <= 0.0:
            k = 0
        else:
            half = base_s - 0.5 * slope_s
            k = int(2.0 * t / (half + sqrt(half * half + 2.0 * slope_s * t)))
            if k > steps:
                k = steps
        while k > 0 and anchor_s + (base_s * k + slope_s * (k * (k - 1) * 0.5)) > now_s:
            k -= 1
        while k < steps and anchor_s + (base_s * (k + 1) + slope_s * ((k + 1) * k * 0.5)) <= now_s:
            k += 1
        return k

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"Segment({fields})"
