"""The command line with a scripted judge in the place of a model: see `scripted_worker`."""

from __future__ import annotations

import sys

from studio.cli import main
from tests.studio.scripted_worker import install

if __name__ == "__main__":
    install()
    sys.exit(main())
