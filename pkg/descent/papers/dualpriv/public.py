"""`PrivateGradients`: private gradients for any network, in a training loop of one's own.

It owns what the guarantee rests on: Poisson sampling, clipping of every record's gradient, noise, the number of steps and
the ledger. The optimiser is the user's; whatever it does with the gradients is post-processing. The arithmetic is that of
`dpsgd`: `clipped_sum`, `released`, `poisson_batches`; a block is one parameter tensor.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from descent.core.errors import SettingError, StudyError
from descent.core.settings import Setting, check
from descent.core.streams import Streams
from descent.papers.dualpriv.blocks import contiguous_blocks
from descent.papers.dualpriv.first_order import clipped_sum, released
from descent.papers.dualpriv.sampling import poisson_batches
from descent.papers.dualpriv.settings import SETTINGS
from descent.privacy.calibrate import epsilon
from descent.privacy.ledger import Ledger
from descent.privacy.witness import Witness

PUBLIC = {
    "target_epsilon": Setting("epsilon that the whole run may spend; infinite: no noise.", low=0, open_low=True),
    "target_delta": SETTINGS["delta"],
    "max_grad_norm": SETTINGS["clip_norm"],
    "steps": Setting("Number of private steps.", kind=int, low=1, high=10**6),
    "batch": SETTINGS["batch"],
    "keep": SETTINGS["keep"],
    "microbatch": Setting(
        "Records whose gradients are held at once; empty: the whole batch.",
        kind=int,
        default=None,
        low=1,
        optional=True,
    ),
}


class PrivateGradients(Iterator[int]):
    """Fills `.grad` of the model's trainable parameters with a private gradient, `steps` times.

        for step in PrivateGradients(net, loss, (x, y), target_epsilon=4., ...): optimiser.step()

    model: any module without layers that mix records; its frozen parameters are left alone. criterion(prediction, target)
    -> a number, called on batches of one record. data: (x, y), tensors of N records on the model's device; a record is
    one row of both, and neighbours differ in one record added or removed. batch: the expected batch; every record enters
    a step independently with probability batch / N. max_grad_norm: C; a record whose gradient is not finite counts as 0.
    keep: share of the parameter tensors whose gradient is kept, those of largest root mean square after the noise; the
    others' is 0 (Dual-Priv Pruning's mechanism 2). microbatch: records whose gradients are held at once. seed: leave it
    out; a run whose seed is known protects nobody.

    `noise_multiplier` is what the budget needs; `epsilon` is what has been spent so far. The generators are not
    cryptographic. Raises SettingError at construction; nothing is changed but `.grad`.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[[Tensor, Tensor], Tensor],
        data: tuple[Tensor, Tensor],
        *,
        target_epsilon: float,
        target_delta: float,
        steps: int,
        batch: int,
        max_grad_norm: float,
        keep: float = 1.0,
        microbatch: int | None = None,
        seed: int | None = None,
    ) -> None:
        check(
            "PrivateGradients", PUBLIC, target_epsilon=target_epsilon, target_delta=target_delta, steps=steps, batch=batch,
            max_grad_norm=max_grad_norm, keep=keep, microbatch=microbatch,
        )  # fmt: skip
        self.model, self.criterion = model, criterion
        self.parameters = _trainable(model)
        self.x, self.y = _records(data, next(iter(self.parameters.values())))
        if not callable(criterion):
            raise SettingError(
                f"PrivateGradients: `criterion` must be callable, criterion(prediction, target), got {criterion!r}"
            )
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise SettingError(f"PrivateGradients: `seed` must be a whole number or None, got {seed!r}")
        if round(keep * len(self.parameters)) < 1:
            raise SettingError(
                f"PrivateGradients: `keep` must keep at least one of the {len(self.parameters)} trainable tensors, got {keep}"
            )
        try:
            self.ledger = Ledger.open(
                budget=float(target_epsilon), delta=target_delta, records=len(self.x), batch=batch, steps=steps,
                clip_norm=float(max_grad_norm),
            )  # fmt: skip
        except StudyError as error:
            raise SettingError(str(error).replace("privacy:", "PrivateGradients:", 1)) from None
        self.keep, self.microbatch, self.steps_done = keep, microbatch, 0
        self._seed = secrets.randbits(127) if seed is None else seed
        self._streams = Streams("dualpriv")
        self._blocks = contiguous_blocks([p.numel() for p in self.parameters.values()], self._like.device)
        self._witness = Witness(self.ledger, (self._seed,), 1)
        self._per_sample = vmap(grad(self._loss), in_dims=(None, 0, 0), randomness="different")
        self._try_one_record()

    @property
    def noise_multiplier(self) -> float:
        """sigma: noise on the clipped sum over `max_grad_norm`."""
        return self.ledger.noise_multiplier

    @property
    def epsilon(self) -> float:
        """What the steps so far have spent, at `target_delta`; never more than `target_epsilon`."""
        book = self.ledger
        return epsilon(book.rate, book.noise_multiplier, self.steps_done, book.delta, book.accountant)

    @property
    def _like(self) -> Tensor:
        return next(iter(self.parameters.values()))

    def __iter__(self) -> PrivateGradients:
        return self

    def __next__(self) -> int:
        if self.steps_done == self.ledger.steps:
            self._witness.settle()
            raise StopIteration
        step = self.steps_done
        like = self._like
        batch = poisson_batches(self._streams, (self._seed,), self.ledger.records, self.ledger.rate, step, 1, 1)
        normal = self._streams.normal("noise", (self._seed,), (1, sum(self._blocks.sizes)), step, dtype=self._drawn)
        self._witness.see(step, batch.index.numpy(), batch.present.numpy(), normal.numpy())
        index = batch.index[0, 0][batch.present[0, 0] > 0].to(like.device)
        total = self._clipped_sum(index, step)
        with torch.no_grad():
            noise = normal[:, 0].to(like.device, like.dtype)
            update, _ = released(total, noise, total[:, :0], self.ledger, self._blocks, self.keep, "rms")
            for parameter, part in zip(self.parameters.values(), update[0].split(self._blocks.sizes), strict=True):
                parameter.grad = part.view_as(parameter).clone()
        self.steps_done += 1
        return step

    def _clipped_sum(self, index: Tensor, step: int) -> Tensor:
        """sum_i c_i g_i (1, p) of the batch; 0 of an empty one."""
        total = self._like.new_zeros(1, sum(self._blocks.sizes))
        for number, part in enumerate(index.split(self.microbatch or max(1, len(index)))):
            if len(part):
                gradients = self._gradients(self.x[part], self.y[part], step, number)
                pieces = [g.reshape(1, len(part), -1).contiguous() for g in gradients]
                total = total + clipped_sum(pieces, self.ledger.clip_norm)
        return total

    def _gradients(self, x: Tensor, y: Tensor, step: int, number: int) -> list[Tensor]:
        """(b, *shape) a parameter. Layers that draw (dropout) draw from a stream of their own."""
        fixed = {name: p.detach() for name, p in self.parameters.items()}
        devices = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self._streams.entropy("layers", self._seed, step, number) % 2**63)
            return list(self._per_sample(fixed, x, y).values())

    def _loss(self, parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return self.criterion(functional_call(self.model, parameters, (x[None],)), y[None])

    @property
    def _drawn(self) -> torch.dtype:
        return torch.float64 if self._like.dtype == torch.float64 else torch.float32

    def _try_one_record(self) -> None:
        buffers = [b.clone() for b in self.model.buffers()]
        try:
            self._gradients(self.x[:1], self.y[:1], 0, 0)
        except Exception as error:  # whatever the user's network says
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise SettingError(
                f"PrivateGradients: the gradient of one record cannot be taken: {reason}; `criterion` must give one number, "
                "and `model` must work on a batch of one record under torch.func.vmap"
            ) from None
        if any(not torch.equal(a, b) for a, b in zip(buffers, self.model.buffers(), strict=True)):
            raise SettingError(
                "PrivateGradients: `model` changes its buffers when called: they would hold private records"
            )


def _trainable(model: Any) -> dict[str, nn.Parameter]:
    if not isinstance(model, nn.Module):
        raise SettingError(f"PrivateGradients: `model` must be a torch.nn.Module, got {type(model).__name__}")
    for name, module in model.named_modules():
        mixes = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if mixes or getattr(module, "track_running_stats", False):
            raise SettingError(
                f"PrivateGradients: `model` has {type(module).__name__} ({name or 'itself'}), which mixes records, so that "
                "no record's gradient can be clipped; use GroupNorm or LayerNorm"
            )
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise SettingError("PrivateGradients: `model` has no trainable parameter (requires_grad)")
    kinds = {(p.dtype, p.device) for p in found.values()}
    if len(kinds) > 1 or not next(iter(found.values())).is_floating_point():
        named = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
        raise SettingError(
            f"PrivateGradients: trainable parameters must share one floating dtype and device, got {named}"
        )
    return found


def _records(data: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    if not isinstance(data, (tuple, list)) or len(data) != 2 or not all(isinstance(z, Tensor) for z in data):
        raise SettingError(f"PrivateGradients: `data` must be two tensors (x, y), got {type(data).__name__}")
    x, y = data
    if x.ndim < 1 or y.ndim < 1 or len(x) != len(y) or len(x) < 2:
        raise SettingError(
            f"PrivateGradients: x and y must hold the same number of records, two at least, got shapes {tuple(x.shape)} and "
            f"{tuple(y.shape)}"
        )
    if x.device != like.device or y.device != like.device:
        raise SettingError(
            f"PrivateGradients: `data` must lie on the model's device {like.device}, got {x.device}, {y.device}"
        )
    if x.is_floating_point() and x.dtype != like.dtype:
        raise SettingError(f"PrivateGradients: x must have the model's dtype {like.dtype}, got {x.dtype}")
    return x, y
