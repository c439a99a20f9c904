"""Any `nn.Module` and loss as a network of rows: functional_call for one model, vmap over the rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from descent.core.errors import SettingError
from descent.papers.pfedsop.network import Network


class ModuleNetwork(Network):
    """model: its trainable parameters are a row, the rest and its buffers stay as they are. loss(output, target) -> scalar, a mean.

    Raises SettingError for modules that cannot be copied a client: those that keep statistics of batches or draw from the
    global random state.
    """

    def __init__(self, model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]):
        for name, module in model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
                raise SettingError(
                    f"train: the module `{name}` keeps running statistics, which clients cannot share by their updates; "
                    "use GroupNorm or LayerNorm"
                )
            if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 and module.training:
                raise SettingError(
                    f"train: the module `{name}` draws from the global random state; set its p to 0 or call model.eval()"
                )
        own = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not own:
            raise SettingError("train: the model has no trainable parameters")
        kinds = {(p.dtype, p.device) for p in own.values()}
        if len(kinds) > 1:
            raise SettingError("train: the model's parameters must have one dtype and lie on one device")
        self.model, self.loss = model, loss
        self.shapes = {name: p.shape for name, p in own.items()}
        self.sizes = [math.prod(shape) for shape in self.shapes.values()]
        self.size, self.head = sum(self.sizes), 0
        self.start = torch.cat([p.detach().flatten() for p in own.values()])
        self._gradient = vmap(grad(self._loss))

    def named(self, params: Tensor) -> dict[str, Tensor]:
        """(..., d) -> each trainable parameter (..., *shape), views."""
        parts = params.split(self.sizes, -1)
        return {
            name: part.unflatten(-1, shape) if len(shape) else part.squeeze(-1)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def _call(self, params: Tensor, x: Tensor) -> Tensor:
        return functional_call(self.model, self.named(params), (x,))

    def _loss(self, params: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return self.loss(self._call(params, x), y)

    def gradient(self, params: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return self._gradient(params, x, y)

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """(R, B, ...): outputs of rows (R, d) on the same x (B, ...), or on a batch of their own (R, B, ...)."""
        return vmap(self._call)(params, x)
