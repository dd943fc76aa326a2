/*
 * out.h - what verbs say. Figures and text for programs go to stdout, everything for people to stderr as
 * "hotset: sentence". Functions that end a verb return its exit status: 0, 1 (it failed), 2 (wrong usage).
 */
#ifndef HS_CLI_OUT_H
#define HS_CLI_OUT_H

#include <stdatomic.h>
#include <signal.h>

#include "base/err.h"
#include "base/json.h"
#include "cli/args.h"

void hs_say(const char *fmt, ...) HS_PRINTF(1, 2);
/* Prints err's sentence; returns 1. */
int hs_fail(const hs_err *err);
/* Prints the sentence and where to read more; returns 2. */
int hs_fail_usage(const hs_verb *verb, const char *fmt, ...) HS_PRINTF(2, 3);
/* Prints value on exactly one line of stdout and releases it. NULL = out of memory. Returns 0 or 1. */
int hs_print_json(json_t *value);
/* Flushes stdout; status, or 1 with a sentence if something could not be written. */
int hs_finish_stdout(int status);
/* Everything on stdin, at most max bytes; hs_free it. */
int hs_read_stdin(size_t max, char **ret_text, size_t *ret_len, hs_err *err) HS_MUST_CHECK;
/* The same of a file or a named pipe (a shell's process substitution is one); - is stdin. */
int hs_read_input(const char *path, size_t max, char **ret_text, size_t *ret_len, hs_err *err) HS_MUST_CHECK;

/* From now on SIGINT and SIGTERM set the stop flag instead of ending the process; a second one ends it at once. */
void hs_signals_setup(void);
bool hs_stop_asked(void);
void hs_stop_forget(void);
const atomic_int *hs_stop_atomic(void);
const volatile sig_atomic_t *hs_stop_sig(void);

#endif
