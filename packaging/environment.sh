# shellcheck shell=sh
# Sourced by ./start and ./check (POSIX sh): makes .venv from the committed lock, and finds or names
# the system libraries that Qt needs. Does nothing where everything is there already.

say() { printf '%s\n' "$*" >&2; }

find_python() {
    for name in python3.12 python3.11 python3.13 python3; do
        if command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    say "Pareto Studio needs Python 3.11, 3.12 or 3.13; none was found. On Debian: apt install python3 python3-venv"
    return 1
}

lock_digest() {
    cat packaging/requirements.lock pyproject.toml | cksum
}

get_uv() {
    [ -x .uv/bin/uv ] && return 0
    say "Getting uv, which installs everything else ..."
    if "$1" -m venv .uv >/dev/null 2>&1; then
        .uv/bin/python -m pip install --quiet --disable-pip-version-check uv && return 0
    elif "$1" -m pip --version >/dev/null 2>&1; then
        # Debian's Python makes no virtual environments without python3-venv; its pip fills a folder.
        rm -rf .uv
        "$1" -m pip install --quiet --disable-pip-version-check --target .uv uv && return 0
    else
        say "Python can neither make virtual environments nor install packages here. On Debian: apt install python3-venv"
        return 1
    fi
    say "uv could not be downloaded; check the network connection and run this again."
    return 1
}

ensure_environment() {
    stamp=.venv/pareto-studio.stamp
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(lock_digest)" ] && [ -x .venv/bin/python ]; then
        return 0
    fi
    python=$(find_python)
    if command -v uv >/dev/null 2>&1; then
        uv=uv
    else
        get_uv "$python" || return 1
        uv=.uv/bin/uv
    fi
    say "Setting up .venv (several GB the first time) ..."
    # A folder without a Python that runs was cut off, or its Python has been removed since.
    [ -x .venv/bin/python ] || { rm -rf .venv && "$uv" venv --quiet --python "$python" .venv; } || return 1
    # A second try trusts the system's certificates too: some networks answer with their own.
    "$uv" pip sync --python .venv --require-hashes packaging/requirements.lock ||
        "$uv" pip sync --system-certs --python .venv --require-hashes packaging/requirements.lock ||
        { say "The packages could not be installed; see the lines above, then run this again: it goes on where it stopped."; return 1; }
    "$uv" pip install --quiet --python .venv --no-deps --no-build-isolation --editable . ||
        { say "Pareto Studio itself could not be installed into .venv; see the lines above."; return 1; }
    lock_digest >"$stamp"
}

WINDOW_LIBRARIES="libegl1 libgl1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libdbus-1-3 libfontconfig1 libglib2.0-0 fonts-dejavu-core"

missing_packages() {
    command -v dpkg-query >/dev/null 2>&1 || return 0
    for package in "$@"; do
        # Debian 13 and Ubuntu 24.04 have some of them under another name: libglib2.0-0t64.
        dpkg-query -W -f '${Status}\n' "$package" "${package}t64" 2>/dev/null |
            grep -q 'install ok installed' || printf '%s ' "$package"
    done
}

install_packages() {
    missing=$(missing_packages "$@")
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "Installing $missing..."
        # shellcheck disable=SC2086
        (apt-get install -qq -y --no-install-recommends $missing ||
            (apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing)) >/dev/null 2>&1 && return 0
    fi
    say "The window needs system libraries. Run: sudo apt install $missing"
    return 1
}

ensure_window_libraries() {
    [ "$(uname)" = Linux ] || return 0
    # shellcheck disable=SC2086
    install_packages $WINDOW_LIBRARIES
}

ensure_virtual_screen() {
    [ "$(uname)" = Linux ] || return 0
    install_packages xvfb g++
}

# What the slow tests of the installers need; without one of them some are skipped, and here it is said which.
ensure_installer_tools() {
    [ "$(uname)" = Linux ] || return 0
    while read -r tool package what; do
        command -v "$tool" >/dev/null 2>&1 || (install_packages "$package") </dev/null >/dev/null 2>&1 &&
            command -v "$tool" >/dev/null 2>&1 ||
            say "Without $tool $what (on Debian: sudo apt install $package)."
    done <<'END'
debootstrap debootstrap the Linux installers are not tried on clean machines
makensis nsis no Windows installer is compiled
7z p7zip-full no Windows installer is unpacked
osslsigncode osslsigncode no Windows installer is signed
wine wine the Windows installer is not run
END
}
