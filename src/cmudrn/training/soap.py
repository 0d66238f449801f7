"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

The weights of a recursive network act many times in every pass, so its loss is badly conditioned,
and its weights are few enough to learn their curvature, at little cost beside the network's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

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
        self.recording: RecordedMoves | None = None

    def record(self) -> None:
        """Record the moves on a CUDA card once and replay them.

        From the next step on every parameter of the one group has a gradient, and all have seen
        the same steps. The gradients stay in the same tensors: nothing may replace them.
        """
        if len(self.param_groups) != 1:
            raise ValueError("Moves of one group of parameters can be recorded.")
        self.recording = RecordedMoves()

    @torch.no_grad()
    def step(self, _closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            known = [parameter for parameter in moved if self._look(parameter)]
            if known:
                self._move_all(known, group["lr"], group["betas"], group["refresh"])

    def _look(self, parameter: Tensor) -> bool:
        """Return whether a parameter can move; its first gradient only begins its state."""
        state = self.state[parameter]
        if not state:
            state.update(first_state(by_axes(parameter.grad)))  # type: ignore[arg-type]
            return False
        state["step"] += 1
        return True

    def _move_all(
        self, parameters: list[Tensor], rate: float, betas: tuple[float, float], refresh: int
    ) -> None:
        states = [self.state[parameter] for parameter in parameters]
        if self.recording:
            step = int(states[0]["step"]) - 1
            self.recording(parameters, states, find_factors(rate, betas, step), betas)
        for parameter, state in zip(parameters, states, strict=True):
            step = int(state["step"]) - 1
            if not self.recording:
                move(parameter, state, find_factors(rate, betas, step), betas)
            if step % refresh == 0:
                for axis in range(state["exp_avg"].ndim if "basis.0" in state else 0):
                    refresh_basis(state, axis)


State = dict[str, Tensor]


class Factors(NamedTuple):
    """Numbers of a step: floats, or scalar tensors where steps are recorded.

    Attributes:
        rate: learning rate.
        mean: divisor of the gradient's mean, whose first values count too little.
        square: divisor of the mean of its square.
    """

    rate: float | Tensor
    mean: float | Tensor
    square: float | Tensor


def find_factors(rate: float, betas: tuple[float, float], step: int) -> Factors:
    """Return the numbers of a step, the first being 1."""
    return Factors(rate, 1 - betas[0] ** step, 1 - betas[1] ** step)


def move(parameter: Tensor, state: State, factors: Factors, betas: tuple[float, float]) -> None:
    """Move a parameter, and take its gradient into its state."""
    gradient = by_axes(parameter.grad)  # type: ignore[arg-type]
    bases = [state[f"basis.{i}"] for i in range(rotated_axes(gradient))]
    state["exp_avg"].lerp_(gradient, 1 - betas[0])
    turned = rotate(gradient, bases)
    state["exp_avg_sq"].lerp_(turned * turned, 1 - betas[1])
    mean = rotate(state["exp_avg"], bases) / factors.mean
    scale = (state["exp_avg_sq"] / factors.square).sqrt() + EPSILON
    change = rotate(mean / scale, [basis.T for basis in bases]).reshape(parameter.shape)
    if isinstance(factors.rate, Tensor):
        parameter.sub_(change * factors.rate)
    else:
        parameter.add_(change, alpha=-factors.rate)
    for axis in range(len(bases)):
        state[f"covariance.{axis}"].lerp_(covariance(gradient, axis), 1 - betas[1])


class RecordedMoves:
    """Moves of all parameters as one recorded graph of a CUDA card."""

    def __init__(self) -> None:
        self.graph: torch.cuda.CUDAGraph | None = None
        self.numbers = torch.zeros(0)

    def __call__(
        self,
        parameters: list[Tensor],
        states: list[State],
        factors: Factors,
        betas: tuple[float, float],
    ) -> None:
        """Move all parameters."""
        device = parameters[0].device
        if self.graph is None:
            self.numbers = torch.tensor(factors, device=device)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                for parameter, state in zip(parameters, states, strict=True):
                    move(parameter, state, Factors(*self.numbers.unbind()), betas)
        self.numbers.copy_(torch.tensor(factors))
        self.graph.replay()


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


def refresh_basis(state: State, axis: int) -> None:
    """Move an axis's basis towards its covariance's eigenvectors by one power iteration.

    The tensors stay where they are, for recorded moves.
    """
    basis = state[f"basis.{axis}"]
    product = state[f"covariance.{axis}"] @ basis
    order = (basis * product).sum(0).argsort(descending=True)
    state["exp_avg_sq"].copy_(state["exp_avg_sq"].index_select(axis, order))
    basis.copy_(torch.linalg.qr(product[:, order])[0])
