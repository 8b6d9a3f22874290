"""Chaos: a whole fleet of real processes is broken in every way while people use it.

``python -m scripts.chaos`` starts gateways, workers and a Redis, drives clients that stream, stop,
drop, resume and talk, and breaks things by a seeded plan. Then it looks whether anyone was told a
wrong byte, a second end or none, and whether anything is left behind. A short run is a test
(``tests/integration/test_chaos.py``).

Where the machine allows it each process has a network of its own, whose wires to Redis and to the
clients can die (`network`). Besides, a proxy of the harness stands between each process and Redis
(`link_proxy`): it breaks, holds, slows and forgets connections, and robs them of single doorbells,
which no network can.

| | |
|---|---|
| `people`, `guests`, `device`, `client`, `surroundings` | what people do, and their clients |
| `screen`, `room_screen`, `rules` | what one client is shown, put together by the contract alone |
| `book`, `room_book`, `truth` | the judge: what may be told to whom |
| `schedule`, `faults` | what breaks, and when |
| `fleet`, `member`, `store`, `links`, `network` | what is broken |
| `audit`, `room_audit`, `remains` | what must be so in the end, and what may be left: nothing |
"""
