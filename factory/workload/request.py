"""One call of the model, as the demand side knows it."""

from __future__ import annotations


class Request:
    """One call of the model: who asks, when, how long, and what of its prompt can be shared.

    A plain slotted class with a positional constructor, because one is made for every simulated
    request. Only the workload that created it may change it.

    Attributes:
        index: Run-unique number from 0, in order of creation.
        tenant: Position of the tenant in the scenario.
        deployment: Position of the deployment in the scenario.
        session: Run-unique number of the session.
        turn: Position of the request in its session, from 0, as AIPerf counts turns.
        parent: Index of the request whose answer this one waited for, or -1.
        root: Index of the first attempt of this request (its own index if it is no retry).
        attempt: 0 for the first attempt, 1 for the first retry, and so on.
        arrival_s: Simulated time of arrival, seconds from the start of the run.
        input_tokens: Length of the prompt, tokens.
        output_tokens: Length of the answer if nothing cuts it short, tokens.
        blocks: Runs of block ids, flattened: `(first, count, first, count, …)`. They cover
            `ceil(input_tokens / block_size)` blocks; only the last may be partial. Ids are
            chained: an id determines every block before it. Empty when nothing is shareable.
        context_blocks: Runs of the whole blocks of prompt and answer, of which `blocks` are the
            start, where a later prompt may continue the answer; else empty.
        max_tokens: Output tokens that the client allows, as it tells the engine; 0 for as many as
            `output_tokens`, as load generators with ``ignore_eos`` do.
        first_s: Arrival of the first attempt, seconds.
        task: Number of the task in its session: what a person asks for, from 0.
        agent: 0 for the main agent of the session, 1, 2, … for its sub-agents.
    """

    __slots__ = (
        "agent",
        "arrival_s",
        "attempt",
        "blocks",
        "context_blocks",
        "deployment",
        "first_s",
        "index",
        "input_tokens",
        "max_tokens",
        "output_tokens",
        "parent",
        "root",
        "session",
        "task",
        "tenant",
        "turn",
    )

    def __init__(
        self,
        index: int,
        tenant: int,
        deployment: int,
        session: int,
        turn: int,
        parent: int,
        root: int,
        attempt: int,
        arrival_s: float,
        input_tokens: int,
        output_tokens: int,
        blocks: tuple[int, ...],
        context_blocks: tuple[int, ...] = (),
        max_tokens: int = 0,
        first_s: float | None = None,
        task: int = 0,
        agent: int = 0,
    ) -> None:
        self.index = index
        self.tenant = tenant
        self.deployment = deployment
        self.session = session
        self.turn = turn
        self.parent = parent
        self.root = root
        self.attempt = attempt
        self.arrival_s = arrival_s
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.blocks = blocks
        self.context_blocks = context_blocks
        self.max_tokens = max_tokens
        self.first_s = arrival_s if first_s is None else first_s
        self.task = task
        self.agent = agent

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"Request({fields})"
