#!/bin/sh
# changelog.sh CHANGELOG.md MAINTAINER - the same in Debian's form. A version that is not released yet is dated by
# SOURCE_DATE_EPOCH or, without it, by the file.
set -eu
when=$(date -u -R -d "@${SOURCE_DATE_EPOCH:-$(stat -c %Y "$1")}")
sed 's/`//g' "$1" | awk -v who="$2" -v when="$when" '
function finish() { if (open) printf "\n -- %s  %s\n\n", who, date }
/^## / {
    finish()
    open = 1
    date = when
    version = $2
    sub(/,$/, "", version)
    if ($3 ~ /^[0-9]+-[0-9]+-[0-9]+$/) {
        command = "date -u -R -d " $3
        command | getline date
        close(command)
    }
    printf "hotset (%s) unstable; urgency=medium\n\n", version
    next
}
open && NF {
    lead = sub(/^- /, "") ? "  *" : "   "
    line = lead
    for (i = 1; i <= NF; i++) {
        if (length(line) + length($i) > 78) {
            print line
            line = "   "
        }
        line = line " " $i
    }
    print line
}
END { finish() }'
