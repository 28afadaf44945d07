"""Everything measured of a cascade: profiles, confidences, quality; read from JSON or CSV files.

Another system's published tables can be read too.  Formats, times in
milliseconds:

profiles      JSON  {"light": {"name": "...", "ms": {"1": 100, "2": 150}, "p90_ms": {...}, "std_ms": {...},
                               "load_ms": 4000},
                     "heavy": {...}, "discriminator": {"ms": {"1": 10}} or "discriminator_ms": 10}
                    or {"devices": [{"name": "a", "workers": 8, "cost": 2.5, "light": ...}, ...]}
              CSV   model,batch,ms[,p90_ms][,std_ms][,load_ms][,device], a line for each batch size; models
                    are named light, heavy, discriminator, or as `light` and `heavy` of `read_profiles` say
confidences   JSON  [0.12, ...] or [[0.12, ...], ...] (a list for each prompt),
                    {"confidences": [...], "prompt_ids": [...]} or {"0": 0.12, ...}
              CSV   confidence or prompt_id,confidence; or threshold,share: a deferral curve f(t)
quality       JSON  {"metric": "FID", "better": "lower", "share_light": [...], "value": [...]}
                    (or share_deferred, with low and high where known), or by prompt
                    {"metric": ..., "light": [...], "heavy": [...]}
              CSV   the same names as columns, the metric as the name of the value column
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.errors import PlanError
from studio.plan.profile import Device, Profile, per_image
from studio.plan.quality import Choices, Quality, QualityByPrompt, QualityByShare, choices

Floats = NDArray[np.float64]
_LARGEST = 64 << 20
_LOWER = frozenset({"fid", "kid", "cmmd", "lpips", "dists", "loss"})


@dataclass(frozen=True, eq=False)
class Tables:
    """A measured cascade."""

    devices: tuple[Device, ...]
    confidences: Floats
    """Score of the light picture, (n,); below the threshold it is deferred."""
    quality: Quality
    prompt_ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """What a trace calls the prompt of each confidence, (n,); one prompt may have several."""
    title: str = ""

    def __post_init__(self) -> None:
        if self.prompt_ids.size == 0:
            object.__setattr__(self, "prompt_ids", np.arange(self.confidences.size))
        if self.prompt_ids.shape != self.confidences.shape:
            raise PlanError("Give one prompt id for each confidence.")
        self.choices(3)  # confidences and quality must fit each other

    def choices(self, count: int = 201) -> Choices:
        """Thresholds with what they defer and lose."""
        return choices(self.confidences, self.quality, count)

    def with_workers(self, workers: dict[str, int]) -> Tables:
        """Other numbers of workers; the key `""` means the only kind of device.

        Raises:
            PlanError: a device that has no profile.
        """
        names = {device.name for device in self.devices}
        if "" in workers:
            if len(self.devices) != 1:
                raise PlanError(f"Say how many workers of each device: {', '.join(sorted(names))}.")
            return replace(self, devices=(replace(self.devices[0], workers=workers[""]),))
        if unknown := sorted(set(workers) - names):
            raise PlanError(
                f"There is no profile for {unknown[0]}; there is one for {', '.join(sorted(names))}."
            )
        return replace(
            self, devices=tuple(replace(one, workers=workers.get(one.name, 0)) for one in self.devices)
        )


# -- files ------------------------------------------------------------------------------------------


def read_profiles(path: Path, light: str = "light", heavy: str = "heavy") -> tuple[Device, ...]:
    """Devices of a profile file; workers are 1 where the file does not say.

    Raises:
        PlanError: what is wrong in the file, as one sentence.
    """
    if _is_json(path):
        return _devices(path, _json(path))
    rows = _csv(path, "profiles")
    _needs(path, rows, ("model", "batch", "ms"))
    devices: dict[str, dict[str, dict[str, Any]]] = {}
    for at in range(len(rows["model"])):
        role = {light: "light", heavy: "heavy"}.get(rows["model"][at], rows["model"][at])
        if role not in ("light", "heavy", "discriminator"):
            continue
        device = rows["device"][at] if "device" in rows else "worker"
        entry = devices.setdefault(device, {}).setdefault(role, {"name": rows["model"][at], "ms": {}})
        size = _text_number(path, rows["batch"][at], f"batch size in line {at + 2}")
        for column in ("ms", "p90_ms", "std_ms"):
            if column in rows and rows[column][at]:
                value = _text_number(path, rows[column][at], f"{column} in line {at + 2}")
                entry.setdefault(column, {})[f"{size:g}"] = value
        if "load_ms" in rows and rows["load_ms"][at]:
            entry["load_ms"] = _text_number(path, rows["load_ms"][at], f"load_ms in line {at + 2}")
    if not devices:
        raise PlanError(f"{path} has no line for {light} and {heavy}; name the two models to use.")
    return _devices(path, {"devices": [{"name": name, **roles} for name, roles in devices.items()]})


def read_confidences(path: Path) -> tuple[Floats, NDArray[np.int64]]:
    """Confidences and their prompt ids (empty where the file has none).

    A deferral curve f(t) becomes 2,000 confidences with that curve.

    Raises:
        PlanError: what is wrong in the file, as one sentence.
    """
    none = np.empty(0, dtype=np.int64)
    if _is_json(path):
        data = _json(path)
        if isinstance(data, list):
            return _by_prompt(path, data)
        if not isinstance(data, dict):
            raise PlanError(f"{path} must hold a list of confidences, or a table of them.")
        if "confidences" in data:
            found, repeated = _by_prompt(path, data["confidences"])
            ids = _numbers(path, data.get("prompt_ids", []), "prompt_ids").astype(np.int64)
            return found, ids if ids.size else repeated
        if "threshold" in data or "share" in data:
            return _from_curve(path, data), none
        keys = [_text_number(path, key, "prompt id") for key in data]
        return _numbers(path, list(data.values()), "confidences"), np.array(keys, dtype=np.int64)
    rows = _csv(path, "confidence")
    if "threshold" in rows and "share" in rows:
        return _from_curve(path, {name: rows[name] for name in ("threshold", "share")}), none
    if "confidence" not in rows:
        raise PlanError(f"{path} has no column `confidence`, and no columns `threshold` and `share`.")
    found = _numbers(path, rows["confidence"], "confidence")
    ids = _numbers(path, rows["prompt_id"], "prompt_id").astype(np.int64) if "prompt_id" in rows else none
    return found, ids


def read_quality(path: Path) -> Quality:
    """A table by share or by prompt.

    Raises:
        PlanError: what is wrong in the file, as one sentence.
    """
    data: dict[str, Any]
    if _is_json(path):
        found = _json(path)
        if not isinstance(found, dict):
            raise PlanError(f"{path} must hold a table with metric, shares and values.")
        data = found
    else:
        data = dict(_csv(path, "quality"))
        known = {"share_light", "share_deferred", "low", "high", "light", "heavy", "prompt_id", "value"}
        if rest := [name for name in data if name not in known]:
            data["metric"], data["value"] = rest[0], data[rest[0]]
    metric = str(data.get("metric", "quality"))
    better = data.get("better", "lower" if metric.lower() in _LOWER else "higher")
    if better not in ("lower", "higher"):
        raise PlanError(f'{path} says better "{better}"; write "lower" or "higher".')
    higher = better == "higher"
    if "light" in data and "heavy" in data:
        light, heavy = (_numbers(path, data[name], name) for name in ("light", "heavy"))
        return QualityByPrompt(metric, light, heavy, higher)
    name = next((one for one in ("share_light", "share_deferred") if one in data), None)
    if name is None or "value" not in data:
        raise PlanError(
            f"{path} needs share_light (or share_deferred) and value, or light and heavy by prompt."
        )
    shares = _numbers(path, data[name], name)
    if shares.size and shares.max() > 1:
        shares = shares / 100
    if name == "share_light":
        shares = 1 - shares
    order = np.argsort(shares, kind="stable")
    values = _numbers(path, data["value"], "value")
    if values.shape != shares.shape:
        raise PlanError(f"{path} has {values.size} values for {shares.size} shares; give one for each.")
    bounds = [_numbers(path, data[one], one)[order] if one in data else None for one in ("low", "high")]
    return QualityByShare(metric, higher, shares[order], values[order], *bounds)


def write_tables(tables: Tables) -> dict[str, dict[str, Any]]:
    """The three documents that `read_profiles`, `read_confidences` and `read_quality` read."""

    def profile(one: Profile | None) -> dict[str, Any] | None:
        if one is None:
            return None
        made: dict[str, Any] = {
            "name": one.name,
            "ms": {str(size): value * 1e3 for size, value in zip(one.batches, one.seconds, strict=True)},
        }
        if one.spread:
            made["std_ms"] = {
                str(size): value * 1e3 for size, value in zip(one.batches, one.spread, strict=True)
            }
        if one.load_seconds:
            made["load_ms"] = one.load_seconds * 1e3
        return made

    devices = [
        {
            "name": one.name,
            "workers": one.workers,
            "cost": one.cost,
            "light": profile(one.light),
            "heavy": profile(one.heavy),
            "discriminator": profile(one.discriminator),
        }
        for one in tables.devices
    ]
    found = tables.quality
    quality: dict[str, Any] = {
        "metric": found.metric,
        "better": "higher" if found.higher_is_better else "lower",
    }
    if isinstance(found, QualityByPrompt):
        quality |= {"light": found.light.tolist(), "heavy": found.heavy.tolist()}
    elif isinstance(found, QualityByShare):
        quality |= {"share_deferred": found.shares.tolist(), "value": found.values.tolist()}
    return {
        "profiles": {"title": tables.title, "devices": devices},
        "confidences": {"confidences": tables.confidences.tolist(), "prompt_ids": tables.prompt_ids.tolist()},
        "quality": quality,
    }


# -- pieces -----------------------------------------------------------------------------------------


def _devices(path: Path, data: Any) -> tuple[Device, ...]:
    if not isinstance(data, dict):
        raise PlanError(f"{path} must hold a table with light and heavy.")
    entries = data.get("devices", [data])
    if not isinstance(entries, list) or not entries or not all(isinstance(one, dict) for one in entries):
        raise PlanError(f"{path} lists no devices; give at least one with light and heavy.")
    made = []
    for at, entry in enumerate(entries):
        name = str(entry.get("name", "worker" if len(entries) == 1 else f"device {at + 1}"))
        light, heavy = (_profile(path, entry.get(role), role) for role in ("light", "heavy"))
        if light is None or heavy is None:
            raise PlanError(f"{path} has no profile of the {'light' if light is None else 'heavy'} model.")
        scorer = _profile(path, entry.get("discriminator"), "discriminator")
        if scorer is None and (each := entry.get("discriminator_ms", data.get("discriminator_ms"))):
            scorer = per_image("discriminator", _number(path, each, "discriminator_ms") / 1e3, light.largest)
        workers = _number(path, entry.get("workers", 1), "workers")
        if workers != int(workers):
            raise PlanError(f"{path} gives {name} {workers:g} workers; write a whole number.")
        cost = _number(path, entry.get("cost", 1.0), "cost")
        made.append(Device(name, int(workers), light, heavy, scorer, cost))
    if len({one.name for one in made}) < len(made):
        raise PlanError(f"{path} names two devices alike; give each its own name.")
    return tuple(made)


def _profile(path: Path, data: Any, role: str) -> Profile | None:
    if data is None:
        return None
    if not isinstance(data, dict):
        raise PlanError(f"{path}: {role} must be a table with `ms` by batch size.")
    tables = {}
    for name in ("ms", "p90_ms", "std_ms"):
        given = data.get(name, {})
        if not isinstance(given, dict):
            raise PlanError(f'{path}: {name} of {role} must be a table by batch size, such as {{"1": 100}}.')
        found = {}
        for size, value in given.items():
            batch = _text_number(path, str(size), f"batch size of {role}")
            if batch != int(batch):
                raise PlanError(f"{path}: {size} is no batch size; write a whole number.")
            found[int(batch)] = _number(path, value, f"{name} of {role}") / 1e3
        tables[name] = found
    load = _number(path, data.get("load_ms", 0), f"load_ms of {role}") / 1e3
    return Profile.measured(
        str(data.get("name", role)),
        tables["ms"],
        p90=tables["p90_ms"],
        std=tables["std_ms"],
        load_seconds=load,
    )


def _from_curve(path: Path, data: dict[str, Any]) -> Floats:
    thresholds, shares = (_numbers(path, data.get(name, []), name) for name in ("threshold", "share"))
    if thresholds.size < 2 or thresholds.shape != shares.shape:
        raise PlanError(f"{path}: a deferral curve needs two thresholds or more, with one share each.")
    order = np.argsort(thresholds, kind="stable")
    shares = np.maximum.accumulate(np.clip(shares[order], 0, 1))
    ranks = (np.arange(2000) + 0.5) / 2000
    # Where f is flat no score lies; the last threshold takes what is never deferred.
    return np.interp(ranks, shares + np.arange(shares.size) * 1e-12, thresholds[order])


def _is_json(path: Path) -> bool:
    return path.suffix.lower() != ".csv"


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise PlanError(f"{path} is larger than 64 MiB; it is no table that can be used here.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PlanError(f"{path} cannot be read ({error.strerror or error}); check the name.") from None
    except UnicodeDecodeError:
        raise PlanError(f"{path} is no text in UTF-8; give a JSON or CSV file.") from None


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise PlanError(f"{path} is no JSON ({error}); mend it, or name a CSV file .csv.") from None


def _csv(path: Path, what: str) -> dict[str, list[str]]:
    """Columns by name; a file of one nameless column of numbers is taken as `what`."""
    import csv
    import io

    rows = [row for row in csv.reader(io.StringIO(_text(path))) if any(cell.strip() for cell in row)]
    if not rows:
        raise PlanError(f"{path} is empty; give a table.")
    head = [cell.strip() for cell in rows[0]]
    if len(head) == 1 and _is_number(head[0]):
        head, rows = [what], [[what], *rows]
    ragged = next((at for at, row in enumerate(rows) if len(row) != len(head)), None)
    if ragged is not None:
        raise PlanError(f"Line {ragged + 1} of {path} has {len(rows[ragged])} cells for {len(head)} columns.")
    return {name: [row[at].strip() for row in rows[1:]] for at, name in enumerate(head)}


def _needs(path: Path, rows: dict[str, list[str]], names: tuple[str, ...]) -> None:
    for name in names:
        if name not in rows:
            raise PlanError(f"{path} has no column `{name}`; it needs {', '.join(names)}.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text_number(path: Path, text: str, what: str) -> float:
    if not _is_number(text) or not math.isfinite(float(text)):
        raise PlanError(f"{path}: the {what} is {text!r}; write a finite number.")
    return float(text)


def _number(path: Path, value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PlanError(f"{path}: {what} is {value!r}; write a finite number.")
    return float(value)


def _by_prompt(path: Path, values: Any) -> tuple[Floats, NDArray[np.int64]]:
    """Confidences and prompt ids; a list for each prompt (several seeds) is laid out in one column."""
    if not isinstance(values, list) or not values or not all(isinstance(one, list) for one in values):
        return _numbers(path, values, "confidences"), np.empty(0, dtype=np.int64)
    flat = _numbers(path, [value for row in values for value in row], "confidences")
    return flat, np.repeat(np.arange(len(values)), [len(row) for row in values])


def _numbers(path: Path, values: Any, what: str) -> Floats:
    """A column of finite numbers."""
    if not isinstance(values, list):
        raise PlanError(f"{path}: {what} must be a list of numbers.")
    found = []
    for at, value in enumerate(values):
        if isinstance(value, str):
            found.append(_text_number(path, value, f"{what} number {at + 1}"))
        else:
            found.append(_number(path, value, f"{what} number {at + 1}"))
    return np.array(found, dtype=np.float64)
