"""The synthetic paper of tests/report, and one prepared MLflow store that every test gets a copy of."""

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
pytest.importorskip("mlflow", reason="mlflow is not installed")


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A checkout with records and report, without a store."""
    from hill.make import publish

    root = tmp_path_factory.mktemp("checkout")
    publish(root)
    return root


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """(an initialised store, how often its preparation ran when four came at once)."""
    import subprocess
    from concurrent.futures import ThreadPoolExecutor

    from descent.tracking import stores as store

    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    calls, real = [], subprocess.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.subprocess, "run", lambda *a, **k: (calls.append(a), real(*a, **k))[1])
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(store.prepare, [f"sqlite:///{database}"] * 4))
    return database, len(calls)


@pytest.fixture(scope="session")
def mirrored(published, prepared, tmp_path_factory):
    """(a checkout that was mirrored once, what `mirror` said of it)."""
    from hill.make import Results, plan_of

    from descent.tracking.mirror import mirror

    root = tmp_path_factory.mktemp("mirrored") / "checkout"
    shutil.copytree(published, root)
    for suffix in (".db", ".version"):
        shutil.copyfile(prepared[0].with_suffix(suffix), (root / "results" / "mlflow").with_suffix(suffix))
    results = Results(plan_of(root), "hill", root / "results", root / "bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return root, mirror(results, root / "reports" / "study", root=root)


@pytest.fixture
def checkout(mirrored, tmp_path, monkeypatch):
    """The mirrored checkout as if it had been moved into a folder of the test's own."""
    from descent.tracking.owner import FILE

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = shutil.copytree(mirrored[0], tmp_path / "checkout")
    kept = json.loads((root / FILE).read_text())
    (root / FILE).write_text(json.dumps({**kept, "folder": str(root)}))
    return root


@pytest.fixture
def first(mirrored):
    """What `mirror` said when `checkout` was mirrored."""
    return mirrored[1]
