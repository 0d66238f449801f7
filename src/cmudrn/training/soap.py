"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

The weights of a recursive network act many times in every pass, so its loss is badly conditioned,
and its weights are few enough to learn their curvature, at little cost beside the network's own.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

EPSILON = 1e-8


class SOAP(torch.optim.Optimizer):
    """Adam on gradients rotated into the eigenbases of their covariances.

    A convolution's gradient is seen as (outputs, inputs, kernel points); each of the three axes
    has its own covariance and basis. Other parameters get plain Adam. The first step only looks.

    State of each parameter, all float32, all of it needed to go on bit for bit: "step",
    "exp_avg", "exp_avg_sq" and for each axis i "covariance.i" and "basis.i".

    Args:
        params: parameters.
        lr: learning rate, as for Adam.
        betas: decay of the gradient's mean, and of its square and covariances.
        refresh: steps between updates of the bases.

    References:
        Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", ICLR 2025.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.95, 0.95),
        refresh: int = 10,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "refresh": refresh})

    @torch.no_grad()
    def step(self, _closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group["lr"], group["betas"], group["refresh"])

    def _move(
        self, parameter: Tensor, rate: float, betas: tuple[float, float], refresh: int
    ) -> None:
        gradient, state = by_axes(parameter.grad), self.state[parameter]  # type: ignore[arg-type]
        if not state:
            state.update(first_state(gradient))
            return
        state["step"] += 1
        step = int(state["step"]) - 1
        bases = [state[f"basis.{i}"] for i in range(rotated_axes(gradient))]
        state["exp_avg"].lerp_(gradient, 1 - betas[0])
        turned = rotate(gradient, bases)
        state["exp_avg_sq"].lerp_(turned * turned, 1 - betas[1])
        mean = rotate(state["exp_avg"], bases) / (1 - betas[0] ** step)
        scale = (state["exp_avg_sq"] / (1 - betas[1] ** step)).sqrt() + EPSILON
        change = rotate(mean / scale, [basis.T for basis in bases])
        parameter.add_(change.reshape(parameter.shape), alpha=-rate)
        for axis, basis in enumerate(bases):
            state[f"covariance.{axis}"].lerp_(covariance(gradient, axis), 1 - betas[1])
            if step % refresh == 0:
                refresh_basis(state, axis, basis)


def by_axes(gradient: Tensor) -> Tensor:
    """Return a convolution's gradient as (outputs, inputs, kernel points), others as a vector.

    It and all state are contiguous, as they come back from a checkpoint: sums in another order
    would round otherwise.
    """
    axes = gradient.flatten(2) if gradient.ndim == 4 else gradient.flatten()
    return axes.float().contiguous()


def rotated_axes(gradient: Tensor) -> int:
    """Return how many axes of a gradient have a basis of their own."""
    return gradient.ndim if gradient.ndim > 1 else 0


def covariance(gradient: Tensor, axis: int) -> Tensor:
    """Return the (d, d) sum over all other axes of the outer products along one."""
    rows = gradient.movedim(axis, 0).flatten(1)
    return rows @ rows.T


def rotate(tensor: Tensor, bases: list[Tensor]) -> Tensor:
    """Return a tensor with every axis multiplied by its (d, d) basis."""
    for basis in bases:  # each product moves the first axis to the end: after all, order is back
        tensor = torch.tensordot(tensor, basis, dims=([0], [0]))
    return tensor


def first_state(gradient: Tensor) -> dict[str, Tensor]:
    """Return a parameter's state after its first gradient."""
    state = {
        "step": torch.tensor(1.0),
        "exp_avg": torch.zeros_like(gradient),
        "exp_avg_sq": torch.zeros_like(gradient),
    }
    for axis in range(rotated_axes(gradient)):
        state[f"covariance.{axis}"] = covariance(gradient, axis)
        state[f"basis.{axis}"] = eigenvectors(state[f"covariance.{axis}"]).flip(1).contiguous()
    return state


def eigenvectors(covariance: Tensor) -> Tensor:
    """Return the (d, d) eigenvectors of a covariance, one in each column, by rising eigenvalues.

    LAPACK's routine for float32 fails, or returns no numbers, on some singular matrices, as the
    first gradients of a tiny batch have them. Float64 serves there.
    """
    try:
        vectors: Tensor = torch.linalg.eigh(covariance)[1]
    except RuntimeError:  # torch.linalg.LinAlgError is one
        vectors = torch.full_like(covariance, torch.nan)
    if bool(vectors.isfinite().all()):
        return vectors
    precise: Tensor = torch.linalg.eigh(covariance.double())[1]
    return precise.to(covariance.dtype)


def refresh_basis(state: dict[str, Tensor], axis: int, basis: Tensor) -> None:
    """Move an axis's basis towards its covariance's eigenvectors by one power iteration."""
    product = state[f"covariance.{axis}"] @ basis
    order = (basis * product).sum(0).argsort(descending=True)
    state["exp_avg_sq"] = state["exp_avg_sq"].index_select(axis, order)
    state[f"basis.{axis}"] = torch.linalg.qr(product[:, order])[0].contiguous()
