"""The network: a small Llama (RMSNorm, rotary positions, SwiGLU, tied embeddings).

Written out in full rather than taken from a library, so that every tensor of the GGUF file can be
traced to a line here. The rotary embedding turns neighbouring pairs (0, 1), (2, 3) ... which is
the order llama.cpp expects of the `llama` architecture: the exporter needs no permutation.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORE = -100
"""Target value of a position that is not trained (questions, padding)."""


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the network; the defaults are the shipped model's."""

    vocabulary: int = 4096
    width: int = 320
    layers: int = 7
    heads: int = 5
    hidden: int = 896
    """Width of the feed-forward layer."""
    context: int = 1024
    """Longest sequence trained, in tokens; written into the file as its context length."""
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads


class Norm(nn.Module):
    """Root-mean-square normalisation with a learned gain."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.epsilon)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of x (batch, heads, time, head width)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Block(nn.Module):
    """One layer: causal self-attention, then the SwiGLU feed-forward part, both residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.hidden
        self.heads, self.head_width = config.heads, config.head_width
        self.attn_norm = Norm(width, config.norm_epsilon)
        self.ffn_norm = Norm(width, config.norm_epsilon)
        self.attn_q = nn.Linear(width, width, bias=False)
        self.attn_k = nn.Linear(width, width, bias=False)
        self.attn_v = nn.Linear(width, width, bias=False)
        self.attn_output = nn.Linear(width, width, bias=False)
        self.ffn_gate = nn.Linear(width, hidden, bias=False)
        self.ffn_up = nn.Linear(width, hidden, bias=False)
        self.ffn_down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, time, width = x.shape
        shape = (batch, time, self.heads, self.head_width)
        h = self.attn_norm(x)
        q = rotate(self.attn_q(h).view(shape).transpose(1, 2), cos, sin)
        k = rotate(self.attn_k(h).view(shape).transpose(1, 2), cos, sin)
        v = self.attn_v(h).view(shape).transpose(1, 2)
        a = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(a.transpose(1, 2).reshape(batch, time, width))
        h = self.ffn_norm(x)
        return x + self.ffn_down(functional.silu(self.ffn_gate(h)) * self.ffn_up(h))


class DemoModel(nn.Module):
    """The whole network. `body` gives hidden states; the output layer is the embedding, tied."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embd = nn.Embedding(config.vocabulary, config.width)
        self.blk = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.output_norm = Norm(config.width, config.norm_epsilon)
        pairs = torch.arange(0, config.head_width, 2).float() / config.head_width
        angles = torch.outer(torch.arange(config.context).float(), config.rope_base**-pairs)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        for name, weight in self.named_parameters():
            if weight.dim() != 2:
                continue
            deviation = 0.02 if "token_embd" in name else 1 / math.sqrt(weight.shape[1])
            if name.endswith(("attn_output.weight", "ffn_down.weight")):
                deviation /= math.sqrt(2 * self.config.layers)
            nn.init.normal_(weight, 0.0, deviation)

    def body(self, ids: Tensor) -> Tensor:
        """Hidden states (batch, time, width) of token ids (batch, time)."""
        x = self.token_embd(ids)
        time = ids.shape[1]
        cos, sin = self.cos[:time].to(x.dtype), self.sin[:time].to(x.dtype)
        for block in self.blk:
            x = block(x, cos, sin)
        return self.output_norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.token_embd.weight)

    def parameter_count(self) -> int:
        return sum(weight.numel() for weight in self.parameters())
