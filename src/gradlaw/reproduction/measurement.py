"""Measurement: a study with all sizes and seeds filled in, and the key that names its result."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from gradlaw.reproduction.experiment import ANGLES, HESSIAN, HISTORY, RESNET, Study
from gradlaw.reproduction.profiles import Profile
from gradlaw.reproduction.trained_models import Checkpoints
from gradlaw.training import Recipe

FORMAT = 1  # of results; another one is another key
_KEY_LENGTH = 16


@dataclass(frozen=True)
class Measurement:
    """Everything that the numbers of one stored result depend on.

    Attributes:
        study: what is measured.
        seed: of initialisation, training, label noise, minibatches and draws.
        recipe: of the training; None at random.
        samples: training samples used, from the start; None for all.
        iterations: T; None for a Hessian.
        k: values in a power-law test; eigenvalues of a Hessian; eigenvectors of ``"angles"``.
        gaussian_k: values that a Gaussian test draws.
        loss_samples: samples of a Hessian's loss; None for all.
    """

    study: Study
    seed: int
    recipe: Recipe | None
    samples: int | None
    iterations: int | None = None
    k: int = 1000
    gaussian_k: int | None = None
    loss_samples: int | None = None

    def settings(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {"format": FORMAT, **asdict(self)}

    @cached_property
    def key(self) -> str:
        """A digest of the settings, which is where the result is kept."""
        return content_key(self.settings())


def content_key(settings: dict[str, Any]) -> str:
    """The first digits of the SHA-256 of settings as canonical JSON."""
    text = json.dumps(settings, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


class Resolver:
    """From studies to measurements: the sizes of a profile, and the recipes of checkpoints that are at hand."""

    def __init__(self, profile: Profile, checkpoints: Checkpoints):
        self.profile, self.checkpoints = profile, checkpoints

    def resolve(self, study: Study, seed: int) -> Measurement:
        """The measurement of a study under this profile.

        A network trained by the whole recipe is taken wherever one is packaged, else the profile decides the epochs.
        """
        p = self.profile
        if study.point.model == RESNET:
            study = replace(study, point=replace(study.point, width=p.resnet_width))
        whole = study.point.recipe()
        packaged = whole and p.samples is None and self.checkpoints.packaged(study.point, whole, seed)
        recipe = whole if packaged else study.point.recipe(p.epochs)
        if study.kind == HESSIAN:
            return Measurement(study, seed, recipe, p.samples, k=p.hessian_k, loss_samples=p.hessian_samples)
        iterations, k = p.sizes_of(study)
        if study.kind == ANGLES:
            return Measurement(study, seed, recipe, p.samples, iterations, p.angles)
        assert study.kind == HISTORY
        return Measurement(study, seed, recipe, p.samples, iterations, k, p.gaussian_k)
