"""Initialisations of linear and convolutional layers; every other layer keeps PyTorch's own."""

from collections.abc import Callable

from torch import Tensor, nn

from gradlaw.choices import INITIALISATIONS, InitialisationName
from gradlaw.errors import unknown

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _normal(weight: Tensor) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def _paddle(weight: Tensor) -> None:
    """PaddlePaddle's defaults: Xavier's for linear layers, normal with variance 2 / fan_in for convolutions."""
    if weight.ndim == 2:
        nn.init.xavier_uniform_(weight)
    else:
        _normal(weight)


_WEIGHTS: dict[InitialisationName, Callable[[Tensor], object]] = {
    "paddle": _paddle,
    "kaiming": _normal,
    "xavier": nn.init.xavier_uniform_,
}


def initialise(model: nn.Module, name: InitialisationName) -> None:
    """Draw weights anew from the global random state, and set biases to zero, in place.

    Args:
        model: whose linear and convolutional layers are initialised.
        name: ``"pytorch"`` leaves the model as PyTorch made it; ``"paddle"``: PaddlePaddle's documented defaults;
            ``"kaiming"``: normal with variance 2 / fan_in (He et al. 2015); ``"xavier"``: uniform with variance
            2 / (fan_in + fan_out) (Glorot and Bengio 2010).

    Raises:
        InputError: an unknown name.
    """
    if name not in INITIALISATIONS:
        raise unknown("initialisation", name, INITIALISATIONS)
    if name == "pytorch":
        return
    for layer in model.modules():
        if isinstance(layer, _LAYERS):
            _WEIGHTS[name](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
