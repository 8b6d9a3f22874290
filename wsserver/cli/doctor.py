"""``wsserver doctor``: prints what was found on this machine."""

from __future__ import annotations

import argparse

from wsserver.cli.parser import load_settings
from wsserver.doctor import State, examine


def run_doctor(parsed: argparse.Namespace) -> int:
    """Print all findings. Exit code 1 if a fault keeps the server from starting.

    Raises:
        ConfigError: If the configuration itself is faulty.
    """
    config = load_settings(parsed).config
    findings = list(examine(config))
    for finding in findings:
        for line in finding.lines():
            print(line)
    faults = sum(finding.state is State.FAULT for finding in findings)
    print(f"\n{faults} fault{'s' * (faults != 1)}. " + _verdict(faults))
    return 1 if faults else 0


def _verdict(faults: int) -> str:
    if faults:
        return "The server can't start before they are mended."
    return "The server can start: wsserver serve"
