"""Every method against its slow twin (one client at a time, autograd), its limits, and what it counts."""

import importlib
from itertools import pairwise

import numpy as np
import pfedsop_plain as plain
import pytest
import torch
from pfedsop_small import CLASSES, Quadratic, federation, plain_of, play

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.pfedsop.adaptive import fedala
from descent.papers.pfedsop.averaging import fedavg, fedavg_ft, fedprox, local
from descent.papers.pfedsop.federation import Federation
from descent.papers.pfedsop.methods import METHODS, built
from descent.papers.pfedsop.network import Mlp
from descent.papers.pfedsop.regularised import ditto, pfedme
from descent.papers.pfedsop.room import METHODS as CARDS
from descent.papers.pfedsop.rounds import Rounds
from descent.papers.pfedsop.second_order import carry, first_order, pfedsop
from descent.papers.pfedsop.split_model import fedrep
from descent.toolbox.capture import captured
from tape import Tape

LR = 0.05
SOP = {"step_size": 2.0, "rho": 20.0, "sharpness": 1.5}
PLAIN_SOP = {"lr": LR, "eta1": 2.0, "rho": 20.0, "lam": 1.5}


def same(got, want, atol=1e-9):
    """(F, K or 1, d) against a list of K vectors."""
    for i, model in enumerate(want):
        torch.testing.assert_close(got[min(i, len(got) - 1)], model, atol=atol, rtol=1e-7)


def twins(curve, fed, slow):
    """The room's curve of personal models against the twin's history, seed by seed and round by round."""
    for s in range(fed.seeds):
        clients, rounds, start = plain_of(fed, s)
        for after, want in zip(curve, slow(clients, rounds, start), strict=True):
            same(after[s], want)


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (pfedsop, {}),
        (carry, {"rule": "carry"}),
        (first_order, {"order": "first", "eta1": 0.02}),
        (lambda fed, **own: pfedsop(fed, mix=0.5, **own), {"beta": 0.5}),
    ],
)
def test_pfedsop_equals_one_client_at_a_time(build, options):
    fed = federation()
    own = SOP | ({"step_size": options["eta1"]} if "eta1" in options else {})
    _, infos, curve = play(build(fed, **own))
    for s in range(fed.seeds):
        clients, rounds, start = plain_of(fed, s)
        history, seen = plain.pfedsop(clients, rounds, start, **(PLAIN_SOP | options))
        for after, want in zip(curve, history, strict=True):
            same(after[s], want)
        assert seen, "no client took part twice"
        for number, client, phi, weight, norm, length in seen:
            j = rounds[number - 1][0].index(client)
            info = infos[number - 1]
            assert info.warm[s, j]
            got = [getattr(info, name)[s, j].item() for name in ("angle", "mix", "update_norm", "step_length")]
            assert got == pytest.approx([phi, weight, norm, length], rel=1e-6)
        cold = sum(not flag for info in infos for flag in info.warm[s].tolist())
        assert cold == len({i for chosen, _, _ in rounds for i in chosen})


def test_baselines_equal_one_client_at_a_time():
    fed = federation()
    tuned = (2, 4, 5)
    for method, slow in (
        (local(fed), lambda *a: plain.local(*a, lr=LR)),
        (fedavg(fed), lambda *a: plain.fedavg(*a, lr=LR)),
        (fedprox(fed, proximal=0.7), lambda *a: plain.fedavg(*a, lr=LR, mu=0.7)),
        (ditto(fed, proximal=0.8), lambda *a: plain.ditto(*a, lr=LR, mu=0.8)),
        (fedrep(fed), lambda *a: plain.fedrep(*a, lr=LR)),
        (
            pfedme(fed, attraction=6.0, inner_steps=3, inner_step_size=0.03),
            lambda *a: plain.pfedme(*a, lr=LR, lam=6.0, inner=3, inner_lr=0.03),
        ),
        (
            fedala(fed, head_step_size=5.0, first_passes=3),
            lambda *a: plain.fedala(*a, lr=LR, eta=5.0, first=3, share=0.8, batch=7)[0],
        ),
    ):
        twins(play(method)[2], fed, slow)
    curve = play(fedavg_ft(fed, tune_after=tuned))[2]
    for s in range(fed.seeds):
        clients, rounds, start = plain_of(fed, s)
        positions = {}
        for number in tuned:
            drawn = fed.rounds.draw(number - 1, 1, tuning=tuned).tuning[0, s]
            where = [{int(n): p for p, n in enumerate(own)} for own in fed.rounds.train[s]]
            positions[number] = [
                torch.tensor([[where[i][int(n)] for n in row] for row in drawn[:, i]]) for i in range(len(clients))
            ]
        for after, want in zip(curve, plain.fedavg(clients, rounds, start, lr=LR, tuning=positions), strict=True):
            same(after[s], want)


def toy(state_rule):
    """Three clients that want c_i, exact gradients; participants {0,1}, {1,2}, {0,2}, {0,1}."""
    wishes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 2.0]], dtype=torch.float64)
    train = [[np.array([i]) for i in range(3)]]
    rounds = Rounds(Streams("pfedsop"), "toy", (0,), train, rounds=4, participants=2, local_steps=5, batch=1)
    rounds.clients = np.array([[[0, 1]], [[1, 2]], [[0, 2]], [[0, 1]]])
    start = torch.zeros(1, 2, dtype=torch.float64)
    fed = Federation(Quadratic(), wishes, wishes, torch.ones(1, 3), start, rounds, local_step_size=0.1)
    return play(pfedsop(fed, step_size=1.0, rho=1.0, sharpness=1.0, state_rule=state_rule), 4)[2]


@pytest.mark.parametrize(
    ("rule", "last"),
    [
        ("anchor", [[0.7810594, 0.18046883], [0.06618952, 0.72414592], [-0.44531435, 0.90287341]]),
        ("carry", [[1.17870283, 0.00204936], [-0.01353873, 1.13275068], [-0.6966732, 1.39476696]]),
    ],
)
def test_three_clients_worked_out(rule, last):
    curve = toy(rule)
    first = torch.tensor([[0.40951, 0.0], [0.0, 0.40951], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(curve[0][0], first, atol=1e-9, rtol=0)
    torch.testing.assert_close(curve[-1][0], torch.tensor(last, dtype=torch.float64), atol=1e-7, rtol=0)


def test_without_a_step_carry_is_local_training_to_the_bit_and_anchor_never_moves():
    fed = federation()
    alone, kept = play(local(fed))[2], play(carry(fed, step_size=0.0, rho=1.0))
    assert all(torch.equal(a, b) for a, b in zip(alone, kept[2], strict=True))
    state, _, curve = play(pfedsop(fed, step_size=0.0, rho=1.0))
    assert torch.equal(state.model, fed.everyone())
    first = fed.train(fed.start[:, None].expand(-1, fed.members, -1), fed.rounds.draw(4, 1).index[0])
    torch.testing.assert_close(
        fed.take(curve[-1], fed.rows(fed.rounds.draw(4, 1)._replace(clients=fed.rounds.draw(4, 1).clients[0]))), first
    )


def test_one_client_alone_mixes_nothing():
    """m = K = 1: the global update is its own, so any lambda gives the same run."""
    runs = []
    for sharpness in (0.3, 4.0):
        fed = federation((7,), members=1, sizes=(30,))
        _, infos, curve = play(pfedsop(fed, step_size=2.0, rho=20.0, sharpness=sharpness))
        assert all(info.angle.abs().max() < 1e-6 for info in infos[1:])
        runs.append(curve[-1])
    torch.testing.assert_close(*runs, atol=1e-12, rtol=1e-10)


def test_limits_of_the_baselines():
    fed = federation()
    plainly = play(fedavg(fed))
    torch.testing.assert_close(play(fedprox(fed, proximal=0.0))[0].shared, plainly[0].shared, atol=1e-12, rtol=1e-10)
    free = play(ditto(fed, proximal=0.0))
    torch.testing.assert_close(free[0].personal, play(local(fed))[0].personal, atol=1e-12, rtol=1e-10)
    assert torch.equal(free[0].shared, plainly[0].shared)
    loose = play(pfedme(fed, attraction=0.0))[0]
    assert torch.allclose(loose.shared, fed.start, atol=1e-14) and not torch.equal(loose.personal, fed.everyone())
    still = play(fedala(fed, head_step_size=0.0))[0]
    torch.testing.assert_close(still.shared, plainly[0].shared, atol=1e-12, rtol=1e-10)
    assert (still.weights == 1).all()


def test_full_participation_in_one_full_batch_step_is_centralised_descent():
    sizes = (14, 14, 14)
    fed = federation((7,), members=3, steps=1, batch=14, sizes=sizes, rounds=3)
    state, _, _ = play(fedavg(fed), 3)
    every = torch.from_numpy(np.concatenate(fed.rounds.train[0]))
    v = fed.start.clone()
    for _ in range(3):
        v = v - LR * fed.network.gradient(v, fed.x[every][None], fed.y[every][None])
    torch.testing.assert_close(state.shared, v, atol=1e-12, rtol=1e-10)


def test_the_update_is_the_sum_of_the_gradients_of_the_run():
    fed = federation((7,), dtype=torch.float32)
    method = pfedsop(fed, **SOP)
    state, _, _ = play(method, 2)
    before = state.model.clone()
    drawn = fed.rounds.draw(2, 1)
    state, info = method.step(state, type(drawn)(drawn.clients[0], drawn.index[0]))
    for j, i in enumerate(drawn.clients[0, 0].tolist()):
        v = state.model[0, i][None].clone()  # anchor: where the run began
        assert torch.equal(v[0], before[0, i]) == (not bool(info.warm[0, j]))
        total = torch.zeros_like(v)
        for rows in drawn.index[0, 0, :, j]:
            gradient = fed.network.gradient(v, fed.x[rows.long()][None], fed.y[rows.long()][None])
            total, v = total + gradient, v - fed.lr[0] * gradient
        torch.testing.assert_close(state.update[0, i], total[0], rtol=1e-3, atol=1e-3 * total.abs().max().item())
    torch.testing.assert_close(
        state.shared[0], fed.take(state.update, fed.rows(type(drawn)(drawn.clients[0], drawn.index[0])))[0].mean(0)
    )


OWN = {"fedprox": {"proximal": 0.3}, "ditto": {"proximal": 0.4}}


@pytest.mark.parametrize("name", METHODS)
def test_a_seed_and_a_grid_value_do_not_notice_their_companions(name):
    at = (2, 4, 5)
    grid = federation(grid=2, lr=[0.05, 0.02])
    whole = play(built(name, grid, at, **OWN.get(name, {})))[2]
    for g, lr in enumerate((0.05, 0.02)):
        for s, seed in enumerate((7, 8)):
            one = play(built(name, federation((seed,), lr=lr), at, **OWN.get(name, {})))[2]
            for a, b in zip(whole, one, strict=True):
                torch.testing.assert_close(a[2 * g + s], b[0], atol=1e-9, rtol=1e-9)


def test_what_runs_under_a_name_is_the_builder_that_its_card_names():
    assert set(METHODS) == set(CARDS)
    for name, card in CARDS.items():
        module, _, function = card.builder.partition(":")
        assert METHODS[name] is getattr(importlib.import_module(f"descent.papers.pfedsop.{module}"), function), name


def test_settings_along_a_grid_are_those_of_single_runs():
    grid = {"step_size": [2.0, None, 5.0], "rho": [20.0, 40.0, 5.0], "sharpness": [1.0, 2.0, 0.5]}
    whole = play(pfedsop(federation(grid=3), **grid))[2]
    for g in range(3):
        own = {name: values[g] for name, values in grid.items()}
        if own["step_size"] is None:
            own["step_size"] = 10 * LR * 40.0
        one = play(pfedsop(federation(), **own))[2]
        torch.testing.assert_close(whole[-1][2 * g : 2 * g + 2], one[-1], atol=1e-9, rtol=1e-9)


def test_renamed_clients_give_renamed_results():
    fed, other = federation((7,)), federation((7,))
    new = [2, 0, 3, 1]  # client i is called new[i]
    other.rounds.train = [[fed.rounds.train[0][new.index(i)] for i in range(4)]]
    other.counts = fed.counts[:, [new.index(i) for i in range(4)]]
    other.rounds.clients = np.take(np.array(new), fed.rounds.clients)
    other.rounds._drawn = {
        (k, slot): fed.rounds._slot(k, slot, fed.rounds.clients[k]) for k in range(5) for slot in ("main", "extra")
    }
    for build in (lambda f: pfedsop(f, **SOP), lambda f: fedala(f, head_step_size=3.0), fedrep):
        a, b = play(build(fed))[2][-1], play(build(other))[2][-1]
        torch.testing.assert_close(a[0], b[0][new], atol=1e-12, rtol=1e-10)


class Counting(Mlp):
    """Adds up the samples whose gradients it is asked for."""

    samples = 0

    def descend_(self, leaves, x, y, lr, **more):
        self.samples += y.shape[0] * y.shape[1]
        super().descend_(leaves, x, y, lr, **more)

    def head_gradient(self, head, features, y):
        self.samples += y.shape[0] * y.shape[1]
        return super().head_gradient(head, features, y)


def test_sample_gradients_and_bytes_are_counted_exactly():
    """What each method charges against what its network was asked for."""
    at = (2, 4, 5)
    for name in METHODS:
        fed = federation(dtype=torch.float32)
        network = fed.network = Counting(*fed.network.layers[0], fed.network.classes)
        state, _, _ = play(built(name, fed, at, **OWN.get(name, {})))
        tuning = len(at) * fed.size * fed.clients * 4 * 7 if name == "fedavg_ft" else 0
        assert state.cost.samples.sum() == network.samples - tuning, name
        each = 5 * 4 * 2 * 7
        runs = {"ditto": 2, "fedrep": 2, "pfedme": 5}
        if name != "fedala":
            assert state.cost.samples.tolist() == [runs.get(name, 1) * each] * 2, name
        d, body = network.size, network.size - network.head
        vectors = {"local": 0, "fedrep": 2 * body * 5}.get(name, 2 * d * 5)
        if state.cost.sent.tolist() != [4 * 2 * vectors] * 2:
            assert state.cost.sent.tolist() == [4 * 2 * (2 * d * 5 - d)] * 2, name  # no global update in round 1
            assert name not in ("fedavg", "ditto", "pfedme", "fedala", "fedprox")


def test_fedala_counts_what_its_twin_does():
    fed = federation()
    state = play(fedala(fed, head_step_size=5.0, first_passes=3))[0]
    for s in range(fed.seeds):
        clients, rounds, start = plain_of(fed, s)
        _, spent = plain.fedala(clients, rounds, start, lr=LR, eta=5.0, first=3, share=0.8, batch=7)
        assert state.cost.samples[s] == 5 * 4 * 2 * 7 + spent


def test_cold_start_may_take_the_global_update():
    """A new client then steps along D itself; in the first round there is none."""
    fed = federation()
    _, infos, _ = play(pfedsop(fed, cold_start="global", **SOP))
    assert not infos[0].warm.any() and all(info.warm.all() for info in infos[1:])
    new = {i for i in fed.rounds.clients[1, 0]} - {i for i in fed.rounds.clients[0, 0]}
    for i in new:
        j = fed.rounds.clients[1, 0].tolist().index(i)
        assert infos[1].angle[0, j] < 1e-6


def test_prediction_after_the_step_leaves_the_run_as_it_is():
    fed = federation()
    probe, step = play(pfedsop(fed, **SOP)), play(pfedsop(fed, predict="after_step", **SOP))
    assert torch.equal(probe[0].model, step[0].model)
    assert torch.equal(step[0].personal, step[0].model) and not torch.equal(probe[0].personal, probe[0].model)


def test_unseen_clients_predict_with_the_start():
    fed = federation()
    for name in METHODS:
        curve = play(built(name, fed, (), **OWN.get(name, {})), 1)[2]
        away = [i for i in range(4) if i not in fed.rounds.clients[0, 0]]
        if curve[0].shape[1] > 1 and name != "fedrep":
            assert all(torch.equal(curve[0][0, i], fed.start[0]) for i in away), name


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda fed: pfedsop(fed, rho=0.0), r"pfedsop: `rho` must lie in \(0, 1e\+12\], got 0.0"),
        (lambda fed: pfedsop(fed, state_rule="both"), "pfedsop: `state_rule` must be anchor or carry, got 'both'"),
        (lambda fed: pfedsop(fed, sharpness=[1.0, -1.0]), "pfedsop: `sharpness` must lie in"),
        (lambda fed: pfedsop(fed, mix=1.5), r"pfedsop: `mix` must lie in \[0, 1\], got 1.5"),
        (lambda fed: fedprox(fed, proximal=-1.0), "fedprox: `proximal` must lie in"),
        (lambda fed: ditto(fed, proximal="1"), "ditto: `proximal` must be a number"),
        (lambda fed: pfedme(fed, inner_steps=0), "pfedme: `inner_steps` must lie in"),
        (lambda fed: fedala(fed, sample_share=0.0), "fedala: `sample_share` must lie in"),
        (lambda fed: pfedsop(fed, rho=[]), "pfedsop: `rho` has no values"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(build, message):
    with pytest.raises(SettingError, match=message):
        build(federation())


def test_a_method_never_changes_the_common_start():
    fed = federation()
    start = fed.start.clone()
    for name in METHODS:
        play(built(name, fed, (), **OWN.get(name, {})))
    assert torch.equal(fed.start, start)


def test_chunks_cover_all_models_once():
    fed = federation()
    for rows in (1, 39, 40, 41, 150, 163):
        parts = fed.chunks(rows)
        assert parts[0].start == 0 and parts[-1].stop == rows
        assert all(a.stop == b.start for a, b in pairwise(parts)) and max(p.stop - p.start for p in parts) <= 40
    assert CLASSES == 10


def test_a_recorded_local_run_replays_with_other_inputs():
    """What a CUDA graph does, on the CPU: each kind of local run is recorded once and repeated for later rounds."""
    for name in ("pfedsop", "ditto", "fedrep", "fedavg"):
        plainly, replayed = federation(), federation()
        replayed._run = captured(replayed._steps, Tape)
        want, got = (play(built(name, fed, (), **OWN.get(name, {})))[2] for fed in (plainly, replayed))
        for a, b in zip(want, got, strict=True):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)
