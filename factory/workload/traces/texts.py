"""Prompts that are given as text: how many tokens they are, and which blocks they share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

from factory.workload.blocks import Runs

#: Ids set aside for the blocks that end in one piece of text: no piece has as many.
_PIECE_SPAN = 1 << 20
#: Letters of a token: common words are one token for the byte-pair vocabularies of today's models,
#: and English text is about 1.3 tokens a word (assumed; no tokenizer is at hand).
_LETTERS = 7

_PIECES = re.compile(r"[A-Za-z0-9_]+|[^\s]")


def tokens_of(text: str) -> int:
    """Returns about how many tokens a text is: words, a token for each 7 letters, and signs."""
    return sum(-(-len(piece) // _LETTERS) for piece in _PIECES.findall(text))


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a prompt: how long it is and, by a hash, what it says."""

    tokens: int
    digest: bytes


def piece(text: str, role: str = "user") -> Piece:
    """Returns a text that someone says as a piece of a prompt."""
    return Piece(tokens_of(text), blake2b(f"{role}\n{text}".encode(), digest_size=8).digest())


@dataclass(frozen=True, slots=True)
class Text:
    """A conversation so far.

    Attributes:
        tokens: How long it is.
        runs: Runs of its whole blocks.
        digest: Of all it says; None once an answer is part of it, which nobody else got.
    """

    tokens: int = 0
    runs: Runs = ()
    digest: bytes | None = b""


class Texts:
    """Names the blocks of conversations: those that begin with the same pieces share blocks.

    A block has the name of the piece in which it ends, after all that comes before; so ids are
    chained. Remembered are pieces up to the first answer, about 150 bytes each.

    Args:
        block_size: Tokens per block.
    """

    __slots__ = ("_block_size", "_known", "_pieces")

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._known: dict[bytes, int] = {}
        self._pieces = 0

    def said(self, text: Text, more: Piece) -> Text:
        """Returns a conversation with a piece more."""
        if text.digest is None:
            return self._longer(text, more.tokens, None, self._new())
        digest = blake2b(text.digest + more.digest, digest_size=8).digest()
        number = self._known.get(digest)
        if number is None:
            number = self._known[digest] = self._new()
        return self._longer(text, more.tokens, digest, number)

    def answered(self, text: Text, tokens: int) -> Text:
        """Returns a conversation with an answer, which is its own."""
        return self._longer(text, tokens, None, self._new())

    def _new(self) -> int:
        self._pieces += 1
        return self._pieces - 1

    def _longer(self, text: Text, tokens: int, digest: bytes | None, number: int) -> Text:
        whole = (text.tokens + tokens) // self._block_size - text.tokens // self._block_size
        runs = (*text.runs, number * _PIECE_SPAN, whole) if whole else text.runs
        return Text(text.tokens + tokens, runs, digest)
