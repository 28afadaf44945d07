"""Models from the hub: only the files that are needed, with progress; broken downloads go on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

from engines.errors import EngineError, HubTokenWanted, ModelError
from engines.models import hub_token
from engines.models.licence import tells

OnProgress = Callable[[int, int, str], None]
"""Called with how much is done, of how much, and what is being done."""
HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
SETTINGS: Final = (".json", ".txt", ".model", ".jinja")
BYTES_WRITTEN: Final = "huggingface_hub.snapshot_download"
"""The name of the hub's progress bar that counts bytes on the disk."""
_LOG_IN: Final = (
    "give your token (in the window by the button beside this sentence, else by `pareto-studio hub-token`"
    " or in HF_TOKEN)"
)
_VARIANT: Final = re.compile(r"\.(fp16|bf16|non_ema|fp8\w*)[.-]")


def wanted(files: Sequence[str]) -> list[str]:
    """Of a repository's files those that a pipeline folder needs: settings, and each part's weights once.

    And what the model's licence is, which goes with everything that is made of it.

    Checkpoints beside the folders, pickles and copies in other precisions are left out, unless a part has
    nothing else.
    """
    paths = [PurePosixPath(name) for name in files]
    found = [
        str(path)
        for path in paths
        if (path.suffix in SETTINGS and len(path.parts) <= 2 and not _VARIANT.search(path.name))
        or (len(path.parts) == 1 and tells(path))
    ]
    for folder in sorted({path.parts[0] for path in paths if len(path.parts) == 2}):
        weights = [path for path in paths if path.parts[0] == folder and path.suffix == ".safetensors"]
        plain = [path for path in weights if not _VARIANT.search(path.name)]
        halves = [path for path in weights if re.search(r"\.fp16[.-]", path.name)]
        found += map(str, plain or halves)
        if not plain:
            found += [str(path) for path in paths if path.parts[0] == folder and ".fp16" in path.name]
    return list(dict.fromkeys(name for name in found if not name.endswith((".bin", ".ckpt", ".msgpack"))))


def download(name: str, on_progress: OnProgress | None = None) -> Path:
    """The folder of a hub model; what is there already is not fetched again.

    Raises:
        ModelError: no such model, a gated one, or no network, in one sentence.
    """
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    with explained(name, "give a model folder"):
        token = hub_token.find()
        try:
            patterns = wanted(huggingface_hub.HfApi(token=token).list_repo_files(name))
        except (GatedRepoError, RepositoryNotFoundError):
            raise
        except (HfHubHTTPError, OSError):
            kept = huggingface_hub.try_to_load_from_cache(name, "model_index.json")
            if isinstance(kept, str):
                return Path(kept).parent  # unreachable: what was fetched before will do
            raise
        bar = {} if on_progress is None else {"tqdm_class": progress_bar(on_progress, name)}
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns, token=token, **bar))


def commit_of(folder: Path) -> str:
    """The commit that a folder of the hub's cache was fetched at; empty of any other folder."""
    kept = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
    return folder.name if kept and _COMMIT.fullmatch(folder.name) else ""


@contextmanager
def explained(name: str, instead: str) -> Iterator[None]:
    """Whatever the hub's client raises as one sentence; `instead` says what else can be done.

    Raises:
        ModelError: no such model, a gated one, a token that is refused, or no network.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise HubTokenWanted(_gated(name)) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no model {name} on the hub and no such folder here; check the name; if it"
            f" is private, give your token by `pareto-studio hub-token` or in HF_TOKEN."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, EngineError) as error:
        if said := _refusal(error):
            raise HubTokenWanted(
                f"The hub refuses {name} to your token ({said}); make one that may read it in your account's"
                f" settings on the hub, then {_LOG_IN}."
            ) from error
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") == "1" else ""
        raise ModelError(
            f"The hub model {name} is not on this machine and the hub cannot be reached{offline};"
            f" connect to the network or {instead}."
        ) from error
    except Exception as error:
        lines = str(error).strip().splitlines()
        first = (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
        raise ModelError(
            f"The hub model {name} cannot be downloaded ({first}); try again or {instead}."
        ) from error


def _gated(name: str) -> str:
    """What to do about a model whose licence must be accepted first."""
    from huggingface_hub import constants

    page = f"{constants.ENDPOINT}/{name}"
    if hub_token.find() is None:
        return f"The hub model {name} is gated: accept its licence on {page}, then {_LOG_IN}, and try again."
    return (
        f"The hub model {name} is gated, and the account of your token has no access to it: accept its"
        f" licence on {page} with that account, or wait for its makers' answer, then try again."
    )


def _refusal(error: BaseException | None) -> str:
    """Why the hub refused (401 or 403), empty where it did not; its client hides that behind other errors."""
    from huggingface_hub.errors import HfHubHTTPError

    while error is not None:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            said = (error.server_message or f"status {error.response.status_code}").strip()
            return said.splitlines()[0][:200].rstrip(".")
        error = error.__cause__
    return ""


def progress_bar(on_progress: OnProgress, name: str) -> Any:
    """The hub's progress bar as calls."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *given: Any, **named: Any) -> None:
            # the hub keeps three bars: files, bytes received and bytes written; the last is told
            self.told = named.pop("name", None) == BYTES_WRITTEN
            quiet = {**named, "disable": False, "file": _Nowhere()}
            super().__init__(*given, **quiet)  # type: ignore[no-untyped-call]

        def update(self, amount: float | None = 1) -> Any:
            changed = super().update(amount)
            if self.told:
                done, total = int(self.n), int(max(self.total or 0, self.n))
                on_progress(done >> 20, max(total >> 20, 1), f"Downloading {name}, MiB")
            return changed

    return Bar


class _Nowhere:
    """What a bar prints goes nowhere."""

    def write(self, _text: str) -> int:
        return 0

    def flush(self) -> None:
        return None
