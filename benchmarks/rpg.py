"""RPG on Cart Pole: the study's lock-step batch against loops over trajectories and time steps.

`numpy` is the loop of the kind that the literature uses: a policy and an environment object with small NumPy arrays at
every step (mean, action, dynamics), trajectories one after the other, and at every update the log-probabilities,
divergences and scores of the whole window computed again from the (K N) x T x d arrays. `tight` is the same with the
steps in plain Python numbers, which nobody writes but which is the fairer rival. Same settings (N = 5, window 8,
T = 200); given the same random numbers they end with the same policies, which the tests check. The rivals take turns, a chunk of updates each, so that all meet
the same load; process CPU time, one thread.

    python benchmarks/rpg.py [--updates 1000] [--runs 220]
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

    def repeated() -> Draws:
        source = noise(entry._replace(seeds=seeds[:1], start=entry.start[:1]))
        drawn = [source.draw(k, 1) for k in range(updates)]

        def draws(u: int, j: int) -> tuple[np.ndarray, Callable[[float, float], float]]:
            noise = iter(drawn[u].normals[0, :, 0, j].tolist())
            return drawn[u].start[0, :, j].numpy(), lambda mean, std: mean + std * next(noise)

        return draws

    return thetas(), repeated


def compare(runs: int, updates: int) -> dict[str, float]:
    """Rival -> CPU seconds a run."""
    rivals = {
        "numpy": loop(Numpy(), updates, fresh(1)),
        "tight": loop(Tight(), updates, fresh(2)),
        "batch": batched(runs, updates)[0],
    }
    seconds = dict.fromkeys(rivals, 0.0)
    for begin in range(0, updates, CHUNK):
        for name, source in rivals.items():
            began = time.process_time()
            for _ in range(min(CHUNK, updates - begin)):
                next(source)
            seconds[name] += time.process_time() - began
    return {**seconds, "batch": seconds["batch"] / runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--updates", type=int, default=1000, help="updates of 5 trajectories (default 1000: the study's run)"
    )
    parser.add_argument("--runs", type=int, default=220, help="runs in the batch (default 220: 11 variants x 20 seeds)")
    options = parser.parse_args()
    found = compare(options.runs, options.updates)
    print(f"RPG, Cart Pole, {options.updates} updates of {BATCH} trajectories, window {WINDOW}")
    print(
        f"{platform.system()} {platform.machine()}, one thread, process CPU time, interleaved every {CHUNK} updates\n"
    )
    print(f"{'':40}{'CPU s a run':>12}{'ratio':>8}")
    labels = {
        "numpy": "numpy loop, one run",
        "tight": "tight loop, one run",
        "batch": f"lock-step batch, {options.runs} runs",
    }
    for name, seconds in found.items():
        print(f"{labels[name]:40}{seconds:>12.4f}{seconds / found['batch']:>8.1f}")


if __name__ == "__main__":
    main()
