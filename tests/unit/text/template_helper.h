/* template_helper.h - rendering small templates in tests. */
#ifndef TEMPLATE_HELPER_H
#define TEMPLATE_HELPER_H

#include "text/template.h"

/* Renders source with the variables of a JSON object (NULL: none); messages is an empty array unless the variables
 * have it. The text is the caller's (hs_free); NULL with err set. */
char *render_source(const char *source, const char *variables, hs_err *err);
/* Fails the test unless source renders as expected. */
void check_render(const char *source, const char *variables, const char *expected);
/* Fails the test unless source fails with this code (compiled or rendered) and a sentence that contains part. */
void check_error(const char *source, const char *variables, int code, const char *part);

#endif
