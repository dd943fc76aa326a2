/* trace_replay.h - a trace that was read, run through a policy. Any thread. */
#ifndef HS_CLI_TRACE_REPLAY_H
#define HS_CLI_TRACE_REPLAY_H

#include "cache/replay.h"
#include "cli/trace_read.h"

/* t's uses as a replay takes them, borrowed; hs_trace_warmup's tokens are not counted. What takes time is left 0. */
hs_replay_trace hs_trace_uses(const hs_trace *t);
/* hs_replay in memory of its own. -ENOMEM. */
int hs_trace_replay(const hs_policy *policy, const hs_replay_trace *uses, uint32_t n_slots, bool in_sets,
                    hs_replay_result *ret, hs_err *err) HS_MUST_CHECK;

#endif
