"""``python -m wsserver_terminal``: the same as ``wsserver chat``."""

import sys

from wsserver_terminal.program import main

sys.exit(main())
