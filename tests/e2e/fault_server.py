"""Runs command lines under faults, each in a forked child: one request a line in (JSON), one outcome a line out.

Forked from a process that has imported everything and run nothing, so a case costs no start-up. Without any privilege:

    largest     bytes that a file may have (RLIMIT_FSIZE): further writes fail, as on a full disk
    bound       the child loses the capability to write where the modes of a folder forbid it, also where it is root
    interrupt   [path, lines, seconds]: SIGINT (ctrl-C) once that file has so many lines and so much time is gone
    vanish      [path, lines, victim]: the victim is removed once that file has so many lines
    stdout      where standard output goes, e.g. /dev/full
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning_fabric  # noqa: F401 - what a child would import, once for all
import torch
import torch._dynamo  # likewise, a second for every training

from earwitness.cli.main import exit_code
from earwitness.evaluation import loading  # noqa: F401 - likewise
from earwitness.evaluation.assessing import runs  # noqa: F401 - likewise
from earwitness.evaluation.scoring import scorers  # noqa: F401 - likewise
from earwitness.examine import examiner  # noqa: F401 - likewise

PATIENCE_S = 120.0
CAPABILITIES_V3 = 0x20080522


def bound_by_modes() -> None:
    """Give up every capability; without any, root too needs the modes of its own files."""
    if sys.platform == "linux" and os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.capset((ctypes.c_uint32 * 2)(CAPABILITIES_V3, 0), (ctypes.c_uint32 * 6)()):
            raise OSError(ctypes.get_errno(), "capset")


def child(asked: dict[str, Any], out: int, err: int) -> None:
    sys.dont_write_bytecode = True  # on a full disk it would be half a file, over which all later processes stumble
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(asked["stdout"], os.O_WRONLY) if asked.get("stdout") else out, 1)
    os.dup2(err, 2)
    os.chdir(asked["cwd"])
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked.get("largest") is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["largest"], asked["largest"]))
    if asked.get("bound"):
        bound_by_modes()
    code = 99
    try:
        code = exit_code(asked["words"])
        sys.stdout.flush()
    except BaseException as error:  # what would be a trace on a terminal
        os.write(2, f"Traceback: {error!r}".encode())
    os._exit(code)


def served(asked: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.monotonic()
        pid = os.fork()
        if pid == 0:
            child(asked, out.fileno(), err.fileno())
        code, peak_mb = waited(pid, start, asked.get("interrupt"), asked.get("vanish"))
        out.seek(0)
        err.seek(0)
        said, told = (file.read().decode("utf-8", "replace") for file in (out, err))
        return {"code": code, "out": said, "err": told, "seconds": time.monotonic() - start, "peak_mb": peak_mb}


def waited(pid: int, start: float, interrupt: list[Any] | None, vanish: list[Any] | None) -> tuple[int | str, float]:
    """The exit code ("hung" for a child that had to be killed), and the most memory that it had, MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes that ru_maxrss counts in
    while True:
        ended, status, used = os.wait4(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), used.ru_maxrss * unit / 1e6
        gone = time.monotonic() - start
        if gone > PATIENCE_S:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "hung", 0.0
        if interrupt and gone >= interrupt[2] and (not interrupt[0] or lines(Path(interrupt[0])) >= interrupt[1]):
            os.kill(pid, signal.SIGINT)
            interrupt = None
        if vanish and lines(Path(vanish[0])) >= vanish[1]:
            Path(vanish[2]).unlink()
            vanish = None
        time.sleep(0.002)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else -1


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(served(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
