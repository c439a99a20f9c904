"""simulated.py: the CPU's bytes, every fault seen and named, and what it cannot do."""

import copy

import pytest
import torch
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vmap
from torch.nn import functional as F

from .simulated import CANNOT, DEVICE, Accelerator


def values(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _loss(w, x):
    return (torch.tanh(x @ w) ** 2).mean()


def _in_place(x):
    y = x.clone()
    y[0] = 3.0
    y[:, 1] += x[:, 0]
    y.clamp_(max=1.0).mul_(x.sign())
    y.t_()
    return y.unsqueeze_(0)


def _gradient(x):
    w = x[0].clone().requires_grad_()
    loss = _loss(w, x)
    (slope,) = torch.autograd.grad(loss, w, create_graph=True)
    (product,) = torch.autograd.grad((slope * slope.detach()).sum(), w)
    return torch.stack([slope, product])


def _scatter(x):
    index = torch.arange(x.shape[1], device=x.device).expand_as(x) % 2
    return torch.zeros(x.shape[0], 2, dtype=x.dtype, device=x.device).scatter_add_(1, index, x)


OPERATIONS = {
    "arithmetic": lambda x: (x * 2 - 1).exp().log1p() / (x.abs() + 0.5) ** 0.3,
    "matmul, einsum, bmm": lambda x: torch.einsum("ij,kj->ik", x, x) @ x + torch.bmm(x[None], x.T[None])[0] @ x,
    "reductions": lambda x: torch.stack(
        [x.sum(), x.mean(), x.std(), x.norm(), x.logsumexp((0, 1)), x.max(), x.median()]
    ),
    "scans and sorts": lambda x: x.cumsum(0).sort(1).values + x.topk(6, dim=1).values.flip(1) + x.argsort(0),
    "quantile": lambda x: torch.quantile(x, 0.3, dim=0),
    "where, masked_fill": lambda x: torch.where(x > 0, x, 0.0) + x.masked_fill(x < 0.5, 1.0),
    "in place": _in_place,
    "views": lambda x: torch.cat([x.T.reshape(-1)[::3], x.unfold(1, 2, 2).flatten(), x.roll(1, 0).diagonal()]),
    "gather and scatter": lambda x: _scatter(x.gather(0, x.argsort(0))),
    "indices on the device": lambda x: x[torch.arange(3, device=x.device), torch.tensor(1)],
    "made on the device": lambda x: (
        torch.arange(6, device=x.device) + torch.eye(6, device=x.device, dtype=x.dtype) + x.new_zeros(6)
    ),
    "integers": lambda x: ((x * 1000).to(torch.int64) * 6364136223846793005 + 1) ^ 12345,
    "float32": lambda x: (x.float() @ x.float().T).softmax(-1),
    "complex and fft": lambda x: torch.view_as_real(torch.fft.fft(torch.complex(x, -x))),
    "linalg": lambda x: (
        torch.linalg.solve(x @ x.T + torch.eye(6, dtype=x.dtype, device=x.device), x) + torch.linalg.qr(x).R
    ),
    "eigh and svd": lambda x: torch.linalg.eigh(x @ x.T).eigenvalues + torch.linalg.svd(x).S,
    "cholesky_ex": lambda x: torch.linalg.cholesky_ex(x @ x.T + torch.eye(6, dtype=x.dtype, device=x.device)).L,
    "convolution": lambda x: (
        F.conv2d(x[None, None], x[:3, :3][None, None], padding=1) + F.avg_pool2d(x[None, None], 3, 1, 1)
    ),
    "losses": lambda x: (
        F.cross_entropy(x, torch.arange(6, device=x.device)) + F.binary_cross_entropy_with_logits(x, x.sigmoid())
    ),
    "norms": lambda x: F.layer_norm(x, (6,)) + F.gelu(x) + F.dropout(x, 0.5, training=False),
    "embedding": lambda x: F.embedding(torch.tensor([[0, 2], [5, 1]], device=x.device), x),
    "autograd, twice": _gradient,
    "torch.func": lambda x: vmap(grad(_loss), (0, None))(x, x) + vmap(hessian(lambda w: (w**3).sum()))(x).sum(-1),
    "jacobians": lambda x: jacrev(torch.tanh)(x[0]) + jacfwd(torch.tanh)(x[1]) + jvp(torch.tanh, (x,), (x,))[1],
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_the_cpus_bytes(name):
    x = values(6, 6)
    with Accelerator():
        out = OPERATIONS[name](x.to(DEVICE))
        assert out.device == torch.device(DEVICE)
        assert torch.equal(out.cpu(), OPERATIONS[name](x))


DECOMPOSED = {
    "eigvalsh": torch.linalg.eigvalsh,
    "svdvals": torch.linalg.svdvals,
    "matrix_norm": lambda x: torch.linalg.matrix_norm(x, 2),
    "cond": torch.linalg.cond,
    "eigh": lambda x: torch.linalg.eigh(x).eigenvectors,
    "under vmap": lambda x: vmap(torch.linalg.eigvalsh)(x[None]),
    "with a gradient": lambda x: torch.autograd.grad(torch.linalg.eigvalsh(x.requires_grad_()).square().sum(), x)[0],
}


@pytest.mark.parametrize("name", DECOMPOSED)
def test_linear_algebra_has_the_bytes_of_a_run_without_the_device_on_the_host_too(name):
    """PyTorch takes another routine for eigenvalues alone while somebody watches its operations."""
    matrices = [values(n, n, seed=seed) for n in (3, 8, 30) for seed in range(3)]
    matrices = [x @ x.T for x in matrices]
    alone = [DECOMPOSED[name](x.clone()) for x in matrices]
    with Accelerator() as sim:
        on_host = [DECOMPOSED[name](x.clone()) for x in matrices]
        assert not sim.events
        on_device = [DECOMPOSED[name](x.to(DEVICE)).cpu() for x in matrices]
    for want, here, there in zip(alone, on_host, on_device, strict=True):
        assert torch.equal(want, here) and torch.equal(want, there)


def _train(device, kind):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv1d(1, 2, 3), torch.nn.Flatten(), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3)
    ).to(device)
    optimizer = kind(model.parameters(), lr=0.1)
    x, y = values(5, 1, 6, dtype=torch.float32).to(device), torch.arange(5).to(device) % 3
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_a_module_trains_to_the_cpus_bytes(kind):
    with Accelerator() as sim:
        trained = _train(DEVICE, kind)
        assert sim.count("sync") == 0, sim.report("sync")
        assert torch.equal(trained.cpu(), _train("cpu", kind))


def test_stacked_modules_under_vmap_and_a_copied_module():
    models = [torch.nn.Linear(3, 2) for _ in range(4)]
    parameters = {name: p.detach() for name, p in stack_module_state(models)[0].items()}
    x = values(5, 3, dtype=torch.float32)
    per_model = vmap(grad(lambda p, x: (functional_call(models[0], p, (x,)) ** 2).sum()), (0, None))
    with Accelerator():
        got = per_model({name: p.to(DEVICE) for name, p in parameters.items()}, x.to(DEVICE))
        for name, want in per_model(parameters, x).items():
            assert torch.equal(got[name].cpu(), want)
        moved = copy.deepcopy(models[0].to(DEVICE))
        assert moved.weight.device.type == "sim"
        assert torch.equal(moved.weight.cpu(), parameters["weight"][0])


def _loop_over(x):
    return [float(v) for v in x[0]]


SYNCS = {  # x: (2, 3) on the device -> how often the host waits
    "item": (1, lambda x: x.sum().item()),
    "float": (1, lambda x: float(x[0, 0])),
    "an if": (1, lambda x: 1 if (x > 0).all() else 0),
    "a loop over floats": (3, _loop_over),
    "tolist": (1, lambda x: x.tolist()),
    "cpu": (1, lambda x: x.cpu()),
    "copy to the host": (1, lambda x: torch.zeros(2, 3).copy_(x)),
    "mask as index": (1, lambda x: x[x > 1]),
    "mask as index, written": (1, lambda x: x.index_put_((x > 1,), x[0, 0])),
    "a tensor as a row number": (1, lambda x: x[x[0, 1].long()]),
    "nonzero": (1, lambda x: x.nonzero()),
    "where with one argument": (1, lambda x: torch.where(x > 1)),
    "masked_select": (1, lambda x: x.masked_select(x > 1)),
    "unique": (1, lambda x: x.unique()),
    "bincount": (1, lambda x: x.long().flatten().bincount()),
    "repeat_interleave": (1, lambda x: x.repeat_interleave(x[:, 1].long(), dim=0)),
    "equal": (1, lambda x: torch.equal(x, x)),
    "allclose": (1, lambda x: torch.allclose(x, x)),
    "one_hot of unknown width": (1, lambda x: F.one_hot(x.long())),
    "linalg.solve": (1, lambda x: torch.linalg.solve(x[:, :2], x)),
    "linalg.cholesky": (1, lambda x: torch.linalg.cholesky(x @ x.T + 1)),
    "linalg.inv": (1, lambda x: torch.linalg.inv(x[:, :2])),
    "linalg.eigh": (1, lambda x: torch.linalg.eigh(x @ x.T)),
    "linalg.svd": (1, lambda x: torch.linalg.svd(x)),
    "linalg.pinv": (1, lambda x: torch.linalg.pinv(x)),
    "repeat_interleave of known length": (0, lambda x: x.repeat_interleave(x[:, 1].long(), dim=0, output_size=6)),
    "one_hot of known width": (0, lambda x: F.one_hot(x.long(), 6)),
    "solve_ex": (0, lambda x: torch.linalg.solve_ex(x[:, :2], x)),
    "where with three": (0, lambda x: torch.where(x > 1, x, 0.0)),
    "isfinite().all()": (0, lambda x: x.isfinite().all()),
    "shapes": (0, lambda x: (len(x), x.shape, x.numel(), x.dtype, x.device)),
    "a number as index and as value": (0, lambda x: x[0].fill_(2.0).mul_(x[1, 2])),
}


@pytest.mark.parametrize("name", SYNCS)
def test_a_synchronisation_is_counted_and_its_line_named(name):
    times, operation = SYNCS[name]
    with Accelerator() as sim:
        x = (torch.arange(6.0).reshape(2, 3) + torch.eye(2, 3)).to(DEVICE)
        with sim.phase("step"):
            operation(x)
    assert sim.count("sync", "step") == times, sim.report()
    assert sim.count("upload", "step") == 0, sim.report()
    if times:
        assert "test_simulated.py" in sim.report("sync") and "x" in sim.report("sync")


@pytest.mark.parametrize(
    "name, operation",
    {
        "to": lambda x: torch.ones(3).to(x.device) * x,
        "tensor(list, device)": lambda x: x + torch.tensor([1.0, 2.0, 3.0], device=x.device),
        "tensor(number, device)": lambda x: x + torch.tensor(1.0, device=x.device),
        "list as index": lambda x: x[:, [0, 2]],
        "assignment from the host": lambda x: x[0].copy_(torch.ones(3)),
    }.items(),
)
def test_an_upload_is_counted_and_its_line_named(name, operation):
    with Accelerator() as sim:
        x = values(2, 3, dtype=torch.float32).to(DEVICE)
        with sim.phase("step"):
            operation(x)
    assert sim.count("upload", "step") == 1, sim.report()
    assert sim.count("upload") == 2  # x itself
    assert "test_simulated.py" in sim.report("upload", "step")


@pytest.mark.parametrize("make", [lambda: torch.zeros(3), lambda: torch.tensor([1.0, 2.0]), lambda: torch.arange(4)])
def test_a_tensor_made_on_the_host_is_seen(make):
    with Accelerator() as sim, sim.phase("step"):
        make()
    assert sim.count("host", "step") == 1
    assert "in <lambda>" in sim.report("host")


def test_a_number_on_the_host_is_free():
    """CUDA takes 0-d CPU tensors as arguments of a kernel."""
    with Accelerator() as sim:
        x = values(3).to(DEVICE)
        sim.events.clear()
        x * torch.tensor(2.0) + 1
    assert not sim.events


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, h: x + h,
        lambda x, h: x @ h.T,
        lambda x, h: torch.einsum("ij,kj->ik", h, x),
        lambda x, h: torch.cat([x, h]),
        lambda x, h: x[torch.tensor([0, 1])],
        lambda x, h: torch.where(h > 0, x, 0.0),
        lambda x, h: vmap(lambda row: row * torch.ones(3))(x),
    ],
)
def test_a_tensor_on_the_wrong_device_is_refused_and_its_line_named(mix):
    h = values(2, 3, dtype=torch.float32)
    with (
        Accelerator(),
        pytest.raises(RuntimeError, match=r"CPU tensor of shape .* meets tensors on sim:0, at .*test_simulated.py:\d+"),
    ):
        mix(h.to(DEVICE), h)


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: torch.randn(3, device=x.device),
        lambda x: torch.randn(3, device=x.device, generator=torch.Generator()),
        lambda x: torch.rand_like(x),
        lambda x: F.dropout(x, 0.5, training=True),
        lambda x: x.normal_(),
        lambda x: torch.multinomial(x.abs(), 1),
    ],
)
def test_random_numbers_are_not_drawn_on_the_device(draw):
    with Accelerator(), pytest.raises(RuntimeError, match="random numbers are drawn on the host"):
        draw(values(2, 3).to(DEVICE))


def test_a_synchronisation_in_a_backward_pass_is_seen():
    class Peek(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, slope):
            return slope * 2 if slope.sum() > 0 else slope

    with Accelerator() as sim:
        x = values(3).to(DEVICE).requires_grad_()
        Peek.apply(x).sum().backward()
    assert sim.count("sync") == 1
    assert "in backward" in sim.report("sync")


def test_phases_nest_and_the_report_says_a_line_once():
    with Accelerator() as sim:
        x = values(3).to(DEVICE)
        with sim.phase("step"):
            for _ in range(4):
                x.sum().item()
            with sim.phase("measure"):
                x.cpu()
    assert (sim.count("sync", "step"), sim.count("sync", "measure"), sim.count("upload", "")) == (4, 1, 1)
    assert len(sim.report("sync").splitlines()) == 2
    assert sim.report("sync", most=1).endswith("and 1 more")


def _resize():
    values(3).to(DEVICE).resize_(1)


def _close_but_not_equal():
    q = values(1, 2, 16, 8, dtype=torch.float32)
    here = F.scaled_dot_product_attention(q.to(DEVICE), q.to(DEVICE), q.to(DEVICE)).cpu()
    there = F.scaled_dot_product_attention(q, q, q)
    torch.testing.assert_close(here, there, atol=1e-6, rtol=1e-6)
    assert torch.equal(here, there)


REFUSED = {
    "sparse CSR tensors": lambda: values(2, 3).to_sparse_csr().to(DEVICE),
    "torch.Generator(device='sim')": lambda: torch.Generator(device="sim"),
    "resize_ and set_": _resize,
    "the CPU's fused attention": _close_but_not_equal,
}


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("what", CANNOT)
def test_what_it_cannot_do(what):
    with Accelerator(), pytest.raises((RuntimeError, NotImplementedError, AssertionError)):
        REFUSED[what]()
