/* expect.h - how fast a plan would run: what this machine computes, what the drive reads, and what follows. */
#ifndef HS_CLI_EXPECT_H
#define HS_CLI_EXPECT_H

#include "base/json.h"
#include "cli/args.h"
#include "hotset/hotset.h"

typedef struct hs_expectation {
    bool is_hit_rate_given, reads_ahead;
    hs_use use;
    hs_drives drives;           /* n is 0 where the model has no files, or another drive was named */
    hs_drive of[HS_MAX_DRIVES]; /* [drives.n], or of a model without files as many as were given */
    hs_drive_source source_of[HS_MAX_DRIVES];
    uint32_t n_of; /* 0: only what they are together is known */
    hs_drive_source source;
    hs_drive drive;   /* all together */
    bool is_computed; /* speed is measured */
    uint32_t cores;   /* that speed is of, if not this machine's; else 0 */
    hs_speed speed;
    hs_forecast now, twice_drive, twice_memory;
} hs_expectation;

/* Flags of the verb that asks; hs_expect reads them. */
#define HS_FLAGS_EXPECT                                                                                                \
    {"disk-bw",                                                                                                        \
     HS_FLAG_TEXT,                                                                                                     \
     "SIZE[,SIZE...]",                                                                                                 \
     0,                                                                                                                \
     0,                                                                                                                \
     "bytes per second of the drive, instead of measuring it. Of a model on several drives one figure is what they "   \
     "give together, or there is one for each: the model's own (of a pack as --stripe had them), then --mirror's. Of " \
     "a model that is not here: the drives that it is to be striped over"},                                            \
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

/* Whether --disk-bw is well-formed: 0, or -EINVAL with a sentence. */
int hs_expect_check(const hs_args *a, hs_err *err) HS_MUST_CHECK;
/* Measures for a second or so, and one for each drive more. What cannot be measured is left out and said. -EINVAL:
 * --disk-bw has another number of figures than the model has drives. hs_expectation_deinit *ret. */
int hs_expect(const hs_args *a, const hs_engine_options *opt, const hs_plan *p, hs_expectation *ret,
              hs_err *err) HS_MUST_CHECK;
void hs_expectation_deinit(hs_expectation *x);
json_t *hs_expectation_json(const hs_expectation *x);
void hs_expectation_print(const hs_expectation *x);

#endif
