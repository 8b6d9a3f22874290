"""``python -m wsserver`` is the command ``wsserver``."""

import sys

from wsserver.cli import main

sys.exit(main())
