/*
 * chat.h - one turn of a conversation, answered by a model in this process (chat_local.c) or by a daemon
 * (chat_remote.c). Blocking; one thread; SIGINT (out.h's stop flag) ends a turn with -ECANCELED.
 */
#ifndef HS_CLI_CHAT_H
#define HS_CLI_CHAT_H

#include "base/buf.h"
#include "base/config.h"
#include "base/json.h"
#include "cli/args.h"

/* What the user asked for; a value below zero is not set, and the model's own default counts. */
typedef struct hs_chat_wishes {
    double temperature, top_p, min_p;
    int64_t top_k, max_tokens, seed;
    const char *expert_profile; /* NULL: the daemon's, or nothing is kept; borrowed while the chat lives */
} hs_chat_wishes;

typedef struct hs_chat_sink {
    void *ctx;
    void (*text)(void *ctx, bool is_reasoning, const char *text, size_t len);
    /* Before the first text: "loading" (percent), "queued", "prefill" (tokens); done/total may be 0/0. */
    void (*status)(void *ctx, const char *stage, uint64_t done, uint64_t total);
} hs_chat_sink;

typedef struct hs_chat_cost {
    json_t *hotset; /* usage.hotset; the caller releases it; NULL = not told */
    int64_t prompt_tokens, generated_tokens;
    bool hit_length; /* ended by max_tokens or the context, not by the model */
} hs_chat_cost;

typedef struct hs_chat hs_chat;

typedef struct hs_chat_ops {
    int (*ask)(hs_chat *c, const json_t *messages, const hs_chat_sink *sink, hs_chat_cost *ret_cost, hs_err *err);
    void (*close)(hs_chat *c);
} hs_chat_ops;

struct hs_chat {
    const hs_chat_ops *ops;
    hs_chat_wishes wishes;
};

/* Loads the model at path; mirror: as hs_engine_options.mirror, borrowed until it is loaded. messages: of a single
 * turn, by which the context is sized; NULL = a conversation. */
int hs_chat_open_local(const char *path, const char *mirror, const hs_config *config, const hs_chat_wishes *wishes,
                       const json_t *messages, hs_chat **ret_chat, hs_err *err) HS_MUST_CHECK;
/* address: as in client.h; api_key may be NULL. Strings are copied. */
int hs_chat_open_remote(const char *model, const char *address, const char *api_key, const hs_chat_wishes *wishes,
                        hs_chat **ret_chat, hs_err *err) HS_MUST_CHECK;

/* Local wall-clock time as if it were UTC, for templates that print a date. */
int64_t hs_local_now(void);

#endif
