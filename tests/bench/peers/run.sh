#!/bin/bash
# run.sh HOTSET MODEL.gguf [OPTION...] - hotset beside llama.cpp and ik_llama.cpp on this machine; README.md tells more.
# PYTHON: an interpreter that has the wheels xllamacpp and ik-llama-cpp-python; without either this says SKIP, exit 77.
set -eu
[ $# -ge 2 ] || { sed -n 2,3p "$0" >&2; exit 2; }
hotset=$1 model=$2
shift 2
python=${PYTHON:-python3}
"$python" -c 'import importlib.util as u, sys; sys.exit(not (u.find_spec("xllamacpp") or u.find_spec("ik_llama_cpp")))' \
    2> /dev/null || { echo "SKIP: $python has neither xllamacpp nor ik-llama-cpp-python"; exit 77; }
exec "$python" "$(dirname "$0")/peers.py" "$model" --hotset "$hotset" "$@"
