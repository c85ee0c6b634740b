"""The reference's own train.py, made to run on a CPU: in a lab of benchmarks/harness.py, beside a copy of that file.

What is changed is what a CPU cannot do: its attention kernel becomes torch's own, bf16 becomes fp32, nothing is
compiled. Its knobs become the best of the public record on CPUs, and its training rows random windows of the text (its
own loader crops documents to fill a row, sees only the heads of the embedded corpus's long files and learns them by
heart). Tokenizer, validation rows and metric are those of prepare.py. In its favour: tokens come from disk, memory is
kept between steps, and threads wait asleep.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

COPY = "reference.py"  # beside this file in the lab
MOMENTUM_STEPS = "MOMENTUM_WARMUP_STEPS"  # a number within a function there
# A pattern, and what takes its place; each has to be found.
PATCHES = (
    (
        r"^from kernels import get_kernel\n(?:.*\n)*?^fa3 = .*$",
        "import reference_cpu\nfa3 = reference_cpu",
    ),
    (r"^from prepare import (.*)$", r"from prepare import \1\nfrom reference_cpu import make_dataloader"),
    (r"^@torch\.compile\(.*\)\n", ""),
    (r"^model = torch\.compile\(.*\)$", ""),
    (r"\.bfloat16\(\)", ".float()"),
    (r"^autocast_ctx = .*$", "import contextlib\nautocast_ctx = contextlib.nullcontext()"),
    (r"torch\.bfloat16\b", "torch.float32"),
    (r'torch\.device\("cuda"\)', 'torch.device("cpu")'),
    (r"torch\.cuda\.synchronize\(\)", "None"),
    (r"^torch\.cuda\.manual_seed\(.*\)$", ""),
    (r"torch\.cuda\.max_memory_allocated\(\)", "0"),
    (r"^torch\.manual_seed\((\d+)\)$", r"torch.manual_seed(\1 + reference_cpu.seed())"),
)


def patched(source: str, knobs: Mapping[str, object]) -> str:
    """The file for a CPU. Raises ValueError that names what is not found: then it is another version's."""
    changes = list(PATCHES)
    for name, value in knobs.items():
        if name == MOMENTUM_STEPS:
            changes.append((r"min\(step / \d+, 1\)", f"min(step / {value}, 1)"))
        else:
            text = f'"{value}"' if isinstance(value, str) else repr(value)
            changes.append((rf"^{name} = [^#\n]*", f"{name} = {text} "))
    for pattern, new in changes:
        source, found = re.subn(pattern, new, source, flags=re.MULTILINE)
        if not found:
            raise ValueError(f"the reference's train.py has no `{pattern}`; wanted is that of commit 228791f")
    return source


def flash_attn_func(q: Any, k: Any, v: Any, causal: bool, window_size: tuple[int, int]) -> Any:
    """In place of the kernel that this file stands in for."""
    from fixed import attention

    assert causal
    return attention.sdpa_attention(q, k, v, window_size[0])


def seed() -> int:
    import prepare

    return prepare.SEED_SHIFT


def make_dataloader(tokenizer: Any, rows: int, length: int, split: str) -> Iterator[tuple[Any, Any, int]]:
    """In place of the reference's."""
    import reference_rows
    import torch
    from fixed import loader

    texts = reference_rows.documents(*loader.load_tokens(split), tokenizer.get_bos_token_id())
    for block in reference_rows.random_windows(texts, rows, length, 42 + seed()):
        yield torch.from_numpy(block[:, :-1].copy()), torch.from_numpy(block[:, 1:].copy()), 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from fixed import device

    device.keep_memory()
    text = Path(__file__).with_name(COPY).read_text(encoding="utf-8")
    exec(compile(text, COPY, "exec"), {"__name__": "__main__"})
