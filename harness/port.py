"""A run's side of being scored: it answers the referee's questions with logits. Fixed, like prepare.py.

Both ends speak over a socket that the run was born with; the logits go through memory that the referee has made:

    run      REQUEST  how many rows it would take at once. Training is over: the clock outside has stopped
    referee  HELLO    sizes, and the memory's descriptor
    referee  a question: rows x tokens of uint16, up to `slots` of them ahead
    run      one byte, when the answer to the oldest question lies in its slot
    referee  VERDICT  bits per byte, when every question is answered; not a number where it refuses
"""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    import numpy as np
    import torch

REQUEST = struct.Struct("<4sI")  # magic, rows
HELLO = struct.Struct("<4s6I")  # magic, the fields of Sizes
VERDICT = struct.Struct("<4sd")  # magic, bits per byte
MAGIC = b"ARQ1"

_asked = False


class Sizes(NamedTuple):
    """What the referee asks, and how it wants to be answered."""

    rows: int  # in a question
    tokens: int  # in a row
    vocab: int  # logits for a token
    width: int  # bytes of a logit: 2 is float16, 4 is float32
    questions: int
    slots: int

    @property
    def slot_bytes(self) -> int:
        return self.rows * self.tokens * self.vocab * self.width


def receive(line: socket.socket, size: int) -> bytearray:
    """Exactly `size` bytes. Raises EOFError where the other end has gone."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        got = line.recv_into(view)
        if not got:
            raise EOFError("the other end has gone")
        view = view[got:]
    return data


def serve(respond: Callable[[np.ndarray, np.ndarray], None], batch_size: int, descriptor: int) -> float:
    """Ask to be scored, answer every question and return the referee's number.

    `respond(tokens, answer)` writes the logits of (B, T) int64 tokens into (B, T, vocab). Raises RuntimeError at a
    second call, and where the referee has gone.
    """
    import mmap
    import socket

    import numpy as np

    global _asked
    if _asked:
        raise RuntimeError("this run has been scored: evaluate_bpb may be called once, at the end")
    _asked = True
    with socket.socket(fileno=descriptor) as line:
        try:
            line.sendall(REQUEST.pack(MAGIC, max(1, batch_size)))
            hello, descriptors, _, _ = socket.recv_fds(line, HELLO.size, 1)
            sizes = Sizes(*HELLO.unpack(hello)[1:])
            if not sizes.questions:  # it does not want to know
                return float(VERDICT.unpack(receive(line, VERDICT.size))[1])
            memory = mmap.mmap(descriptors[0], sizes.slots * sizes.slot_bytes)
            shape = (sizes.slots, sizes.rows, sizes.tokens, sizes.vocab)
            slots = np.frombuffer(memory, np.float16 if sizes.width == 2 else np.float32).reshape(shape)
            for number in range(sizes.questions):
                question = np.frombuffer(receive(line, sizes.rows * sizes.tokens * 2), "<u2")
                respond(question.reshape(shape[1:3]).astype(np.int64), slots[number % sizes.slots])
                line.sendall(b"\1")
            return float(VERDICT.unpack(receive(line, VERDICT.size))[1])
        except (OSError, EOFError, struct.error) as error:
            raise RuntimeError(f"the referee has gone ({error}); its last words are in referee.log") from None


def be_scored(model: torch.nn.Module, batch_size: int, descriptor: int) -> float:
    """The same for a model of torch: `model(x)` has to return logits of (B, T, at least the vocabulary)."""
    import torch

    model = getattr(model, "_orig_mod", model)  # not the compiled one: these shapes would be compiled anew
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    pinned: set[int] = set()

    def respond(tokens: np.ndarray, answer: np.ndarray) -> None:
        logits = model(torch.from_numpy(tokens).to(device))
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        if isinstance(found, str) or found[:2] != answer.shape[:2] or found[-1] < answer.shape[2]:
            raise TypeError(f"the referee asks for logits: model(x) must return {answer.shape}, not {found}")
        slot = torch.from_numpy(answer)
        if device.type == "cuda" and slot.data_ptr() not in pinned:  # filled several times as fast
            pinned.add(slot.data_ptr())
            with contextlib.suppress(Exception):
                torch.cuda.cudart().cudaHostRegister(slot.data_ptr(), answer.nbytes, 0)
        slot.copy_(logits[..., : answer.shape[2]])

    with torch.no_grad():
        return serve(respond, batch_size, descriptor)
