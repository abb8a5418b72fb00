"""Documents that prompts of different sessions share, by popularity."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from factory.statistics import stream
from factory.workload.blocks import RUN_SPAN, SESSION_BASE, SOURCE_SPAN, Runs
from factory.workload.lengths import tokens
from factory.workload.lengths.distributions import Distribution

if TYPE_CHECKING:
    from factory.scenario.session import Documents as Section

#: Combinations of several documents that keep their block ids; the one not asked for longest is
#: forgotten first, and new to every cache when it comes back.
REMEMBERED = 1 << 18
#: Runs of ids below those of the sessions.
SLOTS = SESSION_BASE // RUN_SPAN

# Draws that replace documents drawn twice for one prompt, before the most popular fill the rest.
_REDRAWS = 64


@dataclass(frozen=True, slots=True)
class Documents:
    """What documents a tenant has, and how its prompts choose among them.

    Attributes:
        tokens: Length of a document, a fixed function of its number.
        count: Distinct documents.
        zipf_exponent: Document k (from 1) has popularity k^-zipf_exponent.
        number: Documents put into a prompt, none twice.
        per: Whether they are drawn once for a session or anew for each turn.
        order: Whether the most popular come first, or they stand as drawn.
    """

    tokens: Distribution
    count: int
    zipf_exponent: float
    number: Distribution
    per: Literal["session", "turn"]
    order: Literal["popularity", "drawn"] = "popularity"


def documents_of(section: Section | None) -> Documents | None:
    """Returns the documents that a tenant's section states; None where it states none."""
    if section is None:
        return None
    return Documents(
        tokens(section.tokens),
        section.count,
        section.zipf_exponent,
        tokens(section.number),
        section.per,
        section.order,
    )


class Corpus:
    """The documents of one tenant, with their lengths, popularity and block ids.

    Their lengths belong to the scenario: they are the same for every seed and replication. A block
    of a document is named after all that precedes it, i.e. the shared prefix and the documents
    before it. The first document after a prefix has a run of ids computed from both numbers. A
    combination of several has the next free run when it is first asked for, in the order in which
    sessions start, whatever the factory does; `REMEMBERED` of them are kept in mind.

    Args:
        documents: What there is.
        name: Name of the tenant.
        source: Position of this source among the `sources` of the workload.
        block_size: Tokens per block.
        prefix_tokens: Tokens of the shared prefix.
        prefix_count: Distinct shared prefixes.
    """

    __slots__ = (
        "_base",
        "_count",
        "_cumulative",
        "_documents",
        "_first",
        "_known",
        "_next",
        "_prefix",
        "_size",
        "lengths",
    )

    def __init__(
        self,
        documents: Documents,
        name: str,
        source: int,
        block_size: int,
        prefix_tokens: int,
        prefix_count: int,
    ) -> None:
        rng = stream(0, 0, f"workload/{name}/documents/tokens")
        count = documents.count
        #: Tokens of each document, by popularity.
        self.lengths: list[int] = documents.tokens.sample(rng, count).astype(np.int64).tolist()
        ranks = np.arange(1, count + 1, dtype=np.float64)
        self._cumulative: NDArray[np.float64] = np.cumsum(ranks**-documents.zipf_exponent)
        self._documents = documents
        self._count = count
        self._size = block_size
        self._prefix = prefix_tokens
        self._base = source * SOURCE_SPAN
        self._first = first_document(prefix_count)
        self._next = self._first + prefix_count * count
        self._known: dict[tuple[int, int], int] = {}  # (slot before, document) → slot

    def draw(self, rng: np.random.Generator, n: int) -> list[list[int]]:
        """Draws the documents (numbers from 0) of n prompts.

        Documents are drawn one after the other by popularity, leaving out those drawn before
        (successive sampling).
        """
        count = self._count
        numbers = self._documents.number.sample(rng, n).astype(np.int64)
        np.minimum(numbers, count, out=numbers)
        prompts = np.repeat(np.arange(n), numbers)
        picks = self._ranked(rng, len(prompts))
        twice = self._repeated(prompts, picks)
        for _ in range(_REDRAWS):
            if not len(twice):
                break
            picks[twice] = self._ranked(rng, len(twice))
            twice = self._repeated(prompts, picks)
        if self._documents.order == "popularity":
            picks = picks[np.lexsort((picks, prompts))]
        drawn: list[int] = picks.tolist()
        bounds = [0, *np.cumsum(numbers).tolist()]
        result = [drawn[a:b] for a, b in pairwise(bounds)]
        for prompt in np.unique(prompts[twice]).tolist():
            result[prompt] = self._filled(result[prompt])
        return result

    def place(self, prefix: int, documents: list[int]) -> tuple[Runs, int]:
        """Puts documents behind a shared prefix.

        Args:
            prefix: Which of the shared prefixes, from 0.
            documents: Numbers from 0.

        Returns:
            Runs of their whole blocks, those of the prefix before them, and the tokens of all.
        """
        size, base = self._size, self._base
        tokens = self._prefix
        blocks = tokens // size
        runs = [base + prefix * RUN_SPAN, blocks] if blocks else []
        slot = -1
        for document in documents:
            slot = self._slot(prefix, slot, document)
            tokens += self.lengths[document]
            whole = tokens // size - blocks
            if whole and slot < SLOTS:
                runs += (base + slot * RUN_SPAN, whole)
                blocks += whole
        return tuple(runs), tokens

    def mean_tokens(self) -> float:
        """Mean tokens of a document drawn alone."""
        weights = np.diff(self._cumulative, prepend=0.0)
        return float(np.dot(weights, self.lengths) / self._cumulative[-1])

    def _slot(self, prefix: int, before: int, document: int) -> int:
        if before < 0:
            return self._first + prefix * self._count + document
        known = self._known
        key = (before, document)
        slot = known.pop(key, None)
        if slot is None:
            slot = self._next
            self._next = slot + 1
            if len(known) == REMEMBERED:
                del known[next(iter(known))]
        known[key] = slot
        return slot

    def _ranked(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        uniform = rng.random(n) * self._cumulative[-1]
        ranks = np.searchsorted(self._cumulative, uniform, side="right").astype(np.int64)
        result: NDArray[np.int64] = np.minimum(ranks, self._count - 1)
        return result

    def _repeated(self, prompts: NDArray[np.int64], picks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of documents that their prompt has already."""
        keys = prompts * self._count + picks
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        twice: NDArray[np.int64] = order[1:][keys[1:] == keys[:-1]].astype(np.int64)
        return np.sort(twice)

    def _filled(self, drawn: list[int]) -> list[int]:
        """A prompt's documents, the repeated ones replaced by the most popular that it lacks."""
        kept = list(dict.fromkeys(drawn))
        has = frozenset(kept)
        rest = (k for k in range(self._count) if k not in has)
        kept += (next(rest) for _ in range(len(drawn) - len(kept)))
        return sorted(kept) if self._documents.order == "popularity" else kept


def subagent_prefix(prefix_count: int) -> int:
    """Number of the run of ids of the sub-agents' shared prefix; those of sessions come before."""
    return prefix_count


def first_document(prefix_count: int) -> int:
    """Number of the first run of ids of documents."""
    return prefix_count + 1
