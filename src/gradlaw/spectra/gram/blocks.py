"""How much of the work by layers is done at a time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockSizes:
    """Memory knobs, which change results by no more than the order of sums in float64 and in one pass does.

    Attributes:
        tall: rows of a tile of products, down; what a cache holds, as all defaults.
        wide: rows of a tile of products, across.
        block_bytes: of float64 gradients at once.
        input_bytes: of inputs at once while a block of gradients is formed.
        pass_bytes: of inputs, output gradients and gradients of layers in one forward and backward pass.
        pass_samples: samples in one forward and backward pass.
    """

    tall: int = 1024
    wide: int = 2048
    block_bytes: int = 128 * 2**20
    input_bytes: int = 16 * 2**20
    pass_bytes: int = 256 * 2**20
    pass_samples: int = 512


DEFAULT_BLOCKS = BlockSizes()
