"""Settings of a user's machine that must not reach a published byte: name -> what prepares it in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

MATPLOTLIBRC = """
backend: module://no_such_backend
text.usetex: True
savefig.dpi: 30
savefig.bbox: tight
figure.dpi: 41
figure.constrained_layout.use: True
font.family: fantasy
font.size: 25
axes.grid: True
axes.unicode_minus: False
lines.linewidth: 9
axes.prop_cycle: cycler('color', ['k'])
image.cmap: gray
svg.fonttype: none
"""

# Runs in every Python that starts: what a user, or a notebook's start-up file, may have set for all that they do.
SITECUSTOMIZE = """
import importlib.machinery, sys

class After:
    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        inner = spec.loader.exec_module

        def run(module):
            inner(module)
            module.set_default_dtype(module.float64)
            module.set_num_threads(3)
            module.manual_seed(1234)
            module.set_default_device("meta")
            module.set_grad_enabled(False)
            module.set_flush_denormal(True)
            module.set_float32_matmul_precision("medium")

        spec.loader.exec_module = run
        return spec

sys.meta_path.insert(0, After())
"""

FOLDER = "a-temporary-folder-with-a-name-that-is-longer-than-any-socket-may-have-" * 2


def matplotlib(folder: Path) -> dict[str, str]:
    (folder / "matplotlibrc").write_text(MATPLOTLIBRC)
    return {"MATPLOTLIBRC": str(folder / "matplotlibrc"), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}


def temporary(folder: Path) -> dict[str, str]:
    (folder / FOLDER).mkdir()
    return {name: str(folder / FOLDER) for name in ("TMPDIR", "TEMP", "TMP")}


def defaults(folder: Path) -> dict[str, str]:
    (folder / "customised").mkdir()
    (folder / "customised" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return {"PYTHONPATH": str(folder / "customised")}


def namesake(folder: Path) -> dict[str, str]:
    """Another package called like the study's, in front of its own on the path."""
    (folder / "others" / "descent").mkdir(parents=True)
    (folder / "others" / "descent" / "__init__.py").write_text("raise ImportError('somebody else is called so')\n")
    return {"PYTHONPATH": str(folder / "others")}


def home(folder: Path) -> dict[str, str]:
    """Snakemake itself wants a cache folder: without a home `make` names one in the checkout, as here."""
    lost = "/proc/nowhere"  # neither there nor to be made, whoever asks
    names = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "MPLCONFIGDIR", "TORCH_HOME")
    return dict.fromkeys(names, lost) | {"XDG_CACHE_HOME": str(folder / "project" / ".snakemake" / "cache")}


def threads(folder: Path) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
    return dict.fromkeys(names, "5") | {"OMP_DYNAMIC": "TRUE", "MKL_DYNAMIC": "TRUE"}


def umask(folder: Path) -> dict[str, str]:
    return {"DESCENT_UMASK": "077"}


ENVIRONMENTS: dict[str, Callable[[Path], dict[str, str]]] = {
    "matplotlib: LaTeX, an odd backend, every size another": matplotlib,
    "an ASCII locale without UTF-8": lambda folder: {
        "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict",
    },
    "a time zone at the date line": lambda folder: {"TZ": "Pacific/Kiritimati"},
    "a temporary folder of 140 characters": temporary,
    "thread variables of every library": threads,
    "another default dtype, device, precision, seed and no gradients from sitecustomize": defaults,
    "PIP_USER, a user base, a hash seed": lambda folder: {
        "PIP_USER": "1", "PYTHONUSERBASE": str(folder / "user"), "PIP_REQUIRE_VIRTUALENV": "1",
        "PYTHONHASHSEED": "4711",
    },
    "no home and no folder of settings": home,
    "umask 077": umask,
    "another package `descent` in front on PYTHONPATH": namesake,
}  # fmt: skip


def prepared(names: list[str], folder: Path, path: str) -> tuple[dict[str, str], int]:
    """(the environment of the named ones together, the umask). path: what must be on PYTHONPATH."""
    found: dict[str, str] = {}
    for name in names:
        more = ENVIRONMENTS[name](folder)
        path = os.pathsep.join(filter(None, [more.pop("PYTHONPATH", ""), path]))
        found |= more
    return found | {"PYTHONPATH": path}, int(found.pop("DESCENT_UMASK", "022"), 8)
