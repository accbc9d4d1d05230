"""A small decoder-only transformer for characters (Radford et al. 2019, in the arrangement of nanoGPT)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CausalSelfAttention(nn.Module):
    """Multi-head attention in which a position sees itself and those before it."""

    def __init__(self, width: int, heads: int, bias: bool = True, dropout: float = 0.0):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.projection = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to the same shape."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for part in self.qkv(x).chunk(3, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0, is_causal=True)
        return self.projection(y.transpose(-3, -2).flatten(-2))


class MLP(nn.Sequential):
    """Two linear layers around a GELU, four times as wide inside."""

    def __init__(self, width: int, bias: bool = True):
        wide, narrow = nn.Linear(width, 4 * width, bias=bias), nn.Linear(4 * width, width, bias=bias)
        super().__init__(wide, nn.GELU(), narrow)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int, bias: bool = True, dropout: float = 0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, bias=bias)
        self.attention = CausalSelfAttention(width, heads, bias, dropout)
        self.norm2 = nn.LayerNorm(width, bias=bias)
        self.mlp = MLP(width, bias)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to the same shape."""
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class GPT(nn.Module):
    """Token and learned position embeddings, ``depth`` blocks, LayerNorm and a readout tied to the token embedding.

    As in nanoGPT the readout's ``Linear`` and the token ``Embedding`` share one Parameter, and there is no bias in the
    readout. Without dropout, the default, the loss of a minibatch is a function of the parameters alone. Initialisation
    is PyTorch's default, not GPT-2's; the shared Parameter is initialised as the ``Linear``'s.

    Args:
        vocabulary: number of different tokens, and of logits.
        context: longest sequence.
        width: of the residual stream; a multiple of ``heads``.
        depth: number of blocks.
        heads: of each attention.
        bias: whether linear layers and LayerNorms of the blocks, and the last LayerNorm, have biases.
        dropout: probability, of the attention's weights, of what a block adds to the residual stream and of the sum of
            the embeddings, in training mode.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int = 64,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        *,
        bias: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        if width % heads:
            raise ValueError(f"the width of a GPT must be a multiple of its heads, got {width} and {heads}")
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, heads, bias, dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, bias=bias)
        self.readout = nn.Linear(width, vocabulary, bias=False)
        self.tokens.weight = self.readout.weight
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        """Token indices (B, L), L <= context, to the logits of the token after each, (B, L, vocabulary)."""
        length = tokens.shape[-1]
        if length > self.context:
            raise ValueError(f"sequences of {length} tokens are longer than the context of {self.context}")
        x = self.tokens(tokens) + self.positions(torch.arange(length, device=tokens.device))
        return self.readout(self.norm(self.blocks(self.dropout(x))))


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, L, vocabulary) for the tokens (B, L) that follow, in nats a token."""
    return F.cross_entropy(logits.transpose(1, 2), targets)
