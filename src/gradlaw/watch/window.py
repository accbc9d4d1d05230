"""A rolling window over the gradients of the last watched steps: what they say across iterations, while theta moves.

Of every gradient it keeps the values of a seeded sample of coordinates and a sketch. From the first come the tests that
:mod:`gradlaw.stats` makes of the columns of a gradient history, from the second its spectrum with a stated error. Both
are of the gradients of a path, not at fixed parameters: a mean that drifts correlates what follows, which the
autocorrelation shows, and fattens tails.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw import random_streams
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count
from gradlaw.errors import seed as checked_seed
from gradlaw.spectra.sketch import GradientSketch, SketchedSpectrum, sketched_overlap, sketched_spectrum
from gradlaw.stats.alpha_stable import stable_index_rows
from gradlaw.stats.power import lowered_k
from gradlaw.stats.powerlaw import fit_power_law
from gradlaw.stats.rates import GradientTests, gradient_tests
from gradlaw.watch.flat import Places

FEWEST_STEPS = 16  # of which anything is said
_TESTS = (
    "mean_d_ks", "mean_s", "power_law_rate", "power_law_rate_calibrated", "power_law_rate_of_gaussian",
    "power_law_rate_calibrated_of_gaussian", "gaussian_rate", "gaussian_ceiling", "degenerate", "no_verdict",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class WindowStatistics(ByValue):
    """What the gradients of a window of T steps say.

    Attributes:
        first_step: number of the oldest.
        last_step: of the newest.
        iterations: T.
        coordinates: how many were sampled.
        tests: power-law tails and Gaussianity over the T values of each coordinate.
        stable_index: median alpha-stable index over the coordinates, each less its mean; None if none has one.
        autocorrelation: of a value of a coordinate and the next, mean over the coordinates that vary; independent
            steps have about -1/T. None if none varies.
        spectrum: of the covariance of the T gradients, by their sketches; None without sketches, or where there is no
            spectrum.
        spectrum_s: Zipf exponent of the upper third of its corrected eigenvalues.
        spectrum_d_ks: KS distance of that fit.
        overlaps: of the leading k = 1, 2, ... eigenvectors of the older half of the window and of the newer; without
            anything in common 0 but for noise.
    """

    first_step: int
    last_step: int
    iterations: int
    coordinates: int
    tests: GradientTests
    stable_index: float | None
    autocorrelation: float | None
    spectrum: SketchedSpectrum | None
    spectrum_s: float | None
    spectrum_d_ks: float | None
    overlaps: np.ndarray | None

    def scalars(self) -> dict[str, Any]:
        """Numbers by name, for a record: the tests' as they are called there, the ten largest eigenvalues in a list."""
        names = ("first_step", "last_step", "iterations", "coordinates", "stable_index", "autocorrelation")
        row: dict[str, Any] = {name: getattr(self, name) for name in names}
        row |= {name: getattr(self.tests, name) for name in _TESTS} | {"k": self.tests.k}
        if self.spectrum is not None:
            row |= {
                "eigenvalues": self.spectrum.spectrum.eigenvalues[:10].tolist(),
                "eigenvalue_error": self.spectrum.relative_error,
                "trace": self.spectrum.spectrum.trace,
                "spectrum_s": self.spectrum_s,
                "spectrum_d_ks": self.spectrum_d_ks,
                "overlaps": None if self.overlaps is None else self.overlaps.tolist(),
            }
        return row


class Window:
    """Keeps the last gradients of a run as samples and sketches, and makes statistics of them.

    Memory: 4 T (coordinates + sketch_size) bytes, 3 MiB as it stands, whatever the size of the model.

    Args:
        parameters: the tensors whose gradients are added, in the same order.
        length: T, how many gradients are kept, at least 16.
        coordinates: how many of a gradient's values are sampled, at most; all have the same chance.
        sketch_size: m, a power of two of at least 8 T; None for no spectrum.
        seed: of the sample, the sketch and the draws of the Gaussian test.

    Raises:
        InputError: sizes outside of their ranges, or no parameters.

    Example:
        >>> window = Window([torch.zeros(500, 100)], length=32, coordinates=1000, sketch_size=1024)
        >>> for step in range(40):
        ...     window.add(step, [torch.randn(500, 100)])
        >>> found = window.statistics()
        >>> found.first_step, found.tests.series, found.tests.gaussian_rate > 0.9, abs(found.autocorrelation) < 0.1
        (8, 1000, True, True)
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        length: int = 64,
        coordinates: int = 4096,
        sketch_size: int | None = 8192,
        seed: int = 0,
    ):
        self.length = count(length, "length", minimum=FEWEST_STEPS)
        self.seed = checked_seed(seed)
        sizes = [p.numel() for p in parameters]
        if sum(sizes) < 1:
            raise InputError("a window needs parameters with numbers")
        stream = np.random.default_rng([random_streams.WINDOW_SAMPLE, self.seed])
        number = min(count(coordinates, "coordinates"), sum(sizes))
        self.places = np.sort(stream.choice(sum(sizes), number, replace=False, shuffle=False))
        self._places = Places(self.places, list(parameters))
        self._sketch = None if sketch_size is None else GradientSketch(sizes, sketch_size, self.seed)
        if sketch_size is not None and sketch_size < 8 * self.length:
            raise InputError(f"sketch_size={sketch_size} is too small for {length} gradients: at least {8 * length}")
        self._values = torch.zeros(self.length, number)
        self._sketches = torch.zeros(self.length, sketch_size or 0)
        self._steps: list[int] = []  # of the rows that are kept, oldest first
        self._next = 0  # the row to write
        self.skipped = 0

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def ready(self) -> bool:
        """Whether as many gradients are there as the window keeps."""
        return len(self) == self.length

    def add(self, step: int, gradient: Sequence[Tensor | None], scale: float = 1.0) -> None:
        """Take up the gradient of a step, in tensors as the parameters; None for one without.

        It is divided by ``scale``, the loss scale of gradients that were not yet.
        One with a value that is not finite, in the sample or anywhere if there is a sketch, is counted in ``skipped``.

        Raises:
            InputError: tensors of other sizes.
        """
        values = self._places.take(gradient).float() / scale
        sketch = values.new_zeros(0) if self._sketch is None else self._sketch.of(gradient).cpu() / scale
        if not (torch.isfinite(values).all() and torch.isfinite(sketch).all()):
            self.skipped += 1
            return
        self._values[self._next], self._sketches[self._next] = values, sketch
        self._next = (self._next + 1) % self.length
        self._steps = [*self._steps, int(step)][-self.length :]

    def values(self) -> Tensor:
        """The sampled values, shape (T, coordinates), oldest first."""
        return self._in_order(self._values)

    def sketches(self) -> Tensor:
        """The sketches, shape (T, m), oldest first."""
        return self._in_order(self._sketches)

    def statistics(
        self, k: int = 1000, gaussian_k: int = 100, alpha: float = 0.05, vectors: int = 5
    ) -> WindowStatistics:
        """Of all gradients that are there.

        Args:
            k: largest magnitudes of a coordinate that a power law is fitted to; at most a third of T.
            gaussian_k: values of a coordinate that Gaussianity is tested on; at most T.
            alpha: significance level of the verdicts.
            vectors: how many leading eigenvectors the overlap is of, where each half of the window has as many.

        Raises:
            InputError: fewer than 16 gradients, or settings that are out of range.
        """
        if len(self) < FEWEST_STEPS:
            raise InputError(f"a window of {len(self)} gradients says nothing: at least {FEWEST_STEPS}")
        values = self.values()
        k, gaussian_k = lowered_k(count(k, "k", minimum=2), len(self)), min(count(gaussian_k, "gaussian_k"), len(self))
        spectrum, overlaps = self._spectral(count(vectors, "vectors"))
        fit = None if spectrum is None else _fit(spectrum)
        return WindowStatistics(
            first_step=self._steps[0],
            last_step=self._steps[-1],
            iterations=len(self),
            coordinates=values.shape[1],
            tests=gradient_tests(values, "iteration", k, gaussian_k, alpha, self.seed),
            stable_index=_stable_index(values),
            autocorrelation=_autocorrelation(values),
            spectrum=spectrum,
            spectrum_s=None if fit is None else fit[0],
            spectrum_d_ks=None if fit is None else fit[1],
            overlaps=overlaps,
        )

    def state_dict(self) -> dict[str, Any]:
        """All that was kept, for :meth:`load_state_dict` of a window of the same settings."""
        return {
            "settings": self._settings(),
            "values": self.values().clone(),
            "sketches": self.sketches().clone(),
            "steps": list(self._steps),
            "skipped": self.skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another window was.

        Raises:
            InputError: it has other settings.
        """
        if state["settings"] != self._settings():
            raise InputError(f"the state is of a window with {state['settings']}, this one has {self._settings()}")
        self._steps, self.skipped = list(state["steps"]), int(state["skipped"])
        self._values[: len(self)], self._sketches[: len(self)] = state["values"], state["sketches"]
        self._next = len(self) % self.length

    def _settings(self) -> dict[str, Any]:
        shapes = {"length": self.length, "coordinates": len(self.places), "sketch_size": self._sketches.shape[1]}
        return shapes | {"seed": self.seed, "first_coordinates": self.places[:5].tolist()}

    def _in_order(self, rows: Tensor) -> Tensor:
        return rows.roll(-self._next, dims=0) if self.ready else rows[: len(self)]

    def _spectral(self, vectors: int) -> tuple[SketchedSpectrum | None, np.ndarray | None]:
        if self._sketch is None:
            return None, None
        sketches = self.sketches().double()
        if bool((sketches == sketches[0]).all()):
            return None, None
        spectrum = sketched_spectrum(sketches, self._sketch.dimensions)
        older, newer = sketches[: len(self) // 2], sketches[len(self) // 2 :]
        k = min(vectors, len(older) - 1)
        ranks = [int(torch.linalg.matrix_rank(half - half.mean(dim=0), rtol=1e-3)) for half in (older, newer)]
        return spectrum, sketched_overlap(older, newer, k) if min(ranks) >= k else None


def _fit(spectrum: SketchedSpectrum) -> tuple[float, float] | None:
    values = spectrum.corrected[: spectrum.spectrum.rank]
    values = values[values > 0]
    k = len(values) // 3
    if k < 2 or values[0] == values[k - 1]:
        return None
    fit = fit_power_law(values, k)
    return fit.s, fit.d_ks


def _stable_index(values: Tensor) -> float | None:
    found = stable_index_rows(values.T.contiguous(), center=True)
    alpha = torch.as_tensor(found.alpha)[~torch.as_tensor(found.degenerate)]
    return float(alpha.median()) if len(alpha) and bool(torch.isfinite(alpha.median())) else None


def _autocorrelation(values: Tensor) -> float | None:
    """Sum of products of neighbours over the sum of squares, of every column less its mean."""
    x = values.double() - values.double().mean(dim=0)
    power = x.square().sum(dim=0)
    varying = power > 0
    return float(((x[1:] * x[:-1]).sum(dim=0)[varying] / power[varying]).mean()) if bool(varying.any()) else None
