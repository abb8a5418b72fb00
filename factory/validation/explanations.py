"""Why we think that a group of predictions is off: kept by hand, beside the generated figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """What we think of some groups.

    Attributes:
        measure: prefill_step_time, decode_step_time, memory, tpot, ttft or tput.
        where: Labels that a group must have, each one of some values; groups that do not state a
            label do not match.
        text: One or two sentences: the cause we suspect, and what would show it.
    """

    measure: str
    where: Mapping[str, tuple[str, ...]]
    text: str

    def fits(self, measure: str, labels: Mapping[str, str]) -> bool:
        """Whether it is about a group."""
        return measure == self.measure and all(
            labels.get(kind) in values for kind, values in self.where.items()
        )


EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation(
        "ttft",
        {"framework": ("sglang",), "hardware": ("b200", "b200_sxm")},
        "SGLang's scheduler looks for new requests only every 10 steps, every 30 from 16 requests "
        "in flight (--scheduler-recv-interval in the launch scripts): a prompt waits for half of "
        "that on average.",
    ),
    Explanation(
        "ttft",
        {"framework": ("trt", "trtllm"), "serving": ("aggregated",)},
        "With attention data parallelism TensorRT-LLM holds prompts back for up to 60 steps so "
        "that all ranks prefill together (attention_dp_config timeout_iters), and some scripts "
        "delay batching by 40 (batch_wait_timeout_iters). Neither is modelled.",
    ),
    Explanation(
        "ttft",
        {"serving": ("disaggregated",)},
        "Most of it is waiting for a decode slot or for the front end, whose limits a row does not "
        "state; recipes that load a server a few percent beyond its batch are inferred.",
    ),
    Explanation(
        "ttft",
        {"serving": ("aggregated",)},
        "The client's and the server's work before the first step (HTTP, tokenising, 60 to 100 ms "
        "at one request in flight) is not in the step model.",
    ),
    Explanation(
        "decode_step_time",
        {"layout": ("tp1dp16etp1ep16", "tp1dp32etp1ep32", "tp1dp32etp1ep32_nextn3")},
        "Wide expert parallelism: dispatch and combine over the NVLink domain are interpolated in "
        "the reference, too.",
    ),
)


def explanation(measure: str, kinds: Sequence[str], group: Sequence[str]) -> str:
    """The first explanation about a group; empty where there is none."""
    labels = dict(zip(kinds, group, strict=True))
    return next((one.text for one in EXPLANATIONS if one.fits(measure, labels)), "")
