"""The experiments at smoke scale: every recorded number against a plain loop written out here, client by client, in float64."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pfedsop_plain as plain
import pytest
import torch
from torch.nn import functional

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.core.streams import Streams
from descent.data import load
from descent.runner.run import perform, read_need

ROOT = Path(__file__).resolve().parents[3]
SEEDS = (500, 501)
LR = 0.1  # larger than the study's, so that three steps show


@pytest.fixture(scope="module")
def plan():
    return make_plan(ROOT, read_study(ROOT, {"papers": "pfedsop", "scale": "smoke", "seeds": "dev"}))


def faster(job, **changes):
    """The job with another local step size (and other settings)."""
    return replace(
        job, variants=tuple(replace(v, params={**v.params, "local_step_size": LR, **changes}) for v in job.variants)
    )


def digits():
    data = load("digits")
    return torch.from_numpy(data["images"].astype(float) / 16).flatten(1), data["labels"].astype(int)


class Case:
    """One seed of one partition, drawn again from the keys of its streams."""

    def __init__(
        self, seed, partition, x, labels, *, name, K, m, R, T, B, least=20, d=64 * 16 + 16 + 160 + 10, bounds=None
    ):
        streams = Streams("pfedsop")
        self.K, self.R, self.T, self.B = K, R, T, B
        rng = streams.numpy("partition", seed, name)
        parts = self._deal(partition, labels, rng, K, least)
        self.train, self.test = [], []
        for part in parts:
            part = rng.permutation(part)
            cut = int(0.75 * len(part))
            self.train.append(part[:cut])
            self.test.append(part[cut:])
        who = streams.numpy("participation", seed, name).permuted(np.tile(np.arange(K), (R, 1)), axis=1)[:, :m]
        self.rounds = []
        for k in range(R):
            tables = [self._batches(streams, seed, name, slot, k, who[k]) for slot in ("main", "extra")]
            self.rounds.append((who[k].tolist(), *tables))
        self.tuning = lambda k: self._batches(streams, seed, name, "tuning", k - 1, range(K))
        y = torch.from_numpy(labels)
        self.clients = [(x[own], y[own]) for own in self.train]
        self.held = [(x[own], y[own]) for own in self.test]
        bounds = (
            torch.cat([torch.full((64 * 16 + 16,), 1 / 8), torch.full((170,), 1 / 4)]) if bounds is None else bounds
        )
        self.start = (2 * torch.from_numpy(streams.numpy("start", seed).random(d)) - 1) * bounds.double()

    @staticmethod
    def _deal(partition, labels, rng, K, least):
        if partition == "classes-2":
            while True:
                owned = [rng.permutation(10)[:2] for _ in range(K)]
                if len({c for own in owned for c in own}) == 10:
                    break
            parts = [[] for _ in range(K)]
            for c in range(10):
                owners = [i for i in range(K) if c in owned[i]]
                for i, part in zip(
                    owners, np.array_split(rng.permutation(np.flatnonzero(labels == c)), len(owners)), strict=True
                ):
                    parts[i] += part.tolist()
            return [np.array(part) for part in parts]
        alpha, count = float(partition.split("-")[1]), [int((labels == c).sum()) for c in range(10)]
        while True:
            for shares in rng.dirichlet([alpha] * K, (64, 10)):
                sizes, edges = [0] * K, []
                for c in range(10):
                    p = np.array([q if n < len(labels) / K else 0 for q, n in zip(shares[c], sizes, strict=True)])
                    if p.sum() == 0:
                        break
                    edges.append([0, *(np.cumsum(p / p.sum()) * count[c]).astype(int)[:-1], count[c]])
                    sizes = [n + edges[c][i + 1] - edges[c][i] for i, n in enumerate(sizes)]
                else:
                    if min(sizes) >= least:
                        dealt = [rng.permutation(np.flatnonzero(labels == c)) for c in range(10)]
                        return [
                            np.concatenate([dealt[c][edges[c][i] : edges[c][i + 1]] for c in range(10)])
                            for i in range(K)
                        ]

    def _batches(self, streams, seed, name, slot, k, chosen):
        """Positions among the client's own samples, (T, B) each."""
        rng, found = streams.numpy("minibatches", seed, name, slot, k), []
        for i in chosen:
            own = self.train[i]
            each = len(own) // self.B
            if each == 0:
                drawn = rng.choice(own, (self.T, self.B))
            else:
                shuffles = rng.permuted(np.tile(own, (math.ceil(self.T / each), 1)), axis=1)
                drawn = np.concatenate([row[: each * self.B].reshape(each, self.B) for row in shuffles])[: self.T]
            where = {n: position for position, n in enumerate(own.tolist())}
            found.append(torch.tensor([[where[n] for n in row] for row in drawn.tolist()]))
        return found

    def tested(self, models):
        """(right answers, test samples) of each client."""
        right = [int((plain.predict(v, x).argmax(1) == y).sum()) for v, (x, y) in zip(models, self.held, strict=True)]
        return np.array(right), np.array([len(y) for _, y in self.held])


def played(case, method, lr=LR, **own):
    """Personal models after every round."""
    c, r, s = case.clients, case.rounds, case.start
    sop = {"lr": lr, "eta1": 10.0, "rho": 100.0, "lam": 1.0}
    runs = {
        "pfedsop": lambda: plain.pfedsop(c, r, s, **(sop | own))[0],
        "carry": lambda: plain.pfedsop(c, r, s, **sop, rule="carry")[0],
        "local": lambda: plain.local(c, r, s, lr=lr),
        "fedavg": lambda: plain.fedavg(c, r, s, lr=lr),
        "fedavg_ft": lambda: plain.fedavg(c, r, s, lr=lr, tuning={k: case.tuning(k) for k in (2, 4)}),
        "fedprox": lambda: plain.fedavg(c, r, s, lr=lr, mu=0.1),
        "ditto": lambda: plain.ditto(c, r, s, lr=lr, mu=own.get("mu", 1.0)),
        "fedrep": lambda: plain.fedrep(c, r, s, lr=lr),
        "pfedme": lambda: plain.pfedme(c, r, s, lr=lr, lam=15.0, inner=5, inner_lr=0.01),
        "fedala": lambda: plain.fedala(c, r, s, lr=lr, eta=1.0, first=10, share=0.8, batch=case.B)[0],
        "first_order": lambda: plain.pfedsop(c, r, s, **(sop | own), order="first")[0],
        "first_matched": lambda: plain.pfedsop(c, r, s, **(sop | {"eta1": 0.1}), order="first")[0],
        "own_only": lambda: plain.pfedsop(c, r, s, **sop, beta=0.0)[0],
        "even": lambda: plain.pfedsop(c, r, s, **sop, beta=0.5)[0],
        "shared_only": lambda: plain.pfedsop(c, r, s, **sop, beta=1.0)[0],
    }
    return runs[method]()


def compare(rows, case, history, *, target, T=3, m=3, B=5, at=(2, 4), vectors=2.0, runs=1, d=1210):
    """The rows of one method, setting and seed against the models after every round."""
    value = lambda metric, step=0: rows.loc[(rows["metric"] == metric) & (rows["step"] == step), "value"].item()  # noqa: E731
    accuracies = []
    for step in (0, *at):
        right, sizes = case.tested(history[step - 1] if step else [case.start] * case.K)
        each = right / sizes
        one = 1.01 / sizes.sum()  # float32 may tip a sample that lies on the fence
        assert value("accuracy", step) == pytest.approx(right.sum() / sizes.sum(), abs=one)
        assert value("client_mean", step) == pytest.approx(each.mean(), abs=1.01 / sizes.min() / case.K)
        assert value("client_low", step) == pytest.approx(np.percentile(each, 10), abs=1.01 / sizes.min())
        if runs:
            assert value("samples", step) == runs * step * T * m * B
        assert value("sent", step) == pytest.approx(4 * m * vectors * d * step - (4 * m * d if vectors == 1.99 else 0))
        accuracies.append(right.sum() / sizes.sum())
    assert value("aulc") == pytest.approx(np.mean(accuracies[1:]), abs=one)
    reached = [step for step, accuracy in zip(at, accuracies[1:], strict=True) if accuracy >= target]
    clear = all(abs(accuracy - target) > one for accuracy in accuracies[1:])
    if clear:
        assert value("rounds_to_target") == (reached[0] if reached else math.inf)
    return accuracies


def sizes(**changes):
    return {"K": 8, "m": 3, "R": 4, "T": 3, "B": 5} | changes


@pytest.mark.parametrize("partition", ["dirichlet-0.1", "classes-2"])
def test_comparison_records_what_a_plain_loop_finds(plan, partition):
    (job,) = (j for j in plan.of("pfedsop", "comparison") if j.variants[0].params["partition"] == partition)
    job = faster(job, target=0.3)
    frame = perform(job).frame(job)
    x, labels = digits()
    assert {v.method for v in job.variants} == {
        "pfedsop", "carry", "local", "fedavg", "fedavg_ft", "fedprox", "ditto", "fedrep", "pfedme", "fedala",
    }  # fmt: skip
    learned = []
    for seed in SEEDS:
        case = Case(seed, partition, x, labels, name=f"digits 0 {partition} 8", **sizes())
        for method in dict.fromkeys(frame["method"]):
            rows = frame[(frame["method"] == method) & (frame["seed"] == seed)]
            found = compare(
                rows, case, played(case, method), target=0.3,
                runs={"ditto": 2, "fedrep": 2, "pfedme": 5, "fedala": 0}.get(method, 1),
                vectors={"local": 0, "fedrep": 2 * (64 * 16 + 16) / 1210}.get(method, 2),
            ) if method not in ("pfedsop", "carry") else compare(
                _without_bytes(rows, case), case, played(case, method), target=0.3, vectors=0
            )  # fmt: skip
            learned.append(found[-1] - found[0])
    assert np.mean(learned) > 0.1  # three steps of 0.1 are enough to tell methods and settings apart


def _without_bytes(rows, case):
    """pFedSOP's bytes: no global update comes down in the first round."""
    sent = rows[rows["metric"] == "sent"].set_index("step")["value"]
    assert sent.to_dict() == {0: 0, 2: 4 * 3 * 1210 * 3, 4: 4 * 3 * 1210 * 7}
    return rows.assign(value=rows["value"].where(rows["metric"] != "sent", 0.0))


def test_ablation_changes_one_thing_each(plan):
    (job,) = plan.of("pfedsop", "ablation")
    tuned = [
        replace(v, params={**v.params, "step_size": 0.05}, tuned={}) if v.method == "first_order" else v
        for v in faster(job).variants
    ]
    job = replace(job, variants=tuple(tuned))
    assert {v.method for v in job.variants if v.params["step_size"] == 0.1} == {"first_matched"}
    frame = perform(job, needs={}).frame(job)
    x, labels = digits()
    case = Case(SEEDS[1], "dirichlet-0.1", x, labels, name="digits 0 dirichlet-0.1 8", **sizes())
    for method in ("first_order", "first_matched", "own_only", "even", "shared_only"):
        rows = frame[(frame["method"] == method) & (frame["seed"] == SEEDS[1])]
        own = {"eta1": 0.05} if method == "first_order" else {}
        compare(_without_bytes(rows, case), case, played(case, method, **own), target=0.85, vectors=0)
    after = frame[(frame["method"] == "after_step") & (frame["seed"] == SEEDS[1])]
    assert set(after["metric"]) >= {"accuracy", "aulc", "angle", "mix"}


@pytest.mark.parametrize(
    ("experiment", "given"),
    [
        ("sharpness", lambda v: {"lam": v.params["sharpness"]}),
        ("damping", lambda v: {"eta1": v.params["step_size"], "rho": v.params["rho"]}),
        ("first_tuning", lambda v: {"eta1": v.params["step_size"]}),
    ],
)
def test_a_grid_records_each_value_s_own_run(plan, experiment, given):
    (job,) = plan.of("pfedsop", experiment)
    job = faster(job)
    assert all(set(v.seeds) <= set(range(200, 300)) for v in job.variants)  # tuning seeds
    frame = perform(job).frame(job)
    x, labels = digits()
    seed = job.variants[0].seeds[1]
    case = Case(seed, "dirichlet-0.1", x, labels, name="digits 0 dirichlet-0.1 8", **sizes())
    assert len(job.variants) >= 2
    for v in job.variants:
        rows = frame[frame["seed"] == seed]
        for axis, value in v.setting.items():
            rows = rows[rows[axis] == value]
        compare(_without_bytes(rows, case), case, played(case, v.method, **given(v)), target=0.85, vectors=0)


def test_tuned_runs_take_what_was_chosen_for_the_method_and_the_partition(plan, tmp_path):
    from descent.runner.run import execute

    for name in ("tuning", "choice"):
        for job in plan.of("pfedsop", name):
            execute(job, tmp_path, say=lambda text: None)
    (job,) = plan.of("pfedsop", "tuned")
    needs = {name: read_need(tmp_path, ids) for name, ids in job.needs.items()}
    chosen = {c["group"]["method"]: c for need in needs.values() for c in need.chosen}
    assert set(chosen["ditto"]["values"]) == {"local_step_size", "proximal"}
    assert set(chosen["pfedsop"]["values"]) == {"local_step_size", "step_size", "rho"}
    assert set(chosen["local"]["values"]) == {"local_step_size"}
    for choice in chosen.values():
        assert choice["score"] == max(point["score"] for point in choice["grid"]) and len(choice["grid"]) >= 2
    frame = perform(job, needs=needs).frame(job)
    x, labels = digits()
    case = Case(SEEDS[0], "dirichlet-0.1", x, labels, name="digits 0 dirichlet-0.1 8", **sizes())
    for method in ("local", "ditto", "pfedsop"):
        values = chosen[method]["values"]
        own = {
            "ditto": {"mu": values.get("proximal")},
            "pfedsop": {"eta1": values.get("step_size"), "rho": values.get("rho")},
        }
        history = played(case, method, values["local_step_size"], **own.get(method, {}))
        rows = frame[(frame["method"] == method) & (frame["seed"] == SEEDS[0])]
        got = rows[(rows["metric"] == "accuracy") & (rows["step"] == 4)]["value"].item()
        right, total = case.tested(history[-1])
        assert got == pytest.approx(right.sum() / total.sum(), abs=1.01 / total.sum())


@pytest.mark.parametrize("scale", ["smoke", "study", "paper"])
def test_whatever_is_tuned_was_tuned_for_that_method_and_partition(scale):
    whole = make_plan(ROOT, read_study(ROOT, {"papers": "pfedsop", "scale": scale}), everything=True)
    experiments = whole.papers["pfedsop"].experiments
    jobs = [job for job in whole.jobs.values() if job.paper == "pfedsop"]
    for job in jobs:
        for v in job.variants:
            for need in set(v.tuned.values()):
                tuning = [w for j in jobs if j.experiment == experiments[need].select.of for w in j.variants]
                same = [w for w in tuning if (w.method, w.params["partition"]) == (v.method, v.params["partition"])]
                assert len(same) >= 2, (scale, job.id, v.key, need)
                assert all(set(w.seeds) <= set(range(200, 300)) for w in same)


def cnn(v, x):
    """One model of the CNN on 28 x 28 images, by torch's own layers; weights lie input first."""
    layers = ((25, 32), (800, 64), (1024, 512), (512, 10))
    parts = v.split([n for i, o in layers for n in (i * o, o)])
    x = x.unsqueeze(1)
    for i, (channels, out) in enumerate(((1, 32), (32, 64))):
        kernel = parts[2 * i].view(channels, 5, 5, out).permute(3, 0, 1, 2)
        x = functional.max_pool2d(functional.conv2d(x, kernel, parts[2 * i + 1]).relu(), 2)
    x = (x.flatten(1) @ parts[4].view(1024, 512) + parts[5]).relu()
    return x @ parts[6].view(512, 10) + parts[7]


def test_images_go_through_the_network_of_the_larger_scale(plan, monkeypatch):
    """Fashion-MNIST, fewer images, equally many of each class; local training alone, the methods being those of `comparison`."""
    (job,) = plan.of("pfedsop", "images")
    job = replace(faster(job), variants=tuple(v for v in faster(job).variants if v.method == "local"))
    frame = perform(job).frame(job)
    data = load("fashion_mnist")
    images = np.concatenate([data["train_images"], data["test_images"]])
    labels = np.concatenate([data["train_labels"], data["test_labels"]]).astype(int)
    size = job.variants[0].params["images"]
    rng = Streams("pfedsop").numpy("subsample", 0, "fashion_mnist")
    kept = np.sort(np.concatenate([rng.permutation(np.flatnonzero(labels == c))[: size // 10] for c in range(10)]))
    x = torch.from_numpy(images[kept].astype(np.float32) / 255).double()
    bounds = torch.cat(
        [torch.full((i * o + o,), 1 / math.sqrt(i)) for i, o in ((25, 32), (800, 64), (1024, 512), (512, 10))]
    )
    monkeypatch.setattr(plain, "predict", cnn)
    case = Case(
        SEEDS[0], "dirichlet-0.1", x, labels[kept], name=f"fashion_mnist {size} dirichlet-0.1 3",
        **sizes(K=3, m=2, R=2, T=2, B=2), d=len(bounds), bounds=bounds,
    )  # fmt: skip
    rows = frame[frame["seed"] == SEEDS[0]]
    compare(rows, case, played(case, "local"), target=0.85, at=(1, 2), T=2, m=2, B=2, vectors=0)


def test_diagnostics_are_means_over_those_who_stepped(plan):
    (job, *_) = plan.of("pfedsop", "comparison")
    job = replace(faster(job), variants=tuple(v for v in faster(job).variants if v.method == "pfedsop"))
    records = perform(job)
    frame = records.frame(job)
    x, labels = digits()
    for s, seed in enumerate(SEEDS):
        case = Case(seed, "dirichlet-0.1", x, labels, name="digits 0 dirichlet-0.1 8", **sizes())
        _, seen = plain.pfedsop(case.clients, case.rounds, case.start, lr=LR, eta1=10.0, rho=100.0, lam=1.0)
        for step in (2, 4):
            rows = frame[(frame["seed"] == seed) & (frame["step"] == step)].set_index("metric")
            own = pd.DataFrame(
                [row[2:] for row in seen if row[0] == step], columns=["angle", "mix", "update_norm", "step_length"]
            )
            for metric in own.columns:
                if len(own):
                    assert rows.loc[metric, "value"] == pytest.approx(own[metric].mean(), rel=1e-4)
                else:
                    assert rows.loc[metric, "status"] == "undefined"
        kept = records.arrays["angle digits"][:, 3 * 0 :][:, s]
        assert sorted(kept[np.isfinite(kept)]) == pytest.approx(
            sorted(row[2] for row in seen if row[0] in (2, 4)), rel=1e-4
        )


def test_who_never_reaches_the_target_is_censored_and_who_broke_is_diverged():
    from descent.papers.pfedsop.comparison import first_reached

    accuracy = np.array([[0.2, 0.9, 0.1, np.nan], [0.5, 0.2, 0.2, 0.9], [0.6, 0.9, 0.3, np.nan]])
    values, status = first_reached(accuracy, np.array([3, 6, 9]), 0.5)
    assert status == ["ok", "ok", "censored", "ok"]
    np.testing.assert_array_equal(values, [6, 3, np.inf, 6])
    values, status = first_reached(accuracy[[0, 2]], np.array([3, 9]), 0.95)
    assert status == ["censored", "censored", "censored", "diverged"] and np.isnan(values[3])


def test_the_labels_kept_for_the_figure_are_the_partition_s(plan):
    (job, *_) = plan.of("pfedsop", "comparison")
    kept = perform(replace(job, variants=job.variants[:1])).arrays["labels digits dirichlet-0.1"]
    x, labels = digits()
    case = Case(SEEDS[0], "dirichlet-0.1", x, labels, name="digits 0 dirichlet-0.1 8", **sizes())
    want = [np.bincount(labels[[*a, *b]], minlength=10) for a, b in zip(case.train, case.test, strict=True)]
    np.testing.assert_array_equal(kept, want)


def test_a_timed_call_is_one_round_of_the_method(plan):
    from descent.core.context import Context
    from descent.papers.pfedsop.cost import bench

    everything = make_plan(
        ROOT, read_study(ROOT, {"papers": "pfedsop", "scale": "smoke", "seeds": "dev"}), everything=True
    )
    (job,) = (j for j in everything.jobs.values() if j.experiment == "round_cost")
    context = Context(torch.device("cpu"), Streams("pfedsop"), {"digits": load("digits")})
    for number, call in bench(job, context).items():
        costs = [call().cost.samples[0].item() for _ in range(5)]
        method = job.variants[number].method
        runs = {"ditto": 2, "fedrep": 2, "pfedme": 5}.get(method, 1)
        each = set(np.diff(costs).tolist())
        assert each == {runs * 3 * 3 * 5} or method == "fedala", method
