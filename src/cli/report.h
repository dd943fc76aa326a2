/* report.h - the figures of plans and runs, for people (a table, one line) and for programs (JSON). */
#ifndef HS_CLI_REPORT_H
#define HS_CLI_REPORT_H

#include "base/buf.h"
#include "base/json.h"
#include "hotset/hotset.h"

/* The memory plan as a table. */
void hs_plan_format(const hs_plan *p, const char *path, hs_buf *out);
/* New reference; NULL = out of memory. */
json_t *hs_plan_json(const hs_plan *p, const char *path);

/* What happened between two looks at an engine that ran one session. */
hs_receipt hs_receipt_between(const hs_engine_stats *before, const hs_engine_stats *after, double prefill_s,
                              double decode_s);
/* The object of usage.hotset, as the daemon writes it. */
json_t *hs_receipt_json(const hs_receipt *r);
/* "14 prompt + 200 generated tokens · prefill 0.1 s · decode 3.2 s (63.4 tokens/s) · hit rate 31 % · read 120.3 MiB ·
 * disk wait 0.40 s · prefetch 57 of 90 used · 12 read unpacked" from such an object; fields that it lacks are left out,
 * and so are waiting and unpacked experts where there were none. */
void hs_receipt_format(const json_t *hotset, int64_t prompt_tokens, int64_t generated_tokens, hs_buf *out);

#endif
