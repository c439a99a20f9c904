"""pFedSOP on one's own clients: `train` for a list of data sets and an `nn.Module`, `personalise` for one's own federated loop.

Thin: the method, the draws and the local runs are those of the study.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.core.tree import on_device, tree_map
from descent.papers.pfedsop.federation import Federation
from descent.papers.pfedsop.methods import METHODS
from descent.papers.pfedsop.module import ModuleNetwork
from descent.papers.pfedsop.personalisation import angle, damped, gompertz, mixture
from descent.papers.pfedsop.rounds import Rounds
from descent.papers.pfedsop.second_order import Info
from descent.papers.pfedsop.settings import check_all

Data = tuple[Tensor, Tensor]
Model = TypeVar("Model", Tensor, Mapping[str, Tensor])
OFFERED = ("pfedsop", "carry", "local", "fedavg", "fedprox", "ditto", "pfedme")
OF_SOP = ("pfedsop", "carry")


class PersonalModels(NamedTuple):
    """What `train` gives back. K clients, R rounds; with a sequence of seeds every tensor has them as an axis.

    parameters: name -> (K, *shape), or (S, K, *shape). history: metric -> (R,), or (R, S). diverged: () or (S,) bool.
    """

    parameters: dict[str, Tensor]
    history: dict[str, Tensor]
    diverged: Tensor
    model: nn.Module  # the one that was given, unchanged

    def module(self, client: int, seed: int = 0) -> nn.Module:
        """A copy of the model with client's parameters. seed: position in the sequence of seeds, where there is one."""
        many = self.diverged.dim() == 1
        own = copy.deepcopy(self.model)
        with torch.no_grad():
            for name, parameter in own.named_parameters():
                if name in self.parameters:
                    values = self.parameters[name]
                    parameter.copy_((values[seed] if many else values)[client])
        return own


def train(
    model: nn.Module,
    clients: Sequence[Data],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    rounds: int,
    participants: int,
    local_steps: int = 20,
    batch: int = 10,
    local_lr: float = 0.01,
    lr: float | None = None,
    rho: float = 100.0,
    sharpness: float = 1.0,
    method: str = "pfedsop",
    test: Sequence[Data] | None = None,
    seed: int | Sequence[int] = 0,
    callback: Callable[[int, dict[str, Tensor]], None] | None = None,
) -> PersonalModels:
    """A model of its own for every client, by pFedSOP or by a baseline of the study.

    model: where all clients start; it stays as it is. clients: (x, y) of each, samples first. loss(output, target) -> mean.
    rounds, participants: communication rounds, and how many clients take part in each. local_steps, batch, local_lr: the
    paper's T, B, eta2. lr: eta1, by default 10 local_lr rho; rho: weigh it by T^2, updates being sums of T gradients.
    method: pfedsop, carry (its other reading), local, fedavg, fedprox, ditto, pfedme.
    test: (x, y) of each client; gives history["loss"], and history["accuracy"] where targets are class numbers.
    callback(round, metrics): after every round; raising StopIteration ends the training.
    Raises SettingError, before anything is trained, for input that does not fit.
    """
    check_all(
        "train", rounds=rounds, participants=participants, local_steps=local_steps, batch=batch, local_step_size=local_lr,
        step_size=lr, rho=rho, sharpness=sharpness,
    )  # fmt: skip
    if not isinstance(model, nn.Module):
        raise SettingError(f"train: `model` must be an nn.Module, got {type(model).__name__}")
    if method not in OFFERED:
        raise SettingError(f"train: `method` must be one of {', '.join(OFFERED)}, got {method!r}")
    network = ModuleNetwork(model, loss)
    _check_data("clients", clients, network)
    if participants > len(clients):
        raise SettingError(f"train: `participants` must lie in [1, {len(clients)}] (the clients), got {participants}")
    if test is not None:
        _check_data("test", test, network)
        if len(test) != len(clients):
            raise SettingError(f"train: `test` must have an entry for each of {len(clients)} clients, got {len(test)}")
    alone = isinstance(seed, int)
    seeds = (seed,) if alone else tuple(seed) if isinstance(seed, Sequence) else ()
    if not seeds or not all(isinstance(s, int) and not isinstance(s, bool) for s in seeds):
        raise SettingError(f"train: `seed` must be a whole number or a sequence of them, got {seed!r}")
    federation = federation_of(network, clients, seeds, rounds, participants, local_steps, batch, local_lr)
    own = {"step_size": lr, "rho": rho, "sharpness": sharpness} if method in OF_SOP else {}
    played = METHODS[method](federation, **own)
    assert played.draw is not None, "every method has rounds"
    state, history = played.init(), []
    with torch.no_grad():
        for k in range(rounds):
            noise = tree_map(lambda x: x[0], on_device(played.draw(k, 1), network.start.device))
            state, info = played.step(state, noise)
            metrics = _tested(network, state.personal, test, len(clients)) | _observed(info)
            history.append(metrics)
            try:
                if callback is not None:
                    callback(k + 1, {name: value[0] if alone else value for name, value in metrics.items()})
            except StopIteration:
                break
    personal = state.personal.expand(-1, len(clients), -1).contiguous()
    diverged = ~personal.isfinite().flatten(1).all(1)
    table = {name: torch.stack([m[name] for m in history]) for name in history[0]}
    return PersonalModels(
        network.named(personal[0] if alone else personal),
        {name: value[:, 0] if alone else value for name, value in table.items()},
        diverged[0] if alone else diverged,
        model,
    )


def federation_of(
    network: ModuleNetwork,
    clients: Sequence[Data],
    seeds: Sequence[int],
    rounds: int,
    participants: int,
    local_steps: int,
    batch: int,
    local_lr: float,
) -> Federation:
    """The federation that `train` trains: the clients' samples as one pool, all seeds from the model as it is."""
    sizes = [len(x) for x, _ in clients]
    edges = np.cumsum([0, *sizes])
    numbers = [np.arange(a, b) for a, b in pairwise(edges.tolist())]
    draws = Rounds(
        Streams("pfedsop"), f"own {len(clients)}", seeds, [numbers] * len(seeds), rounds=rounds, participants=participants,
        local_steps=local_steps, batch=batch,
    )  # fmt: skip
    x, y = (torch.cat([part[i].detach() for part in clients]) for i in (0, 1))
    start = network.start.expand(len(seeds), -1)
    counts = torch.tensor([sizes] * len(seeds)).to(start.device)
    return Federation(network, x, y, counts, start, draws, local_step_size=local_lr)


def _check_data(what: str, parts: Sequence[Data], network: ModuleNetwork) -> None:
    if len(parts) == 0:
        raise SettingError(f"train: `{what}` is empty")
    start = network.start
    for i, part in enumerate(parts):
        if not (isinstance(part, (tuple, list)) and len(part) == 2 and all(isinstance(p, Tensor) for p in part)):
            raise SettingError(f"train: entry {i} of `{what}` must be a pair of tensors (x, y)")
        x, y = part
        if x.dim() == 0 or len(x) == 0 or len(x) != len(y):
            sizes = f"{tuple(x.shape)} and {tuple(y.shape)}"
            raise SettingError(
                f"train: entry {i} of `{what}` must have one target a sample and a sample at least, got {sizes}"
            )
        if x.is_floating_point() and x.dtype != start.dtype:
            raise SettingError(f"train: entry {i} of `{what}` is {x.dtype}, the model's parameters are {start.dtype}")
        if x.device != start.device or y.device != start.device:
            raise SettingError(f"train: entry {i} of `{what}` lies on {x.device}, the model on {start.device}")


def _tested(network: ModuleNetwork, personal: Tensor, test: Sequence[Data] | None, clients: int) -> dict[str, Tensor]:
    """Means over all clients' test samples, (S,) each."""
    if test is None:
        return {}
    models = personal.expand(-1, clients, -1)
    right, lost, count = 0, models.new_zeros(()), 0
    for i, (x, y) in enumerate(test):
        outputs = network.logits(models[:, i], x.expand(len(models), *x.shape))
        lost = lost + torch.stack([network.loss(output, y) for output in outputs]) * len(y)
        if not y.is_floating_point() and outputs.dim() == 3:
            right = right + (outputs.argmax(-1) == y).sum(1)
        count += len(y)
    found = {"loss": lost / count}
    if isinstance(right, Tensor):
        found["accuracy"] = right / count
    return found


def _observed(info: object) -> dict[str, Tensor]:
    """Of pFedSOP: mean angle and weight of the round's participants that made a step, NaN where none did."""
    if not isinstance(info, Info):
        return {}
    return {
        name: torch.where(info.warm, values, torch.nan).nanmean(1)
        for name, values in (("angle", info.angle), ("mix", info.mix))
    }


def personalise(
    x: Model, own: Model | None, shared: Model | None, *, lr: float, rho: float = 100.0, sharpness: float = 1.0
) -> Model:
    """The client's half of a round: x - lr s, s the damped mixture of its own last update and the global one.

    x, own, shared: tensors of one shape (the last axis is d, others are free), or mappings of the same names to tensors, such
    as a state_dict's floating-point part. own: (start - end of the client's last local run) / its step size; shared: the mean
    of the participants' `own` in the previous round. Where either is None (nothing sent yet) x comes back as it is.
    """
    check_all("personalise", step_size=lr, rho=rho, sharpness=sharpness)
    if lr is None:
        raise SettingError("personalise: `lr` must be a number, got None")
    if own is None or shared is None:
        return x
    if isinstance(x, Tensor):
        if not isinstance(own, Tensor) or not isinstance(shared, Tensor) or not x.shape == own.shape == shared.shape:
            raise SettingError("personalise: `x`, `own` and `shared` must be tensors of one shape")
        return x - lr * damped(mixture(own, shared, gompertz(angle(own, shared), sharpness)), rho)
    if isinstance(own, Tensor) or isinstance(shared, Tensor) or not set(x) == set(own) == set(shared):
        raise SettingError("personalise: `x`, `own` and `shared` must name the same tensors")
    flat = [torch.cat([values[name].flatten() for name in x]) for values in (x, own, shared)]
    moved = personalise(*flat, lr=lr, rho=rho, sharpness=sharpness)
    parts = moved.split([x[name].numel() for name in x])
    return {name: part.view_as(x[name]) for name, part in zip(x, parts, strict=True)}
