"""The oracles themselves: the equilibrium of the default start on every graphon, its norms, its cost, and the rate."""

from __future__ import annotations

from descent.core.context import Context
from descent.core.job import Job
from descent.core.records import Records
from descent.papers.gmfg.game import cost
from descent.papers.gmfg.graphons import kernel
from descent.papers.gmfg.instances import default_means, game_of, players_norm, slope_norm
from descent.papers.gmfg.oracles import nash, outer_rate
from descent.papers.gmfg.players import players_on
from descent.papers.gmfg.slope import covariance


def run(job: Job, context: Context) -> Records:
    """No randomness: one seed. Keeps Z* and G* of each graphon as arrays (N + 1, M) and (N, M)."""
    records = Records()
    for variant in job.variants:
        p, name = variant.params, variant.params["graphon"]
        game, players = game_of(p), players_on(kernel(name, p["players"]), default_means(p["players"]))
        K, G, Z = nash(game, players)
        paid = cost(game, K, G, Z, players.start, covariance(game, K)).mean()
        found = {
            "K_norm": slope_norm(game, K)[0],
            "G_norm": players_norm(game, G)[0, 0],
            "Z_norm": players_norm(game, Z)[0, 0],
            "cost": paid,
            "rho": outer_rate(game, players.values)[0],
        }
        for metric, value in found.items():
            records.add(variant, metric, value.repeat(len(variant.seeds)))
        records.array(f"Z_{name}", Z[0, :, 0, 0])
        records.array(f"G_{name}", G[0, :, 0, 0])
    return records
