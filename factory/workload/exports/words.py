"""Made-up text of a stated number of tokens, the same for the same block."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from factory.statistics import stream
from factory.workload.blocks import Runs

# Short common English words: with the space before them each is one token for the byte-pair
# vocabularies of today's models, so n words are about n tokens. A chat template adds its own.
_TEXT = (
    "the of and to in is that for it as was with be by on not he his but at are this have from "
    "or had an they which one you were all her she there would their we him been has when who "
    "will no more if out so up said what its about than into them can only other time new some "
    "could these two may first then do any like my now over such our man me even most made "
    "after also did many must before back see through way where get much go well your know "
    "should down work year people just good very make world still own day life long little men "
    "great old right used take three state never house under last might us here home found too "
    "water light hand large small again place while off next end part night left head set few "
    "case given local hard road city plan"
)
_WORDS = np.array(_TEXT.split())
_BLOCKS_KEPT = 4096


class Words:
    """Text for prompts: the words of a named block depend on its id, the others on the row."""

    __slots__ = ("_block", "_seed")

    def __init__(self, seed: int, block_size: int | None) -> None:
        """Makes a source of text.

        Args:
            seed: Root of the random streams.
            block_size: Tokens of a named block; None where none is named.
        """
        self._seed = seed

        @lru_cache(_BLOCKS_KEPT)
        def block(number: int) -> str:
            return self._drawn("block", number, block_size or 0)

        self._block = block

    def text(self, tokens: int, number: int, blocks: Runs, block_size: int | None) -> str:
        """Returns words for a prompt.

        Args:
            tokens: How many.
            number: Position of the row, which names its private words.
            blocks: Runs of ids; whole ones among them begin the text.
            block_size: Tokens of a block.
        """
        parts = []
        left = tokens
        for i in range(0, len(blocks), 2):
            for name in range(blocks[i], blocks[i] + blocks[i + 1]):
                if block_size is None or left < block_size:
                    break
                parts.append(self._block(name))
                left -= block_size
        if left:
            parts.append(self._drawn("row", number, left))
        return " ".join(parts)

    def _drawn(self, what: str, number: int, count: int) -> str:
        rng = stream(self._seed, 0, f"workload/export/{what}", number)
        return " ".join(_WORDS[rng.integers(len(_WORDS), size=count)].tolist())
