"""On a store that others use: nothing of theirs is touched, checkouts keep apart, secrets stay secret, paths may be odd."""

import json
import shutil
import sqlite3

import pytest
from hill.make import plan_of
from mlflow import MlflowClient
from mlflow.entities import ViewType

from descent.core.errors import StudyError
from descent.results.stored import Results
from descent.tracking import mirror as track
from descent.tracking import stores
from descent.tracking.owner import CHECKOUT, FILE, checkout_id


def mirror(root, uri=None):
    results = Results(plan_of(root), "hill", root / "results", root / "bench")
    return track.mirror(results, root / "reports" / "study", uri, root=root)


@pytest.fixture
def shared(prepared, tmp_path):
    """An SQLite store somewhere else, with a stranger's experiment that is called like the paper."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    uri = f"sqlite:///{shutil.copyfile(prepared[0], folder / 'mlflow.db')}"
    shutil.copyfile(prepared[0].with_suffix(".version"), folder / "mlflow.version")
    client = MlflowClient(uri)
    id = client.create_experiment("hill", str(folder / "theirs"), {"owner": "a stranger"})
    run = client.create_run(id, tags={"label": "study", "key": "study/descent/gd, data=rough"})
    client.log_metric(run.info.run_id, "loss", 1.5)
    return uri, id, run.info.run_id


def everything(uri, experiment):
    """All that the store holds of an experiment, to be compared before and after."""
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as connection:
        rows = [connection.execute(f"SELECT * FROM {table} WHERE experiment_id = ?", (int(experiment),)).fetchall()
                for table in ("experiments", "experiment_tags", "runs")]  # fmt: skip
        ids = [
            row[0]
            for row in connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (int(experiment),))
        ]
        rows += [connection.execute(f"SELECT * FROM {table} WHERE run_uuid = ? ORDER BY key", (id,)).fetchall()
                 for id in ids for table in ("tags", "metrics", "params")]  # fmt: skip
    return rows


def test_a_strangers_experiment_of_the_same_name_is_left_as_it_is(checkout, shared):
    uri, theirs, _ = shared
    before = everything(uri, theirs)
    summary = mirror(checkout, uri)
    assert summary["experiment"] == f"hill ({checkout_id(checkout)})" and summary["experiment_id"] != theirs
    mirror(checkout, uri)
    assert everything(uri, theirs) == before


def test_two_checkouts_on_one_store_keep_their_runs(checkout, shared, tmp_path):
    uri, theirs, _ = shared
    before = everything(uri, theirs)
    other = shutil.copytree(checkout, tmp_path / "other")
    assert checkout_id(other) != checkout_id(checkout), "a copy is another checkout"
    one = mirror(checkout, uri)
    two = mirror(other, uri)
    assert two["removed"] == 0 and one["experiment_id"] != two["experiment_id"]
    again = mirror(checkout, uri)
    assert (again["written"], again["removed"]) == (0, 0) and again["runs"] == one["runs"]
    assert mirror(checkout, uri)["written"] == 0
    assert everything(uri, theirs) == before


def test_a_run_that_somebody_else_put_into_our_experiment_stays(checkout, first):
    client = MlflowClient(f"sqlite:///{checkout}/results/mlflow.db")
    guest = client.create_run(
        first["experiment_id"], tags={"label": "study", "key": "study/descent/gd, data=rough"}
    ).info.run_id
    foreign = client.create_run(
        first["experiment_id"], tags={"label": "study", "key": "gone", CHECKOUT: "f" * 12}
    ).info.run_id
    summary = mirror(checkout)
    assert (summary["written"], summary["removed"]) == (0, 0)
    assert {guest, foreign} <= {
        r.info.run_id
        for r in client.search_runs([first["experiment_id"]], run_view_type=ViewType.ACTIVE_ONLY, max_results=1000)
    }


def test_a_moved_checkout_keeps_its_id_and_a_copy_gets_another(tmp_path):
    root = tmp_path / "a"
    root.mkdir()
    id = checkout_id(root)
    assert checkout_id(root) == id
    root.rename(tmp_path / "b")
    assert checkout_id(tmp_path / "b") == id
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    assert checkout_id(tmp_path / "c") != id and checkout_id(tmp_path / "b") == id
    (tmp_path / "b" / FILE).write_text("{")
    assert len(checkout_id(tmp_path / "b")) == 12


@pytest.mark.parametrize("name", ["what?", "50%41 off", "a#b", "with blank", 'quote"s', "ünï", "a&b=c"])
def test_any_legal_folder_name_holds_the_store(checkout, tmp_path, name, monkeypatch):
    root = tmp_path / name
    shutil.move(checkout, root)
    kept = json.loads((root / FILE).read_text())
    (root / FILE).write_text(json.dumps({**kept, "folder": str(root)}))
    shutil.rmtree(root / "results" / "mlartifacts")
    summary = mirror(root)
    assert summary["written"] == len(summary["runs"]), "the artifacts were gone, so all is written anew"
    monkeypatch.chdir(root)
    path = "./results" if "?" in name else f"{root}/results"
    client = MlflowClient(f"sqlite:///{path}/mlflow.db")
    id = summary["runs"]["study/verdicts"]
    assert "verdicts.json" in {f.path for f in client.list_artifacts(id)}
    assert sorted(p.name for p in tmp_path.iterdir()) == [name], "nothing appears elsewhere"


def test_a_tree_of_runs_with_times_datasets_and_plain_numbers(checkout, first):
    client = MlflowClient(f"sqlite:///{checkout}/results/mlflow.db")
    run = client.get_run(first["runs"]["study/descent/gd, data=plain"])
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["key"] == "study/descent/gd/" and parent.data.tags["group"]
    assert client.get_run(parent.data.tags["mlflow.parentRunId"]).data.tags["key"] == "study/descent"
    assert float(run.data.params["step_size"]) > 0
    assert {d.dataset.name: d.dataset.digest for d in run.inputs.dataset_inputs}["valley"] == "5ca1ab1e"
    assert run.data.tags["mlflow.user"] and run.data.tags["verdict.c1"]
    for id in first["runs"].values():
        for value in client.get_run(id).data.params.values():
            assert value.isascii(), value
    found = client.search_runs([first["experiment_id"]], "params.step_size = '0.3'")
    assert {r.data.tags["method"] for r in found} >= {"sam"}


# -- what is told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("file:///tmp/runs", "sqlite:////path/to/mlflow.db"),
        ("./mlruns", "sqlite:////path/to/mlflow.db"),
        ("postgresql://me:hunter2@127.0.0.1/db", "psycopg2"),
    ],
)
def test_what_is_told_fits_the_store_and_holds_no_secret(checkout, uri, words):
    with pytest.raises(StudyError) as error:
        mirror(checkout, uri)
    assert words in str(error.value) and "hunter2" not in str(error.value) and "\n" not in str(error.value)


def test_a_refusal_is_told_as_one(checkout):
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Guarded(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(StudyError, match="MLFLOW_TRACKING_USERNAME") as error:
            mirror(checkout, f"http://me:hunter2@127.0.0.1:{server.server_port}")
        server.shutdown()
    assert "hunter2" not in str(error.value)


def test_a_uri_is_shown_without_its_secrets():
    assert stores.shown("https://me:hunter2@host/a?token=x") == "https://host/a"
    assert stores.shown("sqlite:////a/b?c/mlflow.db") == "sqlite:////a/b?c/mlflow.db"


def test_no_parameter_of_a_rule_holds_the_uri(project, monkeypatch):
    from descent.workflow.study import Study

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hunter2@host")
    assert "hunter2" not in str(Study(project, {"scale": "smoke"}).tracking())


def test_a_database_that_another_keeps_locked_is_named(tmp_path):
    import fcntl

    path = tmp_path / "mlflow.lock"
    with open(path, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StudyError, match="locked by another process"), stores.locked(path, patience=0.3):
            pass


def test_a_server_that_sends_its_answers_drop_by_drop_is_given_up():
    import time

    began = time.monotonic()
    with pytest.raises(StudyError, match="too slow: it took more than 1 s"), stores.patient("http://host", seconds=1):
        for _ in range(100):  # no single wait is longer than any limit of a socket
            time.sleep(0.1)
    assert time.monotonic() - began < 5


def test_sizes_of_settings_are_metrics_that_filters_compare(checkout, first):
    """MLflow compares parameters as text and takes no `<` for them."""
    client = MlflowClient(f"sqlite:///{checkout}/results/mlflow.db")
    found = client.search_runs([first["experiment_id"]], "metrics.`setting/step_size` < 0.1")
    sizes = {float(run.data.params["step_size"]) for run in found}
    others = [r for r in client.search_runs([first["experiment_id"]]) if "step_size" in r.data.params]
    assert all(size < 0.1 for size in sizes)
    expected = sorted(r.info.run_id for r in others if float(r.data.params["step_size"]) < 0.1)
    assert sorted(r.info.run_id for r in found) == expected


def test_the_charts_begin_with_the_curves_and_names_are_tens(checkout, first):
    client = MlflowClient(f"sqlite:///{checkout}/results/mlflow.db")
    runs = [client.get_run(id) for id in first["runs"].values()]
    names = {name for run in runs for name in run.data.metrics}
    assert len(names) < 100
    bare = {name for name in names if "/" not in name}
    assert {"loss", "curvature", "accuracy"} <= bare, "MLflow shows names without a slash first"
    for run in runs:
        for name in bare & set(run.data.metrics):
            assert len(client.get_metric_history(run.info.run_id, name)) > 1, f"{name}: a chart of one bar"
    for run in runs:
        assert run.info.end_time >= run.info.start_time > 0 and run.data.tags["mlflow.note.content"]
        assert {"system/wall_seconds"} <= set(run.data.metrics) or run.data.tags["key"].endswith("verdicts")
