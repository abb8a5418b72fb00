"""Trees of AIPerf's conversations as sessions: forks, spawns, joins and orchestrators."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping

from factory.errors import InputError
from factory.workload.sessions.plan import SessionPlan
from factory.workload.traces.aiperf_turns import Conversation
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.texts import Text, Texts


def plans(
    found: Mapping[str, Conversation], bad: BadRows, texts: Texts, sessions: int | None
) -> Iterator[SessionPlan]:
    """Yields one session for every conversation that no other leads to, in file order.

    A child begins when the turn that names it is answered: a fork goes on from that answer, a spawn
    begins anew. A turn that joins spawns waits for their last answers too. Children are agents of
    their own; a tree is one task.

    Args:
        found: All conversations of a file by name.
        bad: Names the file.
        texts: Names blocks.
        sessions: Trees at most.

    Raises:
        InputError: A conversation is named that is not there, is forked twice, or leads to itself.
    """
    named = _named(found, bad)
    roots = [name for name in found if name not in named]
    _check_circles(found, roots, bad)
    for name in roots[:sessions]:
        yield _Tree(found, texts).plan(name)


def children(one: Conversation) -> Iterator[tuple[str, bool]]:
    """Yields the conversations that one leads to, and whether each is a fork."""
    for name in one.ahead:
        yield name, False
    for names, _ in one.rounds:
        for name in names:
            yield name, False
    for turn in one.turns:
        for name, _ in turn.forks:
            yield name, True
        for names, _ in turn.spawns:
            for name in names:
                yield name, False


def _named(found: Mapping[str, Conversation], bad: BadRows) -> set[str]:
    """Names of all children."""
    named: set[str] = set()
    forked: dict[str, int] = {}
    for one in found.values():
        for name, is_fork in children(one):
            if name not in found:
                close = difflib.get_close_matches(name, found, 1)
                meant = f"; did you mean {close[0]}?" if close else ""
                raise InputError(
                    f'{bad.path}:{one.line}: no conversation has session_id "{name}"{meant}'
                )
            if is_fork and forked.setdefault(name, one.line) != one.line:
                raise InputError(
                    f"{bad.path}:{one.line}: {name} is forked on line {forked[name]} already; it "
                    "can go on from one answer only"
                )
            named.add(name)
    return named


def _check_circles(found: Mapping[str, Conversation], roots: list[str], bad: BadRows) -> None:
    done: set[str] = set()
    for start in [*roots, *found]:
        path: dict[str, Iterator[str]] = {}
        stack = [start] if start not in done else []
        while stack:
            name = stack[-1]
            if name not in path:
                path[name] = iter(dict.fromkeys(child for child, _ in children(found[name])))
            following = next(path[name], None)
            if following is None:
                done.add(stack.pop())
                del path[name]
            elif following in path:
                circle = [*stack[stack.index(following) :], following]
                raise InputError(
                    f"{bad.path}:{found[following].line}: conversations lead back to themselves: "
                    f"{' → '.join(circle)}"
                )
            elif following not in done:
                stack.append(following)


class _Tree:
    """A session in the making."""

    def __init__(self, found: Mapping[str, Conversation], texts: Texts) -> None:
        self._found = found
        self._texts = texts
        self._plan = SessionPlan([], [], [], [], [], [], [], [], [], [])
        self._followers: list[list[int]] = []
        self._agents = 0

    def plan(self, root: str) -> SessionPlan:
        self._conversation(root, (), 0.0, Text())
        self._plan.followers = [tuple(rows) for rows in self._followers]
        return self._plan

    def _conversation(
        self, name: str, after: Iterable[int], wait_s: float, text: Text
    ) -> tuple[int, ...]:
        """Adds a conversation that begins after rows are answered; returns its last rows."""
        one = self._found[name]
        agent = self._agents
        self._agents += 1
        awaited = tuple(after)
        for child in one.ahead:
            self._conversation(child, awaited, wait_s, Text())
        for index, (names, think_s) in enumerate(one.rounds):
            # The first round begins with the orchestrator.
            pause_s = wait_s if index == 0 and not awaited else wait_s + think_s
            ends = [self._conversation(child, awaited, pause_s, Text()) for child in names]
            awaited = tuple(row for rows in ends for row in rows)
            wait_s = 0.0
        if one.rounds:
            return awaited
        joins: dict[int, list[int]] = {}
        for index, turn in enumerate(one.turns):
            prompt = Text() if one.is_whole else text
            for more in turn.pieces:
                prompt = self._texts.said(prompt, more)
            text = self._texts.answered(prompt, turn.output_tokens)
            goes_on = bool(turn.forks) or (not one.is_whole and index + 1 < len(one.turns))
            delay_s = 0.0 if math.isnan(turn.delay_s) else turn.delay_s
            row = self._row(
                prompt, turn.output_tokens, text.runs if goes_on else (), agent,
                (*awaited, *joins.pop(index, ())), awaited, wait_s + delay_s,
            )  # fmt: skip
            awaited, wait_s = (row,), 0.0
            for child, _ in turn.forks:
                self._conversation(child, (row,), 0.0, text)
            for names, join in turn.spawns:
                for child in names:
                    ends_at = self._conversation(child, (row,), 0.0, Text())
                    if join is not None:
                        joins.setdefault(join, []).extend(ends_at)
        return awaited

    def _row(
        self,
        prompt: Text,
        answer: int,
        context: tuple[int, ...],
        agent: int,
        waits: Iterable[int],
        awaited: tuple[int, ...],
        delay_s: float,
    ) -> int:
        plan = self._plan
        row = len(plan.inputs)
        before = set(waits)
        for earlier in sorted(before):
            self._followers[earlier].append(row)
        self._followers.append([])
        plan.inputs.append(max(1, prompt.tokens))
        plan.outputs.append(answer)
        plan.blocks.append(prompt.runs)
        plan.contexts.append(context)
        plan.waits.append(len(before))
        plan.delays_s.append(delay_s if before else 0.0)
        plan.parents.append(awaited[-1] if awaited else -1)
        plan.tasks.append(0)
        plan.agents.append(agent)
        return row
