#!/bin/sh
set -e
refresh() {
    command -v "$1" >/dev/null 2>&1 || return 0
    "$@" >/dev/null 2>&1 || true
}
if [ "$1" = remove ] || [ "$1" = purge ]; then
    refresh update-desktop-database -q /usr/share/applications
    refresh update-mime-database /usr/share/mime
    refresh gtk-update-icon-cache -q -t /usr/share/icons/hicolor
fi
