"""The arguments of all commands, with their help: for many people the only manual they open."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from wsserver.cli.session_arguments import add_sessions
from wsserver.config import Loaded, Request, load

FLAGS = {
    "host": ("server.host", "ADDRESS", "address to listen on (default 127.0.0.1: this machine)"),
    "port": ("server.port", "PORT", "TCP port (default 8080; 0 takes a free one)"),
    "models-dir": ("models.dir", "FOLDER", "folder whose GGUF files clients may load"),
    "data-dir": ("data.dir", "FOLDER", "folder for the database"),
    "redis-url": ("redis.url", "URL", "shared store for many processes and hosts"),
    "processes": ("server.processes", "N", "gateway processes (default 1)"),
}
"""Flag to key, placeholder and help. Values stay text: the configuration checks them together."""

DESCRIPTION = "A WebSocket real-time session server for large language models."

SERVE_EPILOG = """\
examples:
  wsserver serve                                  the shipped demo model on 127.0.0.1:8080
  wsserver serve --model ~/models/mine.gguf       a model of your own
  wsserver serve --model fast=synthetic:?tps=50   a made-up model for tests and load
  wsserver serve --set limits.requests_per_minute=60

settings, in rising order: defaults; --config FILE, else ./wsserver.toml, else
$XDG_CONFIG_HOME/wsserver/config.toml; the environment (WSSERVER_LIMITS_MAX_BATCH=5 sets
limits.max_batch); the flags above; --set. 'wsserver config reference' lists every key,
'wsserver config show' says what holds now and who set it.
"""


WORKER_EPILOG = """\
examples:
  wsserver worker --redis-url redis://db/0 --model ~/models/mine.gguf
  wsserver worker --redis-url redis://db/0 --set models.start=[] --models-dir ~/models
                                                  loads what clients ask for by load_model
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``wsserver``; ``parsed.command`` is the command's name."""
    parser = argparse.ArgumentParser(prog="wsserver", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"wsserver {installed_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    settings = _settings_parser()
    commands.add_parser(
        "serve",
        help="start the server",
        description="Start the server. It prints the addresses of the pages and of the\n"
        "WebSocket, and runs until SIGTERM or Ctrl-C; then it drains.",
        epilog=SERVE_EPILOG,
        parents=[settings],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a short form of today is ambiguous after the next flag
    )
    commands.add_parser(
        "worker",
        help="serve models to gateways, through Redis",
        description="Load models here and make answers for all gateways that share the Redis of\n"
        "--redis-url. Runs until SIGTERM or Ctrl-C; what it has not finished goes on elsewhere.",
        epilog=WORKER_EPILOG,
        parents=[settings],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    # Listed for --help only: its arguments are read by the terminal client itself.
    commands.add_parser("chat", help="chat in the terminal (see wsserver chat --help)")
    _add_config(commands, settings)
    models = commands.add_parser("models", help="say which models the configuration names")
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser(
        "list",
        help="every known model, those loaded at start marked with *",
        parents=[settings],
        allow_abbrev=False,
    )
    add_sessions(commands, settings)
    commands.add_parser(
        "doctor",
        help="say what this machine can run and what is missing",
        description="Look at this machine and this configuration: what can run, what is missing, "
        "what to do about it. Changes nothing. Exit code 1 if the server could not start.",
        parents=[settings],
        allow_abbrev=False,
    )
    commands.add_parser("version", help="print the version")
    return parser


def _add_config(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    settings: argparse.ArgumentParser,
) -> None:
    config = commands.add_parser("config", help="show or check the configuration")
    actions = config.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser(
        "show",
        help="print what holds, as TOML, with the source of each key",
        description="Print the configuration that holds with these flags, this environment and "
        "this folder, as TOML; each key's source stands in a comment. Secrets are not printed.",
        parents=[settings],
        allow_abbrev=False,
    )
    actions.add_parser("reference", help="print every key with its default and meaning, as TOML")
    tabby = actions.add_parser(
        "from-tabby",
        help="translate TabbyAPI's config.yml",
        description="Print TabbyAPI's settings as a wsserver.toml. What has no counterpart stands "
        "in comments at its end, each key with the reason.",
        allow_abbrev=False,
    )
    tabby.add_argument("file", metavar="FILE", help="its config.yml, in the folder where it runs")


def _settings_parser() -> argparse.ArgumentParser:
    """The flags of each command that reads the configuration."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config", metavar="FILE", help="TOML file to read")
    parser.add_argument(
        "--model",
        action="append",
        metavar="MODEL",
        help="model to load, repeatable, the first is the default: a .gguf file, a folder with a "
        "model's files, the id of a configured one, a source such as synthetic:?tps=50, or "
        "id=source",
    )
    for flag, (_, placeholder, text) in FLAGS.items():
        parser.add_argument(f"--{flag}", metavar=placeholder, help=text)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="settings",
        help="set any key, repeatable; wins over all else",
    )
    return parser


def load_settings(parsed: argparse.Namespace) -> Loaded:
    """Read the configuration that the parsed flags, the environment and this folder give.

    Raises:
        ConfigError: With all faults.
    """
    flags: dict[str, tuple[str, object]] = {}
    for flag, (key, _, _) in FLAGS.items():
        value = getattr(parsed, flag.replace("-", "_"))
        if value is not None:
            flags[key] = (f"--{flag}", value)
    if parsed.model:
        flags["models.start"] = ("--model", parsed.model)
    return load(Request(parsed.config, flags, parsed.settings), os.environ, Path.cwd())


def installed_version() -> str:
    """The version of the installed package."""
    from importlib.metadata import version

    return version("wsserver")
