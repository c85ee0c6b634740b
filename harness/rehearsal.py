"""Made-up data for a rehearsal: two small steps that show whether train.py runs at all. Fixed, like prepare.py.

With AUTORESEARCH_PREFLIGHT set prepare.py hands out this in place of prepared data. Vocabulary, depth and width stay
as they are, so that what holds for the real sizes holds here; only rows are short, few and random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MAX_SEQ_LEN = 256  # at most
ROWS = 2  # that are evaluated
DOCUMENTS, DOCUMENT_TOKENS = 64, 1000


def encoder(vocab_size: int, special: tuple[str, ...]) -> Any:
    """A tokenizer with as many tokens as the real one; it can encode nothing."""
    from tokenizers import Tokenizer, models

    names = [*special, *(f"made up {i}" for i in range(vocab_size - len(special)))]
    return Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))


def token_bytes(vocab_size: int, special: int) -> np.ndarray:
    """(vocab,) int32: every token stands for one byte."""
    import numpy as np

    return (np.arange(vocab_size) >= special).astype(np.int32)


def tokens(vocab_size: int, special: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """One shard of random documents: its uint16 tokens and int64 document offsets."""
    import numpy as np

    size = DOCUMENTS * DOCUMENT_TOKENS
    shard = np.random.default_rng(0).integers(special, vocab_size, size).astype(np.uint16)
    return [shard], [np.arange(0, size + 1, DOCUMENT_TOKENS)]
