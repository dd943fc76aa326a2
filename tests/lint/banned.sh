#!/bin/sh
# banned.sh ROOT - what must not be called, and where: allocation outside base/mem.c, the environment and output outside
# src/cli, exit in library code, string functions without bounds anywhere.
set -eu
cd "$1"
find src cache -name '*.[ch]' | sort | xargs awk -f tests/lint/strip.awk | awk '
function bad_call(names, why) {
    if (code ~ ("(^|[^A-Za-z0-9_.>])(" names ")[ \t]*\\(")) {
        print file ":" line ": " why ":" code
        bad = 1
    }
}
{
    file = $0; sub(/:.*/, "", file)
    rest = substr($0, length(file) + 2)
    line = rest; sub(/:.*/, "", line)
    code = substr(rest, length(line) + 2)
    if (file != "src/base/mem.c")
        bad_call("malloc|calloc|realloc|reallocarray|strdup|strndup|asprintf|vasprintf|aligned_alloc|posix_memalign|memalign|alloca", "allocate through base/mem.h")
    bad_call("strcpy|strcat|sprintf|vsprintf|gets|strtok|tmpnam|mktemp|system|popen|atoi|atol|atof|rand|strerror|localtime|gmtime|asctime|ctime", "not in this house")
    if (file !~ /^src\/cli\//) {
        bad_call("getenv|secure_getenv|setenv|putenv", "the environment is read in src/cli only")
        bad_call("exit|_exit|quick_exit|abort", "library code does not end the process")
        bad_call("printf|puts|putchar|fprintf|vfprintf|perror", "library code does not print")
        if (code ~ /(^|[^A-Za-z0-9_])(argv|environ)([^A-Za-z0-9_]|$)/) {
            print file ":" line ": argv and environ are read in src/cli only:" code
            bad = 1
        }
    }
}
END { exit bad }'
