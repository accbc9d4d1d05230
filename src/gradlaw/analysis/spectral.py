"""What the Gram matrix of a gradient history says: its spectra, how they move with T, noise, and controls."""

from dataclasses import dataclass, field

import pandas as pd
from torch import Tensor

from gradlaw.analysis.verdicts import COVARIANCE, SECOND_MOMENT
from gradlaw.by_value import ByValue
from gradlaw.history import GradientHistory
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.spectra import Spectrum, control_spectrum, gradient_noise_by_layer, spectrum_over_iterations
from gradlaw.spectra.controls import CONTROLS, SpectraOverIterations
from gradlaw.spectra.gradient import spectra_of_gram
from gradlaw.spectra.gram.history_gram import history_gram
from gradlaw.spectra.layer_signals import layer_signals
from gradlaw.spectra.noise import FEWEST_ITERATIONS, tensors_of_rounding_alone

_PARTS = (8, 4)  # of T, whose spectra are compared with that of T; a half would cost what these cost three times
_FEWEST_EIGENVALUES = 4  # to fit at each of them


@dataclass(frozen=True, eq=False)
class SpectralStatistics(ByValue):
    """What :func:`measure_spectra` measured.

    Attributes:
        spectra: by matrix (``"second moment"``, ``"covariance"``).
        noise: :func:`~gradlaw.spectra.noise.gradient_noise_by_layer` as plain columns; without extended statistics,
            ranks and participation ratios of the whole model only. None where it cannot be measured.
        over_iterations: covariance spectra of T/8, T/4 and T iterations, one row each (see
            :meth:`~gradlaw.spectra.SpectraOverIterations.to_frame`), all with the same k; None if T is too small.
        controls: covariance spectra of noise of the same shape, by control; empty unless asked for.
        notices: what was left out, in words.
    """

    spectra: dict[str, Spectrum]
    noise: pd.DataFrame | None
    over_iterations: pd.DataFrame | None
    controls: dict[str, Spectrum]
    notices: list[str] = field(default_factory=list)


def measure_spectra(
    history: GradientHistory,
    problem: Problem,
    k: int,
    seed: int = 0,
    controls: bool = False,
    extended: bool = False,
    progress: Progress | None = None,
) -> SpectralStatistics:
    """Measure everything that is in the Gram matrix, which is formed once.

    Args:
        history: the gradient history.
        problem: of which it holds gradients.
        k: how many eigenvalues the power law of a spectrum is fitted to; fewer where fewer iterations are compared.
        seed: of the subsamples of iterations and of the controls.
        controls: also the spectra of noise, at the cost of a dense Gram matrix each.
        extended: also ranks and participation ratios layer by layer, at the cost of another dense Gram matrix.
        progress: where to show it.
    """
    progress = progress or SILENT
    gram, rounding = history_gram(history, problem, progress)
    with progress.stage("eigenvalues of both spectra"):
        second, covariance = spectra_of_gram(gram, history.shape[1], rounding)
    left_out = _why_no_noise(history)
    noise = None if left_out else _noise(history, gram, extended, progress)
    return SpectralStatistics(
        spectra={SECOND_MOMENT: second, COVARIANCE: covariance},
        noise=noise,
        over_iterations=_over_iterations(history, gram, covariance, k, seed, progress),
        controls={name: _control(history, name, seed, progress) for name in CONTROLS} if controls else {},
        notices=_notices(history, left_out),
    )


def _notices(history: GradientHistory, left_out: str | None) -> list[str]:
    if left_out:
        return [f"gradient noise left out: {left_out}"]
    alone = tensors_of_rounding_alone(history)
    if not alone:
        return []
    return [
        f"no noise scale of {', '.join(alone)}: the gradients are rounding errors and nothing else, which change "
        "altogether when parameters move by their last digits (a bias that a normalisation takes off again?)"
    ]


def _why_no_noise(history: GradientHistory) -> str | None:
    s = history.settings
    if s["transforms"]:
        return "its numbers are those of plain gradients, and these are transformed"
    if s["iterations"] < FEWEST_ITERATIONS:
        return f"it needs {FEWEST_ITERATIONS} iterations, there are {s['iterations']}"
    if not s["replacement"] and s["batch_size"] == s["samples"]:
        return "each gradient is of the whole data set, and the spread of its samples does not show"
    return None


def _noise(history: GradientHistory, gram: Tensor, extended: bool, progress: Progress) -> pd.DataFrame:
    with progress.stage("gradient noise"):
        frame = gradient_noise_by_layer(history) if extended else layer_signals(history, gram)
    return frame.reset_index()


def _over_iterations(
    history: GradientHistory, gram: Tensor, covariance: Spectrum, k: int, seed: int, progress: Progress
) -> pd.DataFrame | None:
    sizes = [history.shape[0] // part for part in _PARTS]
    # Half of the smallest spectrum at each size: an exponent depends on how far down the spectrum it is fitted.
    used = min(k, sizes[0] // 2)
    if used < _FEWEST_EIGENVALUES:
        return None
    with progress.stage("spectra of fewer iterations"):
        fewer = spectrum_over_iterations(history, sizes, k=used, seed=seed, gram=gram)
    found = SpectraOverIterations((*fewer.sizes, history.shape[0]), (*fewer.spectra, covariance), used)
    return found.to_frame().reset_index() if min(s.rank for s in found.spectra) >= used else None


def _control(history: GradientHistory, name: str, seed: int, progress: Progress) -> Spectrum:
    with progress.stage(f"control: {name}"):
        return control_spectrum(history, name, seed)
