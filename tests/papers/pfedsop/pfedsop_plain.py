"""The methods as one would write them first: one seed, one client at a time, autograd, float64.

Nothing of the room is used. A model is a vector: weights (inputs, hidden), biases, weights (hidden, classes), biases.
`clients`: one (x, y) a client, its train samples. A round is (participants, main (m, T, B), extra (m, T, B)) of positions in the
participant's own samples.
"""

import math

import torch

CLASSES, HIDDEN = 10, 16


def unpack(v, inputs, hidden=HIDDEN, classes=CLASSES):
    a, b, c = inputs * hidden, inputs * hidden + hidden, inputs * hidden + hidden + hidden * classes
    return v[:a].view(inputs, hidden), v[a:b], v[b:c].view(hidden, classes), v[c:]


def head_size(hidden=HIDDEN, classes=CLASSES):
    return hidden * classes + classes


def predict(v, x, **sizes):
    W, b, V, c = unpack(v, x.shape[1], **sizes)
    return torch.relu(x @ W + b) @ V + c


def gradient(v, x, y):
    v = v.detach().clone().requires_grad_()
    torch.nn.functional.cross_entropy(predict(v, x), y).backward()
    return v.grad


def sgd(v, data, batches, lr, *, extra=None, mask=None):
    """T steps on batches (T, B); extra(v): added to the gradient; mask: the coordinates that move."""
    x, y = data
    for rows in batches:
        step = gradient(v, x[rows], y[rows])
        if extra is not None:
            step = step + extra(v)
        v = v - lr * (step if mask is None else step * mask)
    return v


def pfedsop(clients, rounds, x0, *, lr, eta1, rho, lam, rule="anchor", order="second", beta=None, seen_late=None):
    """Returns the personal models after every round, and what each round's participants saw."""
    K, d = len(clients), len(x0)
    x, y = [x0] * K, [x0] * K
    own, shared = [None] * K, None
    history, seen = [], []
    for participants, main, _ in rounds:
        new = []
        for j, i in enumerate(participants):
            a = x[i]
            if own[i] is not None and shared is not None:
                cosine = own[i] @ shared / (own[i].norm() * shared.norm())
                phi = math.acos(min(1.0, max(-1.0, float(cosine))))
                weight = 1 - math.exp(-math.exp(-lam * (phi - 1))) if beta is None else beta
                mixed = (1 - weight) * own[i] + weight * shared
                step = mixed
                if order == "second":
                    fisher = torch.outer(mixed, mixed) + rho * torch.eye(d, dtype=mixed.dtype)
                    step = torch.linalg.solve(fisher, mixed)
                a = a - eta1 * step
                seen.append((len(history) + 1, i, phi, weight, float(mixed.norm()), float((eta1 * step).norm())))
            e = sgd(a, clients[i], main[j], lr)
            own[i] = (a - e) / lr
            new.append(own[i])
            x[i] = a if rule == "anchor" else e
            y[i] = e
        shared = sum(new) / len(new)
        history.append(list(y))
    return history, seen


def local(clients, rounds, x0, *, lr):
    x, history = [x0] * len(clients), []
    for participants, main, _ in rounds:
        for j, i in enumerate(participants):
            x[i] = sgd(x[i], clients[i], main[j], lr)
        history.append(list(x))
    return history


def average(models, sizes):
    return sum(n * m for n, m in zip(sizes, models, strict=True)) / sum(sizes)


def fedavg(clients, rounds, x0, *, lr, mu=0.0, tuning=None):
    """tuning: round number (from 1) -> (K, T, B), what every client fine-tunes on before it is tested."""
    g, history, y = x0, [], [x0] * len(clients)
    for number, (participants, main, _) in enumerate(rounds, 1):
        ends = []
        for j, i in enumerate(participants):
            ends.append(sgd(g, clients[i], main[j], lr, extra=lambda v, g=g: mu * (v - g)))
        g = average(ends, [len(clients[i][1]) for i in participants])
        if tuning is None:
            y = [g] * len(clients)
        elif number in tuning:
            y = [sgd(g, clients[i], tuning[number][i], lr) for i in range(len(clients))]
        history.append(list(y))
    return history


def ditto(clients, rounds, x0, *, lr, mu):
    g, v, history = x0, [x0] * len(clients), []
    for participants, main, _ in rounds:
        ends = []
        for j, i in enumerate(participants):
            v[i] = sgd(v[i], clients[i], main[j], lr, extra=lambda w, g=g: mu * (w - g))
            ends.append(sgd(g, clients[i], main[j], lr))
        g = average(ends, [len(clients[i][1]) for i in participants])
        history.append(list(v))
    return history


def fedrep(clients, rounds, x0, *, lr):
    cut = len(x0) - head_size()
    on_head = torch.cat([torch.zeros(cut), torch.ones(head_size())]).to(x0.dtype)
    body, heads, history = x0[:cut], [x0[cut:]] * len(clients), []
    for participants, main, extra in rounds:
        ends = []
        for j, i in enumerate(participants):
            v = torch.cat([body, heads[i]])
            v = sgd(v, clients[i], main[j], lr, mask=on_head)
            v = sgd(v, clients[i], extra[j], lr, mask=1 - on_head)
            heads[i] = v[cut:]
            ends.append(v[:cut])
        body = average(ends, [len(clients[i][1]) for i in participants])
        history.append([torch.cat([body, h]) for h in heads])
    return history


def pfedme(clients, rounds, x0, *, lr, lam, inner, inner_lr):
    g, theta, history = x0, [x0] * len(clients), []
    for participants, main, _ in rounds:
        ends = []
        for j, i in enumerate(participants):
            x, y = clients[i]
            w, t = g, g
            for rows in main[j]:
                for _ in range(inner):
                    t = t - inner_lr * (gradient(t, x[rows], y[rows]) + lam * (t - w))
                w = w - lr * lam * (w - t)
            theta[i] = t
            ends.append(w)
        g = average(ends, [len(clients[i][1]) for i in participants])
        history.append(list(theta))
    return history


def fedala(clients, rounds, x0, *, lr, eta, first, share, batch):
    cut = len(x0) - head_size()
    g, x, history, spent = x0, [x0] * len(clients), [], 0
    weights = [torch.ones(head_size(), dtype=x0.dtype)] * len(clients)
    learned = set()
    for number, (participants, main, extra) in enumerate(rounds, 1):
        ends = []
        for j, i in enumerate(participants):
            data, labels = clients[i]
            mine, theirs = x[i][cut:], g[cut:]
            if number > 1:
                length = min(math.ceil(share * len(labels) / batch), len(extra[j]))
                for _ in range(1 if i in learned else first):
                    for rows in extra[j][:length]:
                        head = mine + (theirs - mine) * weights[i]
                        slope = gradient(torch.cat([g[:cut], head]), data[rows], labels[rows])[cut:]
                        weights[i] = (weights[i] - eta * slope * (theirs - mine)).clamp(0, 1)
                        spent += len(rows)
                learned.add(i)
            x[i] = sgd(torch.cat([g[:cut], mine + (theirs - mine) * weights[i]]), data_of(clients[i]), main[j], lr)
            ends.append(x[i])
        g = average(ends, [len(clients[i][1]) for i in participants])
        history.append(list(x))
    return history, spent


def data_of(client):
    return client
