"""Every method and every baseline of every room, on a device that is not the CPU.

On the simulated accelerator always, on CUDA where there is one, with the same draws from the host. Found by itself:
see battery.py. The second half proves that the battery fails when it should.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
import tiny.race
import torch

from descent.data.presence import present

from . import battery
from .simulated import DEVICE

CASES = battery.cases()

BY_NUMPY = (
    "on the host NumPy does the recorded operations of a step: its tanh, and what PyTorch fuses, differ in the last bit"
)

# Methods whose records are not the CPU's bytes on the simulated device, because another kernel is picked there:
# "job-method" -> (the relative difference that is left, why). See CANNOT in simulated.py.
LAST_BITS: dict[str, tuple[float, str]] = {
    f"ssi/{case}": (1e-11, BY_NUMPY)
    for case in (
        *("law/all-direct", "law/all-sgd", "curves/all-plain", "collapse/all-tied", "collapse/all-plain"),
        *(
            "transition/all-sgd",
            "null/all-tied",
            "null/all-plain",
            "encoding/all-attention_pe",
            "encoding/all-attention",
        ),
        "trajectory/all-sgd",
    )
}

# CUDA rounds differently from the first step on. What a run amplifies is compared by its medians over seeds.
CUDA_EARLY, CUDA_LATE = 1e-3, 0.25


@pytest.fixture(scope="module")
def needs(tmp_path_factory):
    return battery.Needs(tmp_path_factory.mktemp("needs"))


@pytest.fixture(scope="module")
def on_cpu(needs):
    """The case's records on the CPU, with what it needs; run once."""
    runs = {}

    def run(case):
        for name in case.job.datasets:
            if not present(case.job.stand_ins.get(name, name)).on_disk:
                pytest.skip(f"dataset {name} is not fetched: make data")
        if str(case) not in runs:
            inputs = needs.of(case)
            runs[str(case)] = battery.run(case, "cpu", inputs).records, inputs
        return runs[str(case)]

    return run


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_simulated_device_gives_the_cpus_bytes_and_nothing_waits_in_the_loop(case, on_cpu):
    expected, inputs = on_cpu(case)
    seen = battery.run(case, DEVICE, inputs)
    assert not (faults := battery.faults_of_the_loop(case, seen)), "\n".join(faults)
    if str(case) in LAST_BITS:
        _assert_close(case, seen.records, expected, LAST_BITS[str(case)][0])
    else:
        assert not (apart := battery.difference(case, seen.records, expected)), apart


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: the simulated one stands in")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_cuda_agrees_with_the_cpu_and_nothing_waits_in_the_loop(case, on_cpu):
    """A synchronisation in the loop raises by itself (torch.cuda.set_sync_debug_mode)."""
    expected, inputs = on_cpu(case)
    seen = battery.run(case, "cuda", inputs)
    _assert_agrees(case, seen.records, expected)


def _assert_agrees(case, records, expected):
    """As far as two devices can: the first steps closely, the medians over seeds of the last one loosely."""
    early, late = battery.early_and_late(case, records)
    early_cpu, late_cpu = battery.early_and_late(case, expected)
    assert list(early["status"]) == list(early_cpu["status"])
    _close(early["value"], early_cpu["value"], CUDA_EARLY)
    _close(late["value"], late_cpu["value"], CUDA_LATE)


def _assert_close(case, records, expected, tolerance):
    here, there = records.frame(case.job), expected.frame(case.job)
    assert list(here["status"]) == list(there["status"])
    _close(here["value"], there["value"], tolerance)


def _close(here, there, tolerance):
    scale = np.nanmedian(np.abs(there)) if len(there) else 0.0
    np.testing.assert_allclose(here, there, rtol=tolerance, atol=tolerance * 1e-3 * scale)


@pytest.mark.parametrize(
    "plan", {c.job.paper: c.plan for c in CASES}.values(), ids=lambda plan: next(iter(plan.papers))
)
def test_no_method_is_left_out(plan):
    """Every method that the config trains at smoke, in every module that trains it."""
    trained = {(j.module, v.method) for j in plan.jobs.values() if j.kind == "train" for v in j.variants}
    assert {(c.job.module, v.method) for c in CASES if c.plan is plan for v in c.job.variants} == trained


def test_every_exception_is_still_a_case():
    assert set(LAST_BITS) <= set(map(str, CASES)), "remove what no longer exists"
    assert all(why for _, why in LAST_BITS.values())


# ---- the battery itself, on the tiny room ------------------------------------------------------------------------


@pytest.fixture
def tiny_case(project, tmp_path):
    """(method) -> the tiny room's race by that method, and what it needs."""

    def find(method):
        found = {str(case): case for case in battery.cases(project)}
        case = found[f"tiny/race/long-{method}"]
        return case, battery.Needs(tmp_path / "needs").of(case)

    return find


def _verdict(case, inputs):
    """Every complaint of the battery about a case."""
    expected = battery.run(case, "cpu", inputs).records
    try:
        seen = battery.run(case, DEVICE, inputs)
    except RuntimeError as refused:
        return [str(refused)]
    return [*battery.faults_of_the_loop(case, seen), *filter(None, [battery.difference(case, seen.records, expected)])]


STEP = tiny.race.step


def _item(state, noise, scale, step_size, sigma):
    state.x.sum().item()
    return STEP(state, noise, scale, step_size, sigma)


def _decide(state, noise, scale, step_size, sigma):
    return STEP(state, noise, scale, step_size, sigma) if (state.x < 1e9).all() else state


def _mask(state, noise, scale, step_size, sigma):
    new = STEP(state, noise, scale, step_size, sigma)
    return state._replace(x=new.x.index_put((new.x.isnan(),), new.x.sum()))


def _host_tensor(state, noise, scale, step_size, sigma):
    return STEP(state, noise, scale, step_size * torch.ones(1, 1), sigma)


def _upload(state, noise, scale, step_size, sigma):
    return STEP(state, noise, scale, step_size * torch.tensor(1.0, device=step_size.device), sigma)


def _unused(state, noise, scale, step_size, sigma):
    torch.zeros(3)
    return STEP(state, noise, scale, step_size, sigma)


def _draw(state, noise, scale, step_size, sigma):
    return STEP(state, noise + torch.randn_like(noise), scale, step_size, sigma)


FAULTS = {
    _item: "40 synchronisations in 40 steps, its MethodCard declares 0",
    _decide: "40 synchronisations in 40 steps",
    _mask: "40 synchronisations in 40 steps",
    _host_tensor: r"a CPU tensor of shape \(1, 1\) meets tensors on sim:0",
    _upload: "a copy from the host to the device in `step`",
    _unused: "a tensor is made on the host in `step`",
    _draw: "random numbers are drawn on the host",
}


def test_the_tiny_room_passes(tiny_case):
    assert _verdict(*tiny_case("noisy")) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__[1:])
def test_a_fault_in_one_method_s_step_is_found_and_its_line_named(tiny_case, monkeypatch, fault):
    case, inputs = tiny_case("noisy")
    monkeypatch.setattr(tiny.race, "step", fault)
    complaints = "\n".join(_verdict(case, inputs))
    assert re.search(FAULTS[fault], complaints), complaints
    assert f"in {fault.__name__}: " in complaints


def test_a_declared_synchronisation_passes_and_a_wrong_number_does_not(tiny_case, monkeypatch):
    case, inputs = tiny_case("gd")
    monkeypatch.setattr(tiny.race, "step", _item)
    assert _verdict(replace(case, card=replace(case.card, syncs_per_step=1)), inputs) == []
    assert _verdict(replace(case, card=replace(case.card, syncs_per_step=2)), inputs)
    monkeypatch.setattr(tiny.race, "step", STEP)
    assert _verdict(replace(case, card=replace(case.card, syncs_per_step=1)), inputs), "declared, but there is none"


def test_a_metric_that_waits_and_a_loop_of_its_own_are_found(tiny_case, monkeypatch):
    case, inputs = tiny_case("gd")
    measure, run = tiny.race.loss, tiny.race.run
    monkeypatch.setattr(tiny.race, "loss", lambda s, scale: {"loss": measure(s, scale)["loss"].cpu().to(scale.device)})
    complaints = "\n".join(_verdict(case, inputs))
    assert "the host waits for the device in `measure`" in complaints and "a copy from the host" in complaints
    monkeypatch.setattr(tiny.race, "loss", measure)

    def run_with_a_loop(job, context):
        x = torch.ones(3).to(context.device)
        for _ in range(50):
            x = x * 0.9 if x.sum() > 0 else x
        return run(job, context)

    monkeypatch.setattr(tiny.race, "run", run_with_a_loop)
    assert "a loop outside `iterate`, 50 times" in "\n".join(_verdict(case, inputs))


def test_a_result_that_depends_on_the_device_is_found(tiny_case, monkeypatch):
    case, inputs = tiny_case("gd")

    def another_order(state, noise, scale, step_size, sigma):
        new = STEP(state, noise, scale, step_size, sigma)
        return new if state.x.device.type == "cpu" else new._replace(x=new.x * (1 + 1e-15))

    monkeypatch.setattr(tiny.race, "step", another_order)
    assert "records differ, the first at step 1, loss" in "\n".join(_verdict(case, inputs))


def test_the_comparison_made_on_cuda_allows_rounding_and_no_more(tiny_case, monkeypatch):
    case, inputs = tiny_case("noisy")
    expected = battery.run(case, "cpu", inputs).records
    for error, agrees in ((1e-6, True), (0.01, False)):
        step = lambda *a, e=error: (new := STEP(*a))._replace(x=new.x * (1 + e))  # noqa: E731
        monkeypatch.setattr(tiny.race, "step", step)
        records = battery.run(case, "cpu", inputs).records
        if agrees:
            _assert_agrees(case, records, expected)
        else:
            with pytest.raises(AssertionError, match="Not equal to tolerance"):
                _assert_agrees(case, records, expected)
