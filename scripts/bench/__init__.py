"""Measurements of the server as a whole, each beside a baseline measured in the same run.

``python -m scripts.bench`` runs all and writes ``scripts/bench/results/<name>.json``. Figures per
processor second (``user + system`` of the gateway's process) hold on a machine that others use,
too; wall-clock figures say so. Nothing here is a test: no figure passes or fails anything.
"""
