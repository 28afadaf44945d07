"""The Linux installers on clean machines: installed, opened, set up, used, upgraded, removed as a user does.

    PARETO_CLEAN_ROOT=FOLDER pytest -m slow tests/packaging/test_clean_root.py

keeps machines, installers and wheelhouse in FOLDER, and goes on with what is there: chapter by chapter with
`-k`.  Without it everything is made anew, some 20 GB, and goes at the end.  Only apt has a network.
PARETO_SCREENSHOTS=docs/screenshots keeps what the first run looks like.  At the end it prints sizes and
seconds as rows for docs/benchmarks/installers.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.package.runner import read_picture
from tests.packaging.clean_root import STICK, SUITES, Machine, build, disk, make_base, missing
from tests.packaging.tiny_bundle import ROOT

OLD, NEW = "0.1.0", "0.1.1"
ENTRY = "usr/share/applications/pareto-studio.desktop"
ENGINES = "/srv/Моё 机器 über Ω"
NEEDED = 22e9
"""Bytes: wheelhouse, base, and the engines of a machine twice while they are updated."""
DATA = ".local/share/pareto-studio"
SMALL = {"generations": 2, "population": 2, "workload": {"steps": 8}}
"""A job of minutes: the certification of what wins takes most of it."""
PROMPT = "a red house on the left, grass, day, clear, ink drawing"
KEEP = os.environ.get("PARETO_SCREENSHOTS")
TO_REACH = 3000
"""Seconds of patience with a step in the window; only one that hangs takes as long."""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


CHAPTERS = {
    "test_apt_installs_the_deb_and_its_entry_opens_the_window": (
        "the `.deb` built, installed by apt with the libraries it needs, its entry opened"
    ),
    "test_the_first_run_in_the_window_needs_a_wheelhouse_and_no_network": (
        "first run in the window from the wheelhouse, to the model's page, closed, its state asked"
    ),
    "test_one_press_in_the_window_evolves_certifies_exports_and_proves": (
        "one press: two candidates at 8 steps, certified twice, exported, proved"
    ),
    "test_an_upgrade_names_the_old_engines_updates_them_and_keeps_the_runs": (
        "an upgrade: the new `.deb` built and installed, the engines updated in the window, all verified"
    ),
    "test_the_run_needs_no_root_and_its_entry_opens_the_window": "the `.run` installed, its entry opened",
    "test_the_run_is_set_up_by_command_and_its_package_draws_on_another_machine": (
        "the `.run` set up by command, two candidates, exported, proved, drawn on another machine"
    ),
}
"""The tests whose seconds are told, by name, in the words of docs/benchmarks/installers.md."""


@dataclass
class Trial:
    """The folder of all machines."""

    folder: Path
    failed: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    """Of the table at the end."""

    @property
    def wheelhouse(self) -> Path:
        return self.folder / "wheelhouse"

    def machine(self, name: str) -> Machine:
        return Machine(self.folder / "base", self.folder / name, self.wheelhouse)

    def installer(self, version: str, kind: str) -> Path:
        return next(build(self.folder / "installers" / version, version).glob(f"*.{kind}"))


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Trial]:
    kept = os.environ.get("PARETO_CLEAN_ROOT")
    found = Trial(Path(kept).absolute() if kept else tmp_path_factory.mktemp("clean"))
    if not kept and shutil.disk_usage(found.folder).free < NEEDED:
        pytest.skip(f"{NEEDED / 1e9:.0f} GB are needed in {found.folder}.")
    if not (found.wheelhouse / "SHA256SUMS").exists():
        made = subprocess.run(
            [ROOT / "packaging" / "wheelhouse", found.wheelhouse], capture_output=True, text=True, check=False
        )
        if made.returncode:
            pytest.skip(f"No wheels can be had here: {made.stderr.strip().splitlines()[-1]}")
    tag = next(found.wheelhouse.glob("torch-*.whl")).name.split("-")[2]
    if tag not in SUITES:
        pytest.skip(f"No release of Debian has the Python of {tag}.")
    if not (found.folder / "base").exists() and (reason := make_base(found.folder / "base", SUITES[tag])):
        pytest.skip(reason)
    yield found
    tell(found, request)
    if not kept:
        shutil.rmtree(found.folder)


@pytest.fixture(autouse=True)
def _in_order(trial: Trial, request: pytest.FixtureRequest) -> Iterator[None]:
    """A chapter after one that failed would fail for nothing of its own."""
    if trial.failed:
        pytest.skip(f"{trial.failed[0]} failed.")
    before = request.session.testsfailed
    began = time.perf_counter()
    yield
    if request.session.testsfailed > before:
        trial.failed.append(request.node.name)
    elif request.node.name in CHAPTERS:
        trial.rows.append(f"| {CHAPTERS[request.node.name]} | {time.perf_counter() - began:.0f} s |")


def tell(trial: Trial, request: pytest.FixtureRequest) -> None:
    """Print the rows of this trial, whatever else is captured."""
    made = sorted((trial.folder / "installers" / OLD).glob("linux/pareto-studio*[bn]"))
    wheels = sum(path.stat().st_size for path in trial.wheelhouse.glob("*.whl"))
    sizes = [f"| {path.name} | {path.stat().st_size:,} bytes |" for path in made]
    table = [
        "",
        "| Step | Result |",
        "|---|---|",
        *sizes,
        f"| wheelhouse | {wheels / 1e6:,.1f} MB |",
        *trial.rows,
    ]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n".join(table))


def draws(machine: Machine, user: str, command: list[str], where: str) -> None:
    """A package makes two different pictures there."""
    pictures = []
    for seed in (3, 4):
        out = f"{where}/{seed}.png"
        machine.said(*command, "--prompt", PROMPT, "--seed", str(seed), "--out", out, user=user)
        pictures.append(read_picture(machine.path(out)).astype(float))
    assert all(picture.std() > 5 for picture in pictures)
    assert np.abs(pictures[0] - pictures[1]).mean() > 1


def package_in(machine: Machine, folder: str) -> str:
    """The one package below a folder of a machine."""
    (found,) = (one for one in machine.files(folder) if one.endswith("/manifest.json"))
    return found.removesuffix("/manifest.json")


def proved_afresh(machine: Machine, package: str) -> None:
    """Export proved it in an environment made of its own requirements, though there is no network."""
    facts = json.loads(machine.path(f"{package}/manifest.json").read_text())["additional_metadata"]
    assert facts["verified_on"][0]["fresh_environment"], facts["verified_on"]


def keep(machine: Machine, *names: str) -> None:
    """Something was to be seen; the pictures stay where they are asked for."""
    for name in names:
        picture = machine.picture(f"/tmp/{name}")
        assert picture.std() > 5
        if KEEP:
            place = Path(KEEP) / "first-run"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(place / f"{name}.png", optimize=True)


# -- the .deb --------------------------------------------------------------------------------------


def test_apt_installs_the_deb_and_its_entry_opens_the_window(trial: Trial) -> None:
    desk = trial.machine("desk")
    desk.add_user("zoya")
    (trial.folder / "before.txt").write_text("\n".join(sorted(desk.files("/"))))
    there = desk.put(trial.installer(OLD, "deb"), "/root")
    desk.said("apt-get", "install", "--yes", there, network=True)
    desk.said("desktop-file-validate", f"/{ENTRY}")
    assert "pareto-studio.desktop" in desk.said("gio", "mime", "application/vnd.pareto-studio.package+zip")
    said = desk.sit_down(
        "zoya",
        ["open", f"/{ENTRY}"],
        ["see", "push button", "Set up"],
        ["see", "label", ".*GB free"],
        ["see", "label", "Found on this machine: .*"],
        ["picture", "/tmp/1-nothing-to-fill-in"],
        ["press", "radio button", "Fetch from the network"],
        ["picture", "/tmp/2-from-the-network"],
    )
    assert "GB needed" in said
    keep(desk, "1-nothing-to-fill-in", "2-from-the-network")


def test_the_first_run_in_the_window_needs_a_wheelhouse_and_no_network(trial: Trial) -> None:
    desk = trial.machine("desk")
    desk.said("install", "--directory", "--owner=zoya", ENGINES)
    desk.sit_down(
        "zoya",
        ["open", f"/{ENTRY}"],
        ["see", "label", "Found on this machine: .*"],
        ["fill", "Folder for the engines", f"{ENGINES}/engines"],
        ["press", "push button", "Set up"],
        ["see", "label", "(Checking the hash of|Fetching) .*", TO_REACH],
        ["picture", "/tmp/3-setting-up"],
        ["see", "push button", "Make it fast on this machine", TO_REACH],
        ["picture", "/tmp/4-ready"],
        ["close"],
    )
    keep(desk, "3-setting-up", "4-ready")
    assert desk.said("pareto-studio", "setup", "--state", user="zoya").startswith("ready")
    assert "OpenVINO" in desk.said("pareto-studio", "doctor", user="zoya")


def test_one_press_in_the_window_evolves_certifies_exports_and_proves(trial: Trial) -> None:
    desk = trial.machine("desk")
    home = desk.home("zoya")
    settings = desk.path(f"{home}/{DATA}/settings.json")
    found = json.loads(settings.read_text()) if settings.exists() else {}
    settings.write_text(json.dumps(found | SMALL))
    desk.sit_down(
        "zoya",
        ["open", f"/{ENTRY}"],
        ["press", "push button", "Make it fast on this machine"],
        ["see", "text", "Id of the package", TO_REACH],
        ["picture", "/tmp/5-proved"],
        ["close"],
    )
    keep(desk, "5-proved")
    package = package_in(desk, f"{home}/{DATA}/runs")
    proved_afresh(desk, package)
    assert desk.said("pareto-studio", "verify", package, user="zoya")


def test_the_package_draws_on_another_machine_in_an_environment_of_what_it_says_it_needs(
    trial: Trial,
) -> None:
    desk, other = trial.machine("desk"), trial.machine("other")
    archive = next(
        one
        for one in desk.files(f"{desk.home('zoya')}/.local/share/pareto-studio/runs")
        if one.endswith(".pareto")
    )
    there = other.put(desk.path(archive), "/srv")
    home = other.home("ivo")
    other.said("python3", "-m", "zipfile", "-e", there, "/srv/package")
    package = package_in(other, "/srv/package")
    python = environment_of(other, package, "first")
    needed = other.path(f"{package}/requirements.txt").read_text()
    installed = other.said(python, "-m", "pip", "list", user="ivo")
    assert ("\ntorch " in installed) == ("\ntorch==" in needed)  # which engine wins is the machine's affair
    # Neither file nor folder of it can be written by this user.
    assert other.said(python, f"{package}/run.py", "--self-test", user="ivo")
    draws(other, "ivo", [python, f"{package}/run.py"], home)


def environment_of(other: Machine, package: str, name: str) -> str:
    """The Python of a new environment of ivo's with what a package says that it needs, from the stick."""
    if other.run("id", "ivo").returncode:
        other.said("apt-get", "install", "--yes", "--no-install-recommends", "python3-venv", network=True)
        other.add_user("ivo")
    folder = f"{other.home('ivo')}/{name}"
    other.said("python3", "-m", "venv", folder, user="ivo")
    wheels = ["--no-index", "--find-links", STICK, "-r", f"{package}/requirements.txt"]
    other.said(f"{folder}/bin/python", "-m", "pip", "install", "--quiet", *wheels, user="ivo")
    return f"{folder}/bin/python"


def test_an_upgrade_names_the_old_engines_updates_them_and_keeps_the_runs(trial: Trial) -> None:
    desk = trial.machine("desk")
    runs = f"{desk.home('zoya')}/{DATA}/runs"
    before = desk.files(runs)
    desk.said("apt-get", "install", "--yes", desk.put(trial.installer(NEW, "deb"), "/root"))
    said = desk.sit_down(
        "zoya",
        ["open", f"/{ENTRY}"],
        ["see", "push button", "Update"],
        ["see", "label", ".*of version.*"],
        ["see", "label", "Found on this machine: .*"],
        ["picture", "/tmp/6-update"],
        ["press", "push button", "Update"],
        ["gone", "label", "Update the engines", TO_REACH],
        ["see", "push button", "Run: run of .*"],
        ["close"],
    )
    keep(desk, "6-update")
    assert f"of version {OLD}" in said
    assert f"this window is {NEW}" in said
    assert desk.said("pareto-studio", "setup", "--state", user="zoya").startswith("ready")
    assert {one for one in before if not one.endswith(("-wal", "-shm"))} <= desk.files(runs)
    assert desk.said("pareto-studio", "verify", package_in(desk, runs), user="zoya")
    assert "tiny-scenes" in desk.said("pareto-studio", "runs", user="zoya").lower()


def test_removing_the_deb_removes_every_users_engines_and_leaves_their_runs(trial: Trial) -> None:
    desk = trial.machine("desk")
    desk.add_user("boris")
    stopped = desk.run(
        "timeout", "--signal=INT", "20", "pareto-studio", "setup", "--make", "--from", STICK, user="boris"
    )
    assert "the same command goes on where it was" in stopped.stderr
    assert desk.files(f"{desk.home('boris')}/{DATA}/backend")
    runs = f"{desk.home('zoya')}/{DATA}/runs"
    kept = desk.files(runs)
    desk.said("apt-get", "remove", "--yes", "pareto-studio")
    before = set((trial.folder / "before.txt").read_text().splitlines())
    assert foreign(desk.files("/") - before - {f"/root/{trial.installer(OLD, 'deb').name}"}) == kept
    assert not desk.files(ENGINES)
    shutil.rmtree(desk.folder)  # the next machine needs the room


def foreign(files: set[str]) -> set[str]:
    """Without what the system writes down itself, and what any program with a window leaves in a home."""
    system = ("/var/lib/dpkg/", "/var/lib/apt/", "/var/log/", "/var/cache/", "/proc/", "/sys/", "/dev/")
    desktop = ("/.cache/fontconfig/", "/.cache/at-spi/", "/.cache/mesa_shader_cache", "/dconf/")
    home = ("/.bash_logout", "/.bashrc", "/.profile")
    return {
        one
        for one in files
        if (one.startswith(("/home/", ENGINES)) or "pareto" in one)
        and not one.startswith((*system, "/root/", "/srv/pareto", "/tmp/"))
        and not any(word in one for word in desktop)
        and not one.endswith(home)
    }


# -- the .run --------------------------------------------------------------------------------------

LOCAL = ".local/share/applications/pareto-studio.desktop"


def test_the_run_needs_no_root_and_its_entry_opens_the_window(trial: Trial) -> None:
    lap = trial.machine("lap")
    libraries = depends(trial.installer(OLD, "deb"))
    lap.said("apt-get", "install", "--yes", "--no-install-recommends", *libraries, network=True)
    lap.add_user("mira")
    home = lap.home("mira")
    (trial.folder / "before-run.txt").write_text("\n".join(sorted(lap.files("/home"))))
    there = lap.put(trial.installer(OLD, "run"), "/srv")
    assert "Open Pareto Studio from the applications menu" in lap.said("sh", there, user="mira")
    lap.sit_down("mira", ["open", f"{home}/{LOCAL}"], ["see", "push button", "Set up"], ["close"])


def test_the_run_is_set_up_by_command_and_its_package_draws_on_another_machine(trial: Trial) -> None:
    lap, other = trial.machine("lap"), trial.machine("other")
    home = lap.home("mira")
    program = f"{home}/.local/bin/pareto-studio"
    assert "Ready" in lap.said(program, "setup", "--make", "--from", STICK, user="mira")
    size = ["--generations", "1", "--population", "2", "--steps", "8", "--no-certify"]
    run = f"{home}/{DATA}/runs/mine"
    lap.said(program, "optimize", "tiny-scenes", *size, "--out", run, user="mira")
    lap.said(program, "export", run, "winner", "--out", f"{home}/house", user="mira")
    proved_afresh(lap, f"{home}/house")
    archive = other.put(lap.path(f"{home}/house.pareto"), "/srv")
    other.said("python3", "-m", "zipfile", "-e", archive, "/srv/second")
    package = package_in(other, "/srv/second")
    python = environment_of(other, package, "second")
    draws(other, "ivo", [python, f"{package}/run.py"], other.home("ivo"))


def test_a_second_run_keeps_runs_and_packages_and_uninstall_leaves_them(trial: Trial) -> None:
    lap = trial.machine("lap")
    home = lap.home("mira")
    program = f"{home}/.local/bin/pareto-studio"
    kept = lap.files(f"{home}/{DATA}/runs") | lap.files(f"{home}/house") | {f"{home}/house.pareto"}
    lap.said("sh", lap.put(trial.installer(NEW, "run"), "/srv"), user="mira")
    found = lap.run(program, "setup", "--state", user="mira")
    assert found.returncode == 1
    assert f"of version {OLD}" in found.stdout
    assert f"this window is {NEW}" in found.stdout
    assert kept <= lap.files(home)
    assert "runs stay in" in lap.said(f"{home}/.local/lib/pareto-studio/uninstall", user="mira")
    before = set((trial.folder / "before-run.txt").read_text().splitlines())
    assert foreign(lap.files("/home") - before) == kept


# -- a full disk -----------------------------------------------------------------------------------

FILL = """
apt-get install --yes "$1" &
apt=$!
until find /opt -name '*.dpkg-new' 2>/dev/null | grep -q .; do kill -0 $apt || break; done
cat /dev/zero >/srv/filler 2>/dev/null
wait $apt
"""
"""Another program takes what is free while apt unpacks."""


def test_a_full_disk_stops_apt_the_version_before_stays_and_a_second_try_works(trial: Trial) -> None:
    small = trial.machine("small")
    with disk(small.folder) as leave:
        libraries = depends(trial.installer(OLD, "deb"))
        small.said("apt-get", "install", "--yes", "--no-install-recommends", *libraries, network=True)
        small.add_user("vera")
        run = f"{small.home('vera')}/{DATA}/runs/mine/journal.sqlite"
        small.said("install", "-D", "/etc/hostname", run, user="vera")
        for version, before in ((OLD, ""), (NEW, OLD)):
            deb = trial.installer(version, "deb")
            there = small.put(deb, "/root")
            takes = int(field_of(deb, "Installed-Size")) * 1024
            leave(takes // 2)
            # apt hands on, to its own stdout, what dpkg says.
            refused = small.run("apt-get", "install", "--yes", there)
            assert refused.returncode
            assert "MiB free; free some space, then install it again: nothing was changed" in refused.stdout
            assert installed(small) == before
            leave(takes + (40 << 20))
            refused = small.run("sh", "-c", FILL, "sh", there)
            assert refused.returncode
            assert "No space left on device" in refused.stdout
            small.said("rm", "/srv/filler")
            assert installed(small) == before
            small.said("apt-get", "install", "--yes", there)
            assert installed(small) == version
            assert small.path(run).exists()
            small.said("rm", there)


def installed(machine: Machine) -> str:
    """The version that is installed and opens its window, with nothing half done; empty: there is none."""
    assert not machine.said("dpkg", "--audit")
    found = machine.run(
        "dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", "pareto-studio"
    )
    status, _, version = found.stdout.partition(" ")
    if status != "installed":
        assert machine.run("test", "-e", "/opt/pareto-studio").returncode
        return ""
    opened = machine.said("env", "QT_QPA_PLATFORM=offscreen", "pareto-studio", "--smoke", user="vera")
    assert "window shown" in opened
    return version


def field_of(deb: Path, name: str) -> str:
    return subprocess.check_output(["dpkg-deb", "--field", deb, name], text=True).strip()


def depends(deb: Path) -> list[str]:
    """The libraries that a `.deb` needs, of two names the first that this Debian has."""
    return [one.split("|")[0].split("(")[0].strip() for one in field_of(deb, "Depends").split(",")]
