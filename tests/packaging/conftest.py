"""The dialog's tests run under Qt's offscreen platform, like the window's."""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
