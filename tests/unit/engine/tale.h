/*
 * tale.h - the trained model of tests/models for the engine's tests: bringing it up, its golden answers, and waiting
 * for requests. Every failure ends the running test.
 */
#ifndef TESTS_ENGINE_TALE_H
#define TESTS_ENGINE_TALE_H

#include <stdint.h>

#include "base/buf.h"
#include "engine/engine_int.h"

#define TALE           TESTS_DIR "/models/tale-moe-fp8"
#define TALE_PROMPTS   6
#define TALE_PER_TOKEN (5 * 6) /* expert uses */

typedef struct tale_prompt {
    uint32_t ids[300], n;
    uint32_t greedy[64], n_greedy;
    char text[1024]; /* of the greedy ids */
} tale_prompt;

/* NULL fields of opt are filled in: path, f32 KV, the goldens' precision, 2 threads, a quarter of the experts. */
hs_engine *tale_create(hs_engine_options opt);
/* With the engine thread. */
hs_engine *tale_start(hs_engine_options opt);
/* The model packed into a new folder, which is removed when the test ends; the same one in every call. */
const char *tale_packed(void);
/* Which file is read, and so which read goes wrong, does not depend on what decoding costs. Before the engine starts.
 */
void tale_stay_packed(hs_engine *e);
/* The same of a model that hs_objects_has_raw, packed or raw, while neither fails. */
void tale_set_way(hs_engine *e, bool raw);
/* Its files, into a new folder under /tmp. */
void tale_copy_folder(const char *from, char to[64]);
/* With the files in it; none may be a folder. */
void tale_remove_folder(const char *path);
/* opt with its NULL fields filled in, as tale_create does. */
hs_engine_options tale_options(hs_engine_options opt);
/* [TALE_PROMPTS], with the greedy texts as e's tokenizer has them. */
const tale_prompt *tale_prompts(const hs_engine *e);

/* Greedy, without end tokens, n_greedy tokens of prompt p. */
hs_request_options tale_ask(const tale_prompt *p);
hs_request *tale_submit(hs_engine *e, const hs_request_options *opt);
/* Reads r's text into out (may be NULL) until it is DONE or FAILED. */
hs_request_status tale_wait(hs_request *r, hs_buf *out);
/* Waits until r has the state, or is past it: a busy machine may not see each. It must not have failed. */
void tale_wait_state(hs_request *r, hs_request_state state);
/* submit, wait, destroy; the text is out's. */
hs_request_status tale_run(hs_engine *e, const hs_request_options *opt, hs_buf *out);
/* Nothing queued, nothing active. */
void tale_wait_idle(hs_engine *e);
/* A request that keeps a sequence until it is destroyed or read: its text is full of `filler`, of HS__TEXT_HIGH bytes.
 */
hs_request *tale_hold(hs_engine *e, const hs_request_options *opt);
void tale_sleep_ms(uint32_t ms);

#endif
