"""A run's side of its referee: it takes its training data, and answers questions with logits.

Both ends speak over a socket that the run was born with; the logits go through memory that the referee has made:

    run      READY    with an index of SIZES: how it will be asked; answered by a HELLO, as often as the run likes
    run      READY    its training data, from a file of this index on: the clock outside starts
    referee  HANDED   how many files come with this message, as open descriptors, and how many there are
    run      REQUEST  to be scored. Training is over: the clock outside has stopped
    referee  HELLO    sizes, and the memory's descriptor
    referee  a question: rows x tokens of uint16, up to `slots` of them ahead
    run      one byte, when the answer to the oldest question lies in its slot; CHANGED in place of ANSWERED with the
             last one where the parameters are no longer what they were
    referee  VERDICT  bits per byte, when every question is answered; not a number where it refuses
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    import numpy as np
    import torch

READY = struct.Struct("<4sI")  # its own magic, index of the first file that is wanted
HANDED = struct.Struct("<4sII")  # magic, files in this message, files in all
REQUEST = struct.Struct("<4sI")  # magic, rows that the run would take at once (the referee decides)
HELLO = struct.Struct("<4s6I")  # magic, the fields of Sizes
VERDICT = struct.Struct("<4sd")  # magic, bits per byte
MAGIC, READY_MAGIC = b"ARQ1", b"ARQR"
ANSWERED, CHANGED = b"\1", b"\2"
FILES = 64  # in a message
SIZES = 2**32 - 1

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


def take(descriptor: int) -> Iterator[int]:
    """Open descriptors of the training files, in the manifest's order; each is the caller's to close.

    Raises RuntimeError where the referee has gone.
    """
    import socket

    taken, total = 0, 1
    with socket.socket(fileno=os.dup(descriptor)) as line:
        while taken < total:
            try:
                line.sendall(READY.pack(READY_MAGIC, taken))
                message, files, _, _ = socket.recv_fds(line, HANDED.size, FILES)
                total = HANDED.unpack(message)[2]
            except (OSError, struct.error) as error:
                raise RuntimeError(f"no training data: the referee has gone ({error}); see referee.log") from None
            taken += len(files)
            yield from files


def rehearse(model: torch.nn.Module, descriptor: int) -> None:
    """Answer a made-up question of the referee's shape: what is compiled for that is compiled before the clock runs."""
    import socket

    import torch

    model = getattr(model, "_orig_mod", model)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with socket.socket(fileno=os.dup(descriptor)) as line:
        line.sendall(READY.pack(READY_MAGIC, SIZES))
        sizes = Sizes(*HELLO.unpack(receive(line, HELLO.size))[1:])
    with torch.no_grad():
        model(torch.zeros(sizes.rows, sizes.tokens, dtype=torch.int64, device=device))


def serve(
    respond: Callable[[np.ndarray, np.ndarray], None],
    batch_size: int,
    descriptor: int,
    fingerprint: Callable[[], object] = lambda: None,
) -> float:
    """Ask to be scored, answer every question and return the referee's number.

    `respond(tokens, answer)` writes the logits of (B, T) int64 tokens into (B, T, vocab). `fingerprint` tells whether
    the parameters stay as they are while it does. Raises RuntimeError at a second call, and where the referee has gone.
    """
    import mmap
    import socket

    import numpy as np

    global _asked
    if _asked:
        raise RuntimeError("this run has been scored: evaluate_bpb may be called once, at the end")
    _asked = True
    before = fingerprint()
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
                last = number == sizes.questions - 1
                line.sendall(CHANGED if last and fingerprint() != before else ANSWERED)
            return float(VERDICT.unpack(receive(line, VERDICT.size))[1])
        except (OSError, EOFError, struct.error) as error:
            raise RuntimeError(f"the referee has gone ({error}); its last words are in referee.log") from None


def be_scored(model: torch.nn.Module, batch_size: int, descriptor: int) -> float:
    """The same for a model of torch: `model(x)` has to return logits of (B, T, at least the vocabulary)."""
    import torch

    model = getattr(model, "_orig_mod", model)  # not the compiled one: these shapes would be compiled anew
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    pinned: set[int] = set()
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the referee needs a little of that memory too

    def respond(tokens: np.ndarray, answer: np.ndarray) -> None:
        logits = model(torch.from_numpy(tokens).to(device))
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        if isinstance(found, str) or found[:2] != answer.shape[:2] or found[-1] < answer.shape[2]:
            raise TypeError(f"the referee asks for logits: model(x) must return {answer.shape}, not {found}")
        slot = torch.from_numpy(answer)
        if device.type == "cuda" and slot.data_ptr() not in pinned:  # filled several times as fast
            pinned.add(slot.data_ptr())
            pin(slot)
        slot.copy_(logits[..., : answer.shape[2]].to(slot.dtype))  # smaller before it travels

    with torch.no_grad():
        return serve(respond, batch_size, descriptor, lambda: [bits(p) for p in model.parameters()])


def pin(memory: torch.Tensor) -> None:
    """Let the accelerator read and write memory directly, where CUDA can."""
    import torch

    with contextlib.suppress(Exception):
        if int(torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.nbytes, 0)):
            torch.zeros(1, device="cuda")  # the runtime would raise its refusal at the next call instead


def bits(parameter: torch.Tensor) -> int | None:
    """A sum over the bits of a tensor; None for a kind that has none of its own."""
    import torch

    kinds = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    try:
        return int(parameter.detach().contiguous().view(kinds[parameter.element_size()]).sum(dtype=torch.int64))
    except (KeyError, RuntimeError, NotImplementedError):
        return None
