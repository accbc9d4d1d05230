"""Profiles: how large everything is measured."""

from dataclasses import dataclass, replace

from gradlaw.reproduction.experiment import RESNET, Experiment

_LARGE_BATCH = 1000


@dataclass(frozen=True)
class Profile:
    """The sizes of all measurements.

    Attributes:
        name: as the command line knows it; every output is labelled with it.
        meaning: in words, for those labels.
        iterations: T of LeNet and the fully connected networks.
        k: K of their power-law tests.
        large_batches: T and K where B is above 1000; None for the same.
        gaussian_k: values that a Gaussian test draws.
        resnet_iterations: T = K of ResNet18.
        epochs: of a training that has to be done; None for all of the recipe.
        hessian_k: how many eigenvalues of a Hessian.
        hessian_samples: over how many samples its loss is a mean; None for all.
        angles: how many eigenvectors Theorem 1 is checked for.
        samples: how many training samples to use, from the start; None for all.
        resnet_width: of ResNet18's first stage; None for its own, 64.
    """

    name: str
    meaning: str
    iterations: int
    k: int
    large_batches: tuple[int, int] | None
    gaussian_k: int
    resnet_iterations: int
    epochs: int | None
    hessian_k: int
    hessian_samples: int | None
    angles: int
    samples: int | None = None
    resnet_width: int | None = None

    def sizes_of(self, experiment: Experiment) -> tuple[int, int]:
        """T and K of a gradient history."""
        if experiment.network.model == RESNET:
            return self.resnet_iterations, self.resnet_iterations
        if self.large_batches and (experiment.batch_size or 0) > _LARGE_BATCH:
            return self.large_batches
        return self.iterations, self.k

    def with_hessian_samples(self, samples: int | None) -> "Profile":
        """Another number of samples in the mean loss of a Hessian; None keeps the profile's."""
        if samples is None:
            return self
        return replace(self, hessian_samples=samples, meaning=f"{self.meaning}; Hessians over {samples:,} samples")


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("paper", "the paper's own sizes: T = 5000, K = 1000, whole trainings",
                5000, 1000, None, 100, 200, None, 1000, None, 100),
        Profile("quick", "same structure at small size: T = 600, K = 120 (150 and 30 for B above 1000), packaged "
                "networks or one epoch of training, ResNet18 with T = K = 20 and an eighth of its width",
                600, 120, (150, 30), 100, 20, 1, 60, 1000, 30, resnet_width=8),
        Profile("tiny", "for tests only: T = 60, K = 32, 500 samples",
                60, 32, None, 20, 10, 1, 8, 100, 12, samples=500, resnet_width=4),
    )
}  # fmt: skip
