/* expect.h - how fast a plan would run: what this machine computes, what the drive reads, and what follows. */
#ifndef HS_CLI_EXPECT_H
#define HS_CLI_EXPECT_H

#include "base/json.h"
#include "cli/args.h"
#include "hotset/hotset.h"

typedef struct hs_expectation {
    bool is_hit_rate_given, reads_ahead;
    hs_use use;
    hs_drive_source source;
    hs_drive drive;
    bool is_computed; /* speed is measured */
    uint32_t cores;   /* that speed is of, if not this machine's; else 0 */
    hs_speed speed;
    hs_forecast now, twice_drive, twice_memory;
} hs_expectation;

/* Flags of the verb that asks; hs_expect reads them. */
#define HS_FLAGS_EXPECT                                                                                                \
    {"disk-bw", HS_FLAG_SIZE, "SIZE", 1, 0, "bytes per second of the drive, instead of measuring it"},                 \
        {"disk", HS_FLAG_TEXT, "PATH", 0, 0, "the drive at PATH instead of the model's"},                              \
        {"cores", HS_FLAG_INT, "N", 1, 4096, "processors, each as fast as one of this machine; default those here"},   \
        {"memory-bw",                                                                                                  \
         HS_FLAG_SIZE,                                                                                                 \
         "SIZE",                                                                                                       \
         1,                                                                                                            \
         0,                                                                                                            \
         "bytes per second that all --cores together read from memory; default so many times what this machine's do"}, \
        {"routing",                                                                                                    \
         HS_FLAG_CHOICE,                                                                                               \
         "real|uniform",                                                                                               \
         0,                                                                                                            \
         0,                                                                                                            \
         "how routes repeat themselves: as recorded ones do (default), or not at all"},                                \
        {"hit-rate",                                                                                                   \
         HS_FLAG_NUMBER,                                                                                               \
         "H",                                                                                                          \
         0,                                                                                                            \
         1,                                                                                                            \
         "share of generated tokens' experts found in memory, as bench or metrics told it, instead of --routing's"},   \
        {"prompt", HS_FLAG_INT, "N", 1, 16777216, "tokens of the prompt for prefill's speed; default a whole chunk"},  \
        {"prompt-experts",                                                                                             \
         HS_FLAG_INT,                                                                                                  \
         "N",                                                                                                          \
         1,                                                                                                            \
         16777216,                                                                                                     \
         "experts of all layers that the prompt uses, as bench told it (prefill_experts), instead of what follows "    \
         "from hit rate and routing"},                                                                                 \
    {                                                                                                                  \
        "prompt-reads", HS_FLAG_INT, "N", 0, 16777216, "of these, how many are not in memory"                          \
    }

/* Measures for a second or so. What cannot be measured is left out and said. */
void hs_expect(const hs_args *a, const hs_engine_options *opt, const hs_plan *p, hs_expectation *ret);
json_t *hs_expectation_json(const hs_expectation *x);
void hs_expectation_print(const hs_expectation *x);

#endif
