"""Slow twins: one seed at a time, torch.nn, autograd and torch.optim, written from the papers and not from the room."""

import math
from itertools import pairwise as neighbours

import torch
from torch import nn


def network(sizes, flat):
    """A torch.nn network with the parameters of one row (weight, bias, layer by layer)."""
    layers, at = [], 0
    for n, m in neighbours(sizes):
        linear = nn.Linear(n, m, dtype=flat.dtype)
        linear.weight.data = flat[at : at + n * m].reshape(m, n).clone()
        linear.bias.data = flat[at + n * m : at + n * m + m].clone()
        layers += [linear, nn.ReLU()]
        at += n * m + m
    return nn.Sequential(*layers[:-1])


class Twin:
    """The family of one seed: a network and a log variance, both leaves of autograd."""

    def __init__(self, family, flat):
        self.family = family
        sizes = (family.latent, family.hidden, family.hidden, family.dim)
        self.mu = network(sizes, flat)
        self.logvar = nn.Parameter(flat[-family.dim :].clone())

    def parameters(self):
        return [*self.mu.parameters(), self.logvar]

    @property
    def sigma(self):
        return torch.exp(torch.max(self.logvar, torch.tensor(self.family.floor, dtype=self.logvar.dtype)) / 2)

    def flat(self, tensors=None):
        return torch.cat([x.detach().reshape(-1) for x in (tensors or self.parameters())])

    def gradient(self, loss):
        return self.flat(torch.autograd.grad(loss, self.parameters()))

    def log_q(self, z, eps):
        """log q(z_i | eps_k) (N, K)."""
        off = (z[:, None] - self.mu(eps)[None]) / self.sigma
        return (-0.5 * off**2 - torch.log(self.sigma) - 0.5 * math.log(2 * math.pi)).sum(-1)


def pairwise(x, y):
    return ((x[:, None] - y[None]) ** 2).sum(-1)


def h_squared(squares, n):
    """Half the (lower) median over ln(n + 1)."""
    return 0.5 * squares.flatten().median() / math.log(n + 1)


def kpg_loss(twin, target, eps, eta, eps2, eta2, heat=1.0):
    with torch.no_grad():
        other = twin.mu(eps2) + twin.sigma * eta2
        force = -eta2 / twin.sigma - heat * target.score(other[None])[0]
    z = twin.mu(eps) + twin.sigma * eta
    with torch.no_grad():
        squares = pairwise(z, other)
        k = torch.exp(-squares / (2 * h_squared(squares, len(z))))
        d = torch.stack([sum(k[i, j] * force[j] for j in range(len(other))) / len(other) for i in range(len(z))])
    return (d * z).sum(-1).mean()


def asvgd_loss(twin, target, eps, eta, eps2, eta2, heat=1.0):
    with torch.no_grad():
        other = twin.mu(eps2) + twin.sigma * eta2
        score = heat * target.score(other[None])[0]
    z = twin.mu(eps) + twin.sigma * eta
    with torch.no_grad():
        squares = pairwise(z, other)
        h2 = h_squared(squares, len(z))
        k = torch.exp(-squares / (2 * h2))
        d = torch.stack([(k[i, :, None] * ((other - z[i]) / h2 - score)).mean(0) for i in range(len(z))])
    return (d * z).sum(-1).mean()


def ksivi_loss(twin, target, eps, eta, eps2, eta2, heat=1.0, kernel="gaussian"):
    one, two = twin.mu(eps) + twin.sigma * eta, twin.mu(eps2) + twin.sigma * eta2
    f = heat * target.score(one[None])[0] + eta / twin.sigma
    g = heat * target.score(two[None])[0] + eta2 / twin.sigma
    squares = pairwise(one, two)
    median = squares.flatten().median()
    n = len(one)
    if kernel == "gaussian":
        k = torch.exp(-squares / (2 * 0.5 * median / math.log(n + 1)))
    else:
        k = (1 + squares / (median / math.log(n + 1))) ** -0.5
    return ((f @ g.T) * k).mean()


def sivi_loss(twin, target, eps, eta, extra, heat=1.0):
    z = twin.mu(eps) + twin.sigma * eta
    own = twin.log_q(z, eps).diagonal()[:, None]
    log_q = torch.logsumexp(torch.cat([own, twin.log_q(z, extra)], dim=1), dim=1) - math.log(len(extra) + 1)
    return (log_q - heat * target.log_prob(z[None])[0]).mean()


def bsivi_loss(twin, target, eps, eta, fresh, heat=1.0):
    z = twin.mu(eps) + twin.sigma * eta
    point = z.detach().requires_grad_()
    (score,) = torch.autograd.grad(torch.logsumexp(twin.log_q(point, fresh), dim=1).sum(), point)
    d = score - heat * target.score(z.detach()[None])[0]
    return (d * z).sum(-1).mean()
