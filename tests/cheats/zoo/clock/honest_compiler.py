"""Compiles for a long time before it takes its data, also what answers the referee, and trains for its budget."""

import time

import prepare
import torch
import toy
from fixed import port


class Compiled(torch.nn.Module):
    """Slow at its first question of a shape, as a compiler is."""

    def __init__(self):
        super().__init__()
        self.shapes = set()

    def forward(self, x):
        if x.shape not in self.shapes:
            time.sleep(2.5)
            self.shapes.add(x.shape)
        return torch.from_numpy(self.table(x.numpy()))


model = Compiled()
model.table = lambda x: x[..., None].repeat(64, -1)
prepare.rehearse(model)
model.table = toy.train()
toy.finish(port.be_scored(model, 64, int(prepare.REFEREE_FD)))
