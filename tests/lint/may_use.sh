#!/bin/sh
# may_use.sh ROOT - the may-use table of README.md, enforced on the #includes: own rooms, and foreign libraries.
# Headers named *_int.h belong to their room alone.
set -eu
cd "$1"
find src cache include -name '*.[ch]' | sort | xargs awk -f tests/lint/strip.awk | awk '
BEGIN {
    n = split("base:: | cache:: | store:base hotset:liburing zstd xxhash | residency:base cache store: |" \
              "math:base: | model:base math: | text:base:pcre2 utf8proc |" \
              "engine:base cache store residency math model text hotset: | server:base text hotset:uv llhttp |" \
              "pack:base math store hotset:zstd xxhash | cli:*:zlib | hotset::", row, "|")
    for (i = 1; i <= n; i++) {
        gsub(/^ +| +$/, "", row[i])
        split(row[i], part, ":")
        rooms[part[1]] = " " part[1] " " part[2] " "
        foreign[part[1]] = " " part[3] " "
    }
    rooms["base"] = " base "
    foreign["base"] = " jansson ini "
    m = split("jansson ini liburing zstd xxhash pcre2 utf8proc uv llhttp zlib cmocka systemd/sd-daemon", lib, " ")
    for (i = 1; i <= m; i++)
        is_foreign[lib[i]] = 1
}
{
    file = $0; sub(/:.*/, "", file)
    rest = substr($0, length(file) + 2)
    line = rest; sub(/:.*/, "", line)
    code = substr(rest, length(line) + 2)
    if (code !~ /^[ \t]*#[ \t]*include/)
        next
    split(file, dir, "/")
    room = dir[1] == "cache" ? "cache" : dir[2]
    if (!(room in rooms)) {
        print file ": the room " room " is not in the table of tests/lint/may_use.sh"
        bad = 1
        next
    }
    if (code ~ /"/) {
        name = code; sub(/^[^"]*"/, "", name); sub(/".*/, "", name)
        of = name; sub(/\/.*/, "", of)
        if (name !~ /\//) {
            print file ":" line ": write the room: #include \"" room "/" name "\""
            bad = 1
        } else if (index(rooms[room], " * ") == 0 && index(rooms[room], " " of " ") == 0) {
            print file ":" line ": " room " must not use " of " (" name ")"
            bad = 1
        } else if (name ~ /_int\.h$/ && of != room) {
            print file ":" line ": " name " is internal to " of
            bad = 1
        }
    } else {
        name = code; sub(/^[^<]*</, "", name); sub(/\.h>.*/, "", name)
        if (name in is_foreign && index(foreign[room], " " name " ") == 0) {
            print file ":" line ": " room " must not use <" name ".h>"
            bad = 1
        }
    }
    seen++
}
END {
    if (!seen) {
        print "no #include was looked at"
        bad = 1
    }
    exit bad
}'
