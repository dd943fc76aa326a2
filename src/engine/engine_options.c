/* engine_options.c - the options of memory, cache, io, prefetch, compute and kv. */
#include "engine/engine_options.h"

static const hs_option options[] = {
    {"memory", "limit", HS_OPT_AUTO_SIZE, "auto", 0, 1e15, NULL, "",
     "Memory of the whole process. auto takes what the machine and the control group leave at start, less a reserve of "
     "one eighth (at least 512 MiB) for other programs. A limit under the model's floor is refused with the figures; "
     "'hotset plan PATH' shows them beforehand. SIGHUP applies another limit to the cache while memory.governor is "
     "auto.",
     true},
    {"memory", "governor", HS_OPT_ENUM, "auto", 0, 0, "auto|off", "",
     "auto lets 'hotset serve' give experts' memory back while the machine, a control group or memory.limit leave too "
     "little, and take it again later. Results are the same bits. A service is given less by MemoryHigh ('systemctl "
     "set-property'), at any time: MemoryMax under what it holds kills it at once, before it can give anything back. "
     "off keeps the cache as it was planned.",
     false},
    {"cache", "size", HS_OPT_CACHE, "auto", 0, 0, NULL, "",
     "Memory for routed experts: auto takes what memory.limit leaves after the dense part, the KV cache and the "
     "buffers; NN% is that share of the model's routed experts; a size is bytes. An explicit size that does not fit "
     "the limit is refused, auto shrinks.",
     false},
    {"cache", "policy", HS_OPT_ENUM, "ewma", 0, 0, "lru|lfu|ewma|s3fifo|arc", "",
     "Which expert leaves when another needs its place. ewma learns how much recent and long-term use say about what "
     "comes, and lets rare experts pass without evicting anybody; the others are there for comparison. Results are the "
     "same bits with each.",
     false},
    {"cache", "scope", HS_OPT_ENUM, "global", 0, 0, "global|layer", "",
     "global: all layers compete for the cache. layer: each has its share and only its own experts leave for its "
     "experts.",
     false},
    {"cache", "warm_tier", HS_OPT_ENUM, "auto", 0, 0, "auto|on|off", "",
     "on keeps a packed model's compressed experts in memory as they are stored: a sixth to a half more of them, and "
     "each use decodes one. That pays where the drive is slow, or answers late, for what the processors decode. auto "
     "computes at the start whether it clearly does, from how the drive reads at the model's pace and what decoding "
     "and computing take here (measured once for model, drive and build, in a second or so, and kept in the state "
     "folder); off where the drive may not be measured (io.calibrate = off). While it serves, the two ways are "
     "compared, and the next start does as was found. Results are the same bits; models whose experts are not "
     "compressed have none.",
     false},
    {"cache", "preload_seconds", HS_OPT_SECONDS, "20", 0, 3600, NULL, "seconds",
     "At the start the experts that were used most before are read into free memory, most used first, for this long at "
     "most; requests are answered meanwhile and go first. /ready turns 200 afterwards. 0 reads nothing ahead.",
     false},
    {"io", "engine", HS_OPT_ENUM, "auto", 0, 0, "auto|io_uring|pread", "",
     "How experts are read. auto takes io_uring where the kernel allows it and a pool of reading threads elsewhere "
     "(many containers deny io_uring).",
     false},
    {"io", "direct", HS_OPT_ENUM, "auto", 0, 0, "auto|yes|no", "",
     "Read past the page cache (O_DIRECT), so that memory use stays what the plan says. Filesystems that refuse it are "
     "read through the page cache. auto is yes, unless calibration finds this drive faster without. Set no only when "
     "the whole model fits the page cache beside hotset.",
     false},
    {"io", "read_size", HS_OPT_AUTO_SIZE, "auto", 64 << 10, 16 << 20, NULL, "bytes",
     "An expert is read in pieces of this size. Larger pieces suit slow drives with high latency. auto is 1M, or what "
     "calibration finds.",
     false},
    {"io", "in_flight", HS_OPT_AUTO_SIZE, "auto", 1 << 20, 256 << 20, NULL, "bytes",
     "Bytes being read from a drive at the same time. 8 to 16 MiB saturate an NVMe drive; more only makes urgent reads "
     "wait behind guesses. auto is 16M, or what calibration finds.",
     false},
    {"io", "calibrate", HS_OPT_ENUM, "auto", 0, 0, "auto|always|off", "",
     "How the drive is read best is measured once, in at most 5 seconds, when 'hotset serve' first meets it with a "
     "model of 256 MiB or more, and kept in the state directory; a new drive, filesystem or kernel is measured anew. "
     "It fills io.engine, io.direct, io.read_size and io.in_flight where they are auto, and keeps their defaults "
     "unless something is 5 % faster. always measures at every start, but no file under 256 MiB; off neither measures "
     "nor uses what was measured. 'hotset bench --disk PATH' measures at once.",
     false},
    {"io", "verify", HS_OPT_ENUM, "auto", 0, 0, "auto|always", "",
     "When experts that a packed model stores raw are checked against their checksums. auto: when this process reads "
     "one for the first time, and later in one of 16 reads, while there is nothing else to do but to wait for the "
     "drive; damage that comes between two reads may then be found late. always: at every read, which costs some 5 % "
     "of a processor per GB/s. Compressed experts and those of models with mirrors are checked at every read with "
     "either; safetensors and GGUF files have no checksums.",
     false},
    {"prefetch", "mode", HS_OPT_ENUM, "auto", 0, 0, "auto|off", "",
     "Read ahead the experts that the next layer will probably want. auto does so while it pays; results are the same "
     "bits.",
     false},
    {"prefetch", "budget", HS_OPT_SIZE, "256M", 0, 4e9, NULL, "bytes",
     "Bytes of guesses that may be on their way at the same time. One expert is always allowed.", false},
    {"compute", "threads", HS_OPT_INT, "0", 0, 256, NULL, "threads",
     "Threads that compute, the engine's own included; 0 takes every processor this process may use. Results are the "
     "same bits with any number.",
     false},
    {"compute", "kernels", HS_OPT_ENUM, "auto", 0, 0, "auto|generic|avx2|avx512|neon", "",
     "Instruction set of the kernels; generic is for finding faults. Another set rounds differently in the last bits.",
     false},
    {"compute", "activations", HS_OPT_ENUM, "auto", 0, 0, "auto|f32", "",
     "What matrices are multiplied by. auto takes vectors with 8-bit elements for ggml's block formats (Q4_K, MXFP4, "
     "...), as llama.cpp does, and floats for all others; f32 takes floats always, which is slower and exact.",
     false},
    {"kv", "type", HS_OPT_ENUM, "f16", 0, 0, "f16|f32|q8", "",
     "Precision of stored keys and values. f16 halves the memory of long contexts, q8 (8 bits and a scale for each 32 "
     "values) nearly quarters it and moves results a little more; f32 is what references compute with.",
     false},
    {"kv", "context", HS_OPT_INT, "0", 0, 16777216, NULL, "tokens",
     "Tokens that one conversation may have, prompt and answer together; 0 takes 8192, or what the model was made for "
     "or the memory limit allows if that is less.",
     false},
    {"state", "dir", HS_OPT_STRING, "", 0, 0, NULL, "",
     "Folder for what is learnt between runs; losing it costs nothing but time. Empty: $STATE_DIRECTORY, else "
     "$XDG_STATE_HOME/hotset, else $HOME/.local/state/hotset.",
     false},
    {"model", "path", HS_OPT_STRING, "", 0, 0, NULL, "",
     "Folder of the model: packed by 'hotset pack', or safetensors as published.", false},
    {"model", "mirror", HS_OPT_STRING, "", 0, 0, NULL, "",
     "Further copies of the model on other drives, with commas between (at most 3). Experts are read from all of them, "
     "each from the drive that will be done with it first, and from another copy where one is damaged. 'hotset verify "
     "--repair' mends a packed copy from another.",
     false},
    {"model", "context", HS_OPT_INT, "0", 0, 16777216, NULL, "tokens", "As kv.context, for this model alone.", false},
    {"model", "kv_type", HS_OPT_ENUM, "f16", 0, 0, "f16|f32|q8", "", "As kv.type, for this model alone.", false},
    {"model", "expert_profile", HS_OPT_STRING, "default", 0, 0, NULL, "",
     "Name under which it is remembered, in state.dir, which experts are used: up to 40 letters, digits, - and _. At "
     "the start those that it used most are read first. A request may name another one (\"expert_profile\"): then its "
     "uses count for that one, and what that one used most is kept rather, and read when there is nothing else to do. "
     "A model has at most 32.",
     true},
    {"model", "cache", HS_OPT_CACHE, "auto", 0, 0, NULL, "", "As cache.size, for this model alone.", false},
};

const hs_option_table hs_engine_option_table = HS_OPTION_TABLE(options);
