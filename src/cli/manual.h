/* manual.h - the manual pages in roff, from the tables of verbs, flags and options; so they cannot differ from --help.
 */
#ifndef HS_CLI_MANUAL_H
#define HS_CLI_MANUAL_H

#include "base/buf.h"

/* hotset(1) and hotset.conf(5), appended to out. */
void hs_manual_program(hs_buf *out);
void hs_manual_config(hs_buf *out);

#endif
