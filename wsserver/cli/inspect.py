"""Commands that only look: ``config show``, ``config reference``, ``models list``, ``version``."""

from __future__ import annotations

import argparse
import sys

from wsserver.cli.from_tabby import run_from_tabby
from wsserver.cli.parser import installed_version, load_settings
from wsserver.config import reference, show


def run_config(parsed: argparse.Namespace) -> int:
    """Print the configuration that holds, the reference of all keys, or a translated file."""
    if parsed.action == "from-tabby":
        return run_from_tabby(parsed)
    text = reference() if parsed.action == "reference" else show(load_settings(parsed))
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()  # here, so that a closed pipe is met inside main()
    return 0


def run_models(parsed: argparse.Namespace) -> int:
    """Print the known models, one a line; those loaded at start with a star."""
    models = load_settings(parsed).config.models
    width = max((len(entry.id) for entry in models.model), default=0)
    for entry in models.model:
        mark = "*" if entry.id in models.start else " "
        print(f"{mark} {entry.id:<{width}}  {entry.source}", flush=True)
    return 0


def run_version(_: argparse.Namespace) -> int:
    """Print the version alone, for scripts."""
    print(installed_version(), flush=True)
    return 0
