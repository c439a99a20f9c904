"""Housekeeping commands behind the Makefile: unlock, ui, docs, check."""

from __future__ import annotations

import filecmp
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from descent.core.errors import StudyError


def unlock(root: Path) -> int:
    """Remove the lock that a killed run left, unless a run of this checkout is alive."""
    locks = root / ".snakemake" / "locks"
    if not locks.is_dir() or not any(locks.iterdir()):
        return 0
    import psutil

    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if (
            process.info["pid"] != os.getpid()
            and any(Path(w).name == "snakemake" for w in words[:3])
            and process.info["cwd"] == str(root)
        ):
            raise StudyError(
                f"another run works in this checkout (process {process.info['pid']}): wait for it or end it"
            )
    print("Removing the lock of a run that was killed; what it had finished is kept")
    return subprocess.run(["snakemake", "--unlock", "--quiet", "all"], cwd=root).returncode


def ui(root: Path) -> int:
    """Serve the MLflow UI on the store that the study logs to, on PORT (default: the first free one from 5000 on)."""
    from descent.config.read import read_study
    from descent.tracking.stores import SERVERS, database, opened, shown, store

    uri = store(root, read_study(root))
    if uri.partition(":")[0] in SERVERS:
        print(f"The runs are on the MLflow server at {shown(uri)}: open it in a browser")
        return 0
    os.chdir(root)  # artifact locations are relative to the checkout
    port = _free_port(os.environ.get("PORT"))
    print(f"MLflow on http://127.0.0.1:{port} (store: {database(uri) or shown(uri)}); end it with Ctrl-C", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # The URI may hold a password, so it is no argument that `ps` shows. One worker is enough for a browser, and no job
    # queue is needed.
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": opened(uri)}
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return subprocess.run(command, cwd=root, env=environment).returncode


def _free_port(wanted: str | None) -> int:
    """`wanted`, or the first free port from 5000 on. Raises StudyError where it is taken or no port."""
    if wanted and not (wanted.isdigit() and 0 < int(wanted) < 65536):
        raise StudyError(f"PORT={wanted} is no port: give a number from 1 to 65535")
    for port in [int(wanted)] if wanted else range(5000, 5050):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise StudyError(
        f"port {wanted} is taken: name another (PORT=...)"
        if wanted
        else "ports 5000 to 5049 are all taken: name a free one (PORT=...)"
    )


def docs(root: Path) -> int:
    """Rewrite the pages of docs/ that are made from the code."""
    from descent.config.docs import pages
    from descent.core.files import write_text

    for path, text in pages(root).items():
        write_text(path, text)
        print(path.relative_to(root))
    return 0


def front(root: Path, scale: str) -> int:
    """Write the joint files of reports/<scale> from the papers' folders that lie there."""
    from descent.config.read import read_study
    from descent.report.front import read_judged, titles, write_front
    from descent.report.overview import write_overview

    study = read_study(root, {"scale": scale})
    folder, papers = root / study.reports / scale, titles(root)
    judged = read_judged(folder, papers)
    if not judged:
        raise StudyError(f"{folder} holds no paper's verdicts.json: run the study, or check out the papers' folders")
    print(write_front(folder, papers, study))
    print(write_overview(folder, papers, judged))
    left_out = [slug for slug in papers if slug not in judged]
    print(
        f"{len(judged)} papers" + (f"; without a folder, shown as not run: {', '.join(left_out)}" if left_out else "")
    )
    return 0


def check(root: Path, scale: str, papers: str | None) -> int:
    """Run the study afresh in a temporary folder and compare it with the committed report.

    A verdict that differs fails; so does an estimate that differs by more than rounding (1e-6 relative). Bytes that
    differ without that are named: another machine, or other versions, round differently.
    """
    import pandas as pd

    committed = root / "reports" / scale
    with tempfile.TemporaryDirectory(prefix="descent-check-") as folder:
        config = [f"scale={scale}", f"results={folder}/results", f"reports={folder}/reports"]
        config += [f"papers={papers}"] if papers else []
        target = f"{folder}/reports/{scale}/index.html"
        done = subprocess.run(["snakemake", "--quiet", "progress", "--config", *config, "--", target], cwd=root)
        if done.returncode:
            raise StudyError("the fresh run failed: see above")
        fresh = Path(folder) / "reports" / scale
        keys = ["paper", "claim"]
        old, new = (pd.read_csv(f / "verdicts.csv").set_index(keys) for f in (committed, fresh))
        if papers:
            old, new = (t[t.index.get_level_values("paper").isin(papers.split(","))] for t in (old, new))
        faults = [f"{' '.join(k)}: in only one of the two" for k in old.index.symmetric_difference(new.index)]
        for k in old.index.intersection(new.index):
            if old.loc[k, "verdict"] != new.loc[k, "verdict"]:
                faults.append(f"{' '.join(k)}: committed {old.loc[k, 'verdict']}, fresh {new.loc[k, 'verdict']}")
            for column in ("estimate", "ci_low", "ci_high"):
                a, b = old.loc[k, column], new.loc[k, column]
                if pd.isna(a) != pd.isna(b) or abs(a - b) > 1e-6 * max(abs(a), abs(b)):
                    faults.append(f"{' '.join(k)}: {column} committed {a}, fresh {b}")
        names = [
            p.relative_to(fresh)
            for p in sorted(fresh.rglob("*"))
            if p.is_file() and not p.name.startswith((".", "cost"))
        ]
        differ = [
            str(n)
            for n in names
            if not (committed / n).is_file() or not filecmp.cmp(committed / n, fresh / n, shallow=False)
        ]
        print(f"{len(new)} claims compared; {len(names) - len(differ)} of {len(names)} files have the same bytes")
        for name in differ:
            print(f"  other bytes: {name}")
        for fault in faults:
            print(f"  {fault}")
        return 1 if faults else 0
