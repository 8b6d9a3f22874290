"""Checks and measures the GPU engines on a machine with a GPU and no network.

`build-kit` makes, once and on any machine with a compiler, the folder that such a machine needs
beside this repository; `check` and `bench` run there. README.md tells how.
"""
