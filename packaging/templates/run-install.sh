#!/bin/sh
# Pareto Studio @VERSION@ (@DATE@): installs for this user, without root. `sh FILE --help` says more.
set -eu
umask 022
version=@VERSION@
length=@LENGTH@
sha256=@SHA256@
kib=@KIB@
file=$0

fail() {
    printf '%s\n' "$*" >&2
    exit 1
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
echo "Installed. Open Pareto Studio from the applications menu, or run $prefix/bin/pareto-studio"
echo "To remove it: $target/uninstall"
exit 0
