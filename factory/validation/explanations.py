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
        {"model": ("Qwen/Qwen3.5-397B-A17B",), "precision": ("bf16", "fp8")},
        "The plan of memory takes AIConfigurator's upper bound for the experts' workspace, so that "
        "too few KV tokens fit and requests queue where the machine's did not.",
    ),
    Explanation(
        "ttft",
        {"framework": ("sglang",), "hardware": ("b200", "b200_sxm")},
        "SGLang's scheduler looks for new requests only every 10 steps, every 30 from 16 requests "
        "in flight (--scheduler-recv-interval in the launch scripts). The profile has one wait for "
        "both.",
    ),
    Explanation(
        "ttft",
        {"framework": ("trt", "trtllm"), "serving": ("aggregated",)},
        "With attention data parallelism TensorRT-LLM holds prompts back for up to 60 steps so "
        "that all ranks prefill together (attention_dp_config timeout_iters), and some scripts "
        "delay batching by 40 (batch_wait_timeout_iters). Neither is modelled.",
    ),
    Explanation(
        "tpot",
        {"framework": ("trt",), "serving": ("aggregated",), "spec_method": ("none",)},
        "Ranks that prefill one after another hold all others up; TensorRT-LLM lets them prefill "
        "together, so long prompts under attention data parallelism come out too slow here.",
    ),
    Explanation(
        "ttft",
        {"serving": ("disaggregated",)},
        "Most of it is waiting for prefill or for a decode slot, whose limits rows do not state; "
        "near saturation a small error in speed is a large one in waiting.",
    ),
    Explanation(
        "tput",
        {"framework": ("dynamo-sglang",)},
        "Prefill servers of SGLang deliver less than their step times allow: on B200 with expert "
        "parallelism a third of it, at 1,024 tokens. The cause is not known to us.",
    ),
    Explanation(
        "tpot",
        {"spec_method": ("mtp",)},
        "Rows do not state how many drafts are accepted; one acceptance stands for all of them.",
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
