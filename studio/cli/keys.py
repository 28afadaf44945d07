"""The language model's key at the command line."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from studio.cli import show
from studio.cli.terminal import Terminal
from studio.errors import RunError


def llm_key(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    """Keep the key of an address in the system keyring, or forget it; it is not shown.

    Raises:
        RunError: there is no keyring that keeps it.
        LlmError: no address of a service.
    """
    from agent.llm.key import address
    from studio.work.llm import store_key

    where = address(given.llm_url)
    typed = (
        getpass.getpass(f"Key for {where} (empty: forget it): ")
        if sys.stdin.isatty()
        else sys.stdin.readline()
    )
    result = store_key(show.job(home, terminal), key=typed, url=where)
    if result["kept"] == "sitting":
        raise RunError(
            "This system has no keyring that keeps the key, so it was not kept; set ANTHROPIC_API_KEY or "
            "PARETO_STUDIO_LLM_KEY where you start the program."
        )
    terminal.document(result)
    kept = result["kept"] == "keyring"
    terminal.say(
        f"The key for {show.escape(where)} is in the system keyring."
        if kept
        else f"There is no key for {show.escape(where)} in the system keyring."
    )
    return 0
