/*
 * fake_engine.h - an engine without a model, for tests of the server: implements the part of hotset.h and of the text
 * room that the server calls, so that the linker takes these and not the real ones.
 *
 * Its tokenizer makes one token of each byte; its template writes "role:content\n" for each message. The answer is
 * "tok " max_tokens times (5 by default), one token per step. Words in the prompt change that:
 *   HANG     prefill never ends
 *   FAIL     fails after two tokens with -EBADMSG "record 7 …"
 *   ENDLESS  "tok " for ever
 *   FLOOD    60 KB in each step, whose JSON is longer or shorter
 *   BEGIN    begins with a tool call's mark
 *   THINK    the answer is "<think>deep</think>plain"
 *   CALL     the answer is "<think>deep</think>look:" and two tool calls
 *   QUOTE    the answer has characters that JSON must escape
 */
#ifndef HS_TESTS_FAKE_ENGINE_H
#define HS_TESTS_FAKE_ENGINE_H

#include "hotset/hotset.h"

typedef struct fake_options {
    uint32_t context, parallel, max_queue;
    uint32_t step_us;
    bool without_text;  /* no tokenizer, no template */
    bool without_tools; /* the template ignores tools */
} fake_options;

hs_engine *fake_engine_create(const fake_options *o);
/* Of the last request submitted. */
hs_request_options fake_engine_last(hs_engine *e);
char *fake_engine_last_prompt(hs_engine *e); /* free it */
#endif
