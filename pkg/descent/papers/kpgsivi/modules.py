"""A user's own `nn.Module`, latent to mean, as the network of the family: what `Network` offers, by autograd."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from descent.core.errors import SettingError
from descent.papers.kpgsivi.network import Activations, Network


class ModuleNetwork:
    """module: (n, m) -> (n, d), one row a latent; it is copied, put in evaluation mode, and left as it is.

    A row's parameters (P,) are the module's trainable ones, flattened in their order. Rows are evaluated one after the other, and
    `pull` evaluates the module again: it costs a forward pass more than `Network`.
    """

    def __init__(self, module: nn.Module):
        self.copy = copy.deepcopy(module).eval()
        parts = {name: p for name, p in self.copy.named_parameters() if p.requires_grad}
        self.shapes = {name: p.shape for name, p in parts.items()}
        self.own = torch.cat([p.detach().flatten() for p in parts.values()])
        self.size = len(self.own)
        self.copy.requires_grad_(False)

    def start(self, uniforms: Tensor) -> Tensor:
        """The module's own parameters in every row (R, P); uniforms (R, P) say how many rows."""
        return self.own.to(uniforms).repeat(len(uniforms), 1)

    def __call__(self, params: Tensor, x: Tensor) -> Tensor:
        """The output (R, N, out) at x (R, N, in)."""
        return torch.stack([self._one(theta, row) for theta, row in zip(params, x, strict=True)])

    def activations(self, params: Tensor, x: Tensor) -> Activations:
        """The input and the output."""
        return [x, self(params, x)]

    def pull(self, params: Tensor, kept: Activations, slope: Tensor) -> Tensor:
        """Gradient (R, P) of sum(slope * output) in the parameters; slope (R, N, out)."""
        with torch.enable_grad():
            theta = params[:, : self.size].detach().requires_grad_()
            (found,) = torch.autograd.grad(self(theta, kept[0].detach()), theta, slope)
        return found

    def pull_input(self, params: Tensor, kept: Activations, slope: Tensor) -> Tensor:
        """Gradient (R, N, in) of sum(slope * output) in the input."""
        with torch.enable_grad():
            x = kept[0].detach().requires_grad_()
            (found,) = torch.autograd.grad(self(params[:, : self.size].detach(), x), x, slope)
        return found

    def module(self, params: Tensor) -> nn.Module:
        """A copy of the user's module with the parameters (P,)."""
        filled = copy.deepcopy(self.copy)
        filled.load_state_dict({**filled.state_dict(), **self._named(params)})
        for name, parameter in filled.named_parameters():
            parameter.requires_grad_(name in self.shapes)
        return filled

    def _one(self, theta: Tensor, x: Tensor) -> Tensor:
        return torch.func.functional_call(self.copy, self._named(theta), (x,))

    def _named(self, theta: Tensor) -> dict[str, Tensor]:
        parts = theta[: self.size].split([shape.numel() for shape in self.shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}


@dataclass(frozen=True)
class Started(Network):
    """A Network whose rows all start from `own` (P,)."""

    own: Tensor = field(compare=False, repr=False)

    def start(self, uniforms: Tensor) -> Tensor:
        """`own` in every row; uniforms (R, P) say how many."""
        return self.own.to(uniforms).repeat(len(uniforms), 1)


def generator(
    module: Any, latent: int, dim: int, dtype: torch.dtype, device: torch.device, owner: str
) -> Network | ModuleNetwork:
    """The user's module as the family's network. Linear and ReLU layers in turn, all trained, become a `Network`, whose adjoint
    is written out. Raises SettingError."""
    if not isinstance(module, nn.Module):
        raise SettingError(f"{owner}: `network` must be an nn.Module or empty, got {type(module).__name__}")
    trained = [p for p in module.parameters() if p.requires_grad]
    if not trained:
        raise SettingError(f"{owner}: `network` has no parameter to train")
    for p in module.parameters():
        if p.dtype != dtype or p.device != device:
            raise SettingError(
                f"{owner}: `network` must be of one dtype and device, those of the run ({dtype}, {device}), got {p.dtype} on {p.device}"
            )
    own = ModuleNetwork(module)
    trial = torch.zeros((2, latent), dtype=dtype, device=device)
    try:
        with torch.no_grad():
            got = own.copy(trial)
    except (RuntimeError, TypeError, ValueError) as error:
        raise SettingError(
            f"{owner}: `network` does not take latents (2, {latent}) ({str(error).splitlines()[0]}); `latent` is their dimension"
        ) from None
    if not isinstance(got, Tensor) or got.shape != (2, dim) or got.dtype != dtype:
        said = f"{tuple(got.shape)} of {got.dtype}" if isinstance(got, Tensor) else type(got).__name__
        raise SettingError(
            f"{owner}: `network` of latents (2, {latent}) must be a tensor (2, {dim}) of {dtype}, got {said}"
        )
    sizes = _layered(own.copy, len(trained))
    return Started(sizes, own.own) if sizes else own


def _layered(module: nn.Module, trained: int) -> tuple[int, ...]:
    """Widths of a Sequential of Linear and ReLU in turn, every parameter trained; empty for any other module."""
    if type(module) is not nn.Sequential:
        return ()
    layers = list(module)
    linear = [layer for layer in layers[::2] if type(layer) is nn.Linear and layer.bias is not None]
    between = [layer for layer in layers[1::2] if type(layer) is nn.ReLU]
    if len(linear) != (len(layers) + 1) // 2 or len(between) != len(linear) - 1 or trained != 2 * len(linear):
        return ()
    return (linear[0].in_features, *(layer.out_features for layer in linear))
