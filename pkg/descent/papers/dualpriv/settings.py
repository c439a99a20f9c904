"""Every setting of the room: its type, limits and meaning."""

from __future__ import annotations

from descent.settings import Setting

SETTINGS: dict[str, Setting] = {
    # privacy
    "epsilon": Setting("The privacy budget; .inf trains without noise, clipping still on.", low=0, open_low=True),
    "delta": Setting(
        "Probability with which the guarantee may fail.", default=1e-5, low=0, high=1, open_low=True, open_high=True
    ),
    "clip_norm": Setting("C: largest norm of one record's gradient.", default=1.0, low=0, open_low=True),
    "slope_clip": Setting("DPZero's C: largest slope of one record along z.", default=4.0, low=0, open_low=True),
    "accountant": Setting(
        "Which accountant sets the noise: rdp (orders 2..255), opacus (its orders) or prv.",
        kind=str,
        default="rdp",
        choices=("rdp", "opacus", "prv"),
    ),
    "noise_multiplier": Setting(
        "sigma; left empty, the least that keeps epsilon. A run whose sigma does not keep it is refused.",
        default=None,
        low=0,
        optional=True,
    ),
    # training
    "steps": Setting("T: number of private steps.", kind=int, low=0, high=10**6),
    "batch": Setting("B = qN: expected size of a Poisson batch, records.", kind=int, low=1, high=10**6),
    "records": Setting("N: private records.", kind=int, low=16, high=10**7),
    "test_records": Setting("Scenes of the test pool on which accuracy is measured.", kind=int, low=8, high=10**6),
    "step_size": Setting("Learning rate of the private optimiser.", low=0, high=1000, open_low=True),
    "optimiser": Setting("What the noisy gradient is fed to.", kind=str, default="sgd", choices=("sgd", "adam")),
    "probe": Setting("mu: half the distance of DPZero's two losses.", default=1e-3, low=0, high=1, open_low=True),
    "rank": Setting("r: rank of the LoRA adapters.", kind=int, default=4, low=1, high=4096),
    "alpha": Setting("LoRA's alpha; the adapter is scaled by alpha / r.", default=8.0, low=0, open_low=True),
    # mechanism 1
    "dominant": Setting("K: patches kept for CLS's attention.", kind=int, default=8, low=0, high=10**4),
    "contextual": Setting("k: fused tokens.", kind=int, default=4, low=0, high=10**4),
    "fuse_noise": Setting(
        "Deviation of the noise on fused tokens: none, sigmaC/B or sigmaC.",
        kind=str,
        default="sigmaC/B",
        choices=("none", "sigmaC/B", "sigmaC"),
    ),
    # mechanism 2
    "keep": Setting("Share of the parameter blocks whose update is applied.", default=0.8, low=0, high=1, open_low=True),
    "block_score": Setting(
        "What the blocks are ranked by: rms or l2 norm of the noisy update, or chance (a control).",
        kind=str,
        default="rms",
        choices=("rms", "l2", "random"),
    ),
}
