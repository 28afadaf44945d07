"""The key of a service: where it comes from, and how it is kept out of every text.

Looked for in this order: given in this sitting, the environment, the system
keyring.  `ANTHROPIC_API_KEY` is used for the service's own address only (and
for the one that `ANTHROPIC_BASE_URL` names), so that a key never goes to
another address by mistake; any address takes `PARETO_STUDIO_LLM_KEY`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from agent.llm.errors import LlmKeyError, LlmUnusable

OFFICIAL: Final = "https://api.anthropic.com"
KEYRING: Final = "pareto-studio"
"""Name under which the system keyring keeps keys; the user name is the address."""
_HIDDEN: Final = "[key]"
_LEAST: Final = 8
"""A shorter text is no key, and hiding it would hide ordinary words."""

Source = Literal["sitting", "environment", "keyring", "none"]
_given: dict[str, str] = {}
"""Keys given in this sitting, by address; never written anywhere."""


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A key that shows itself to nobody but the service."""

    value: str
    source: Source = "none"

    def __repr__(self) -> str:
        return f"Secret(from the {self.source})"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self.value)

    def hide(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self.value, _HIDDEN) if len(self.value) >= _LEAST else text


def address(url: str = "") -> str:
    """The base address of a service, the service's own where none is given.

    Raises:
        LlmUnusable: no address of the web, or one that carries a name, a password or a query.
    """
    given = url.strip() or os.environ.get("ANTHROPIC_BASE_URL", "").strip() or OFFICIAL
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LlmUnusable(f"{_shown(given)} is no address of a service; give one like {OFFICIAL}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise LlmUnusable(
            "The address of the service must not carry a name, a password or a query; give the key by "
            "ANTHROPIC_API_KEY, PARETO_STUDIO_LLM_KEY or the system keyring."
        )
    host = parts.hostname if ":" not in parts.hostname else f"[{parts.hostname}]"
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def _shown(url: str) -> str:
    return "This" if "@" in url else repr(url[:100])


def is_official(url: str) -> bool:
    return urlsplit(address(url)).hostname == urlsplit(OFFICIAL).hostname


def is_local(url: str) -> bool:
    """Whether an address is on this machine."""
    return urlsplit(address(url)).hostname in ("localhost", "127.0.0.1", "::1")


def find_key(url: str = "", environment: Mapping[str, str] | None = None) -> Secret:
    """The key for an address; an empty one where an address on this machine or network may do without.

    Raises:
        LlmKeyError: the service's own address needs a key and there is none.
    """
    where = address(url)
    variables = os.environ if environment is None else environment
    if _given.get(where):
        return Secret(_given[where], "sitting")
    named = variables.get("ANTHROPIC_BASE_URL", "").strip()
    names = ["PARETO_STUDIO_LLM_KEY"]
    if is_official(where) or (named and address(named) == where):
        names.append("ANTHROPIC_API_KEY")
    for name in names:
        if value := variables.get(name, "").strip():
            return Secret(value, "environment")
    if value := _from_keyring(where):
        return Secret(value, "keyring")
    if is_official(where):
        raise LlmKeyError(
            "There is no key for the language model; set ANTHROPIC_API_KEY, or store one in the system "
            "keyring (`pareto-studio llm-key` and the window's agent settings do), or give --llm-url of a "
            "server that needs none."
        )
    return Secret("")


def _from_keyring(where: str) -> str:
    try:
        import keyring

        return (keyring.get_password(KEYRING, where) or "").strip()
    except Exception:  # noqa: BLE001 - a keyring that is absent, locked or broken is no keyring
        return ""


def keep_key(url: str, value: str) -> Source:
    """Keep a key in the system keyring, or in memory for this sitting where there is none; empty: forget it.

    Returns where it is now.
    """
    where, value = address(url), value.strip()
    _given.pop(where, None)
    try:
        import keyring
        import keyring.errors

        if value:
            keyring.set_password(KEYRING, where, value)
            if keyring.get_password(KEYRING, where) == value:
                return "keyring"
        else:
            with contextlib.suppress(keyring.errors.PasswordDeleteError):
                keyring.delete_password(KEYRING, where)
            return "none"
    except Exception:  # noqa: BLE001 - see `_from_keyring`
        if not value:
            return "none"
    _given[where] = value
    return "sitting"
