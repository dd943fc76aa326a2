#!/bin/sh
# shape.sh ROOT - files open with a comment that says what they own, stay under 800 lines, and hold no tabs, trailing
# blanks or notes to self.
set -eu
cd "$1"
find src cache include tests -path tests/models -prune -o -name '*.[ch]' -print | sort | xargs awk '
FNR == 1 && $0 !~ /^\/\*/ { print FILENAME ": begins without a comment"; bad = 1 }
FNR == 801 && FILENAME !~ /^tests\// { print FILENAME ": has more than 800 lines: split it"; bad = 1 }
/\t/ { print FILENAME ":" FNR ": tab"; bad = 1 }
/[ ]$/ { print FILENAME ":" FNR ": trailing blank"; bad = 1 }
/(TODO|FIXME|XXX|HACK)([^X]|$)/ && !/-XXXXXX/ { print FILENAME ":" FNR ": note to self"; bad = 1 }
END { exit bad }'
