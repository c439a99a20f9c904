"""The phase diagram (E8): where the population loss has its minima, and where its saddle at the origin leads.

One table (quadrature.Tables) serves every (a, omega). Per point of the diagram: the global minimum over a grid of the
quarter disc, semantic (m > e) or positional; the direction of the steepest way out of the origin, from the Hessian; and
the number of local minima on the grid, its boundary included. R is even in e and in m, so a quarter shows all.

The grid is fitted to the disc, e = t sqrt(1 - m^2) with t and m in [0, 1]: on a square grid the steps of the circle's
edge would count as minima that are none.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job
from descent.core.records import Records
from descent.papers.ssi.quadrature import Tables, curvature, omega_dynamics, omega_global, tables

REGIONS = (
    "unique semantic minimum",
    "unique semantic minimum, positional dynamics",
    "unique positional minimum",
    "semantic global minimum, other minima",
    "semantic global minimum, positional dynamics, other minima",
    "positional global minimum, other minima",
)
SHOWN = (0.5, 0.68, 0.74, 0.9)  # of the four landscapes, at a = 1: one for every order of minimum and dynamics
WIDTHS, OMEGAS = (0.7, 1.0), (0.4, 1.0)  # of the official diagram [code]


def run(job: Job, context: Context) -> Records:
    records = Records()
    table = None
    for variant in job.variants:
        p = variant.params
        if table is None:
            table = disc(p["overlaps"], p["nodes"])
            _diagram(p["cells"], table, records)
            _landscapes(p["overlaps"], p["nodes"], records)
        width, seeds = p["width"], len(variant.seeds)
        c = curvature(width)
        values = {
            "omega_dynamics": omega_dynamics(width),
            "omega_global": omega_global(width),
            "curvature_m": c.mm,
            "curvature_e_0": c.ee_at_0,
            "curvature_e_1": c.ee_at_1,
        }
        for name, value in values.items():
            records.add(variant, name, [value] * seeds)
    return records


def _diagram(cells: int, table: Tables, records: Records) -> None:
    widths, omegas = (np.linspace(*ends, cells) for ends in (WIDTHS, OMEGAS))
    region, best = [], []
    for width in widths:
        loss = table.loss(torch.from_numpy(omegas), float(width))
        e, m = argmin(table, loss)
        positional = torch.from_numpy(omegas >= omega_dynamics(float(width)))
        region.append(regions(e, m, minima(loss), positional))
        best.append(torch.stack([e, m], -1))
    records.array("widths", widths)
    records.array("omegas", omegas)
    records.array("region", torch.stack(region).to(torch.int8))
    records.array("minimum", torch.stack(best))
    records.array("contour_omegas", np.array(SHOWN))


def _landscapes(points: int, n: int, records: Records) -> None:
    """R on a square grid at a = 1 for the drawing of contours and stream lines: R extends beyond the disc."""
    grid = torch.linspace(0, 1, points, dtype=torch.float64)
    square = tables(grid[:, None], grid, n)
    records.array("contours", square.loss(torch.tensor(SHOWN, dtype=torch.float64), 1.0))  # (omega, e, m)
    records.array("contour_axis", grid)


def disc(points: int, n: int) -> Tables:
    """The tables on points x points of the quarter disc: column m, rows t, e = t sqrt(1 - m^2)."""
    grid = torch.linspace(0, 1, points, dtype=torch.float64)
    return tables(grid[:, None] * (1 - grid**2).sqrt(), grid, n)


def argmin(table: Tables, loss: Tensor) -> tuple[Tensor, Tensor]:
    """(e, m), each (...), of the least point of loss (..., E, M)."""
    at = loss.flatten(-2).argmin(-1)
    return table.e.flatten()[at], table.m[at % len(table.m)]


def minima(loss: Tensor) -> Tensor:
    """The number of local minima (...) of loss (..., E, M) on the grid of `disc`: points below all of their neighbours.

    R is even, so the neighbours beyond an axis are those on its other side; beyond the disc there are none. Of equal
    neighbours the first counts. The last column, m = 1, is one point of the disc, with the whole column before it as
    neighbours.
    """
    body, corner = loss[..., :-1], loss[..., 0, -1]
    padded = torch.nn.functional.pad(loss, (0, 0, 0, 1), value=torch.inf)
    padded = torch.cat([padded[..., 1:2, :], padded], -2)
    padded = torch.cat([padded[..., :, 1:2], padded], -1)  # (..., E + 2, M + 1)
    rows, columns = body.shape[-2:]
    lowest = torch.ones_like(body, dtype=torch.bool)
    for i in (0, 1, 2):
        for j in (0, 1, 2):
            if (i, j) != (1, 1):
                other = padded[..., i : i + rows, j : j + columns]
                lowest &= (body < other) if (i, j) > (1, 1) else (body <= other)
    return lowest.sum((-2, -1)) + (corner < loss[..., :, -2].amin(-1))


def regions(e: Tensor, m: Tensor, count: Tensor, positional: Tensor) -> Tensor:
    """The index in REGIONS of every point: from the global minimum (e, m), the number of minima, and the dynamics."""
    semantic = m > e
    alone = count == 1
    return torch.where(
        semantic,
        torch.where(alone, positional.long(), 3 + positional.long()),
        torch.where(alone, torch.full_like(count, 2), torch.full_like(count, 5)),
    )
