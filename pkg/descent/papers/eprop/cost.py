"""What an update of a network costs: the study's stacked step, and a cell with autograd as in the official code (measured on request).

A call is one update of every seed: the stacked step makes all of them at once, the cells one after the other. Trials are drawn
beforehand and batches made by index arithmetic for both.
"""

# pyright: reportCallIssue=false, reportOperatorIssue=false, reportOptionalMemberAccess=false
# (parameters that are registered by name are no attributes to the checker)
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.tree import on_device, tree_map
from descent.papers.eprop.network import Parameters, initial
from descent.papers.eprop.reach_task import Trials, reach, reach_task, trial_numbers
from descent.papers.eprop.start import start_numbers
from descent.papers.eprop.training import SHARE, SHRINK, learner

CELLS = {"cell_bptt": "bptt", "cell_eprop": "eprop"}


def bench(job: Job, context: Context) -> dict[int, Callable[[], object]]:
    """Index of the variant -> one update of all its seeds."""
    return {number: workload(variant, context) for number, variant in enumerate(job.variants)}


def workload(variant: Variant, context: Context) -> Callable[[], object]:
    """The call of one variant; it returns the gradient of W of every seed (K, N, N) where the method is a cell, else the state."""
    p, seeds = variant.params, variant.seeds
    numbers = tree_map(lambda x: x.to(context.device), start_numbers(context.streams, seeds, p["units"], 3, 2))
    parameters = initial(numbers, gain=p["gain"])
    names = ("batch", "cue_delays", "hold_delays", "stratified")
    draw = trial_numbers(context.streams, seeds, **{name: p[name] for name in names})
    trials = tree_map(lambda x: x[0], on_device(draw(0, 1), context.device))
    tables = reach(context.data[p["recordings"]], device=context.device)
    if variant.method in CELLS:
        return _cells(parameters, lambda: tables.batch(trials, p["length"], p["stride"]), variant)
    task = reach_task(tables, draw, length=p["length"], stride=p["stride"])
    method = learner(
        task, rule=variant.method, lr=p["lr"], penalty=p["penalty"], alpha=p["alpha"], activation=p["activation"]
    )
    return _stacked(method, parameters, trials)


def _stacked(method, parameters: Parameters, trials: Trials) -> Callable[[], object]:
    kept = [method.init(parameters)]

    def call() -> object:
        with torch.no_grad():
            kept[0], _ = method.step(kept[0], trials)
        return kept[0]

    return call


class Cell(nn.Module):
    """One network as a module: a loop over steps, its sender detached for e-prop [code]."""

    def __init__(self, parameters: Parameters, row: int, *, alpha: float, detach: bool):
        super().__init__()
        for name, part in parameters._asdict().items():
            self.register_parameter(name, nn.Parameter(part[row].clone()))
        self.alpha, self.detach = alpha, detach

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (B, T, I) -> outputs (B, T, O) and rates (B, T, N)."""
        a = self.start.expand(x.shape[0], -1)
        h, outputs, rates = torch.relu(torch.tanh(a)), [], []
        for t in range(x.shape[1]):
            sender = h.detach() if self.detach else h
            a = a + self.alpha * (-a + sender @ self.W.T + x[:, t] @ self.U.T + self.b)
            h = torch.relu(torch.tanh(a))
            outputs.append(h @ self.V.T + self.c)
            rates.append(h)
        return torch.stack(outputs, 1), torch.stack(rates, 1)


def _cells(parameters: Parameters, batch_of: Callable, variant: Variant) -> Callable[[], Tensor]:
    """One update of each cell in turn, by torch's Adam."""
    p, detach = variant.params, CELLS[variant.method] == "eprop"
    cells = [Cell(parameters, row, alpha=p["alpha"], detach=detach) for row in range(len(variant.seeds))]
    optimisers = [torch.optim.Adam(cell.parameters(), lr=p["lr"]) for cell in cells]
    penalties = parameters.b.new_full((len(cells),), p["penalty"])

    def call() -> Tensor:
        found, batch = [], batch_of()
        for row, (cell, optimiser) in enumerate(zip(cells, optimisers, strict=True)):
            with torch.enable_grad():
                output, rates = cell(_rows_last(batch.x[row]))
                mask = _rows_last(batch.mask[row][..., None])
                main = ((output - _rows_last(batch.target[row])) * mask).square().sum() / (2 * mask.sum())
                optimiser.zero_grad()
                energy = rates.square().mean()
                (main + penalties[row] * energy).backward()
            found.append(cell.W.grad.clone())
            optimiser.step()
            with torch.no_grad():
                r = penalties[row]
                penalties[row] = torch.where(r * energy >= SHARE * main, r * SHRINK, r)
        return torch.stack(found)

    return call


def _rows_last(x: Tensor) -> Tensor:
    """(T, B, ...) -> (B, T, ...)."""
    return x.transpose(0, 1)
