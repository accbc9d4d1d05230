"""Products of the Hessian and of the generalised Gauss-Newton matrix with vectors, each in two ways."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp

from gradlaw._torch import pytree
from gradlaw.curvature.operators.mean_loss import MeanLoss, Theta
from gradlaw.curvature.operators.plain_loss import PlainLoss

Multiply = Callable[[Theta], Theta]


@dataclass(frozen=True)
class Product:
    """A matrix at theta, by its product with a tangent (one tensor a parameter).

    Attributes:
        name: of the matrix.
        forward: of (loss, inputs, targets, tangent), in functions of ``torch.func`` with forward-mode derivatives, to
            the product and the gradient that it was derived from.
        reverse: of (loss, inputs, targets), to the gradient and a function of the tangent; by reverse-mode derivatives
            alone, in the user's own parameter tensors.
    """

    name: str
    forward: Callable[[MeanLoss, Any, Any, Theta], tuple[Theta, Theta]]
    reverse: Callable[[PlainLoss, Any, Any], tuple[Theta, Multiply]]


def _hessian_forward(loss: MeanLoss, inputs: Any, targets: Any, tangent: Theta) -> tuple[Theta, Theta]:
    """Forward over reverse: the derivative of the gradient along the tangent (Pearlmutter 1994)."""

    def loss_of(theta: Theta) -> Tensor:
        return loss(theta, inputs, targets)

    gradient, along = jvp(grad(loss_of), (loss.theta,), (tangent,))[:2]
    return along, gradient


def _hessian_reverse(loss: PlainLoss, inputs: Any, targets: Any) -> tuple[Theta, Multiply]:
    gradient = pullback([loss(inputs, targets)], loss.parameters, None, create_graph=True)
    return gradient, lambda tangent: pullback(gradient, loss.parameters, tangent)


def _gauss_newton_forward(loss: MeanLoss, inputs: Any, targets: Any, tangent: Theta) -> tuple[Theta, Theta]:
    """J^T H_out J v: J of the model's outputs, H_out the Hessian of the loss in the outputs (Schraudolph 2002)."""

    def outputs_of(theta: Theta) -> Any:
        return loss.outputs(theta, inputs)

    def loss_of(outputs: Any) -> Tensor:
        return loss.of_outputs(outputs, targets)

    outputs, along = jvp(outputs_of, (loss.theta,), (tangent,))[:2]
    slope, curved = jvp(grad(loss_of), (outputs,), (along,))[:2]
    transposed = vjp(outputs_of, loss.theta)[1]
    return transposed(curved)[0], transposed(slope)[0]


def _gauss_newton_reverse(loss: PlainLoss, inputs: Any, targets: Any) -> tuple[Theta, Multiply]:
    leaves, tree = pytree.tree_flatten(loss.outputs(inputs))
    moving = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.requires_grad]
    outputs = [leaves[i] for i in moving]
    at = [leaf.detach().requires_grad_() for leaf in outputs]
    replaced = dict(zip(moving, at, strict=True))
    whole = pytree.tree_unflatten([replaced.get(i, leaf) for i, leaf in enumerate(leaves)], tree)
    slope = pullback([loss.of_outputs(whole, targets)], at, None, create_graph=True)
    # J v is the derivative of u -> J^T u, a linear function, taken backwards at any u.
    u = [torch.zeros_like(out).requires_grad_() for out in at]
    transposed = pullback(outputs, loss.parameters, u, create_graph=True)

    def multiply(tangent: Theta) -> Theta:
        along = pullback(transposed, u, tangent)
        return pullback(outputs, loss.parameters, pullback(slope, at, along))

    return pullback(outputs, loss.parameters, slope), multiply


def pullback(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Tensor] | None, create_graph: bool = False
) -> Theta:
    """``torch.autograd.grad`` with zeros wherever nothing depends on anything; cotangents in the outputs' types."""
    kept = [i for i, out in enumerate(outputs) if out.requires_grad]
    if not kept:
        return tuple(torch.zeros_like(x) for x in inputs)
    return torch.autograd.grad(
        [outputs[i] for i in kept],
        inputs,
        None if cotangents is None else [cotangents[i].to(outputs[i].dtype) for i in kept],
        retain_graph=True,
        create_graph=create_graph,
        materialize_grads=True,
    )


HESSIAN = Product("Hessian", _hessian_forward, _hessian_reverse)
GAUSS_NEWTON = Product("generalised Gauss-Newton", _gauss_newton_forward, _gauss_newton_reverse)
