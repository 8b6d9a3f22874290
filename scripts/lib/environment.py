"""Make .venv, or renew it when what it should hold has changed. Standard library only.

Run as ``python environment.py run|dev`` by the Python that the environment is to have. Quiet unless
there is something to do or something fails. Two runs at once are in order: one waits.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
LOG = VENV / "install.log"
PINS = ROOT / "constraints.txt"
PROFILES = {"run": "server,cpu,openai,terminal", "dev": "server,cpu,openai,terminal,dev"}


def say(message: str) -> None:
    print(f"wsserver: {message}", file=sys.stderr, flush=True)


def wanted() -> str:
    """A digest of all that decides what .venv holds; the folder counts, since scripts name it."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in (ROOT / "pyproject.toml", PINS, Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def stamp(profile: str) -> Path:
    return VENV / f"installed-{profile}"


def is_current(profile: str) -> bool:
    """Whether .venv holds the profile and its Python still runs (the system's may have gone)."""
    try:
        if stamp(profile).read_text() != wanted():
            return False
        done = subprocess.run([VENV / "bin" / "python", "-c", ""], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold a lock beside .venv; it goes with the process, however that ends."""
    # Opened for reading: the folder itself serves, and no file is left lying about.
    handle = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is installing; waiting for it …")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def has_fitting_python() -> bool:
    """Whether .venv is there with a Python of this version, and made for this folder."""
    code = "import sys, pip; print(sys.version_info[:2])"
    command: list[str | Path] = [VENV / "bin" / "python", "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return False
    is_here = f"VIRTUAL_ENV={VENV}" in _activation()
    return is_here and done.stdout.strip() == str(tuple(sys.version_info[:2]))


def _activation() -> str:
    """The activation script, which names the folder that the environment was made for."""
    try:
        text = (VENV / "bin" / "activate").read_text()
    except OSError:
        return ""
    return text.replace('"', "").replace("'", "")


def create() -> None:
    if VENV.exists():
        shutil.rmtree(VENV)
    try:
        venv.create(VENV, with_pip=True)
    except subprocess.CalledProcessError:
        raise SystemExit(
            "wsserver: this Python can't make a virtual environment with pip; "
            "on Debian or Ubuntu: apt install python3-venv"
        ) from None


def install(profile: str) -> None:
    """Install the project (editable) with the profile's extras at the pinned versions."""
    command: list[str | Path] = [
        *(VENV / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check"),
        *("--constraint", PINS, "--editable", f"{ROOT}[{PROFILES[profile]}]"),
    ]
    with LOG.open("w") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
    if done.returncode:
        tail = LOG.read_text(errors="replace").splitlines()[-25:]
        print("\n".join(tail), file=sys.stderr)
        raise SystemExit(f"wsserver: installing failed; the whole output is in {LOG}")


def main(profile: str) -> None:
    if is_current(profile):
        return
    with one_at_a_time():
        if is_current(profile):  # another run has just done it
            return
        say(f"installing packages into {VENV} (once; takes about a minute) …")
        if not has_fitting_python():
            create()
        for name in PROFILES:
            stamp(name).unlink(missing_ok=True)
        install(profile)
        # "dev" holds all of "run".
        for name in ("run", profile):
            stamp(name).write_text(wanted())


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except OSError as error:  # a folder that may not be written, a full disk
        raise SystemExit(f"wsserver: can't install into {VENV}: {error}") from None
