"""RPG on Cart Pole: the study's lock-step batch against the official way, a competent vectorised baseline and the floor.

`official` is the loop of the kind that the official code uses: a policy and an environment object with small NumPy arrays at
every step (mean, action, dynamics), trajectories one after the other, and at every update the log-probabilities,
divergences and scores of the whole window computed again from the (K N) x T x d arrays. `tight` is the same with the
steps in plain Python numbers. `plain` is the same algorithm as a competent author writes it in vectorised PyTorch: seeds and
trajectories are axes, a loop over time steps that stops when all have fallen, the window's arrays kept and weighed again.
`floor` is what cannot be left out: the random numbers, and the arithmetic of policy and dynamics, nothing kept.
Same settings (N = 5, window 8, T = 200); given the same random numbers all but the floor end with the same policies, which
the tests check. They take turns, a chunk of updates each, so that all meet the same load; process CPU time, one thread.

A second table is the official code's run-time comparison on our code: what reuse costs beside a larger batch.

    python benchmarks/rpg.py [--updates 400] [--runs 220]
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

BATCH, WINDOW, HORIZON, VARIANCE, STEP_SIZE, CONFIDENCE = 5, 8, 200, 0.3, 0.01, 0.2
BLOCK = 50
CHUNK = 50
FIRST_SEED = 500
Draws = Callable[[int, int], tuple[np.ndarray, Callable[[float, float], float]]]


class Tight:
    """Policy and Cart Pole in Python numbers."""

    def reset(self, start: np.ndarray) -> np.ndarray:
        self.state = (2 * start - 1) * 0.05
        return self.state

    def act(self, theta: np.ndarray, state: np.ndarray, normal: Callable[[float, float], float]) -> float:
        return normal(float(np.dot(theta, state)), math.sqrt(VARIANCE))

    def step(self, action: float) -> tuple[np.ndarray, float, bool]:
        x, velocity, angle, spin = self.state.tolist()
        force = min(max(action, -10.0), 10.0)
        sin, cos = math.sin(angle), math.cos(angle)
        push = (force + 0.05 * spin**2 * sin) / 1.1
        angular = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        linear = push - 0.05 * angular * cos / 1.1
        self.state = np.array(
            [x + 0.02 * velocity, velocity + 0.02 * linear, angle + 0.02 * spin, spin + 0.02 * angular]
        )
        return self.state, 1.0, bool(abs(self.state[0]) > 2.4 or abs(self.state[2]) > 12 * math.pi / 180)


class Numpy:
    """Policy and Cart Pole in NumPy."""

    def reset(self, start: np.ndarray) -> np.ndarray:
        self.state = (2 * start - 1) * 0.05
        return self.state

    def act(self, theta: np.ndarray, state: np.ndarray, normal: Callable[[float, float], float]) -> np.ndarray:
        if len(state) != len(theta):
            raise ValueError("the state and the parameters differ in length")
        mean = np.array(theta @ state, dtype=np.float64)
        return np.array(normal(mean, np.sqrt(VARIANCE)), dtype=np.float64)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
        x, velocity, angle, spin = self.state
        force = np.clip(np.ravel(action), -10.0, 10.0)[0]
        sin, cos = math.sin(angle), math.cos(angle)
        push = (force + 0.05 * spin * spin * sin) / 1.1
        angular = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos * cos / 1.1))
        linear = push - 0.05 * angular * cos / 1.1
        x, velocity, angle, spin = (
            x + 0.02 * velocity,
            velocity + 0.02 * linear,
            angle + 0.02 * spin,
            spin + 0.02 * angular,
        )
        self.state = np.array([x, velocity, angle, spin])
        done = bool(x < -2.4 or x > 2.4 or angle < -12 * math.pi / 180 or angle > 12 * math.pi / 180)
        return np.array(self.state), 1.0, done


def loop(env: Tight | Numpy, updates: int, draws: Draws) -> Iterator[np.ndarray]:
    """theta (4,) after each update. draws(u, j) -> (start (4,) uniform, normal(mean, std) -> the next draw)."""
    theta, first, second = np.zeros(4), np.zeros(4), np.zeros(4)
    window: list[tuple] = []
    for number in range(1, updates + 1):
        states, actions = np.zeros((BATCH, HORIZON, 4)), np.zeros((BATCH, HORIZON))
        rewards, alive = np.zeros((BATCH, HORIZON)), np.zeros((BATCH, HORIZON))
        for j in range(BATCH):
            start, normal = draws(number - 1, j)
            state = env.reset(start)
            for t in range(HORIZON):
                action = env.act(theta, state, normal)
                states[j, t], actions[j, t], alive[j, t] = state, action, 1.0
                state, rewards[j, t], done = env.step(action)
                if done:
                    break
        window = [*window, (theta, states, actions, rewards, alive)][-WINDOW:]
        gradient = estimate(window, theta)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        theta = theta + STEP_SIZE * first / (1 - 0.9**number) / (np.sqrt(second / (1 - 0.999**number)) + 1e-8)
        yield theta


def estimate(window: list[tuple], theta: np.ndarray) -> np.ndarray:
    """ghat at theta from the whole window, everything computed again."""
    k = len(window)
    ratio, divergence, gradients = np.zeros((k, BATCH)), np.zeros(k), np.zeros((k, BATCH, 4))
    for i, (behaviour, states, actions, rewards, alive) in enumerate(window):
        mean, old = states @ theta, states @ behaviour
        log_new, log_old = -((actions - mean) ** 2) / (2 * VARIANCE), -((actions - old) ** 2) / (2 * VARIANCE)
        ratio[i] = np.exp(((log_new - log_old) * alive).sum(1))
        divergence[i] = np.exp(((mean - old) ** 2 * alive).sum(1) / VARIANCE).mean()
        scores = ((actions - mean) * alive / VARIANCE)[..., None] * states
        gradients[i] = (np.cumsum(scores, 1) * rewards[..., None]).sum(1)
    if k == 1:
        return gradients[0].mean(0)
    correction = np.minimum(1.0, np.sqrt(4 * np.log(1 / CONFIDENCE) / (3 * k * BATCH * divergence)))[:, None]
    share = (divergence**-0.5 / (divergence**-0.5).sum())[:, None]
    weights = share / ((1 - correction) / ratio + correction)
    return (weights[..., None] * gradients).sum((0, 1)) / BATCH


def plain(runs: int, updates: int, numbers: Callable[[int], tuple]) -> Iterator[np.ndarray]:
    """theta (runs, 4) after each update. numbers(u) -> (start (runs, N, 4) uniform, noise(t) -> (runs, N) normals)."""
    import torch

    std, limit = math.sqrt(VARIANCE), 12 * math.pi / 180
    theta = torch.zeros(runs, 4, dtype=torch.float64)
    first, second, window = torch.zeros_like(theta), torch.zeros_like(theta), []
    for number in range(1, updates + 1):
        start, noise = numbers(number - 1)
        state, alive = 0.1 * start - 0.05, torch.ones(runs, BATCH, dtype=torch.bool)
        states, actions, masks = [], [], []
        for t in range(HORIZON):
            action = (state * theta[:, None]).sum(-1) + std * noise(t)
            states.append(state)
            actions.append(action)
            masks.append(alive)
            x, velocity, angle, spin = state.unbind(-1)
            force, sin, cos = action.clamp(-10, 10), angle.sin(), angle.cos()
            push = (force + 0.05 * spin**2 * sin) / 1.1
            angular = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
            linear = push - 0.05 * angular * cos / 1.1
            state = torch.stack(
                (x + 0.02 * velocity, velocity + 0.02 * linear, angle + 0.02 * spin, spin + 0.02 * angular), -1
            )
            alive = alive & (state[..., 0].abs() <= 2.4) & (state[..., 2].abs() <= limit)
            if not alive.any():
                break
        mask = torch.stack(masks, -1).double()  # (S, N, L); rewards are 1, so the reward to go counts what is left
        to_go = mask.flip(-1).cumsum(-1).flip(-1) * mask
        window = [*window, (theta, torch.stack(states, -2), torch.stack(actions, -1), to_go, mask)][-WINDOW:]
        ratios, divergences, gradients = [], [], []
        for behaviour, seen, taken, left, inside in window:
            mean = (seen * theta[:, None, None]).sum(-1)
            old = (seen * behaviour[:, None, None]).sum(-1)
            log_ratio = (((taken - old) ** 2 - (taken - mean) ** 2) * inside).sum(-1) / (2 * VARIANCE)
            ratios.append(log_ratio.exp())
            divergences.append((((mean - old) ** 2 * inside).sum(-1) / VARIANCE).exp().mean(-1))
            gradients.append((((taken - mean) * left / VARIANCE)[..., None] * seen).sum(-2))
        ratio, divergence, each = torch.stack(ratios, 1), torch.stack(divergences, 1), torch.stack(gradients, 1)
        if len(window) == 1:
            gradient = each.mean((1, 2))
        else:
            bound = 4 * math.log(1 / CONFIDENCE) / (3 * len(window) * BATCH)
            correction = (bound / divergence).sqrt().clamp(max=1)[..., None]
            share = (divergence**-0.5 / (divergence**-0.5).sum(1, keepdim=True))[..., None]
            weights = share / ((1 - correction) / ratio + correction)
            gradient = (weights[..., None] * each).sum((1, 2)) / BATCH
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        theta = theta + STEP_SIZE * (first / (1 - 0.9**number)) / ((second / (1 - 0.999**number)).sqrt() + 1e-8)
        yield theta.numpy()


def drawn(runs: int) -> Callable[[int], tuple]:
    """Random numbers of `plain`, drawn by PyTorch as it goes."""
    import torch

    made = torch.Generator().manual_seed(3)
    shape = (runs, BATCH)
    start = lambda: torch.rand((*shape, 4), generator=made, dtype=torch.float64)  # noqa: E731
    return lambda u: (start(), lambda t: torch.randn(shape, generator=made, dtype=torch.float64))


def floor(runs: int, updates: int) -> Iterator[None]:
    """One rollout an update of `runs` x N rows: normals, the policy's mean, the dynamics; everything in place, nothing kept."""
    import torch

    from descent.papers.rpg import CartPole, LinearGaussian

    problem, policy, rows = CartPole(horizon=HORIZON), LinearGaussian(4, variance=VARIANCE), runs * BATCH
    rng = np.random.Generator(np.random.SFC64(4))
    normals, state = np.empty((HORIZON, 1, rows)), torch.zeros(4, rows, dtype=torch.float64)
    act = policy.controller(torch.zeros(rows, 4, dtype=torch.float64))
    step, action = problem.stepper(rows, state), torch.empty(1, rows, dtype=torch.float64)
    for _ in range(updates):
        rng.standard_normal(out=normals)
        state.zero_()
        for normal in torch.from_numpy(normals).unbind(0):
            step(state, act(state, normal, action), state)
        yield None


def fresh(seed: int) -> Draws:
    """Random numbers of the loop's own, drawn one at a time as it goes, by NumPy's classic generator."""
    rng = np.random.RandomState(seed)
    return lambda u, j: (rng.uniform(size=4), rng.normal)


def batched(runs: int, updates: int) -> tuple[Iterator[np.ndarray], Callable[[], Draws]]:
    """(theta (runs, 4) after each update, the random numbers of its first run for a loop to repeat it)."""
    import torch

    from descent.core.streams import Streams
    from descent.papers.rpg import CartPole, LinearGaussian, rpg
    from descent.papers.rpg.lockstep import Entry, Noise, one_update

    torch.set_num_threads(1)
    problem, policy = CartPole(horizon=HORIZON), LinearGaussian(4, variance=VARIANCE)
    method = rpg(policy, window=WINDOW, batch=BATCH, confidence=CONFIDENCE, step_size=STEP_SIZE)
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + runs))
    entry = Entry("rpg", method, seeds, updates * BATCH, torch.zeros(runs, 4, dtype=torch.float64))
    context = SimpleNamespace(streams=Streams("rpg"))

    def noise(of: Entry) -> Noise:
        return Noise(context, problem, [of], [method.schedule(of.budget, of.seeds, None)], BLOCK)

    def thetas() -> Iterator[np.ndarray]:
        state = {"rpg": (method.init(entry.start), torch.zeros(runs, dtype=torch.float64))}
        source = noise(entry)
        with torch.no_grad():
            for k in range(updates):
                drawn = source.draw(k, 1)
                update = drawn._replace(normals=drawn.normals[0], start=drawn.start[0])
                state = one_update(problem, policy, [entry], state, update)
                yield state["rpg"][0].theta.numpy()

    def repeated() -> tuple[Draws, Callable[[int], tuple]]:
        source = noise(entry)
        kept = [source.draw(k, 1) for k in range(updates)]

        def draws(u: int, j: int) -> tuple[np.ndarray, Callable[[float, float], float]]:
            noise = iter(kept[u].normals[0, :, 0, j].tolist())
            return kept[u].start[0, :, j].numpy(), lambda mean, std: mean + std * next(noise)

        def numbers(u: int) -> tuple:
            normals = kept[u].normals[0, :, 0].unflatten(-1, (runs, BATCH))
            return kept[u].start[0].T.unflatten(0, (runs, BATCH)), lambda t: normals[t]

        return draws, numbers

    return thetas(), repeated


def compare(runs: int, updates: int) -> dict[str, float]:
    """Name -> CPU seconds a run."""
    baselines = {
        "official": loop(Numpy(), updates, fresh(1)),
        "tight": loop(Tight(), updates, fresh(2)),
        "plain": plain(runs, updates, drawn(runs)),
        "batch": batched(runs, updates)[0],
        "floor": floor(runs, updates),
    }
    seconds = dict.fromkeys(baselines, 0.0)
    for begin in range(0, updates, CHUNK):
        for name, source in baselines.items():
            began = time.process_time()
            for _ in range(min(CHUNK, updates - begin)):
                next(source)
            seconds[name] += time.process_time() - began
    return {name: took / (1 if name in ("official", "tight") else runs) for name, took in seconds.items()}


def run_times(seeds: int, updates: int) -> dict[str, float]:
    """The official run-time comparison: CPU milliseconds an update of all seeds, the methods taking turns."""
    import torch

    from descent.core.streams import Streams
    from descent.papers.rpg import CartPole, Entry, LinearGaussian, bh, gpomdp, rpg
    from descent.papers.rpg.lockstep import Noise, one_update

    problem, policy = CartPole(horizon=HORIZON), LinearGaussian(4, variance=VARIANCE)
    methods = {
        "GPOMDP, N = 128": gpomdp(policy, batch=128),
        "RPG, N = 64, window 2": rpg(policy, batch=64, window=2),
        "RPG, N = 32, window 4": rpg(policy, batch=32, window=4),
        "RPG, N = 10, window 8": rpg(policy, batch=10, window=8),
        "BH, N = 10, window 8": bh(policy, batch=10, window=8),
        "GPOMDP, N = 10": gpomdp(policy, batch=10),
    }
    numbers, runs = tuple(range(FIRST_SEED, FIRST_SEED + seeds)), {}
    for name, method in methods.items():
        entry = Entry(name, method, numbers, 10**6, torch.zeros(seeds, 4, dtype=torch.float64))
        schedule = method.schedule(entry.budget, numbers, None)
        noise = Noise(SimpleNamespace(streams=Streams("rpg")), problem, [entry], [schedule], BLOCK)
        runs[name] = [entry, noise, {name: (method.init(entry.start), torch.zeros(seeds, dtype=torch.float64))}]
    seconds = dict.fromkeys(methods, 0.0)
    with torch.no_grad():
        for k in range(updates):
            for name, run in runs.items():
                began = time.process_time()
                update = run[1].draw(k, 1)
                update = update._replace(normals=update.normals[0], start=update.start[0])
                run[2] = one_update(problem, policy, [run[0]], run[2], update)
                seconds[name] += time.process_time() - began
    return {name: 1000 * took / updates for name, took in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=400, help="updates of 5 trajectories (default 400)")
    parser.add_argument("--runs", type=int, default=220, help="runs in the batch (default 220: 11 variants x 20 seeds)")
    options = parser.parse_args()
    from descent.runner.allocator import keep_freed_memory

    keep_freed_memory()  # as in a job of the study; the others have the same
    found = compare(options.runs, options.updates)
    print(f"RPG, Cart Pole, {options.updates} updates of {BATCH} trajectories, window {WINDOW}")
    print(
        f"{platform.system()} {platform.machine()}, one thread, process CPU time, interleaved every {CHUNK} updates\n"
    )
    print(f"{'':48}{'CPU s a run':>12}{'ratio':>8}")
    labels = {
        "official": "the official way: NumPy loop, one run",
        "tight": "the same in plain Python numbers, one run",
        "plain": f"plain vectorised PyTorch, {options.runs} runs",
        "batch": f"the study's lock-step batch, {options.runs} runs",
        "floor": f"floor: random numbers and dynamics, {options.runs} runs",
    }
    for name, seconds in found.items():
        print(f"{labels[name]:48}{seconds:>12.5f}{seconds / found['batch']:>8.2f}")
    seeds = 20
    print(
        f"\nThe official run-time table on our code, {seeds} seeds at once{'ms an update':>20}{'ms a trajectory':>18}"
    )
    for name, took in run_times(seeds, max(2, options.updates // 8)).items():
        fresh_ones = int(name.split("N = ")[1].split(",")[0])
        print(f"{name:56}{took:>12.2f}{took / fresh_ones / seeds:>18.4f}")


if __name__ == "__main__":
    main()
