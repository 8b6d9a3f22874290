"""``wsserver config from-tabby``: the settings of a TabbyAPI installation as our TOML."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from wsserver.cli.report import CommandError
from wsserver.config.tabby import translate


def run_from_tabby(parsed: argparse.Namespace) -> int:
    """Print the translation of the file named.

    Raises:
        CommandError: If it can't be read, or is no YAML.
    """
    try:
        import yaml
    except ModuleNotFoundError:
        raise CommandError(
            "this needs the package PyYAML, which is not installed: pip install 'wsserver[server]'"
        ) from None
    path = Path(parsed.file).expanduser().absolute()
    try:
        tables = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"can't read {parsed.file}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"{parsed.file} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tables, Mapping) or "model" not in tables and "network" not in tables:
        raise CommandError(f"{parsed.file} is no config.yml of TabbyAPI: it has no model section")
    sys.stdout.write(translate(tables, path.parent))
    sys.stdout.flush()  # here, so that a closed pipe is met inside main()
    return 0
