"""The user's token for gated hub models: from the environment, the hub's own login, or the system keyring.

It goes to the hub only, is never written by this program anywhere but into the
keyring, and shows itself in no text.
"""

from __future__ import annotations

import contextlib
from typing import Final

from engines.errors import EngineError

KEYRING: Final = "pareto-studio"
"""Name under which the system keyring keeps it; the user name is the hub's address."""


def find() -> str | None:
    """The token, `None` where there is none."""
    import huggingface_hub

    with contextlib.suppress(Exception):  # an unreadable login is no login
        if found := huggingface_hub.get_token():
            return str(found)
    with contextlib.suppress(Exception):  # a keyring that is absent, locked or broken is no keyring
        import keyring

        return (keyring.get_password(KEYRING, _address()) or "").strip() or None
    return None


def keep(token: str) -> bool:
    """Keep a token in the system keyring, an empty one is forgotten; whether there is one now.

    Raises:
        EngineError: there is no keyring that keeps it.
    """
    import keyring
    import keyring.errors

    value = token.strip()
    try:
        if value:
            keyring.set_password(KEYRING, _address(), value)
        else:
            with contextlib.suppress(keyring.errors.PasswordDeleteError):
                keyring.delete_password(KEYRING, _address())
        kept = keyring.get_password(KEYRING, _address()) or ""
    except Exception as error:
        raise EngineError(
            "This system has no keyring that keeps the token; set HF_TOKEN for this sitting instead."
        ) from error
    if kept != value:
        raise EngineError(
            "The system keyring does not keep the token; set HF_TOKEN for this sitting instead."
        )
    return bool(value)


def _address() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)
