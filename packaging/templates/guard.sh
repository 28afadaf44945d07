# Put into the Linux installers and the Mac's launcher, each of which has its own `fail SENTENCE`.

# enough_room FOLDER KIB WAY_ON: its disk has this much free, and 10 MiB more.
enough_room() {
    free=$(df -Pk "$1" | awk 'NR == 2 { print $4 }')
    [ "$free" -gt "$(($2 + 10240))" ] ||
        fail "Pareto Studio takes $(($2 / 1024)) MiB and $1 has $((free / 1024)) MiB free; $3"
}

# only_one LOCK WHAT: the others say that WHAT happens already; who died holding it holds it no longer.
only_one() {
    for attempt in 1 2; do
        ! (set -C; echo $$ >"$1") 2>/dev/null || return 0
        # Who has just made it writes its number next.
        [ -s "$1" ] || sleep 1
        holder=$(cat "$1" 2>/dev/null || true)
        if [ -n "$holder" ] && kill -0 "$holder" 2>/dev/null; then
            fail "Pareto Studio $2 already (process $holder); wait until it has finished."
        fi
        rm -f "$1" 2>/dev/null || true
    done
    fail "$(dirname "$1") cannot be written; check its rights and try again."
}
