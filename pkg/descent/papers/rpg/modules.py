"""A user's own `nn.Module`, observation to mean action, as a Gaussian policy."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from descent.core.errors import SettingError
from descent.papers.rpg.network import MeanGaussian


class ModuleGaussian(MeanGaussian):
    """module: (n, *shape) -> (n, A), one row an observation; it is copied, put in evaluation mode, and left as it is.

    theta are its parameters, flattened in their order (those that need no gradient stay fixed). Raises SettingError.
    """

    def __init__(self, module: nn.Module, shape: Sequence[int], action_size: int, *, variance: float, owner: str):
        super().__init__(action_size, variance=variance)
        self.module, self.shape = copy.deepcopy(module).eval(), tuple(shape)
        self.names = [name for name, p in self.module.named_parameters() if p.requires_grad]
        if not self.names:
            raise SettingError(f"{owner}: `policy` has no parameter to train")
        parts = dict(self.module.named_parameters())
        self._shapes = [parts[name].shape for name in self.names]
        self._counts = [shape.numel() for shape in self._shapes]
        self.size, first = sum(self._counts), parts[self.names[0]]
        if len({parts[name].dtype for name in self.names}) > 1 or not first.is_floating_point():
            raise SettingError(f"{owner}: the parameters of `policy` must have one floating-point dtype")
        self.dtype, self.device = first.dtype, first.device
        trial = torch.zeros((2, *self.shape), dtype=self.dtype, device=self.device)
        try:
            with torch.no_grad():
                got = tuple(self.module(trial).shape)
        except (RuntimeError, TypeError) as error:
            raise SettingError(
                f"{owner}: `policy` does not take observations {tuple(trial.shape)} ({str(error).splitlines()[0]})"
            ) from None
        if got != (2, action_size):
            raise SettingError(
                f"{owner}: `policy` must give the mean actions (n, {action_size}) of n observations, got {got} for 2"
            )

    def start(self) -> Tensor:
        """(d,) the parameters that the user's module has."""
        parts = dict(self.module.named_parameters())
        return torch.cat([parts[name].detach().flatten() for name in self.names])

    def mean(self, theta: Tensor, states: Tensor) -> Tensor:
        """See `MeanGaussian`."""
        return torch.func.vmap(self._one)(theta, states)

    def _one(self, theta: Tensor, states: Tensor) -> Tensor:
        parameters = {
            name: part.view(shape)
            for name, part, shape in zip(self.names, theta.split(self._counts), self._shapes, strict=True)
        }
        return torch.func.functional_call(self.module, parameters, (states.unflatten(-1, self.shape),))

    def filled(self, theta: Tensor) -> nn.Module:
        """A copy of the user's module with the parameters theta (d,)."""
        module = copy.deepcopy(self.module)
        parts = dict(module.named_parameters())
        with torch.no_grad():
            for name, part in zip(self.names, theta.split(self._counts), strict=True):
                parts[name].copy_(part.view_as(parts[name]))
        return module
