"""Which rule a layer has."""

from torch import Tensor, nn

from gradlaw.errors import InputError
from gradlaw.history.layers.any_layer import AnyLayer, is_plain_layer
from gradlaw.history.layers.attention import AttentionRule
from gradlaw.history.layers.base import LayerRule
from gradlaw.history.layers.convolution import ConvolutionRule
from gradlaw.history.layers.embedding import EmbeddingRule
from gradlaw.history.layers.linear import LinearRule
from gradlaw.history.layers.normalisation import (
    BatchNormRule,
    GroupNormRule,
    InstanceNormRule,
    LayerNormRule,
    RMSNormRule,
    takes_batch_statistics,
)

_ANY = AnyLayer()
_rules: dict[type[nn.Module], LayerRule] = {
    nn.Linear: LinearRule(),
    nn.Embedding: EmbeddingRule(),
    nn.MultiheadAttention: AttentionRule(),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), ConvolutionRule()),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), BatchNormRule()),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), InstanceNormRule()),
    nn.GroupNorm: GroupNormRule(),
    nn.LayerNorm: LayerNormRule(),
    nn.RMSNorm: RMSNormRule(),
}


def register(module_type: type[nn.Module], rule: LayerRule) -> None:
    """Let the layer-wise engine and the Gram matrix by layers use a rule for a type of layer.

    It counts from now on for every layer of this type, and for those of subclasses that do no more than construct
    themselves. A type that has a rule gets the new one. What the rule gives is compared with plain autograd on the
    first minibatches of every run and on some of the others: a rule that is wrong is refused, or left for another
    engine with a notice.

    Args:
        module_type: a subclass of ``torch.nn.Module``.
        rule: all that is known of it, see :class:`~gradlaw.history.layers.base.LayerRule`.

    Raises:
        InputError: no such type, or no rule.

    Example:
        >>> import torch
        >>> class Gain(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.gain = torch.nn.Parameter(torch.ones(()))
        ...     def forward(self, x):
        ...         return self.gain * x
        >>> class GainRule(LayerRule):
        ...     by_rows = True
        ...     def forward(self, layer, x, parameters, iterations):
        ...         return parameters["gain"] * x, x
        ...     def write(self, layer, name, saved, g, out):
        ...         out.copy_((g * saved).reshape(len(out), -1).sum(dim=1))
        >>> register(Gain, GainRule())
    """
    if not isinstance(module_type, type) or not issubclass(module_type, nn.Module):
        raise InputError(f"module_type must be a subclass of torch.nn.Module, got {module_type!r}")
    if not isinstance(rule, LayerRule):
        raise InputError(f"rule must be an instance of a subclass of LayerRule, got {rule!r}")
    _rules[module_type] = rule


def rule_of(module: nn.Module) -> LayerRule | None:
    """The rule of a module, None for those whose parameters are left to autograd.

    A subclass of a type that has a rule counts if it does no more than construct itself: one that overrides ``forward``
    or makes ``weight`` a computed property (:mod:`torch.nn.utils.parametrize`) is another layer.
    """
    rule = _registered(module)
    if rule is None and is_plain_layer(module) and not takes_batch_statistics(module):
        return _ANY
    return rule


def _registered(module: nn.Module) -> LayerRule | None:
    if "forward" in vars(module) or _has_computed_weight(module):
        return None
    for cls in type(module).__mro__:
        if cls in _rules:
            return _rules[cls] if _rules[cls].applies_to(module) else None
        if any(not name.startswith("__") for name in vars(cls)):
            return None
    return None


def _has_computed_weight(module: nn.Module) -> bool:
    """Whether a layer of PyTorch keeps a tensor that is neither parameter nor buffer: a weight that is made of its
    parameters before each call, as the older ``weight_norm``, ``spectral_norm`` and ``prune`` do.
    """
    return any(isinstance(value, Tensor) for value in vars(module).values())
