"""make soak: a tracking server that fails at a random request; afterwards one live run a key, strangers untouched."""

import random
import threading
import time

import pytest
from hill.make import plan_of
from mlflow import MlflowClient

from descent.core.errors import StudyError
from descent.results.stored import Results
from descent.tracking import mirror as track
from soak import tally, tries

pytestmark = pytest.mark.soak


class Faulty:
    """MLflow's own server behind a door that, from its `after`-th request on, does harm for a while."""

    def __init__(self, app):
        self.app, self.left, self.harm, self.chance = app, 10**9, "", random.Random(0)

    def __call__(self, environ, start_response):
        self.left -= 1
        if self.left >= 0 or environ["PATH_INFO"] == "/health":
            return self.app(environ, start_response)
        if self.harm == "done, then lost":  # the request takes effect, and its answer never arrives
            list(self.app(environ, lambda *words: lambda data: None))
        code = {"500": "500 no", "401": "401 no", "404": "404 no", "429": "429 no", "page": "200 OK"}.get(
            self.harm, "503 no"
        )
        body = b"<html>log in</html>" if self.harm == "page" else b""
        if self.harm == "slow":
            time.sleep(12)
        start_response(code, [("Content-Type", "text/html"), ("Content-Length", str(len(body)))])
        return [body]


HARM = ("500", "401", "404", "429", "page", "done, then lost", "slow")


def test_a_server_that_fails_half_way_is_told_and_the_next_copy_is_whole(checkout, prepared, tmp_path, monkeypatch):
    import shutil

    serving = pytest.importorskip("werkzeug.serving", reason="MLflow's server is not installed")
    database = shutil.copyfile(prepared[0], tmp_path / "server.db")
    for name, value in {"FILE_STORE": f"sqlite:///{database}", "REGISTRY_STORE": f"sqlite:///{database}",
                        "ARTIFACT_ROOT": "mlflow-artifacts:/", "ARTIFACT_DESTINATION": str(tmp_path / "server"),
                        "SERVE_ARTIFACTS": "true"}.items():  # fmt: skip
        monkeypatch.setenv(f"_MLFLOW_SERVER_{name}", value)
    from mlflow.server import app

    door, chance = Faulty(app), random.Random(4)

    def copy():
        results = Results(plan_of(checkout), "hill", checkout / "results", checkout / "bench")
        return track.mirror(results, checkout / "reports" / "study", uri, root=checkout)

    def stranger(client):
        run = client.get_run(theirs)
        return run.data.to_dictionary(), run.info.status, client.get_experiment(place).tags

    with serving.make_server("127.0.0.1", 0, door, threaded=True) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{running.server_port}"
        client = MlflowClient(uri)
        place = client.create_experiment("hill", tags={"owner": "a stranger"})
        theirs = client.create_run(place, tags={"label": "study", "key": "study/descent/gd, data=rough"}).info.run_id
        before = stranger(client)
        with tally("a tracking server that fails from a random request on, then is well again") as told:
            for i in range(tries(14)):
                door.harm, door.left, fault = HARM[i % len(HARM)], chance.randrange(2, 60), None
                if i % 3 == 2:  # something has to be written: one run's content is no longer right
                    door.left, wanted = 10**9, door.left
                    some = chance.choice(list(copy()["runs"].values()))
                    client.set_tag(some, "content", "another")
                    door.left = wanted
                try:
                    copy()
                except StudyError as error:
                    fault = f"badly told: {error}" if "\n" in str(error) or len(str(error)) > 700 else None
                door.left = 10**9
                again = copy()
                live = client.search_runs([again["experiment_id"]], max_results=1000)
                keys = [run.data.tags["key"] for run in live]
                if len(keys) != len(set(keys)) or any(run.info.status != "FINISHED" for run in live):
                    fault = f"{door.harm}: {len(keys)} live runs for {len(set(keys))} keys"
                told(fault if stranger(client) == before else "a stranger's run was changed")
        running.shutdown()
