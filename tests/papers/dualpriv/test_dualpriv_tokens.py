"""tokens.py: the worked example, a slow twin, limits, and that a record's tokens are its own affair."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis.strategies import integers
from torch.testing import assert_close

from descent.core.errors import SettingError
from descent.papers.dualpriv.tokens import choose, digit_recall, fuse, prune


def test_worked_example():
    hidden = torch.tensor([[[0.0, 0], [1, 0], [0, 1], [2, 0], [0, 3]]])
    score = torch.tensor([[0.1, 0.2, 0.6, 0.1]])
    got = prune(hidden, score, 1, 2)
    assert_close(got[0], torch.tensor([[0.0, 0], [2, 0], [1, 0], [0, 4]]), atol=0, rtol=0)


def slow_twin(hidden, score, dominant, contextual):
    """One record, one token at a time."""
    cls, patches = hidden[0], list(hidden[1:])
    kept = sorted(sorted(range(len(patches)), key=lambda j: (-score[j].item(), j))[:dominant])
    rest = [j for j in range(len(patches)) if j not in kept]
    rows = [cls] + [patches[j] for j in kept]
    if contextual:
        step = max(1, len(rest) // contextual)
        centres = [rest[i * step] for i in range(contextual)]
        members = {c: [] for c in centres}
        for j in rest:
            if j not in centres:
                cosine = [torch.cosine_similarity(patches[j], patches[c], dim=0).item() for c in centres]
                members[centres[cosine.index(max(cosine))]].append(patches[j])
        for c in centres:
            rows.append(patches[c] + (torch.stack(members[c]).mean(0) if members[c] else 0))
    return torch.stack(rows)


@settings(deadline=None, max_examples=60)
@given(patches=integers(1, 14), dominant=integers(0, 14), contextual=integers(0, 14), seed=integers(0, 999))
def test_equals_the_slow_twin(patches, dominant, contextual, seed):
    dominant = min(dominant, patches)
    contextual = min(contextual, patches - dominant)
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(3, 1 + patches, 5, generator=generator, dtype=torch.float64)
    score = torch.rand(3, patches, generator=generator, dtype=torch.float64)
    got = prune(hidden, score, dominant, contextual)
    assert got.shape == (3, 1 + dominant + contextual, 5)
    for record, row, s in zip(got, hidden, score, strict=True):
        assert_close(record, slow_twin(row, s, dominant, contextual), atol=1e-12, rtol=1e-12)


def test_keeping_every_patch_changes_nothing():
    hidden, score = torch.randn(4, 10, 3), torch.rand(4, 9)
    assert torch.equal(prune(hidden, score, 9, 0), hidden)


def test_a_record_does_not_notice_the_others_of_its_batch():
    hidden, score = torch.randn(6, 13, 4), torch.rand(6, 12)
    alone = torch.cat([prune(hidden[i : i + 1], score[i : i + 1], 3, 2) for i in range(6)])
    assert_close(prune(hidden, score, 3, 2), alone)


def test_ties_go_to_the_earlier_patch():
    kept, rest = choose(torch.tensor([[0.5, 0.5, 0.5, 0.9]]), 2)
    assert kept.tolist() == [[0, 3]] and rest.tolist() == [[1, 2]]


def test_noise_reaches_the_fused_tokens_only():
    hidden, score, noise = torch.randn(2, 10, 3), torch.rand(2, 9), torch.randn(2, 4, 3)
    clean, noisy = prune(hidden, score, 2, 4), prune(hidden, score, 2, 4, noise)
    assert torch.equal(clean[:, :3], noisy[:, :3])
    assert_close(noisy[:, 3:] - clean[:, 3:], noise, atol=1e-6, rtol=1e-5)


def test_a_zero_token_joins_a_cluster_and_adds_nothing():
    rest = torch.tensor([[[1.0, 0], [0, 0], [0, 1], [0, 0]]])
    assert_close(fuse(rest, 2), torch.tensor([[[1.0, 0], [0, 1]]]))


def test_recall_of_the_digit():
    on = torch.tensor([[True, True, False, False], [True, False, False, True]])
    score = torch.tensor([[0.9, 0.1, 0.8, 0.2], [0.9, 0.1, 0.2, 0.8]])
    assert digit_recall(score, on, 2).item() == pytest.approx((0.5 + 1.0) / 2)


@pytest.mark.parametrize("budget", [(10, 0), (5, 5), (-1, 2), (3, -1)])
def test_a_budget_that_does_not_fit_is_refused(budget):
    with pytest.raises(SettingError, match=r"keep at most the 9 patches there are, got -?\d+ \+ -?\d+"):
        prune(torch.randn(1, 10, 3), torch.rand(1, 9), *budget)
