/* verbs.h - the verbs of the command line; each lives in cmd_NAME.c. */
#ifndef HS_CLI_VERBS_H
#define HS_CLI_VERBS_H

#include "cli/args.h"

extern const hs_verb hs_verb_serve, hs_verb_run, hs_verb_ps, hs_verb_top, hs_verb_pack, hs_verb_unpack, hs_verb_verify,
    hs_verb_inspect, hs_verb_plan, hs_verb_eval, hs_verb_tokenize, hs_verb_template, hs_verb_bench, hs_verb_sim,
    hs_verb_doctor, hs_verb_tune, hs_verb_help_text, hs_verb_version;

/* All of them, in the order of the help; NULL ends the list. */
extern const hs_verb *const hs_verbs[];

/* By name, or NULL. */
const hs_verb *hs_verb_find(const char *name);
/* The text of `hotset help`. */
void hs_verbs_help(hs_buf *out);
/* Runs the verb named argv[0] with the rest; returns the exit status. env: environ. */
int hs_verbs_run(int argc, char *const *argv, char *const *env);

#endif
