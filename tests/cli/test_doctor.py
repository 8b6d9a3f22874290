"""`wsserver doctor`: what it says of this machine, and of one that lacks something."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.test_commands import run
from tests.support.redis import redis_is_installed, running_redis


def test_a_machine_that_can_serve_is_in_order(tmp_path: Path) -> None:
    """On the machine of the tests nothing keeps the server from starting."""
    done = run("doctor", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok     engine llamacpp" in done.stdout
    assert "0 faults." in done.stdout
    for engine in ("exllamav2", "exllamav3"):
        assert (
            f"absent engine {engine}: " in done.stdout or f"ok     engine {engine}" in done.stdout
        )
    assert not (tmp_path / "data").exists()


def test_a_port_in_use_is_a_fault_with_its_remedy(tmp_path: Path) -> None:
    """What keeps the server from starting is said before it is tried."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("doctor", "--port", str(port), "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert f"FAULT  port: 127.0.0.1:{port}: Address already in use" in done.stdout
    assert "--port 0" in done.stdout


def test_what_only_some_engines_need_is_no_fault(tmp_path: Path) -> None:
    """Programs that are not on the path are named with what they are for."""
    done = run("doctor", "--port", "0", "--data-dir", str(tmp_path), env={"PATH": "/none"})
    assert done.returncode == 0
    for name in ("GPU", "CUDA toolkit", "redis-server", "chromium"):
        assert f"absent {name}: " in done.stdout


def test_a_faulty_configuration_is_told_as_one(tmp_path: Path) -> None:
    """The doctor reads the configuration as the server would."""
    done = run("doctor", "--set", "limits.max_bach=1")
    assert done.returncode == 2
    assert "did you mean limits.max_batch" in done.stderr


def test_a_redis_that_is_configured_is_asked(tmp_path: Path) -> None:
    """What a fleet shares is a fault if it does not answer; its password is not shown."""
    arguments = ("doctor", "--port", "0", "--data-dir", str(tmp_path / "data"))
    done = run(*arguments, "--redis-url", f"unix://{tmp_path}/none.sock?password=hush")
    assert done.returncode == 1
    assert f"FAULT  redis: {tmp_path}/none.sock: " in done.stdout
    assert "hush" not in done.stdout + done.stderr
    if not redis_is_installed():
        pytest.skip("redis-server is not installed (package redis-server)")
    with running_redis(tmp_path) as server:
        done = run(*arguments, "--redis-url", server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok     redis: " in done.stdout
