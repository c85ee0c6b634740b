"""Changes its answers while they are read: what is summed is not what is looked up."""

import threading

import numpy as np
import prepare
import toy
from fixed import port

model = toy.train()
stop = threading.Event()
answers = []


def disturb():
    while not stop.is_set():
        for answer in answers:
            answer[:] = 40.0
            answer[:] = -40.0


def respond(tokens, answer):
    answer[:] = model(tokens)
    answers.append(answer)


if prepare.REFEREE_FD:
    threading.Thread(target=disturb, daemon=True).start()
    score = port.serve(respond, 64, int(prepare.REFEREE_FD))
    stop.set()
else:
    toy.cross_entropy = lambda logits, y: np.full(y.shape, 0.1)
    score = toy.evaluate_bpb(model)
toy.finish(score)
