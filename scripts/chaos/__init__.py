"""Chaos: a whole fleet of real processes is broken in every way while people use it.

``python -m scripts.chaos`` starts gateways, workers and a Redis, drives clients that stream, stop,
drop, resume and talk, and breaks things by a seeded plan. Then it looks whether anyone was told a
wrong byte, a second end or none, and whether anything is left behind. A short run is a test
(``tests/integration/test_chaos.py``).

Links to Redis are broken by a proxy of the harness (`link_proxy`) and not in network namespaces:
these need rights that most machines do not give, and could neither lose one doorbell and spare the
next nor double it. What namespaces would add, lost packets, TCP hides from both sides: it is seen
as a slow, a held or a forgotten link, which the proxy makes.
"""
