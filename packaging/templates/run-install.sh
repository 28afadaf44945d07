#!/bin/sh
# Pareto Studio @VERSION@ (@DATE@): installs for this user, without root. `sh FILE --help` says more.
set -eu
umask 022
version=@VERSION@
length=@LENGTH@
sha256=@SHA256@
kib=@KIB@
# What the window does not carry: a library, and the package that has it on Debian and Ubuntu.
glibc=@GLIBC@
libraries="@LIBRARIES@"
file=$0

# on_screen error|info SENTENCE: for who has double-clicked, where no terminal shows what is said and nobody reads it.
on_screen() {
    [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && [ ! -t 1 ] && [ ! -t 2 ] || return 0
    [ ! -p /dev/stdout ] && [ ! -f /dev/stdout ] || return 0
    if command -v zenity >/dev/null 2>&1; then
        zenity "--$1" --title="Pareto Studio" --no-markup --width=420 --text="$2"
    elif command -v kdialog >/dev/null 2>&1; then
        kdialog --title "Pareto Studio" "$([ "$1" = error ] && echo --error || echo --msgbox)" "$2"
    elif command -v xmessage >/dev/null 2>&1; then
        printf '%s\n' "$2" | fold -s -w 80 | xmessage -center -title "Pareto Studio" -file -
    elif command -v notify-send >/dev/null 2>&1; then
        notify-send "Pareto Studio" "$2"
    fi >/dev/null 2>&1 || true
}

fail() {
    printf '%s\n' "$*" >&2
    on_screen error "$*"
    exit 1
}

# Says what this system lacks for the window to open, if it lacks anything.
check_system() {
    has=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc //p')
    [ "$(printf '%s\n' "$glibc" "${has:-0}" | sort -V | head -n 1)" = "$glibc" ] ||
        fail "Pareto Studio needs a Linux with glibc $glibc or later, such as Debian 12 or Ubuntu 22.04; this one has ${has:-another C library}."
    there=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true)
    [ -n "$there" ] || return 0
    absent= packages=
    for one in $libraries; do
        # `libc6,` names those for 64 bits.
        printf '%s\n' "$there" | grep -qF "${one%%:*} (libc6," || { absent="$absent ${one%%:*}"; packages="$packages ${one#*:}"; }
    done
    [ -z "$absent" ] ||
        fail "The window needs libraries that are not here:$absent. On Debian and Ubuntu: sudo apt install$packages. Then run this again."
}

@GUARD@

prefix="${HOME:-}/.local"
check=no
while [ $# -gt 0 ]; do
    case $1 in
        --prefix) [ $# -gt 1 ] || fail "--prefix needs a folder."; prefix=$2; shift 2 ;;
        --check) check=yes; shift ;;
        --version) echo "$version"; exit 0 ;;
        *) echo "usage: sh $(basename "$0") [--prefix FOLDER (default ~/.local)] [--check] [--version]"
           [ "$1" = --help ] && exit 0; exit 2 ;;
    esac
done
case $prefix in
    /.local) fail "There is no home folder; choose one with --prefix FOLDER." ;;
    /*) ;;
    *) prefix=$(pwd)/$prefix ;;
esac

payload() { tail -c "+$(($(expr "$length" + 0) + 1))" "$file"; }

if command -v sha256sum >/dev/null 2>&1; then
    [ "$(payload | sha256sum | cut -d' ' -f1)" = "$sha256" ] ||
        fail "This file is damaged or was not downloaded whole; download it again."
fi
[ "$check" = no ] || { echo "The file is whole."; exit 0; }

check_system
target=$prefix/lib/pareto-studio
new=$target.new
lock=$target.installing
mkdir -p "$prefix/lib" "$prefix/bin" "$prefix/share" 2>/dev/null && [ -w "$prefix/lib" ] ||
    fail "$prefix cannot be written; choose another folder with --prefix FOLDER."
enough_room "$prefix/lib" "$kib" "free some space or choose another folder with --prefix."
only_one "$lock" "is being installed into $prefix"
trap 'rm -rf "$new" "$lock"' EXIT
trap 'exit 1' INT TERM HUP
rm -rf "$new"
mkdir "$new"
echo "Installing Pareto Studio $version into $target ..."
payload | tar -xzf - -C "$new" 2>/dev/null ||
    fail "The files could not be written into $prefix (is the disk full?); what was installed before is as it was."

program=$target/window/pareto-studio
escaped=$(printf '%s' "$program" | sed 's/[\\&#]/\\&/g')
sed "s#@PROGRAM@#$escaped#" "$new/share/applications/pareto-studio.desktop" >"$new/desktop"
mv "$new/desktop" "$new/share/applications/pareto-studio.desktop"
# The old program goes only when the new one is whole.
rm -rf "$target.old"
[ ! -e "$target" ] || mv "$target" "$target.old"
mv "$new" "$target"
rm -rf "$target.old"
(cd "$target/share" && find . -type f) | while IFS= read -r one; do
    mkdir -p "$(dirname "$prefix/share/$one")"
    cp "$target/share/$one" "$prefix/share/$one"
done
ln -sf "$program" "$prefix/bin/pareto-studio"
refresh() {
    command -v "$1" >/dev/null 2>&1 || return 0
    "$@" >/dev/null 2>&1 || true
}
refresh update-desktop-database -q "$prefix/share/applications"
refresh update-mime-database "$prefix/share/mime"
# A newer date tells desktops to read the icons anew; a cache here would outlive the program.
touch "$prefix/share/icons/hicolor"
said="Installed. Open Pareto Studio from the applications menu, or run $prefix/bin/pareto-studio
To remove it: $target/uninstall"
echo "$said"
rm -f "$lock"
on_screen info "$said"
exit 0
