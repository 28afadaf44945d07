"""`python -m studio.ui`."""

from studio.ui.app import main

raise SystemExit(main())
