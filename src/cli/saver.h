/*
 * saver.h - something saved now and then and at the end, by a thread that does nothing else: files on a drive that does
 * not answer hold nobody but that thread.
 */
#ifndef HS_CLI_SAVER_H
#define HS_CLI_SAVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct hs_saver hs_saver;

/* Saves what there is to save; on the saver's thread. May stand still for any time. */
typedef int hs_saver_fn(void *ctx, hs_err *err);

/* save(ctx) every `every_ms` from now on. The first failure is a warning: "`what` is not remembered: " and why. ctx
 * is borrowed until hs_saver_stop returns true; `what` for ever. */
int hs_saver_start(hs_saver_fn *save, void *ctx, const char *what, uint64_t every_ms, hs_saver **ret_saver,
                   hs_err *err) HS_MUST_CHECK;
/* Lets it save a last time, and waits at most `patience_ms` for that. True: *saver is gone and NULL (or was). False: it
 * stands still; its memory and all that save uses must stay until the process ends. */
bool hs_saver_stop(hs_saver **saver, uint64_t patience_ms) HS_MUST_CHECK;

#endif
