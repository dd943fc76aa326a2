#!/bin/sh
# What plan expects of a slow drive is about what bench measures there: a control group holds reading back, so that the
# drive is what limits. Both are measured here and now; the bounds are those of a busy machine.
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" -eq 0 ] || skip "control groups need root"
command -v python3 > /dev/null || skip "python3 is missing"
python3 - "$ROOT/tests/bench" << 'EOF' || skip "this machine cannot hold reading back"
import sys
sys.path.insert(0, sys.argv[1])
from group import Group
Group(read=20 << 20).close()
EOF
# As many reads as the drive has, past whatever the page cache knows.
expect 0 python3 - "$ROOT/tests/bench" "$HOTSET" "$MODEL" "$WORK/empty.conf" << 'EOF'
import subprocess, sys
sys.path.insert(0, sys.argv[1])
from group import Group
group = Group(read=20 << 20)
p = subprocess.run([sys.argv[2], "bench", "--disk", sys.argv[3], "--seconds", "0.2", "--json", "--config", sys.argv[4],
                    "--set", "io.calibrate=off"], preexec_fn=group.enter, stdout=subprocess.PIPE, check=True)
group.close()
sys.stdout.buffer.write(p.stdout)
EOF
rate=$(field bare_bytes_per_s)
[ "${rate%.*}" -lt 60000000 ] || skip "reading is not held back here: $rate bytes/s"

expect 0 python3 "$ROOT/tests/bench/forecast.py" "$HOTSET" "$MODEL" --rates 20M --caches 25 --prompt 32 --gen 16 \
    --rounds 3 --within 2.5 --config "$WORK/empty.conf"
grep -q '^decode: plan / bench' "$WORK/out" || fail "no table"
