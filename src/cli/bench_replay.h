/*
 * bench_replay.h - a recorded trace run through the whole daemon: every generated token uses the experts that the trace
 * names, so that cache, reads and kernels do what they would do for those routes.
 */
#ifndef HS_CLI_BENCH_REPLAY_H
#define HS_CLI_BENCH_REPLAY_H

#include "base/json.h"
#include "cli/args.h"
#include "hotset/hotset.h"

/* Makes the engine: hs_load_engine; tests bring a drive of their own. */
typedef int (*hs_engine_load)(hs_engine_options *opt, hs_engine **ret_engine, struct hs_err *err);

/* Replays the trace named by --replay (--phase and --warm as --phase and --warmup of hotset sim) on a model of the same
 * layers and experts. What the model's own router would read ahead is left out. *ret: the figures, a new reference;
 * "sim" of them: the options with which hotset sim comes to the same hits and about the same time (replay_fit.h). */
int hs_bench_replay(const hs_args *a, const hs_engine_options *opt, hs_engine_load load, json_t **ret,
                    struct hs_err *err);
void hs_bench_replay_print(const json_t *figures);

#endif
