"""Housekeeping commands behind the Makefile: unlock, ui, docs, check, costs."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from descent.core.errors import StudyError
from descent.workflow.published import CLOSE


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
    """Rewrite the pages of docs/ that are made from the code; names those that changed."""
    from descent.config.docs import pages
    from descent.core.files import write_text

    for path, text in pages(root).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
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
        f"papers: {len(judged)}" + (f"; without a folder, shown as not run: {', '.join(left_out)}" if left_out else "")
    )
    return 0


def costs(root: Path, scale: str) -> int:
    """Put what the jobs took on this machine into the report, in the place of what it tells now."""
    from descent.workflow.published import publish_costs
    from descent.workflow.study import Study

    study = Study(root, {"scale": scale})
    written = publish_costs(study)
    if not written:
        raise StudyError(
            f"{study.results}/cost does not exist: no run of this scale has costs apart from those in {study.reports}"
        )
    for path in written:
        print(path.relative_to(root))
    return 0


def check(root: Path, scale: str, papers: str | None) -> int:
    """Compare the study with the report as git has it in the last commit.

    What is current in the results folder is used; what is not is run, and the report is then made in a temporary
    folder. A verdict that differs fails; so does an estimate that differs by more than rounding (1e-6 relative). Bytes
    that differ without that are named: another machine, or other versions, round differently.
    """
    from descent.core.leftovers import mark, sweep_folders
    from descent.workflow.published import committed

    before = committed(root, f"reports/{scale}")
    if "verdicts.csv" not in before:
        raise StudyError(f"nothing to compare with: git has no reports/{scale}/verdicts.csv in the last commit")
    config = ["--config", f"scale={scale}"] + ([f"papers={papers}"] if papers else [])
    if _finished(root, scale, papers, config):
        return _compared(before, root / "reports" / scale, papers)
    sweep_folders()
    with tempfile.TemporaryDirectory(prefix=f"descent-check-{mark()}") as folder:
        reports = Path(folder) / "reports"
        if (root / "reports" / "bench").is_dir():  # measured time is stored with the reports, and verdicts rest on it
            shutil.copytree(root / "reports" / "bench", reports / "bench")
        command = ["snakemake", *config, f"reports={reports}", "--", f"{reports / scale}/index.html"]
        if subprocess.run(command, cwd=root).returncode:
            raise StudyError("the fresh run failed: see above")
        return _compared(before, reports / scale, papers)


def _finished(root: Path, scale: str, papers: str | None, config: list[str]) -> bool:
    """Whether reports/<scale> is what the records here give: nothing to be done, and every verdict made from them."""
    from descent.report.judged import VERDICTS_FILE, read_verdicts
    from descent.workflow.study import Study

    target = f"reports/{scale}/index.html"
    done = subprocess.run(["snakemake", "-n", *config, "--", target], cwd=root, capture_output=True, text=True)
    if done.returncode or "Nothing to be done" not in done.stdout + done.stderr:
        return False
    study = Study(root, {"scale": scale, **({"papers": papers} if papers else {})})
    try:
        for slug in study.papers:
            read_verdicts(root / study.reports / slug / VERDICTS_FILE, study.found(slug))
            if not all((root / path).is_file() for path in study.records_of(slug)):
                return False
    except (StudyError, OSError):
        return False
    return True


def _compared(before: dict[str, bytes], fresh: Path, papers: str | None) -> int:
    """Print how `fresh` differs from the committed files; the exit code is 1 when a verdict or a number does."""
    import pandas as pd

    keys = ["paper", "claim"]
    old = pd.read_csv(io.BytesIO(before["verdicts.csv"])).set_index(keys)
    new = pd.read_csv(fresh / "verdicts.csv").set_index(keys)
    if papers:
        old, new = (t[t.index.get_level_values("paper").isin(papers.split(","))] for t in (old, new))
    faults = [f"{' '.join(k)}: in only one of the two" for k in old.index.symmetric_difference(new.index)]
    for k in old.index.intersection(new.index):
        if old.loc[k, "verdict"] != new.loc[k, "verdict"]:
            faults.append(f"{' '.join(k)}: committed {old.loc[k, 'verdict']}, fresh {new.loc[k, 'verdict']}")
        for column in ("estimate", "ci_low", "ci_high"):
            a, b = old.loc[k, column], new.loc[k, column]
            if pd.isna(a) != pd.isna(b) or abs(a - b) > CLOSE * max(abs(a), abs(b)):
                faults.append(f"{' '.join(k)}: {column} committed {a}, fresh {b}")
    files = [p for p in sorted(fresh.rglob("*")) if p.is_file() and not p.name.startswith((".", "cost"))]
    names = [path.relative_to(fresh).as_posix() for path in files]
    if papers:
        names = [name for name in names if name.split("/")[0] in papers.split(",")]
    differ = [name for name in names if before.get(name) != (fresh / name).read_bytes()]
    print(f"{len(new)} claims compared; {len(names) - len(differ)} of {len(names)} files have the committed bytes")
    for name in differ:
        print(f"  other bytes: {name}")
    for fault in faults:
        print(f"  {fault}")
    return 1 if faults else 0
