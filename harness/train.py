"""Pretrain a small GPT for a fixed budget on one device, then score it in bits per byte.

This is the one file that the researcher edits: the model, the optimiser, the knobs and the loop are all fair game.
Run it with `python train.py` after `autoresearch-tui prepare`.

Sources: Muon (Jordan et al. 2024), Polar Express (Amsel et al. 2025, arXiv 2505.16932), NorMuon (Li et al. 2025,
arXiv 2510.05491), cautious weight decay (Chen et al. 2025, arXiv 2510.12402), AdamW (Loshchilov and Hutter 2019,
arXiv 1711.05101), value embeddings (Zhou et al. 2024, arXiv 2410.17897, in the form of modded-nanogpt), rotary
positions (Su et al. 2021, arXiv 2104.09864), squared ReLU (So et al. 2021, arXiv 2109.08668).
"""

from __future__ import annotations

import gc
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import compress

os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin bring a shared machine to a halt
gc.disable()  # what is imported stays: a tenth of the start saved

import prepare
import torch
import torch.nn.functional as F
from fixed import device as hardware
from fixed.attention import Attend, sdpa_attention
from fixed.lean import chunked_losses, squared_relu
from fixed.meter import Meter, print_summary
from prepare import MAX_SEQ_LEN, SEED_SHIFT, Tokenizer, evaluate_bpb, make_dataloader
from torch import Tensor, nn

# ---------------------------------------------------------------------------
# Knobs
# ---------------------------------------------------------------------------

# Model
DEPTH = 9  # layers
ASPECT_RATIO = 71  # width = DEPTH * ASPECT_RATIO, rounded up to whole heads
HEAD_DIM = 128  # width of one attention head
WINDOW_PATTERN = "SSSSL"  # S short and L long attention windows, repeated; the last layer is always L
SHORT_WINDOW = 8  # the short window is the sequence length over this
ROPE_BASE = 200000  # slowest rotary wavelength
SOFTCAP = 15.0  # logits stay between plus and minus this
INIT_SCALE = 0.68  # standard deviation of the matrices, times 1/sqrt(width)
BIGRAM_BUCKETS = 0  # hashed embeddings of token pairs, added to the token's; 0 is none
X0_INIT = 0.05  # how much of the embedding flows into every layer at first

# Optimisation
TOTAL_BATCH_SIZE = 262144  # tokens in one optimiser step
DEVICE_BATCH_SIZE = 128  # rows in one forward pass; halved by itself where memory runs out
EMBEDDING_LR = 0.9  # AdamW, for a width of 768; scaled by 1/sqrt(width)
BIGRAM_LR = 0.3  # likewise
UNEMBEDDING_LR = 0.005  # likewise
MATRIX_LR = 0.04  # Muon
SCALAR_LR = 0.5  # AdamW, per-layer scalars
WEIGHT_DECAY = 0.2  # Muon, falls to zero over the run
EMBEDDING_WEIGHT_DECAY = 0.001  # token embeddings
VALUE_WEIGHT_DECAY = 0.003  # value embeddings
UNEMBEDDING_WEIGHT_DECAY = 0.01  # output layer
ADAM_BETAS = (0.8, 0.95)  # momentum and variance
MUON_MOMENTUM = 0.95  # after its warm-up from 0.85
MOMENTUM_WARMUP_STEPS = 200  # steps of that warm-up
POLAR_STEPS = 5  # of the orthogonalisation in Muon, at most 5
WARMUP_RATIO = 0.0  # share of the budget in which the learning rate rises
WARMDOWN_RATIO = 0.75  # share of the budget in which it falls
FINAL_LR_FRAC = 0.05  # what is left of it at the end
SEED = 42  # weights and order of the data

if prepare.PREFLIGHT:  # a rehearsal: one step of warm-up and one of training, both small
    DEVICE_BATCH_SIZE, TOTAL_BATCH_SIZE, POLAR_STEPS = 1, 2 * MAX_SEQ_LEN, 1

# ---------------------------------------------------------------------------
# Model
# ---------------------------------------------------------------------------


@dataclass
class GPTConfig:
    """Sizes as they are used, after rounding."""

    sequence_len: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    windows: tuple[int, ...]  # keys before the query that each layer sees


def build_config(vocab_size: int) -> GPTConfig:
    """Resolve the knobs. Raises ValueError for a window pattern of other letters than S and L."""
    if not WINDOW_PATTERN or set(WINDOW_PATTERN) - {"S", "L"}:
        raise ValueError(f"WINDOW_PATTERN = {WINDOW_PATTERN!r}: only the letters S and L")
    width = -(-DEPTH * ASPECT_RATIO // HEAD_DIM) * HEAD_DIM
    sizes = {"S": max(1, MAX_SEQ_LEN // SHORT_WINDOW), "L": MAX_SEQ_LEN}
    windows = [sizes[WINDOW_PATTERN[i % len(WINDOW_PATTERN)]] for i in range(DEPTH)]
    windows[-1] = MAX_SEQ_LEN
    return GPTConfig(MAX_SEQ_LEN, vocab_size, DEPTH, width // HEAD_DIM, width, tuple(windows))


def norm(x: Tensor) -> Tensor:
    """RMSNorm without weights."""
    return F.rms_norm(x, (x.size(-1),))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions for x of (B, T, H, D); cos and sin are (T, 1, D / 2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)


def bigram_buckets(idx: Tensor) -> Tensor:
    """(B, T) bucket of each token together with the one before it; a row's first has none before it."""
    before = F.pad(idx[:, :-1], (1, 0))
    return (before * 1000003 + idx * 8191) % 2147483647 % BIGRAM_BUCKETS


def has_value_embedding(layer: int, n_layer: int) -> bool:
    """Every other layer has one, the last always."""
    return layer % 2 == (n_layer - 1) % 2


class Linear(nn.Linear):
    """Without a bias; computes in the number format of its input, keeps its weight in fp32."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class Attention(nn.Module):
    """Causal self-attention with normed queries and keys, and gated value embeddings where the layer has them."""

    GATE_CHANNELS = 32  # the gate reads only the first channels

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.window = config.windows[layer]
        self.n_head = config.n_head
        width = config.n_embd
        self.q = Linear(width, width)
        self.k = Linear(width, width)
        self.v = Linear(width, width)
        self.out = Linear(width, width)
        gated = has_value_embedding(layer, config.n_layer)
        self.gate = Linear(self.GATE_CHANNELS, config.n_head) if gated else None

    def forward(self, x: Tensor, value: Tensor | None, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """x and value: (B, T, width)."""
        B, T, C = x.shape
        q, k, v = (layer(x).view(B, T, self.n_head, -1) for layer in (self.q, self.k, self.v))
        if self.gate is not None and value is not None:
            gate = 2 * torch.sigmoid(self.gate(x[..., : self.GATE_CHANNELS]))
            v = v + gate.unsqueeze(-1) * value.view(B, T, self.n_head, -1)
        q, k = norm(rotate(q, cos, sin)), norm(rotate(k, cos, sin))
        return self.out(attend(q, k, v, self.window).reshape(B, T, C))


class MLP(nn.Module):
    """Two layers with a squared ReLU between them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.up = Linear(config.n_embd, 4 * config.n_embd)
        self.down = Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(squared_relu(self.up(x)))


class Block(nn.Module):
    """Attention and MLP, each on a normed copy of the residual stream."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.attn = Attention(config, layer)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, value: Tensor | None, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        x = x + self.attn(norm(x), value, cos, sin, attend)
        return x + self.mlp(norm(x))


class GPT(nn.Module):
    """The reference's decoder: value embeddings, a path from the embedding to every layer, capped logits."""

    def __init__(self, config: GPTConfig, attend: Attend = sdpa_attention, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config, self.attend, self.dtype = config, attend, dtype
        self.chunked = True  # off where the compiler fuses the loss, or for comparison
        self.embed = nn.Embedding(config.vocab_size, config.n_embd)
        self.bigram = nn.Embedding(BIGRAM_BUCKETS, config.n_embd) if BIGRAM_BUCKETS else None
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.n_layer))
        self.head = Linear(config.n_embd, config.vocab_size)
        self.resid_lambdas = nn.Parameter(torch.empty(config.n_layer))
        self.x0_lambdas = nn.Parameter(torch.empty(config.n_layer))
        layers = [i for i in range(config.n_layer) if has_value_embedding(i, config.n_layer)]
        self.values = nn.ModuleDict({str(i): nn.Embedding(config.vocab_size, config.n_embd) for i in layers})
        half = config.n_embd // config.n_head // 2
        self.register_buffer("cos", torch.empty(config.sequence_len, 1, half), persistent=False)
        self.register_buffer("sin", torch.empty(config.sequence_len, 1, half), persistent=False)

    @torch.no_grad()
    def init_weights(self) -> None:
        """Random inputs, zero outputs: every block begins as the identity."""
        bound = 3**0.5 * INIT_SCALE * self.config.n_embd**-0.5  # a uniform with the deviation of a normal
        self.embed.weight.normal_()
        self.head.weight.normal_(std=0.001)
        if self.bigram is not None:
            self.bigram.weight.zero_()
        for block in self.blocks:
            for layer in (block.attn.q, block.attn.k, block.attn.v, block.mlp.up):
                layer.weight.uniform_(-bound, bound)
            for layer in (block.attn.out, block.mlp.down):
                layer.weight.zero_()
            if block.attn.gate is not None:
                block.attn.gate.weight.zero_()  # a gate of exactly one
        for table in self.values.values():
            table.weight.uniform_(-bound, bound)
        self.resid_lambdas.fill_(1.0)
        self.x0_lambdas.fill_(X0_INIT)
        half = self.cos.size(-1)
        frequency = ROPE_BASE ** (-torch.arange(half, device=self.cos.device) / half)
        angle = torch.arange(self.config.sequence_len, device=self.cos.device)[:, None] * frequency
        self.cos.copy_(angle.cos()[:, None])
        self.sin.copy_(angle.sin()[:, None])

    def forward(self, idx: Tensor, targets: Tensor | None = None, reduction: str = "mean") -> Tensor:
        """idx, targets: (B, T) int64. Logits of (B, T, vocab) fp32 without targets, else their cross-entropy in nats.

        Targets of -1 do not count; reduction is that of F.cross_entropy.
        """
        T = idx.size(1)
        x = self.embed(idx)
        if self.bigram is not None:
            x = x + self.bigram(bigram_buckets(idx))
        x = x0 = norm(x.to(self.dtype))
        cos, sin = self.cos[:T].to(x.dtype), self.sin[:T].to(x.dtype)
        for i, block in enumerate(self.blocks):
            x = self.resid_lambdas[i] * x + self.x0_lambdas[i] * x0
            value = self.values[str(i)](idx).to(self.dtype) if str(i) in self.values else None
            x = block(x, value, cos, sin, self.attend)
        x = norm(x)
        if targets is None:
            return self.logits(x)
        x, targets = x.flatten(0, 1), targets.flatten()
        if self.chunked and (reduction == "mean" or not torch.is_grad_enabled()):
            return chunked_losses(self.loss, x, targets, list(self.parameters()), reduction)
        return self.loss(x, targets, reduction)

    def logits(self, x: Tensor) -> Tensor:
        """(..., vocab) fp32 for the last layer's normed output."""
        return self.head(x).float().mul_(1 / SOFTCAP).tanh_() * SOFTCAP  # in place where it can be: they are large

    def loss(self, x: Tensor, targets: Tensor, reduction: str = "none") -> Tensor:
        """What is trained and scored. x: (N, width), targets: (N,)."""
        return F.cross_entropy(self.logits(x), targets, ignore_index=-1, reduction=reduction)

    def parameter_counts(self) -> dict[str, int]:
        """Parameters of each part, and their total."""
        count = {
            "embed": self.embed.weight.numel(),
            "bigram": self.bigram.weight.numel() if self.bigram is not None else 0,
            "value_embeds": sum(p.numel() for p in self.values.parameters()),
            "head": self.head.weight.numel(),
            "matrices": sum(p.numel() for p in self.blocks.parameters()),
            "scalars": self.resid_lambdas.numel() + self.x0_lambdas.numel(),
        }
        return count | {"total": sum(count.values())}

    def flops_per_token(self) -> float:
        """Forward and backward: 6 for each weight that is multiplied, 12 for each channel and visible key."""
        count = self.parameter_counts()
        seen = sum(min(window, self.config.sequence_len) for window in self.config.windows)
        return 6.0 * (count["head"] + count["matrices"]) + 12.0 * self.config.n_embd * seen


# ---------------------------------------------------------------------------
# Optimiser
# ---------------------------------------------------------------------------

# Steps of Polar Express, the best cubic-in-X^2 approximations of the sign function in turn
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonalize(g: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest matrix with orthonormal rows or columns to each of g, (N, rows, columns), computed in `dtype`."""
    x = g.to(dtype)
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS[:POLAR_STEPS]:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def muon_step(
    params: Tensor, grads: Tensor, momentum: Tensor, variance: Tensor, lr: Tensor, beta: Tensor, decay: Tensor,
    dtype: torch.dtype,
) -> None:  # fmt: skip
    """One Muon step in place on stacked matrices, all (N, rows, columns); variance has one of the two reduced to 1.

    Nesterov momentum; orthogonalisation; NorMuon's scaling of rows or columns by their running variance, at an
    unchanged overall norm; weight decay only where the update and the weight have the same sign.
    """
    momentum.lerp_(grads, 1 - beta)
    update = orthogonalize(grads.lerp(momentum, beta), dtype).float()
    dim = -1 if variance.size(-1) == 1 else -2
    square = update.square().mean(dim=dim, keepdim=True)
    variance.lerp_(square, 0.05)
    scale = variance.clamp_min(1e-10).rsqrt()
    before = square.sum(dim=(-2, -1), keepdim=True).sqrt()
    after = (square * scale.square()).sum(dim=(-2, -1), keepdim=True).sqrt()
    update = update * (scale * (before / after.clamp_min(1e-10)))
    agrees = (update * params) >= 0
    params.sub_(lr * update + lr * decay * params * agrees)


@dataclass
class AdamW:
    """AdamW for a list of tensors of any shape, through torch's fused kernel.

    None of the optimisers here derives from torch.optim.Optimizer: its first use imports the compiler, which takes as
    long as importing torch.
    """

    params: list[Tensor]
    initial_lr: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = ADAM_BETAS

    def __post_init__(self) -> None:
        self.mean = [torch.zeros_like(p) for p in self.params]
        self.variance = [torch.zeros_like(p) for p in self.params]
        self.steps = [torch.zeros((), device=p.device) for p in self.params]

    def state(self) -> list[Tensor]:
        return [*self.mean, *self.variance, *self.steps]

    @torch.no_grad()
    def step(self, multiplier: float) -> None:
        """Step what has gradients at `multiplier` times the initial learning rate."""
        columns = zip(self.params, self.mean, self.variance, self.steps, strict=True)
        used = [(p, p.grad, *state) for p, *state in columns if p.grad is not None]
        if not used:
            return
        params, grads, mean, variance, steps = (list(column) for column in zip(*used, strict=True))
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            params, grads, mean, variance, [], steps, lr=self.initial_lr * multiplier,
            beta1=self.betas[0], beta2=self.betas[1], weight_decay=self.weight_decay, eps=1e-10, amsgrad=False,
            maximize=False,
        )  # fmt: skip


class Muon:
    """Muon for equally shaped matrices, stepped as one stack. Tall ones learn faster, by sqrt(rows / columns)."""

    def __init__(self, params: list[Tensor], initial_lr: float, compiled: bool, dtype: torch.dtype) -> None:
        self.params, self.dtype = params, dtype
        self.scalars_on = "cpu" if compiled else params[0].device  # the compiler takes them from there without a copy
        rows, columns = params[0].shape
        self.initial_lr = initial_lr * max(1.0, rows / columns) ** 0.5
        self.momentum = torch.zeros_like(torch.stack(params))
        self.variance = self.momentum.new_zeros(len(params), *((rows, 1) if rows >= columns else (1, columns)))
        self.step_stack = torch.compile(muon_step, dynamic=False, fullgraph=True) if compiled else muon_step

    def state(self) -> list[Tensor]:
        return [self.momentum, self.variance]

    @torch.no_grad()
    def step(self, multiplier: float, momentum: float, weight_decay: float) -> None:
        """Step what has gradients at `multiplier` times the initial learning rate."""
        used = [p.grad is not None for p in self.params]
        stack = torch.stack(self.params)
        grads = torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in self.params])
        numbers = (self.initial_lr * multiplier, momentum, weight_decay)
        lr, beta, decay = (torch.tensor(x, device=self.scalars_on) for x in numbers)
        self.step_stack(stack, grads, self.momentum, self.variance, lr, beta, decay, self.dtype)
        if any(used):
            torch._foreach_copy_(list(compress(self.params, used)), list(compress(stack.unbind(), used)))


class Optimizers:
    """AdamW for embeddings, head and scalars, Muon for the blocks' matrices, and their schedules."""

    def __init__(self, model: GPT, compiled: bool, dtype: torch.dtype) -> None:
        scale = (model.config.n_embd / 768) ** -0.5
        self.drop_gradients = model.zero_grad
        self.adam = [
            AdamW([model.head.weight], UNEMBEDDING_LR * scale, UNEMBEDDING_WEIGHT_DECAY),
            AdamW([model.embed.weight], EMBEDDING_LR * scale, EMBEDDING_WEIGHT_DECAY),
            AdamW(list(model.values.parameters()), EMBEDDING_LR * scale, VALUE_WEIGHT_DECAY),
            AdamW([model.resid_lambdas], SCALAR_LR * 0.01),
            AdamW([model.x0_lambdas], SCALAR_LR, betas=(0.96, 0.95)),
        ]
        if model.bigram is not None:
            self.adam.append(AdamW([model.bigram.weight], BIGRAM_LR * scale))
        matrices = list(model.blocks.parameters())
        shapes = sorted({p.shape for p in matrices})
        stacks = [[p for p in matrices if p.shape == shape] for shape in shapes]
        self.muon = [Muon(stack, MATRIX_LR, compiled, dtype) for stack in stacks]

    def step(self, progress: float, step: int) -> float:
        """Step everything as scheduled for `progress` from 0 to 1, drop the gradients, return the LR multiplier."""
        multiplier = lr_multiplier(progress)
        warm = min(step / max(1, MOMENTUM_WARMUP_STEPS), 1.0)
        for adam in self.adam:
            adam.step(multiplier)
        for muon in self.muon:
            muon.step(multiplier, (1 - warm) * 0.85 + warm * MUON_MOMENTUM, WEIGHT_DECAY * (1 - progress))
        self.drop_gradients()
        return multiplier

    def reset(self) -> None:
        """Forget every step taken."""
        self.drop_gradients()
        for optimizer in [*self.adam, *self.muon]:
            for tensor in optimizer.state():
                tensor.zero_()


def lr_multiplier(progress: float) -> float:
    """Rise, stay, and fall to FINAL_LR_FRAC over the budget."""
    if progress < WARMUP_RATIO:
        return progress / WARMUP_RATIO
    if progress <= 1 - WARMDOWN_RATIO:
        return 1.0
    left = (1 - progress) / WARMDOWN_RATIO
    return left + (1 - left) * FINAL_LR_FRAC


# ---------------------------------------------------------------------------
# Run
# ---------------------------------------------------------------------------


@dataclass
class Run:
    """What a training run works with."""

    model: GPT
    forward: Callable[..., Tensor]  # the model, compiled where that pays
    optimizers: Optimizers
    machine: hardware.Machine

    def step(self, x: Tensor, y: Tensor, passes: int) -> Tensor:
        """Forward and backward of one micro-batch. Returns its loss, on the device."""
        loss = self.forward(x, y)
        (loss / passes).backward()
        return loss.detach()

    def warm_up(self, rows: int) -> None:
        """A step and an evaluation on made-up tokens: compiles and finds the memory's limit outside the budget."""
        x = torch.zeros(rows, MAX_SEQ_LEN, dtype=torch.int64, device=self.machine.device)
        y = x.clone()  # the same tensor twice would be compiled for that
        self.model.init_weights()
        try:
            for _ in range(2):  # with gradients there already it needs the most memory
                self.step(x, y, 2)
            self.optimizers.step(0.0, 0)
            prepare.rehearse(self.model)  # a referee asks the model as it is, not the compiled one
            if not prepare.REFEREE_FD:
                with torch.no_grad():
                    self.forward(x, y, reduction="none")
            hardware.synchronize(self.machine.device)
        finally:
            self.optimizers.reset()
            gc.collect()  # not in the loop: its pauses cost more than what it would find


def train(run: Run, batches: Iterator[tuple[Tensor, Tensor, int]], meter: Meter, passes: int) -> None:
    """Train until the budget is spent. Leaves with FAIL and exit code 1 where the loss diverges.

    On CUDA a step is queued before the one before it is finished, so that the device never waits for the host.
    """
    ahead = 1 if run.machine.device.type == "cuda" else 0
    losses: deque[Callable[[], float]] = deque()
    prepare.ready()  # the clock outside starts here as well
    meter.begin()
    queued = 0
    x, y, epoch = next(batches)
    while losses or meter.spent(queued) < 1:
        if meter.spent(queued) < 1:
            for _ in range(passes):
                loss = run.step(x, y, passes)
                x, y, epoch = next(batches)
            multiplier = run.optimizers.step(meter.spent(queued), queued)
            queued += 1
            losses.append(hardware.read_later(loss))
        if len(losses) > ahead or meter.spent(queued) >= 1:
            meter.update(losses.popleft()(), multiplier, epoch)
            if meter.diverged(run.model.config.vocab_size):
                print("\nFAIL", flush=True)
                sys.exit(1)
    print(flush=True)


def set_up(tokenizer: Tokenizer) -> tuple[Run, int, Meter]:
    """Model, optimisers and rows of a micro-batch for this machine; says what the knobs came to."""
    machine = hardware.set_up(prepare.PROFILE_NAME, prepare.CACHE_DIR, HEAD_DIM)
    device, dtype, compiled = machine.device, machine.dtype, machine.compiled
    config = build_config(tokenizer.get_vocab_size())
    machine.attention.make_masks(MAX_SEQ_LEN, config.windows, device)
    with device:
        model = GPT(config, machine.attention.attend, dtype)
    model.chunked = not compiled
    optimizers = Optimizers(model, compiled, dtype if device.type == "cuda" else torch.float32)
    run = Run(model, torch.compile(model, dynamic=False) if compiled else model, optimizers, machine)
    print(f"{machine}\nModel: {config}")
    print("Parameters: " + ", ".join(f"{k} {n:,}" for k, n in model.parameter_counts().items()), flush=True)
    rows = max(1, min(DEVICE_BATCH_SIZE, TOTAL_BATCH_SIZE // MAX_SEQ_LEN))
    if device.type != "cpu" or prepare.PREFLIGHT:
        rows = hardware.fit_rows(run.warm_up, rows)
    if TOTAL_BATCH_SIZE % (rows * MAX_SEQ_LEN):
        sys.exit(f"TOTAL_BATCH_SIZE = {TOTAL_BATCH_SIZE} is not a multiple of {rows} rows of {MAX_SEQ_LEN} tokens")
    return run, rows, Meter(TOTAL_BATCH_SIZE, model.flops_per_token(), machine.peak.flops)


def main() -> None:
    """Set up, train, evaluate, print the summary."""
    prepare.require_ready()
    torch.set_float32_matmul_precision("high")
    tokenizer = Tokenizer.from_directory()
    run, rows, meter = set_up(tokenizer)
    torch.manual_seed(seed := SEED + SEED_SHIFT)
    run.model.init_weights()
    batches = make_dataloader(tokenizer, rows, MAX_SEQ_LEN, "train", seed=seed, device=run.machine.device)
    train(run, batches, meter, TOTAL_BATCH_SIZE // (rows * MAX_SEQ_LEN))
    val_bpb = evaluate_bpb(run.forward, tokenizer, rows)
    print_summary(val_bpb, meter, run.machine, run.model.parameter_counts()["total"], DEPTH, rows)


if __name__ == "__main__":
    main()
