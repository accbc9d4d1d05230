"""What is measured, as data: networks, where along training, seeds and sizes, in the order in which it is run.

The order is that of importance: a run that is cut short leaves a smaller design that is whole. All random and first
seeds come before second and third ones.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from gradlaw.training import Recipe

CONTEXT = 64  # characters in a window of the study's own networks
VOCABULARY = 65  # characters that occur in tiny Shakespeare
CLASSES = 10  # of the control
FOLDED = (5, 10, 20, 40)  # vocabularies that the text is folded into; the tests have all 65
EPOCHS = 2
POINTS = (0, 1, EPOCHS)  # epochs after which a network is looked at
RECIPES = {
    "adam": Recipe("adam", 1e-3, EPOCHS, batch_size=16, weight_decay=0.0, clip_norm=1.0),
    "momentum": Recipe("momentum", 0.1, EPOCHS, batch_size=16, weight_decay=0.0, clip_norm=1.0),
    "sgd": Recipe("sgd", 0.3, EPOCHS, batch_size=16, weight_decay=0.0, clip_norm=1.0),
}
ADAM = "adam"

TESTS, SPECTRUM, BATCHES, CURVATURE = "tests", "spectrum", "batches", "curvature"
SMALL, LARGE, LENET = "small", "large", "lenet"


@dataclass(frozen=True)
class Size:
    """Sizes of a measurement.

    Attributes:
        iterations: T.
        k: values of a dimension-wise tail; of a layer with fewer dimensions a third of these.
        spectrum_k: eigenvalues and eigengaps of a power law, and values of an iteration-wise tail: a third of T.
        most: largest number of outliers that is looked for.
        sampled: dimensions of each kind of layer that are tested iteration-wise; None for all.
    """

    iterations: int
    k: int
    spectrum_k: int
    most: int
    sampled: int | None = None


SIZES = {
    SMALL: Size(1000, 1000, 333, 100),
    LARGE: Size(150, 1000, 50, 20, 20_000),
    LENET: Size(1000, 1000, 333, 100),
}
WIDE_K, WIDE_MOST = 900, 700  # of a second look for outliers, of spectra of folded vocabularies
BATCH_SIZES, BATCH_ITERATIONS = (1, 10), 300  # of the iteration-wise tests by batch size
HESSIAN_SAMPLES, COMPARED = 64, 20  # windows of a Hessian; eigenvalues and eigenvectors compared with the covariance


@dataclass(frozen=True)
class Measurement:
    """One thing that is measured at one theta.

    Attributes:
        kind: ``"tests"`` (tails, spectrum, noise), ``"spectrum"`` (that alone), ``"batches"`` (iteration-wise tests by
            batch size) or ``"curvature"`` (Hessian beside covariance).
        network: ``"small"``, the zoo's default GPT, ``"large"``, nanoGPT's network for characters (10.7 million), or
            ``"lenet"``, the paper's on MNIST: a control of the sizes.
        seed: of initialisation, training and minibatches.
        optimiser: by which it is trained.
        point: epochs of training, of the small network; steps of nanoGPT, of the large one.
        vocabulary: different characters, or classes; the rarest are one where it is below that of the text.
        updates: ``"momentum"`` or ``"adam"``, the updates that it would make at this theta in place of gradients.
        single: the loss is that of a window's last prediction alone: one label a sample, as in classification.
    """

    kind: str
    network: str = SMALL
    seed: int = 0
    optimiser: str = ADAM
    point: int = 0
    vocabulary: int = VOCABULARY
    updates: str = ""
    single: bool = False

    @property
    def size(self) -> Size:
        """T and K."""
        return SIZES[self.network]

    @property
    def name(self) -> str:
        """Of its file, and of its rows in the tables."""
        at = f"{self.optimiser}{self.point}" if self.point else "random"
        folded = "" if self.vocabulary == VOCABULARY or self.network == LENET else f"-v{self.vocabulary}"
        as_updates = f"-updates-{self.updates}" if self.updates else ""
        return f"{self.kind}-{self.network}{folded}{'-single' * self.single}-{at}{as_updates}-seed{self.seed}"

    def settings(self) -> dict[str, Any]:
        """All that its numbers depend on, as plain data."""
        sizes: dict[str, Any] = {"context": CONTEXT, **asdict(self.size)}
        if self.kind == BATCHES:
            sizes |= {"batch_sizes": list(BATCH_SIZES), "batch_iterations": BATCH_ITERATIONS}
        if self.kind == CURVATURE:
            sizes |= {"hessian_samples": HESSIAN_SAMPLES, "compared": COMPARED}
        if self.network == SMALL and self.point:
            sizes |= {"recipe": asdict(RECIPES[self.optimiser])}
        own = asdict(self)
        if not self.single:
            del own["single"]  # which the first results do not name
        return {**own, **sizes}


def measurements() -> list[Measurement]:
    """All of the design, the most important first."""
    return list(dict.fromkeys(_in_order()))


def _in_order() -> Iterator[Measurement]:
    yield from _of_seed(0)
    yield from (Measurement(SPECTRUM, LENET, seed=seed, vocabulary=CLASSES) for seed in (0, 1))
    yield Measurement(TESTS, LARGE)
    yield from (Measurement(TESTS, LARGE, optimiser="adamw", point=point) for point in (60, 120, 240))
    yield from _optimisers(0)
    yield from _of_seed(1)
    yield from _optimisers(1)
    yield from (Measurement(TESTS, seed=2, point=point) for point in POINTS)


def _of_seed(seed: int) -> Iterator[Measurement]:
    """The small network at random and along Adam."""
    yield from (Measurement(TESTS, seed=seed, point=point) for point in POINTS)
    yield from (Measurement(BATCHES, seed=seed, point=point) for point in (0, EPOCHS))
    yield from (Measurement(SPECTRUM, vocabulary=v, seed=seed) for v in FOLDED)
    yield from (Measurement(SPECTRUM, vocabulary=v, seed=seed, single=True) for v in (*FOLDED, VOCABULARY))
    yield from (Measurement(CURVATURE, seed=seed, point=point) for point in (0, EPOCHS))


def _optimisers(seed: int) -> Iterator[Measurement]:
    """Updates at random parameters, and networks trained by the other optimisers."""
    yield from (Measurement(SPECTRUM, updates=updates, seed=seed) for updates in ("momentum", ADAM))
    yield from (Measurement(TESTS, seed=seed, optimiser=name, point=EPOCHS) for name in ("sgd", "momentum"))
