"""Every setting of the room: its type, limits, default and meaning."""

from __future__ import annotations

from descent.core.settings import Setting

SETTINGS: dict[str, Setting] = {
    # Every experiment
    "steps": Setting("Number of SGD steps T, one fresh sequence each; the cap where chains stop by themselves.", int, low=1, high=10**9),
    "block": Setting("Steps whose noise is drawn and handed over at once; part of the definition of a run.", int, 1000, low=1, high=10**6),
    "chunk": Setting("Steps of one launch (on CUDA, of one captured graph); it divides steps and block.", int, 50, low=1, high=10**4),
    "noise": Setting(
        "Where noise is made: on the host, or on the device from a counter (another stream of the same law).",
        str, "host", choices=("host", "device"),
    ),
    "points": Setting("Steps at which curves are recorded, beside step 0; 0 where no curve is wanted.", int, 0, low=0, high=10_000),
    # Methods
    "dimension": Setting("The dimension d of a token.", int, low=8, high=10**7),
    "rate": Setting("The learning rate lr for losses with the factor 1/2; twice the official code's for its MSE losses.", low=0, high=100, open_low=True),
    # Networks on a single-index or sequence target
    "length": Setting("The sequence length L.", int, low=1, high=4096),
    "target": Setting(
        "The target: linear L^-1/2 sum z, single L^1/2 z_1, quadratic L^-1/2 sum (z^2-1)/2^1/2, quadratic_sum the same without "
        "L^-1/2, difference z_1 - z_2, square_difference (z_1^2 - z_2^2)/2^1/2.",
        str, choices=("linear", "single", "quadratic", "quadratic_sum", "difference", "square_difference"),
    ),
    "activation": Setting("The networks' activation sigma.", str, "relu", choices=("relu", "square")),
    "rate_scaling": Setting(
        "What the learning rate is multiplied by: one, the length L, or root (its square root).",
        str, "one", choices=("one", "length", "root"),
    ),
    "start": Setting("The initial overlap of every token, in units of d^-1/2.", low=0, high=100, open_low=True),
    "level": Setting("The overlap at which a chain has arrived.", low=0, high=1e6, open_low=True),
    "level_unit": Setting("The unit of level: one, or root for d^-1/2.", str, "root", choices=("one", "root")),
    # The sequence information exponent
    "order": Setting("k: the student and the target are z_1 ... z_k, whose sequence information exponent is k.", int, choices=(1, 2, 3)),
    "rate_decay": Setting(
        "How the learning rate falls with d: one (not at all), log (divided by ln d), root (divided by its square root).",
        str, "one", choices=("one", "log", "root"),
    ),
    # The positional-semantic model
    "omega": Setting("The teacher's mixing weight omega: 0 is semantic, 1 positional.", low=0, high=1),
    "width": Setting("The paper's a: the strength of the teacher's positional matrix.", default=1.0, low=0, high=3),
    "loss": Setting("sq: half the squared Frobenius distance, as the theory has it; fro: the distance, as the official simulation.", str, choices=("sq", "fro")),
    "begin": Setting("Where chains begin: normal (m, e ~ N(0, 1/d)) or zero (exactly at the saddle, as the official code).", str, "normal", choices=("normal", "zero")),
    "records": Setting("Evenly spaced records of a run.", int, 20, low=3, high=1000),
    "tail": Setting("The last so many records whose mean is the final value.", int, 3, low=1, high=1000),
    "start_m": Setting("Initial semantic overlap m.", low=-1, high=1),
    "start_e": Setting("Initial positional overlap e.", low=-1, high=1),
    "time": Setting("Length of the run in tau = lr t / d.", low=0, high=10_000, open_low=True),
    "at": Setting("The earlier of the two steps at which the laws are compared; the later one is steps.", int, low=1, high=10**6),
    # Quadrature
    "nodes": Setting("Gauss-Hermite nodes an axis.", int, 21, low=3, high=81),
    "overlaps": Setting("Points an axis of the (e, m) grid.", int, 41, low=5, high=201),
    "cells": Setting("Points an axis of the (a, omega) phase diagram.", int, 200, low=5, high=1000),
    # Measured cost
    "chains": Setting("Chains of the measured batch.", int, 288, low=1, high=10**6),
    "repeats": Setting("Repeats of a measurement.", int, 15, low=1, high=1000),
}  # fmt: skip

PUBLIC: dict[str, Setting] = {
    "tokens": Setting("The sequence length L.", int, low=1, high=4096),
    "dimension": Setting("The dimension d of a token.", int, low=8, high=10**9),
    "lr": Setting("The learning rate of the loss as it is given.", low=0, high=1e6),
    "steps": Setting("SGD steps at most.", int, low=1, high=10**9),
    "level": Setting("The overlap at which a chain has arrived.", low=0, high=1, open_low=True),
    "method": Setting("tied: one vector for all tokens; plain: a vector a token.", str, "tied", choices=("tied", "plain")),
    "nodes": Setting("Gauss-Hermite nodes an axis.", int, 17, low=3, high=41),
    "largest": Setting("The longest step of an integration in tau.", float, 0.1, low=0, high=10, open_low=True),
}  # fmt: skip
"""The limits of `simulate` and `flow`."""
