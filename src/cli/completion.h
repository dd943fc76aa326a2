/* completion.h - scripts that complete command lines in a shell, from the tables of verbs, flags and options. */
#ifndef HS_CLI_COMPLETION_H
#define HS_CLI_COMPLETION_H

#include "base/buf.h"

/* Each appends a whole script to out. */
void hs_completion_bash(hs_buf *out);
void hs_completion_zsh(hs_buf *out);
void hs_completion_fish(hs_buf *out);

#endif
