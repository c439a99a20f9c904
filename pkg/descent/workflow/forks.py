"""Jobs without the wait for their imports: one process has torch loaded, and forks for every job.

Importing torch takes longer than many a job. Where the workflow runs its jobs on this machine, it starts a server
(`start`) that imports the training packages once, none of the study's own code, and forks a child for each `call`. A
job is as much on its own as before: its process ends with it, and dies with the one that asked for it. Without a
server, on a cluster, on another system than Linux, `call` is a call in the process that makes it.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

from descent.core.leftovers import mark, sweep_folders

PRELOADED = ("torch", "numpy", "pandas", "pyarrow.parquet", "yaml")
# Read by NumPy's linear algebra once, when it is loaded, which for a forked job is here: a job's own torch is told its
# number of threads by the runner.
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
SERVER = "DESCENT_WARM"  # where the server of this run listens: "<Slurm job>:<socket>"


def call(target: str, **arguments: Any) -> None:
    """`module:function` with arguments that JSON can hold, in a fork of the server where there is one.

    Leaves by SystemExit with the status of a call that failed.
    """
    connection = _connected()
    if connection is None:
        _function(target)(**arguments)
        return
    request = {"target": target, "arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
    with connection:
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer = connection.recv(16)  # nothing when the job's process was killed
    if answer != b"0":
        if not answer:
            (sys.__stderr__ or sys.stderr).write(f"the process of {target} was killed; was there memory enough?\n")
        sys.exit(int(answer or 1))


def start() -> None:
    """Start the server of this process and name it in the environment; nothing where it cannot serve.

    It only saves time: where it cannot start, jobs are done without, and a line says so.
    """
    if sys.platform != "linux" or SERVER in os.environ:
        return
    sweep_folders()
    try:
        listener, folder, path = _listening()
    except OSError as error:
        sys.stderr.write(f"jobs import PyTorch one by one, since no server to fork from could start ({error})\n")
        return
    command = [
        sys.executable,
        "-c",
        f"from descent.workflow.forks import serve; serve({listener.fileno()}, {os.getpid()}, {folder!r})",
    ]
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
    subprocess.Popen(command, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, env=environment)
    listener.close()
    os.environ[SERVER] = f"{os.environ.get('SLURM_JOB_ID', '')}:{path}"


def _listening() -> tuple[socket.socket, str, str]:
    """A socket in a new folder; a socket's path has at most 107 bytes, so a long TMPDIR is done without."""
    folder = tempfile.mkdtemp(prefix=f"descent-warm-{mark()}")
    if len(os.fsencode(folder)) > 100:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix=f"descent-warm-{mark()}", dir="/tmp")
    path = os.path.join(folder, "warm")
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(path)
        listener.listen(256)  # a call made while the server still imports waits here
    except OSError:
        listener.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return listener, folder, path


def stop() -> None:
    """End the server that `start` started; jobs that it forked go on."""
    _, _, path = os.environ.pop(SERVER, "").partition(":")
    if path:
        shutil.rmtree(Path(path).parent, ignore_errors=True)


def serve(listening: int, parent: int, folder: str) -> None:
    """The server: forks for every connection until the folder is gone or the process `parent` is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for: who asked hears from them
    listener = socket.socket(fileno=listening)
    for name in PRELOADED:
        importlib.import_module(name)
    while os.getppid() == parent and os.path.isdir(folder):
        if select.select([listener], [], [], 0.1)[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                os._exit(_served(connection))
            connection.close()
    shutil.rmtree(folder, ignore_errors=True)


def _served(connection: socket.socket) -> int:
    """In the child: the call that the connection asks for, and its status as the answer."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 0
    try:
        request = json.loads(connection.makefile("rb").readline())
        threading.Thread(target=_die_with, args=(connection,), daemon=True).start()
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        _function(request["target"])(**request["arguments"])
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(str(status).encode())
    return status


def _die_with(connection: socket.socket) -> None:
    """Kill this process when the one that asked for it is gone."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def _connected() -> socket.socket | None:
    slurm, _, path = os.environ.get(SERVER, "").partition(":")
    if not path or slurm != os.environ.get("SLURM_JOB_ID", ""):  # a job of a cluster stays in its allocation
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


def _function(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
