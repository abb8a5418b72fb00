"""The context of one agent: what its next prompt holds, and the block ids of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from factory.workload.blocks import Runs, trimmed

#: A request as a plan's columns have it: input, output, blocks, context, waits, delay, parent,
#: task, agent.
Row = tuple[int, int, Runs, Runs, int, float, int, int, int]


class Draft:
    """The requests of a session so far, and who waits for whom.

    Attributes:
        rows: The requests.
        followers: For each of them, the requests that wait for its answer.
        new_tokens: Prompt tokens that neither an earlier prompt or answer of the session nor what
            sessions share holds.
    """

    __slots__ = ("followers", "new_tokens", "rows")

    def __init__(self) -> None:
        self.new_tokens = 0
        self.rows: list[Row] = []
        self.followers: list[tuple[int, ...]] = []


class Context:
    """What an agent has said and heard, at the start of each of its prompts.

    ::

        | standing part | history: prompts and answers | new |
        |<------ head ------>|<-------- tail ------ - - -

    The standing part (shared prefix and documents) survives a compaction. The head is the whole
    blocks whose ids are settled, the tail a run of ids of the session's own that gets longer with
    the context. What is rewritten goes on in a new tail, further on in the session's ids.

    Attributes:
        tokens: Prompt and answer of the last request; before it, the standing part.
        after: Requests whose answers the next one waits for, where it is not the last alone.
        row: The last request; -1 before it.
        task: Number of the task that the next requests serve.
        at_tokens: A prompt that would be longer is preceded by a compaction.
        summaries: Tokens of the summaries to come.
    """

    __slots__ = (
        "_agent",
        "_draft",
        "_end",
        "_head",
        "_limit",
        "_shared",
        "_size",
        "_standing",
        "_standing_tokens",
        "_tail",
        "after",
        "at_tokens",
        "row",
        "summaries",
        "task",
        "tokens",
    )

    def __init__(
        self,
        draft: Draft,
        block_size: int,
        limit: int,
        standing: Runs,
        standing_tokens: int,
        tail: int,
        end: int,
        after: tuple[int, ...] = (),
        task: int = 0,
        agent: int = 0,
    ) -> None:
        """Begins a context.

        Args:
            draft: The session.
            block_size: Tokens per block.
            limit: Longest prompt and answer, tokens.
            standing: Runs of the whole blocks of the standing part.
            standing_tokens: Its tokens.
            tail: First id of its own.
            end: Its own ids stay below this.
            after: Requests whose answers the first one waits for.
            task: Number of the task.
            agent: 0 for the main agent.
        """
        self._draft = draft
        self._size = block_size
        self._limit = limit
        self._standing = standing
        self._standing_tokens = standing_tokens
        self._head = standing
        self._shared = sum(standing[1::2])
        self._tail = tail
        self._end = end
        self._agent = agent
        self.tokens = standing_tokens
        self.after = after
        self.row = -1
        self.task = task
        self.at_tokens = sys.maxsize
        self.summaries: Iterator[int] = iter(())

    def read(self, runs: Runs, tokens: int) -> None:
        """Has the first prompt begin with shared documents that do not belong to what stands."""
        self._head = runs
        self._shared = sum(runs[1::2])
        self.tokens = tokens

    def ask(self, new: int, output: int, delay_s: float) -> bool:
        """Adds a request: the context and `new` tokens, answered by `output` tokens.

        An answer ends where the limit does, and so does what is new in a first prompt. A request
        that summarises goes before it where the context would grow too long.

        Returns:
            False if the prompt would not fit: the agent ends there.
        """
        prompt = self.tokens + new
        limit = self._limit
        row = self.row
        if prompt > self.at_tokens and row >= 0:
            if not self._compact(next(self.summaries), delay_s):
                return False
            row, delay_s, prompt = self.row, 0.0, self.tokens + new
        if prompt >= limit:
            if row >= 0:
                return False
            prompt = max(self.tokens + 1, limit - 1)
        if prompt + output > limit:
            output = max(limit - prompt, 1)
        size, shared, tail, head = self._size, self._shared, self._tail, self._head
        whole = prompt // size - shared
        answered = (prompt + output) // size - shared
        if tail + answered > self._end:
            return False
        blocks = (*head, tail, whole) if whole else head
        context = (*head, tail, answered) if answered else head
        draft = self._draft
        draft.new_tokens += prompt - self.tokens
        rows, followers = draft.rows, draft.followers
        made = len(rows)
        waits = 0
        if self.after:
            waits, row = self._wait(made)
        elif row >= 0:
            followers[row] = (made,)
            waits = 1
        rows.append((prompt, output, blocks, context, waits, delay_s, row, self.task, self._agent))
        followers.append(())
        self.row = made
        self.tokens = prompt + output
        return True

    def rewrite(self, kept_ratio: float, dropped_ratio: float) -> None:
        """Keeps the start of the context; the rest is new to every cache, and partly left out."""
        kept = int(self.tokens * kept_ratio)
        rest = self.tokens - kept
        if not rest:
            return
        size = self._size
        used = self.tokens // size - self._shared
        free = self.free()
        self._head = trimmed((*self._head, self._tail, used), kept // size)
        self._shared = sum(self._head[1::2])
        self._tail = free
        rest -= int(rest * dropped_ratio)
        self._draft.new_tokens += rest
        self.tokens = max(kept + rest, 1)
        if kept < self._standing_tokens:
            # What stood there before is gone: a later compaction keeps what came instead.
            self._standing_tokens = min(self._standing_tokens, self.tokens)
            more = self._standing_tokens // size - self._shared
            self._standing = (*self._head, free, more) if more else self._head

    def free(self) -> int:
        """An id above all of its own, which does not continue them."""
        return self._tail + max(self.tokens // self._size - self._shared, 0) + 1

    def _wait(self, made: int) -> tuple[int, int]:
        """Has a request wait for `after`; returns for how many, and whose answer it continues."""
        after = self.after
        for earlier in after:
            self._draft.followers[earlier] += (made,)
        self.after = ()
        return len(after), after[0] if self.row < 0 else self.row

    def _compact(self, summary: int, delay_s: float) -> bool:
        """Adds a request whose answer takes the place of all but the standing part.

        Returns:
            False if there is no room for it.
        """
        limit = self._limit
        prompt = min(self.tokens, limit - summary)
        if prompt < self._standing_tokens or prompt < 1:
            return False
        size = self._size
        used = self.tokens // size - self._shared
        blocks = trimmed((*self._head, self._tail, used), prompt // size)
        draft = self._draft
        made = len(draft.rows)
        self.after = self.after or (self.row,)
        waits, row = self._wait(made)
        draft.rows.append(
            (prompt, summary, blocks, (), waits, delay_s, row, self.task, self._agent)
        )
        draft.followers.append(())
        draft.new_tokens += summary
        self._tail = self.free()
        self._head = self._standing
        self._shared = sum(self._standing[1::2])
        self.row = made
        self.tokens = self._standing_tokens + summary
        return True
