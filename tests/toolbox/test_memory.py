"""memory.py: sizes counted by hand, and the same count on the CPU and on meta."""

import platform
import subprocess
import sys

import pytest
import torch

from descent.toolbox.memory import LiveStorages, cuda_peak

KB = 1024


def test_a_chain_counted_by_hand():
    x = torch.zeros(256)  # 1 KB
    with LiveStorages(held=[x]) as memory:
        assert (memory.live, memory.peak) == (KB, KB)
        y = x + 1
        assert memory.live == 2 * KB
        y = y * 2  # the old y lives until the new one is there
        assert (memory.live, memory.peak) == (2 * KB, 3 * KB)
        del y
        assert memory.live == KB
    assert memory.peak == 3 * KB


def test_views_and_in_place_operations_cost_nothing():
    x = torch.zeros(16, 16)
    with LiveStorages(held=[x, x[3:], x.T]) as memory:
        views = [x.t(), x[2:5], x.view(-1), x.unbind(0), x.expand(4, 16, 16)]
        x.add_(1)
        assert len(views) == 5 and memory.peak == KB


def test_only_what_is_held_or_made_inside_counts():
    outside = torch.zeros(1000)
    with LiveStorages() as memory:
        view = outside[:10]
        assert memory.peak == 0 and view.numel() == 10
        copy = view.clone()
        assert memory.peak == copy.nbytes == 40


def test_tensors_that_die_after_the_block_do_no_harm():
    with LiveStorages() as memory:
        x = torch.ones(256)
    del x
    assert memory.live == 0 and memory.peak == KB


def test_what_autograd_saves_is_counted():
    weight = torch.ones(256, requires_grad=True)
    with LiveStorages(held=[weight]) as memory:
        loss = weight.exp().exp().sum()  # both exponentials are saved for the backward pass
        assert memory.live == 3 * KB + 4
        loss.backward()
        del loss
    assert memory.live == 2 * KB  # weight and its gradient
    assert memory.peak > 3 * KB


def training_step(device, batch, width=24):
    net = torch.nn.Sequential(torch.nn.Linear(width, 4 * width), torch.nn.GELU(), torch.nn.Linear(4 * width, width))
    net = net.to(device)
    x = torch.zeros(batch, width, device=device)
    with LiveStorages(held=[x, *net.parameters()]) as memory:
        net(x).square().mean().backward()
    return memory.peak


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_meta_counts_what_the_cpu_holds_to_the_byte(batch):
    assert training_step("meta", batch) == training_step("cpu", batch)


def test_activations_grow_with_the_batch():
    one, two, three = (training_step("meta", b) for b in (64, 128, 192))
    assert three - two == two - one > 64 * 24 * 4 * 6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_peak_sees_the_largest_moment():
    device = torch.device("cuda")
    peak = cuda_peak(lambda: torch.ones(2**20, device=device) * 2, device)
    assert peak >= 2 * 4 * 2**20


FAULTS = """
import resource, torch
from descent.runner.allocator import keep_freed_memory
assert keep_freed_memory()
def work():
    blocks = [torch.ones(30 * 2**18) for _ in range(5)]  # 30 MB each
for _ in range(10):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_kept_where_it_would_be_given_back():
    """Without it nearly every process gets the 150 MB of each round from the system again: 300,000 faults."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1000
