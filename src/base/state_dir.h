/*
 * state_dir.h - where what has been learnt is kept between runs (which experts are used, how a drive is read best).
 * Files there are hints: without them everything works, and whoever cannot write one says so once and goes on.
 */
#ifndef HS_BASE_STATE_DIR_H
#define HS_BASE_STATE_DIR_H

#include <stddef.h>

#include "base/err.h"

/* $STATE_DIRECTORY (the service manager's; of several the first), else $XDG_STATE_HOME/hotset, else
 * $HOME/.local/state/hotset; relative ones do not count. env: as main gets it. A new string (hs_free), which need not
 * exist yet; NULL: the environment names none, or out of memory. */
char *hs_state_dir(char *const *env);

/* Makes dir and what is above it where they are missing (mode 0700), and writes dir/name as hs_file_write_atomic does.
 */
int hs_state_write(const char *dir, const char *name, const void *data, size_t len, hs_err *err) HS_MUST_CHECK;

#endif
