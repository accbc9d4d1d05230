"""Products of the Hessian and of the generalised Gauss-Newton matrix with vectors, each in two ways."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp
from torch.utils import _pytree as pytree

from gradlaw.curvature.mean_loss import MeanLoss, Theta

Multiply = Callable[[Theta], Theta]


@dataclass(frozen=True)
class Product:
    """A matrix at theta, by its product with a tangent (one tensor a parameter).

    Attributes:
        name: of the matrix.
        forward: of (loss, inputs, targets, tangent), in functions of ``torch.func`` with forward-mode derivatives.
        reverse: of (loss, inputs, targets), to a function of the tangent; by reverse-mode derivatives alone, which
            every operation has that can be differentiated twice.
    """

    name: str
    forward: Callable[[MeanLoss, Any, Any, Theta], Theta]
    reverse: Callable[[MeanLoss, Any, Any], Multiply]


def _hessian_forward(loss: MeanLoss, inputs: Any, targets: Any, tangent: Theta) -> Theta:
    """Forward over reverse: the derivative of the gradient along the tangent (Pearlmutter 1994)."""

    def loss_of(theta: Theta, targets: Any) -> Tensor:
        return loss(theta, inputs, targets)

    return _derivative(grad(loss_of), loss.theta, tangent, targets)


def _hessian_reverse(loss: MeanLoss, inputs: Any, targets: Any) -> Multiply:
    theta = _leaves(loss.theta)
    gradient = _pullback([loss(theta, inputs, targets)], theta, None, create_graph=True)
    return lambda tangent: _pullback(gradient, theta, tangent)


def _gauss_newton_forward(loss: MeanLoss, inputs: Any, targets: Any, tangent: Theta) -> Theta:
    """J^T H_out J v: J of the model's outputs, H_out the Hessian of the loss in the outputs (Schraudolph 2002)."""

    def outputs_of(theta: Theta) -> Any:
        return loss.outputs(theta, inputs)

    outputs, along = jvp(outputs_of, (loss.theta,), (tangent,))[:2]
    curved = _derivative(grad(loss.of_outputs), outputs, along, targets)
    return vjp(outputs_of, loss.theta)[1](curved)[0]


def _gauss_newton_reverse(loss: MeanLoss, inputs: Any, targets: Any) -> Multiply:
    theta = _leaves(loss.theta)
    outputs, tree = pytree.tree_flatten(loss.outputs(theta, inputs))
    at = _leaves(outputs)
    slope = _pullback([loss.of_outputs(pytree.tree_unflatten(at, tree), targets)], at, None, create_graph=True)
    # J v is the derivative of u -> J^T u, a linear function, taken backwards at any u.
    u = _leaves([torch.zeros_like(out) for out in outputs])
    transposed = _pullback(outputs, theta, u, create_graph=True)

    def multiply(tangent: Theta) -> Theta:
        along = _pullback(transposed, u, tangent)
        return _pullback(outputs, theta, _pullback(slope, at, along))

    return multiply


def _derivative(function: Callable[..., Any], point: Any, tangent: Any, targets: Any) -> Any:
    """The derivative of function(point, targets) along a tangent of the point.

    Floating-point targets get a tangent of zeros: torch (2.13) crashes in mse_loss if they have none.
    """
    leaves, tree = pytree.tree_flatten(targets)
    floating = [i for i, leaf in enumerate(leaves) if leaf.is_floating_point()]

    def of(point: Any, *moved: Tensor) -> Any:
        replaced = dict(zip(floating, moved, strict=True))
        return function(point, pytree.tree_unflatten([replaced.get(i, leaf) for i, leaf in enumerate(leaves)], tree))

    values = [leaves[i] for i in floating]
    return jvp(of, (point, *values), (tangent, *map(torch.zeros_like, values)))[1]


def _leaves(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(t.detach().requires_grad_() for t in tensors)


def _pullback(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Tensor] | None, create_graph: bool = False
) -> Theta:
    """``torch.autograd.grad`` with zeros wherever nothing depends on anything."""
    kept = [i for i, out in enumerate(outputs) if out.requires_grad]
    if not kept:
        return tuple(torch.zeros_like(x) for x in inputs)
    return torch.autograd.grad(
        [outputs[i] for i in kept],
        inputs,
        None if cotangents is None else [cotangents[i] for i in kept],
        retain_graph=True,
        create_graph=create_graph,
        materialize_grads=True,
    )


HESSIAN = Product("Hessian", _hessian_forward, _hessian_reverse)
GAUSS_NEWTON = Product("generalised Gauss-Newton", _gauss_newton_forward, _gauss_newton_reverse)
