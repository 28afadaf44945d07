"""`python -m studio` is `pareto-studio`."""

import sys

from studio.cli import main

sys.exit(main())
