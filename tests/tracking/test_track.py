"""The MLflow mirror: one live run a key, the same from the same records, artifacts that survive a move, no tracebacks."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hill.make import STEPS, plan_of, publish
from mlflow import MlflowClient
from mlflow.entities import ViewType

from descent.core.errors import StudyError
from descent.core.records import read_records, write_records
from descent.report.judged import inputs, sealed
from descent.report.runs import runs_of
from descent.results.stored import Results
from descent.tracking import mirror as track
from descent.tracking.owner import CHECKOUT, MARK, STUDY, checkout_id
from descent.tracking.points import thinned


def results_in(root):
    return Results(plan_of(root), "hill", root / "results", root / "bench")


def mirror(root, **changes):
    return track.mirror(results_in(root), root / "reports" / "study", root=root, **changes)


def client_of(root):
    return MlflowClient(f"sqlite:///{root}/results/mlflow.db")


def runs(root, view=ViewType.ACTIVE_ONLY):
    """The runs but for those that only hold others."""
    client = client_of(root)
    experiment = client.get_experiment_by_name("hill")
    found = client.search_runs([experiment.experiment_id], run_view_type=view, max_results=1000)
    return [run for run in found if "group" not in run.data.tags]


def shown(root):
    """Everything of the live runs but ids and times."""
    client = client_of(root)
    found = {}
    for run in runs(root):
        tags = {k: v for k, v in run.data.tags.items() if k != "mlflow.parentRunId"}
        curves = {
            name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        found[run.data.tags["key"]] = (run.info.run_name, run.info.status, run.data.params, tags, repr(curves))
    return found


def test_four_at_once_prepare_the_store_once(prepared):
    assert prepared[1] == 1


def test_one_run_a_method_and_setting_and_one_for_the_verdicts(checkout, first):
    summary = first
    keys = [run.key for run in runs_of(results_in(checkout))]
    assert set(summary["runs"]) == {*keys, "study/verdicts"} and summary["written"] == len(keys) + 1
    by_key = {run.data.tags["key"]: run for run in runs(checkout)}
    run = by_key["study/descent/sam, data=plain"]
    assert run.info.status == "FINISHED" and run.info.run_name == "descent: sam, data=plain"
    assert run.data.params == {
        "experiment": "descent", "method": "sam", "seeds": "1000 to 1009", "n_seeds": "10", "data": "plain", "steps": "1000", "step_size": "0.3",
    }  # fmt: skip
    for name, value in {"scale": "study", "method": "sam", "setting": "data=plain", "source_hash": "0123456789abcdef",
                        "variant": "sam, data=plain", "data.valley": "5ca1ab1e", "experiment": "descent"}.items():  # fmt: skip
        assert run.data.tags[name] == value
    frame = results_in(checkout).records("descent")
    rows = frame[(frame["method"] == "sam") & (frame["metric"] == "curvature")]
    assert run.data.metrics["final/curvature"] == pytest.approx(rows[rows["step"] == 1000]["value"].mean())
    history = client_of(checkout).get_metric_history(run.info.run_id, "sd/curvature")
    assert {m.step: m.value for m in history} == pytest.approx(rows.groupby("step")["value"].std().to_dict())
    verdicts = by_key["study/verdicts"]
    assert verdicts.data.tags["verdict.c3"] == "not reproduced" and verdicts.data.params["paper not reproduced"] == "1"
    assert verdicts.data.metrics["verdict/c1 estimate"] == pytest.approx(0.2582, abs=1e-3)


def test_a_sweep_stays_inside_one_run(checkout, first):
    run = client_of(checkout).get_run(first["runs"]["study/sweep/climb"])
    assert run.data.tags["varies.smoothing"] == "0.01, 0.02, 0.05, 0.1, 0.2" and run.data.tags["inside"] == "smoothing"
    curve = client_of(checkout).get_metric_history(run.info.run_id, "final/curvature by smoothing")
    assert [m.step for m in curve] == [0, 1, 2, 3, 4] and np.all(np.diff([m.value for m in curve]) < 0)
    assert "curvature smoothing 0.05" in run.data.metrics
    table = pd.read_csv(checkout / "results/mlartifacts/hill" / run.info.run_id / "artifacts/final.csv")
    assert sorted(table["smoothing"].unique()) == [0.01, 0.02, 0.05, 0.1, 0.2]


def test_divergence_is_nan_and_counted_never_a_huge_number(checkout, first):
    key = "study/descent/drift, data=rough"
    run = client_of(checkout).get_run(first["runs"][key])
    for metric in ("curvature", "loss"):  # NaN and infinity in the records
        values = [m.value for m in client_of(checkout).get_metric_history(run.info.run_id, metric)]
        assert np.isnan(values).sum() == 12 and np.nanmax(np.abs(values)) < 1e6
        assert np.isnan(run.data.metrics[f"final/{metric}"]) and run.data.metrics[f"not_ok/{metric}"] == 1
    assert np.isfinite(run.data.metrics["final/accuracy"])


def test_again_changes_nothing_and_leaves_one_live_run_a_key(checkout, first):
    before = shown(checkout)
    again = mirror(checkout)
    assert again["runs"] == first["runs"] and (again["written"], again["removed"]) == (0, 0)
    assert shown(checkout) == before
    keys = [run.data.tags["key"] for run in runs(checkout, ViewType.ALL)]
    assert sorted(keys) == sorted(first["runs"])


def restated(checkout, results):
    """The verdicts as made from the records that lie there now."""
    path = checkout / "reports" / "study" / "hill" / "verdicts.json"
    path.write_text(json.dumps(sealed({**json.loads(path.read_text()), "records": inputs(results)})))


def test_changed_records_replace_their_runs_alone(checkout, first):
    (path,) = (checkout / "results" / "hill" / "descent").glob("*gd*rough*/records.parquet")
    frame = read_records([path])
    write_records(path, frame.assign(value=frame["value"] * 2))
    with pytest.raises(StudyError, match="made from other records"):
        mirror(checkout)
    restated(checkout, results_in(checkout))
    again = mirror(checkout)
    key = "study/descent/gd, data=rough"
    assert {k for k in first["runs"] if first["runs"][k] != again["runs"][k]} == {key, "study/verdicts"}
    assert (again["written"], again["removed"]) == (2, 2)
    assert not (checkout / "results/mlartifacts/hill" / first["runs"][key]).exists()
    assert len(runs(checkout, ViewType.ALL)) == len(again["runs"])


def test_rebuilt_from_the_records_it_is_the_same(checkout, prepared):
    before = shown(checkout)
    shutil.rmtree(checkout / "results" / "mlartifacts")
    shutil.copyfile(prepared[0], checkout / "results" / "mlflow.db")
    mirror(checkout)
    assert shown(checkout) == before


def test_a_mirror_that_was_killed_is_mended(checkout, first):
    client = client_of(checkout)
    key = "study/sweep/climb"
    ours = {STUDY: MARK, CHECKOUT: checkout_id(checkout)}
    client.create_run(first["experiment_id"], tags={"key": key, "label": "study", **ours})  # never finished
    shutil.rmtree(checkout / "results/mlartifacts/hill" / first["runs"]["study/verdicts"])  # artifacts lost
    again = mirror(checkout)
    assert again["runs"][key] != first["runs"][key] and (again["written"], again["removed"]) == (2, 3)
    keys = [run.data.tags["key"] for run in runs(checkout)]
    assert len(keys) == len(set(keys)) and {run.info.status for run in runs(checkout)} == {"FINISHED"}


def test_keys_that_the_records_no_longer_have_go(checkout):
    results = results_in(checkout)
    for id in [id for id in results.plan.jobs if "/sweep/" in id]:
        del results.plan.jobs[id]
    restated(checkout, results)
    summary = track.mirror(results, checkout / "reports" / "study", root=checkout)
    keys = [run.data.tags["key"] for run in runs(checkout)]
    assert summary["removed"] >= 2 and "study/sweep/climb" not in keys
    assert sorted(keys) == sorted(summary["runs"])


def test_scales_live_side_by_side(checkout):
    smoke, _ = publish(checkout, "smoke")
    track.mirror(smoke, checkout / "reports" / "smoke", root=checkout)
    labels = [run.data.tags["label"] for run in runs(checkout)]
    assert labels.count("study") == 11 and labels.count("smoke") > 5


def test_a_moved_checkout_opens_its_artifacts(checkout, first, tmp_path, monkeypatch):
    """`checkout` is a copy of where the mirror was made."""
    monkeypatch.chdir(checkout)
    summary = first
    client = MlflowClient("sqlite:///results/mlflow.db")
    id = summary["runs"]["study/descent/climb, data=plain"]
    assert client.get_run(id).info.artifact_uri.startswith("results/mlartifacts/hill/")
    assert {f.path for f in client.list_artifacts(id)} == {"records.parquet", "final.csv", "figures"}
    records = read_records([client.download_artifacts(id, "records.parquet", str(tmp_path))])
    assert set(records["method"]) == {"climb"} and len(records) == len(STEPS) * 10 * 3
    verdicts = client.download_artifacts(summary["runs"]["study/verdicts"], "verdicts.json", str(tmp_path))
    assert len(json.loads(Path(verdicts).read_text())["claims"]) == 9
    assert mirror(checkout)["written"] == 0


def test_figures_come_with_the_runs_of_their_experiment(checkout, first):
    summary = first
    names = lambda key: {  # noqa: E731
        path.name
        for path in (checkout / "results/mlartifacts/hill" / summary["runs"][key] / "artifacts/figures").glob("*")
    }
    assert names("study/descent/gd, data=plain") == {"F1.png", "F2.png"}
    assert names("study/sweep/climb") == {"F2.png"} and names("study/tuning/gd, data=plain") == set()
    assert names("study/verdicts") == {f"F{i}.{kind}" for i in (1, 2, 3) for kind in ("png", "svg")}


# -- stores that are down, slow or broken -----------------------------------------------------------------------------


def fails(root, uri, within):
    began = time.monotonic()
    with pytest.raises(StudyError) as error:
        mirror(root, uri=uri)
    assert time.monotonic() - began < within
    assert "\n" not in str(error.value) and len(str(error.value)) < 700
    return str(error.value)


def test_a_server_that_is_down(checkout):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    message = fails(checkout, f"http://user:secret@127.0.0.1:{port}", 15)
    assert "Connection refused" in message and "tracking.uri" in message and "secret" not in message


def test_a_server_that_takes_the_call_and_says_nothing(checkout):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert "timed out" in fails(checkout, f"http://127.0.0.1:{silent.getsockname()[1]}", 20)


@pytest.mark.parametrize("status", [500, 404])
def test_a_server_that_is_healthy_and_then_fails(checkout, status):
    class Broken(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health" else status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        message = fails(checkout, f"http://127.0.0.1:{server.server_port}", 30)
        server.shutdown()
    assert "MLflow server" in message and "run again" in message


def test_a_broken_database_is_named(checkout):
    (checkout / "results" / "mlflow.db").write_bytes(b"this is no database" * 100)
    message = fails(checkout, None, 60)
    assert "mlflow.db" in message and "from the records" in message


def test_a_report_that_was_not_made_is_asked_for(checkout):
    shutil.rmtree(checkout / "reports")
    assert "make the report first" in fails(checkout, None, 30)


def test_where_runs_go(tmp_path, monkeypatch):
    plan = plan_of(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert track.store(tmp_path, plan.study) == f"sqlite:///{tmp_path}/results/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://a")
    assert track.store(tmp_path, plan.study) == "http://a"
    plan.study.tracking.uri = "http://b"
    assert track.store(tmp_path, plan.study) == "http://b"


def test_importing_the_mirror_does_not_import_mlflow_and_forbids_its_telemetry():
    code = "import sys, os, descent.tracking.mirror; print('mlflow' in sys.modules, os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["False", "true"]


def test_curves_are_thinned_where_records_are_dense_and_kept_where_they_are_not():
    grid = np.unique(np.geomspace(1, 99_000, 60).astype(int))
    steps = np.concatenate([[0], grid, np.arange(99_001, 100_001)])
    kept = thinned(steps)
    assert len(kept) <= 200 and {0, 100_000} <= set(kept) and set(kept) <= set(steps)
    assert np.isin(grid, kept).mean() > 0.9 and (kept > 99_000).sum() > 50
    assert thinned(grid) is grid


def test_values_that_are_too_long_are_cut():
    assert len(track._short("x" * 10_000)) == track.LONGEST and track._short("short") == "short"


def test_a_server_gets_the_same_runs_with_their_artifacts(checkout, first, prepared, tmp_path, monkeypatch):
    """MLflow's own server, in a thread: artifacts are uploaded, not written beside its database."""
    serving = pytest.importorskip("werkzeug.serving", reason="MLflow's server is not installed")
    database = shutil.copyfile(prepared[0], tmp_path / "server.db")
    for name, value in {"FILE_STORE": f"sqlite:///{database}", "REGISTRY_STORE": f"sqlite:///{database}",
                        "ARTIFACT_ROOT": "mlflow-artifacts:/", "ARTIFACT_DESTINATION": str(tmp_path / "server"),
                        "SERVE_ARTIFACTS": "true"}.items():  # fmt: skip
        monkeypatch.setenv(f"_MLFLOW_SERVER_{name}", value)
    from mlflow.server import app

    with serving.make_server("127.0.0.1", 0, app, threaded=True) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{running.server_port}"
        summary = mirror(checkout, uri=uri)
        assert set(summary["runs"]) == set(first["runs"]) and summary["written"] == len(first["runs"])
        client = MlflowClient(uri)
        id = summary["runs"]["study/verdicts"]
        assert {f.path for f in client.list_artifacts(id)} >= {"verdicts.json", "index.html", "figures"}
        got = Path(client.download_artifacts(id, "verdicts.json", str(tmp_path))).read_bytes()
        assert got == (checkout / "reports/study/hill/verdicts.json").read_bytes()
        again = mirror(checkout, uri=uri)
        assert again["runs"] == summary["runs"] and again["written"] == 0
        running.shutdown()
    assert not list(tmp_path.glob("checkout/mlruns"))
