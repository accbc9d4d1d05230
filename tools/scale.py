"""What an analysis of a large model on many GPUs would take: calculated, not measured.

python tools/scale.py     # prints the table of docs/scale.md

Of T gradients of n float32 numbers on R ranks each rank computes T/R gradients, sends and gets T n / R numbers once,
reads its share some times for the tests, and multiplies T^2 n / (2R) pairs in float64; the first computes the
eigenvalues of a T x T matrix. The sum of the Gram matrices goes over the network once.
"""

from dataclasses import dataclass

# Rates that one GPU of the H100 class is taken to sustain, a third to a half of what its data sheet says or less.
GRADIENT_FLOPS = 50e12  # float32 gradients, TF32 products, one sample or sequence after another
DOUBLE_FLOPS = 30e12  # products in float64
MEMORY_BYTES = 1.0e12  # a second, read
NETWORK_BYTES = 20e9  # a second, by each GPU at once
EIGEN_FLOPS = 50e9  # of one processor that reduces a matrix to three diagonals
GPU_MEMORY = 80e9
PASSES = 12  # over the share, by the tests in both directions and the noise
OF_MODEL = 9  # parameters, two gradients, four rows that are computed at once, one that is sent, one received
OVERHEAD = 2e9  # bytes of a process


@dataclass(frozen=True)
class Model:
    """What counts of a model.

    Attributes:
        name: of it.
        parameters: n.
        flops: of one forward and backward pass of one sample.
        iterations: T, of one sample each.
        tokens: in a sample, of a language model.
    """

    name: str
    parameters: float
    flops: float
    iterations: int
    tokens: int = 0


def _language_model(name: str, parameters: float, tokens: int = 1024) -> Model:
    """Six operations a parameter and token (Kaplan et al. 2020)."""
    return Model(name, parameters, 6 * parameters * tokens, 1000, tokens)


MODELS = (
    Model("ResNet-50", 25.6e6, 3 * 2 * 4.1e9, 5000),  # 4.1e9 multiply-adds an image of 224 x 224 (He et al. 2016)
    _language_model("GPT-2 small", 124e6),
    _language_model("1 B", 1e9),
)
RANKS = (8, 64)
# https://github.com/EleutherAI/bergson: tokens a second of collecting gradients, compressed, on one GH200.
BERGSON = {"160 M": 37_000, "1 B": 28_000}


def seconds(model: Model, ranks: int) -> dict[str, float]:
    """Seconds of each stage."""
    t, n = model.iterations, model.parameters
    return {
        "gradients": t / ranks * model.flops / GRADIENT_FLOPS,
        "exchange": 4 * t * n / ranks / NETWORK_BYTES,
        "tests": PASSES * 4 * t * n / ranks / MEMORY_BYTES,
        "Gram": t**2 * n / ranks / DOUBLE_FLOPS + 2 * 8 * t**2 / NETWORK_BYTES,
        "eigenvalues": 4 / 3 * t**3 / EIGEN_FLOPS,
    }


def memory(model: Model, ranks: int) -> float:
    """Bytes of one rank: its share, two T x T matrices, and what has the size of the model."""
    share = 4 * model.iterations * model.parameters / ranks
    return share + 16 * model.iterations**2 + 4 * OF_MODEL * model.parameters + OVERHEAD


def table() -> str:
    """The calculation in Markdown."""
    stages = list(seconds(MODELS[0], 1))
    names = ["model", "n", "T", "GPUs", "memory a GPU (GB)", *(f"{stage} (s)" for stage in stages), "tokens/s a GPU"]
    lines = ["| " + " | ".join(names) + " |", "|---" + "|---:" * (len(names) - 1) + "|"]
    for model in MODELS:
        for ranks in RANKS:
            taken, needed = seconds(model, ranks), memory(model, ranks)
            size = f"{needed / 1e9:.0f}" + (", too much: refused" if needed > GPU_MEMORY else "")
            rate = model.tokens * model.iterations / (taken["gradients"] + taken["exchange"]) / ranks
            cells = [model.name, f"{model.parameters / 1e6:,.1f} M", f"{model.iterations:,}", ranks, size]
            cells += [f"{value:.2g}" for value in taken.values()]
            lines.append("| " + " | ".join(map(str, [*cells, f"{rate:,.0f}" if model.tokens else "-"])) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
