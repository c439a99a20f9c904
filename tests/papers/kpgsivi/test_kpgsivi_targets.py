"""targets.py: worked numbers, scores and Hessian products against autograd, exact samplers, Kullback-Leibler references."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from descent.papers.kpgsivi.targets import (
    OBSERVED,
    Banana,
    Diffusion,
    LogisticRegression,
    multimodal,
    two_modes,
    x_shaped,
)

F64 = torch.float64


def logistic(n=40, d=5):
    make = torch.Generator().manual_seed(3)
    x = torch.randn(n, d, generator=make, dtype=F64)
    return LogisticRegression(x, (torch.rand(n, generator=make, dtype=F64) < 0.4).to(F64))


TARGETS = {
    "banana": Banana(dtype=F64),
    "multimodal": multimodal(dtype=F64),
    "x_shaped": x_shaped(dtype=F64),
    "two_modes": two_modes(0.8, [2.0, 3.0], dtype=F64),
    "logistic": logistic(),
    "diffusion": Diffusion(OBSERVED, dtype=F64),
}


def at(*point):
    return torch.tensor([[point]], dtype=F64)


@pytest.mark.parametrize(
    ("name", "point", "value"),
    [("banana", (0, 0), -3.639090), ("multimodal", (0, 0), -3.837877), ("x_shaped", (1, 1), -2.648236)],
)
def test_log_densities_worked_by_hand(name, point, value):
    assert_close(TARGETS[name].log_prob(at(*point)), torch.tensor([[value]], dtype=F64), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "point", "value"),
    [
        ("banana", (0.5, -1), (-0.3947, 1.0526)),
        ("multimodal", (0.5, 0.3), (1.0232, -0.3)),
        ("x_shaped", (1, 0.5), (-1.6501, 0.6471)),
    ],
)
def test_scores_worked_by_hand(name, point, value):
    assert_close(TARGETS[name].score(at(*point)), at(*value), atol=1e-4, rtol=0)


def test_the_official_diffusion_at_a_straight_path():
    target, u = TARGETS["diffusion"], torch.linspace(-1, 1, 100, dtype=F64)[None, None]
    assert float(target.log_prob(u)) == pytest.approx(-1452.714, abs=1e-3)
    assert target.score(u)[0, 0, [0, 4, 99]].tolist() == pytest.approx([101.818, 42.626, -178.584], abs=1e-3)


def test_waveform_at_zero():
    from descent.data import load
    from descent.data.presence import present

    if not present("waveform").on_disk:
        pytest.skip("dataset waveform is not fetched: make data")
    data = load("waveform")
    x, y = (torch.tensor(data[f"train_{part}"]).to(F64) for part in ("features", "labels"))
    target, zero = LogisticRegression(x, y), torch.zeros(1, 1, 22, dtype=F64)
    assert float(target.log_prob(zero)) == pytest.approx(-400 * np.log(2), abs=1e-9)
    assert target.score(zero)[0, 0, :4].tolist() == pytest.approx([68, 0.07445, -19.50799, -39.82912], abs=1e-4)


@pytest.mark.parametrize("name", TARGETS)
def test_score_and_hessian_product_are_autograds(name):
    target, make = TARGETS[name], torch.Generator().manual_seed(1)
    z = torch.randn(2, 7, target.dim, generator=make, dtype=F64, requires_grad=True)
    v = torch.randn(2, 7, target.dim, generator=make, dtype=F64)
    (score,) = torch.autograd.grad(target.log_prob(z).sum(), z, create_graph=True)
    assert_close(target.score(z), score, atol=1e-8, rtol=1e-8)
    (product,) = torch.autograd.grad((score * v).sum(), z)
    assert_close(target.score_pull(z.detach(), v), product, atol=1e-6, rtol=1e-8)


@pytest.mark.parametrize("name", ["banana", "multimodal", "x_shaped", "two_modes"])
def test_exact_samples_have_mean_score_zero_and_stein_identity(name):
    """E grad log p = 0 and E[z grad log p^T] = -I hold for p and hardly for anything else."""
    target, make, n = TARGETS[name], torch.Generator().manual_seed(5), 200_000
    rows = 2 if name == "two_modes" else 1
    normals = torch.randn(rows, n, 2, generator=make, dtype=F64)
    z = target.sample(normals, torch.rand(rows, n, generator=make, dtype=F64))
    score = target.score(z)
    for statistic, want in ((score, torch.zeros(2)), (z[..., :, None] * score[..., None, :], -torch.eye(2))):
        error = statistic.std(1) / n**0.5
        assert ((statistic.mean(1) - want).abs() < 5 * error).all()


@pytest.mark.parametrize(("name", "divergence"), [("banana", 1.2223), ("multimodal", 0.172), ("x_shaped", 0.408)])
def test_divergence_from_the_matched_gaussian(name, divergence):
    """KL(p || Gaussian of p's moments), what a fitted family should beat: entropy of the Gaussian minus that of p."""
    target, make, n = TARGETS[name], torch.Generator().manual_seed(6), 400_000
    z = target.sample(torch.randn(1, n, 2, generator=make, dtype=F64), torch.rand(1, n, generator=make, dtype=F64))
    cross = 0.5 * torch.linalg.slogdet(2 * np.pi * np.e * torch.cov(z[0].T))[1]
    assert float(cross + target.log_prob(z).mean()) == pytest.approx(divergence, abs=0.01)


def test_mixture_weights_are_the_shares_of_its_samples():
    target, make, n = TARGETS["two_modes"], torch.Generator().manual_seed(7), 100_000
    z = target.sample(torch.randn(2, n, 2, generator=make, dtype=F64), torch.rand(2, n, generator=make, dtype=F64))
    inside = torch.special.ndtr(torch.tensor([2.0, 3.0], dtype=F64))
    want = 0.8 * inside + 0.2 * (1 - inside)
    assert_close((z[..., 0] < 0).double().mean(1), want, atol=5 * 0.5 / n**0.5, rtol=0)
