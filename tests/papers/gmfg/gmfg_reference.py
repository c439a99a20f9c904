"""The slow twin: one seed, one graphon, plain loops over time and players in NumPy, written from the equations of
docs/papers/gmfg.md."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


def _one(value):
    return np.array([[float(value)]])


@dataclass
class Reference:
    """A game with matrices; the defaults are the scalar instance."""

    N: int = 100
    T: float = 1.0
    A: np.ndarray = field(default_factory=lambda: _one(0.3))
    B: np.ndarray = field(default_factory=lambda: _one(1))
    Ab: np.ndarray = field(default_factory=lambda: _one(0.4))
    Q: np.ndarray = field(default_factory=lambda: _one(1))
    R: np.ndarray = field(default_factory=lambda: _one(0.5))
    H: np.ndarray = field(default_factory=lambda: _one(0.8))
    QT: np.ndarray = field(default_factory=lambda: _one(1))
    HT: np.ndarray = field(default_factory=lambda: _one(0.8))
    D: np.ndarray = field(default_factory=lambda: _one(0.3))
    v0: np.ndarray = field(default_factory=lambda: _one(0.25))

    @property
    def dt(self):
        return self.T / self.N

    def closed(self, K):
        return np.eye(len(self.A)) + self.dt * (self.A + self.B @ K)

    def mean(self, K, G, Z, mu0):
        """mu (N + 1, n, M) for frozen Z; K (N, k, n), G (N, k, M), Z (N + 1, n, M), mu0 (n, M)."""
        mu = [mu0]
        for k in range(self.N):
            mu.append(self.closed(K[k]) @ mu[-1] + self.dt * (self.B @ G[k] + self.Ab @ Z[k]))
        return np.array(mu)

    def covariance(self, K):
        v = [self.v0]
        for k in range(self.N):
            F = self.closed(K[k])
            v.append(F @ v[-1] @ F.T + self.dt * self.D @ self.D.T)
        return np.array(v)

    def cost(self, K, G, Z, mu0):
        """J of every player, (M,)."""
        mu, v = self.mean(K, G, Z, mu0), self.covariance(K)
        total = np.zeros(mu0.shape[1])
        for k in range(self.N):
            gap, u = mu[k] - self.H @ Z[k], K[k] @ mu[k] + G[k]
            total += self.dt * (np.trace((self.Q + K[k].T @ self.R @ K[k]) @ v[k]) + (gap * (self.Q @ gap)).sum(0))
            total += self.dt * (u * (self.R @ u)).sum(0)
        gap = mu[-1] - self.HT @ Z[-1]
        return total + np.trace(self.QT @ v[-1]) + (gap * (self.QT @ gap)).sum(0)

    def slope_gradient(self, K):
        """E (N, k, n)."""
        P, E = self.QT, [None] * self.N
        for k in range(self.N - 1, -1, -1):
            F = self.closed(K[k])
            E[k] = 2 * (self.R @ K[k] + self.B.T @ P @ F)
            P = self.dt * (self.Q + K[k].T @ self.R @ K[k]) + F.T @ P @ F
        return np.array(E)

    def intercept_gradient(self, K, G, Z, mu0):
        """gG (N, k, M)."""
        mu = self.mean(K, G, Z, mu0)
        lam = 2 * self.QT @ (mu[-1] - self.HT @ Z[-1])
        g = [None] * self.N
        for k in range(self.N - 1, -1, -1):
            u = K[k] @ mu[k] + G[k]
            g[k] = 2 * self.R @ u + self.B.T @ lam
            lam = self.dt * (2 * self.Q @ (mu[k] - self.H @ Z[k]) + 2 * K[k].T @ self.R @ u) + self.closed(K[k]).T @ lam
        return np.array(g)

    def population(self, K, G, W, mu0):
        """Z (N + 1, n, M) when everyone plays (K, G); W (M, M)."""
        mu, Z = mu0, [mu0 @ W.T]
        for k in range(self.N):
            mu = self.closed(K[k]) @ mu + self.dt * (self.B @ G[k] + self.Ab @ Z[-1])
            Z.append(mu @ W.T)
        return np.array(Z)

    def bilevel(self, K, G, W, mu0, outer, inner=10, eta=0.3):
        """PG-GMFG."""
        Z = self.population(K, G, W, mu0)
        for _ in range(outer):
            for _ in range(inner):
                K = K - eta * self.slope_gradient(K)
            for _ in range(inner):
                G = G - eta * self.intercept_gradient(K, G, Z, mu0)
            Z = self.population(K, G, W, mu0)
        return K, G, Z


def matrix_game(n=2, k=2, N=6, seed=0):
    """A random game of matrix-valued states, and Game keyword arguments for the same."""
    rng = np.random.default_rng(seed)
    spd = lambda m: (lambda a: a @ a.T / m + 0.5 * np.eye(m))(rng.standard_normal((m, m)))  # noqa: E731
    some = lambda *shape: 0.6 * rng.standard_normal(shape)  # noqa: E731
    return Reference(
        N=N, A=some(n, n), B=some(n, k), Ab=0.3 * some(n, n), Q=spd(n), R=spd(k), H=some(n, n), QT=spd(n), HT=some(n, n),
        D=some(n, n), v0=spd(n),
    )  # fmt: skip
