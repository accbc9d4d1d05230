"""Hooks of the user's that gradients pass through: plain autograd alone runs them as a training does."""

from gradlaw._torch import gradient_hooks, has_backward_hook
from gradlaw.errors import InputError, listed
from gradlaw.problem import Problem


def hooked(problem: Problem) -> list[str]:
    """The parameters and modules whose gradients pass through hooks."""
    places = [part.name for part, p in zip(problem.layout, problem.parameters(), strict=True) if gradient_hooks(p)[0]]
    modules = ((name or type(module).__name__, module) for name, module in problem.model.named_modules())
    return [*places, *(name for name, module in modules if has_backward_hook(module))]


def refuse_gradient_hooks(problem: Problem) -> None:
    """Refuse a problem whose gradients pass through hooks, for what computes them for many minibatches at once.

    Such a hook gets the gradient of one minibatch (to clip it, to replace what is not finite), and what it makes of
    that of several at once is something else.

    Raises:
        InputError: there are some; the message says where.
    """
    places = hooked(problem)
    if places:
        raise InputError(f"hooks on gradients (of {listed(places)}) are run by plain autograd alone")


def late_hook_notices(problem: Problem) -> list[str]:
    """What is to be said of hooks that change ``.grad`` once a gradient is there, which is no part of the gradient."""
    late = [part.name for part, p in zip(problem.layout, problem.parameters(), strict=True) if gradient_hooks(p)[1]]
    if not late:
        return []
    return [
        f"hooks act on .grad after the backward pass (register_post_accumulate_grad_hook of {listed(late)}); gradients "
        "here are those that the backward pass delivers, before such hooks"
    ]
