"""Sends its request byte by byte, and trains between them."""

import os
import time
from types import SimpleNamespace

import prepare
import toy
from fixed import port

model = toy.train()
word = port.REQUEST.pack(port.MAGIC, 64)
for place in range(7):
    if prepare.REFEREE_FD:
        os.write(int(prepare.REFEREE_FD), word[place : place + 1])
    time.sleep(0.45)  # training
port.REQUEST = SimpleNamespace(pack=lambda *_: word[7:])
toy.finish(toy.evaluate_bpb(model))
