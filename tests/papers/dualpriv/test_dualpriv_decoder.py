"""decoder.py and model.py: a slow twin in NumPy that computes every position, one sample at a time."""

import math

import numpy as np
import pytest
import torch
from dualpriv_world import tiny_sizes
from torch.testing import assert_close

from descent.papers.dualpriv import model
from descent.papers.dualpriv.decoder import Frozen, Shape, decode, groups, rope
from descent.papers.dualpriv.lora import frozen_linear
from descent.papers.dualpriv.model import Sizes, answer_logits, digit_logits, encode, freeze, hidden_states


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def norm(x, gain, shift):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain + shift


def rotate(vector, position, base=10000.0):
    """One head's vector: pairs (i, i + half) turned by position / base^(i / half)."""
    half = len(vector) // 2
    out = vector.copy()
    for i in range(half):
        angle = position * base ** (-i / half)
        a, b = vector[i], vector[i + half]
        out[i], out[i + half] = a * math.cos(angle) - b * math.sin(angle), b * math.cos(angle) + a * math.sin(angle)
    return out


def attention(q, k, v, heads, causal, positions=None):
    """q (t, d), k and v (T, d): one head, one query at a time; the queries are the last t positions."""
    out = np.zeros_like(q)
    width = q.shape[1] // heads
    for h in range(heads):
        cut = slice(h * width, (h + 1) * width)
        keys = (
            k[:, cut]
            if positions is None
            else np.stack([rotate(z, p) for z, p in zip(k[:, cut], positions, strict=True)])
        )
        for i in range(len(q)):
            place = len(k) - len(q) + i
            query = q[i, cut] if positions is None else rotate(q[i, cut], positions[place])
            seen = place + 1 if causal else len(k)
            out[i, cut] = softmax(keys[:seen] @ query / math.sqrt(width)) @ v[:seen, cut]
    return out


def layer(w, name, x, heads, causal, positions=None):
    get = lambda part: (w[f"{name}.{part}.weight"], w[f"{name}.{part}.bias"])  # noqa: E731
    linear = lambda part, z: z @ get(part)[0].T + get(part)[1]  # noqa: E731
    h = norm(x, *get("norm1"))
    x = x + linear("o", attention(linear("q", h), linear("k", h), linear("v", h), heads, causal, positions))
    return x + linear("f2", gelu(linear("f1", norm(x, *get("norm2")))))


def random_weights(sizes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    weights = model.initial_parameters(sizes, generator)
    return {n: z.to(dtype) + 0.1 * torch.randn(z.shape, generator=generator).to(dtype) for n, z in weights.items()}


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", ["shared", "ordinary"])
def test_logits_equal_the_full_computation_one_sample_at_a_time(kind, layers):
    sizes = tiny_sizes(layers)
    weights = random_weights(sizes)
    w = {name: z.numpy() for name, z in weights.items()}
    visual = torch.randn(3, 5, sizes.width, dtype=torch.float64)
    text = torch.tensor([[0, 2, 4, 1], [0, 3, 5, 1], [0, 2, 5, 1]])
    got = answer_logits(sizes, weights, visual, text, kind)
    positions = [0] * 5 + [1, 2, 3, 4] if kind == "shared" else list(range(9))
    for sample in range(3):
        x = np.concatenate([visual[sample].numpy(), w["decoder.embedding"][text[sample].numpy()]])
        for number in range(layers):
            x = layer(w, f"decoder.{number}", x, sizes.heads, True, positions)
        x = norm(x, w["decoder.norm.weight"], w["decoder.norm.bias"])
        expected = w["decoder.head"] @ x[-1]
        # The rotation's table is float32.
        np.testing.assert_allclose(got[sample].numpy(), expected, atol=2e-6)


def test_the_encoder_equals_the_full_computation_one_scene_at_a_time():
    sizes = Sizes(canvas=12, width=8, heads=2)
    weights = random_weights(sizes)
    w = {name: z.numpy() for name, z in weights.items()}
    patches = torch.rand(2, 9, 16, dtype=torch.float64)
    got = encode(sizes, weights, patches)
    head = digit_logits(sizes, weights, got.hidden)
    for scene in range(2):
        x = patches[scene].numpy() @ w["vision.embed.weight"].T + w["vision.embed.bias"] + w["vision.positions"]
        for number in range(2):
            x = layer(w, f"vision.{number}", x, 2, causal=False)
        x = np.concatenate([w["vision.cls"][None], x])
        np.testing.assert_allclose(got.hidden[scene].numpy(), x, atol=1e-12)
        h = norm(x, w["vision.2.norm1.weight"], w["vision.2.norm1.bias"])
        q, k = (h @ w[f"vision.2.{z}.weight"].T + w[f"vision.2.{z}.bias"] for z in "qk")
        mean = np.mean([softmax(q[0, c] @ k[:, c].T / 2) for c in (slice(0, 4), slice(4, 8))], axis=0)
        np.testing.assert_allclose(got.attention[scene].numpy(), mean[1:], atol=1e-12)
        x = norm(layer(w, "vision.2", x, 2, causal=False)[0], w["vision.norm.weight"], w["vision.norm.bias"])
        np.testing.assert_allclose(
            head[scene].numpy(), w["vision.digit.weight"] @ x + w["vision.digit.bias"], atol=1e-12
        )


def test_all_visual_tokens_share_a_position_so_their_order_matters_only_through_causality():
    """With one layer the answer's query sees a set of visual tokens: permuting them changes nothing."""
    sizes = tiny_sizes(1)
    weights = random_weights(sizes)
    visual, text = torch.randn(1, 6, 8, dtype=torch.float64), torch.tensor([[0, 2, 4, 1]])
    turned = visual[:, torch.tensor([3, 1, 5, 0, 2, 4])]
    assert_close(answer_logits(sizes, weights, visual, text), answer_logits(sizes, weights, turned, text))
    moved = answer_logits(sizes, weights, turned, text, "ordinary")
    assert not torch.allclose(answer_logits(sizes, weights, visual, text, "ordinary"), moved)


def test_the_decoder_is_causal():
    sizes = tiny_sizes(2)
    weights = random_weights(sizes)
    frozen = freeze(sizes, weights)
    x = torch.randn(1, 1, 9, 8, dtype=torch.float64)
    table = model.rotation(sizes, "ordinary", 5)

    def at(tokens):
        return decode(sizes.decoder, frozen, frozen_linear(frozen), x[:, :, :tokens], table)

    later = x.clone()
    later[:, :, 7:] += 1
    assert_close(at(7), decode(sizes.decoder, frozen, frozen_linear(frozen), later[:, :, :7], table))
    assert at(9).shape == (1, 1, 1, 32) and hidden_states(sizes, weights, torch.rand(2, 36, 16).double()).shape == (
        2,
        37,
        8,
    )


def test_a_gated_decoder_equals_the_full_computation():
    """The paper-sized shape: RMSNorm, SwiGLU, no biases."""
    shape = Shape(width=8, hidden=12, heads=2, layers=2, gated=True)
    generator = torch.Generator().manual_seed(0)
    random = lambda *s: torch.randn(s, generator=generator, dtype=torch.float64) * 0.4  # noqa: E731
    found = groups(shape)
    weights = tuple(random(len(g.names) * g.outputs, g.inputs) for g in found)
    norms = tuple((1 + random(8), None) for _ in range(5))
    frozen = Frozen(weights, (None,) * len(weights), norms, random(11, 8))
    x = random(1, 1, 6, 8)
    got = decode(shape, frozen, frozen_linear(frozen), x, rope(shape, torch.arange(6)))

    by_name = {}
    for g, weight in zip(found, weights, strict=True):
        for name, part in zip(g.names, weight.chunk(len(g.names)), strict=True):
            by_name[g.layer, name] = part.numpy()
    rms = lambda z, gain: z / np.sqrt((z**2).mean(-1, keepdims=True) + 1e-5) * gain.numpy()  # noqa: E731
    z = x[0, 0].numpy()
    for number in range(2):
        m = lambda name, number=number: by_name[number, name].T  # noqa: E731
        h = rms(z, norms[2 * number][0])
        z = z + attention(h @ m("q"), h @ m("k"), h @ m("v"), 2, True, range(6)) @ m("o")
        h = rms(z, norms[2 * number + 1][0])
        gate = h @ m("gate")
        z = z + (gate / (1 + np.exp(-gate)) * (h @ m("up"))) @ m("down")
    np.testing.assert_allclose(got[0, 0, 0].numpy(), frozen.head.numpy() @ rms(z[-1], norms[4][0]), atol=5e-6)
    every = decode(shape, frozen, frozen_linear(frozen), x, rope(shape, torch.arange(6)), answered=6)
    np.testing.assert_allclose(every[0, 0].numpy(), rms(z, norms[4][0]) @ frozen.head.numpy().T, atol=5e-6)
