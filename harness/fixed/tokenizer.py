"""The tokenizer of a data set, and the bytes of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fixed.settings import DATASET, PREFLIGHT, VOCAB_SIZE, NotReadyError
from fixed.store import LAYOUT, Layout

if TYPE_CHECKING:
    import torch

SPECIAL_TOKENS = tuple(f"<|reserved_{i}|>" for i in range(4))
BOS_TOKEN = SPECIAL_TOKENS[0]


class Tokenizer:
    """Byte-level BPE; every text can be encoded and decodes to itself."""

    def __init__(self, enc: Any) -> None:
        self.enc = enc
        self.enc.encode_special_tokens = True  # "<|reserved_0|>" in a text is text
        self.bos_token_id: int = enc.token_to_id(BOS_TOKEN)

    @classmethod
    def from_directory(cls, tokenizer_dir: str | Path = LAYOUT.tokenizer) -> Tokenizer:
        """Load tokenizer.json. Raises NotReadyError where there is none."""
        from tokenizers import Tokenizer as Encoder

        if PREFLIGHT:
            return cls(_made_up())
        path = Path(tokenizer_dir) / "tokenizer.json"
        if not path.exists():
            raise NotReadyError(f"no tokenizer for {DATASET} in {tokenizer_dir}: run `autoresearch-tui prepare`")
        return cls(Encoder.from_file(str(path)))

    def get_vocab_size(self) -> int:
        return self.enc.get_vocab_size()

    def get_bos_token_id(self) -> int:
        return self.bos_token_id

    def encode(self, text: str | list[str], prepend: int | None = None, num_threads: int = 8) -> list[Any]:
        """Token ids of a text, or of each text in a list; `prepend` puts one id in front of each.

        `num_threads` is the reference's; the library uses the cores it finds.
        """
        del num_threads
        first = [] if prepend is None else [prepend]
        if isinstance(text, str):
            return first + self.enc.encode(text, add_special_tokens=False).ids
        encoded = self.enc.encode_batch_fast(text, add_special_tokens=False)
        return [first + e.ids for e in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; bytes that are not valid UTF-8 become replacement characters."""
        return self.enc.decode(list(ids), skip_special_tokens=False)


def get_token_bytes(device: str | torch.device = "cpu", where: Layout = LAYOUT) -> torch.Tensor:
    """(vocab,) int32: the bytes each token stands for, 0 for the reserved tokens."""
    import numpy as np
    import torch

    if PREFLIGHT:
        return (torch.arange(VOCAB_SIZE) >= len(SPECIAL_TOKENS)).to(device, torch.int32)  # a byte each
    table = np.load(where.tokenizer / "token_bytes.npy", allow_pickle=False)
    return torch.from_numpy(table).to(device)


def _made_up() -> Any:
    """For a rehearsal: as many tokens as the real one has; it can encode nothing."""
    from tokenizers import Tokenizer as Encoder
    from tokenizers import models

    names = [*SPECIAL_TOKENS, *(f"made up {i}" for i in range(VOCAB_SIZE - len(SPECIAL_TOKENS)))]
    return Encoder(models.BPE({name: i for i, name in enumerate(names)}, []))
