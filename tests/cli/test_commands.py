"""The command as a person runs it: a process, its output, its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


def run(
    *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m wsserver`` outside of any configuration of this machine."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WSSERVER_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-m", "wsserver", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**clean, "XDG_CONFIG_HOME": "/none", **(env or {})},
        timeout=30,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["serve", "worker", "chat", "config", "models", "version"]),
        (
            ["serve", "--help"],
            ["--host", "--port", "--model", "--models-dir", "--data-dir", "--redis-url"],
        ),
        (["serve", "--help"], ["--processes", "--config", "--set", "WSSERVER_LIMITS_MAX_BATCH"]),
        (["worker", "--help"], ["--redis-url", "--model", "--models-dir", "goes on elsewhere"]),
        (["config", "show", "--help"], ["each key's source", "--set"]),
    ],
)
def test_help_names_everything(arguments: list[str], words: list[str]) -> None:
    """The help lists commands, flags, layers and examples."""
    done = run(*arguments)
    assert done.returncode == 0
    assert [word for word in words if word not in " ".join(done.stdout.split())] == []


def test_a_worker_without_redis_is_refused() -> None:
    """Its gateways are found through Redis: without an address there is nobody to work for."""
    done = run("worker", "--model", "synthetic:")
    assert done.returncode == 2
    assert "redis.url: a worker needs the Redis of its gateways" in done.stderr


def test_config_show_prints_toml_with_sources(tmp_path: Path) -> None:
    """Flags, environment and file all show as the source of what they set."""
    (tmp_path / "wsserver.toml").write_text("[limits]\nmax_batch = 7\n")
    arguments = ["config", "show", "--port", "0", "--model", "synthetic:?tps=50"]
    done = run(*arguments, cwd=tmp_path, env={"WSSERVER_LOG_LEVEL": "debug"})
    assert done.returncode == 0, done.stderr
    assert "port = 0  # --port" in done.stdout
    assert "max_batch = 7  # wsserver.toml:2" in done.stdout
    assert 'level = "debug"  # environment WSSERVER_LOG_LEVEL' in done.stdout
    assert tomllib.loads(done.stdout)["models"]["start"] == ["synthetic"]


def test_faults_are_listed_and_end_in_exit_code_2(tmp_path: Path) -> None:
    """All faults on standard error, nothing on standard output, no traceback."""
    done = run("serve", "--port", "x", "--set", "limits.max_bach=1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "wsserver: 2 faults in the configuration:",
        "  server.port: expected int, got str 'x' (--port)",
        "  limits.max_bach: unknown key, did you mean limits.max_batch? (--set)",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--set", "auth.api_keys=k", "--set", "auth.enabled=true"],
            "auth.enabled: authentication is not built yet in this version",
        ),
    ],
)
def test_serve_says_what_it_can_not_do_yet(arguments: list[str], sentence: str) -> None:
    """A setting that could not be honoured ends the start instead of being ignored."""
    done = run("serve", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_models_list_marks_what_is_loaded(tmp_path: Path) -> None:
    """Known models, one a line, with a star for those of the start."""
    text = '[[models.model]]\nid = "a"\nsource = "synthetic:"\n'
    text += '[[models.model]]\nid = "bb"\nsource = "synthetic:?tps=1"\nload = false\n'
    (tmp_path / "wsserver.toml").write_text(text)
    done = run("models", "list", cwd=tmp_path)
    assert done.stdout.splitlines() == ["* a   synthetic:", "  bb  synthetic:?tps=1"]


def test_version_is_one_word() -> None:
    """``wsserver version`` is fit for scripts."""
    done = run("version")
    assert done.returncode == 0
    assert len(done.stdout.split()) == 1


def test_reader_that_leaves_is_no_traceback() -> None:
    """``wsserver config reference | head -1`` ends in silence."""
    command = f"{sys.executable} -m wsserver config reference | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    assert done.stdout.startswith("#")


def test_unknown_command_names_the_known_ones() -> None:
    """A typing error shows the choice, with exit code 2."""
    done = run("sevre")
    assert done.returncode == 2
    assert "serve" in done.stderr
