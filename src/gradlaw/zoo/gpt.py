"""A small decoder-only transformer for characters (Radford et al. 2019, in the arrangement of nanoGPT)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CausalSelfAttention(nn.Module):
    """Multi-head attention in which a position sees itself and those before it."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to the same shape."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for part in self.qkv(x).chunk(3, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.projection(y.transpose(-3, -2).flatten(-2))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); the MLP is four times as wide, with GELU."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = CausalSelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Token and learned position embeddings, ``depth`` blocks, LayerNorm and a readout tied to the token embedding.

    As in nanoGPT the readout's ``Linear`` and the token ``Embedding`` share one Parameter, and there is no bias in the
    readout. There is no dropout: the loss of a minibatch is a function of the parameters alone. Initialisation is
    PyTorch's default, not GPT-2's; the shared Parameter is initialised as the ``Linear``'s.

    Args:
        vocabulary: number of different tokens, and of logits.
        context: longest sequence.
        width: of the residual stream; a multiple of ``heads``.
        depth: number of blocks.
        heads: of each attention.
    """

    def __init__(self, vocabulary: int, context: int = 64, width: int = 64, depth: int = 4, heads: int = 4):
        super().__init__()
        if width % heads:
            raise ValueError(f"the width of a GPT must be a multiple of its heads, got {width} and {heads}")
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, vocabulary, bias=False)
        self.tokens.weight = self.readout.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Token indices (B, L), L <= context, to the logits of the token after each, (B, L, vocabulary)."""
        length = tokens.shape[-1]
        if length > self.context:
            raise ValueError(f"sequences of {length} tokens are longer than the context of {self.context}")
        x = self.tokens(tokens) + self.positions(torch.arange(length, device=tokens.device))
        return self.readout(self.norm(self.blocks(x)))


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, L, vocabulary) for the tokens (B, L) that follow, in nats a token."""
    return F.cross_entropy(logits.transpose(1, 2), targets)
