"""The demand side of a scenario: tenants and what they ask."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from factory.scenario.admission import Retry, Timeouts
from factory.scenario.base import Count, Name, Part, Positive, Ratio, Text
from factory.scenario.lengths import JointLengths, Length
from factory.scenario.mix import Mix
from factory.scenario.session import Documents, Session, SharedPrefix
from factory.scenario.tenant_load import Load
from factory.scenario.trace import Trace


class Slo(Part):
    """Service level: a request is good when it completes within every limit stated."""

    ttft_s: Positive | None = Field(default=None, description="Time to first token, s.")
    itl_ms: Positive | None = Field(default=None, description="Mean inter-token latency, ms.")
    e2e_s: Positive | None = Field(default=None, description="End to end, s.")
    task_s: Positive | None = Field(
        default=None, description="A whole task, from its first request to its last answer, s."
    )
    target: Ratio = Field(default=0.99, description="Share of offered requests to be good.")


class Tenant(Part):
    """A traffic class with its own service level."""

    name: Name = Field(description="Name of the tenant.")
    like: Text | None = Field(
        default=None,
        description="NAME or NAME/TENANT of a workload (`factory catalog workloads`, or the path "
        "of a file), whose tenant fills in what is not stated here. Settled when it is loaded.",
    )
    deployment: Name | None = Field(
        default=None, description="Deployment that serves it; by default the first."
    )
    priority: int = Field(default=0, strict=True, description="Higher goes first.")
    slo: Slo = Field(default=Slo(), description="Service level.")
    load: Load | None = Field(
        default=None, description="How its sessions start; left out for the tenant of the trace."
    )
    input_tokens: Length | None = Field(
        default=None, description="New prompt tokens of a request, with a load."
    )
    output_tokens: Length | None = Field(
        default=None, description="Output tokens of a request, with a load."
    )
    lengths: JointLengths | None = Field(
        default=None,
        description="Input and output tokens drawn together, in place of both of them.",
    )
    max_tokens: Count | None = Field(
        default=None,
        description="Output tokens that its clients allow, as schedulers see it; answers end "
        "there. By default each request states its own answer's length, as load generators do.",
    )
    timeouts: Timeouts = Field(default=Timeouts(), description="When its clients give up.")
    retry: Retry | None = Field(
        default=None, description="How its clients try again; by default they do not."
    )
    shared_prefix: SharedPrefix = Field(
        default=SharedPrefix(), description="Tokens shared between sessions."
    )
    documents: Documents | None = Field(
        default=None, description="Documents shared between sessions, after the shared prefix."
    )
    session: Session = Field(default=Session(), description="Turns and think times.")


class Demand(Part):
    """Who asks, and when."""

    tenants: Annotated[tuple[Tenant, ...], Field(min_length=1)] = Field(
        description="The traffic classes."
    )
    use: Text | None = Field(
        default=None,
        description="A workload (`factory catalog workloads`, or the path of a file), whose "
        "tenants and mix fill in what is not stated here. Settled when it is loaded.",
    )
    mix: Mix | None = Field(default=None, description="Tenants as shares of one demand.")
    trace: Trace | None = Field(default=None, description="Recorded demand to replay.")
