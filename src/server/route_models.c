/* route_models.c - /v1/models: the list, and /v1/models/NAME: one of it. */
#include <string.h>

#include "server/server_int.h"

static void put_string(hs_buf *b, const char *s)
{
    hs_json_string(b, s, strlen(s));
}

static void put_model(hs_buf *b, const hs_server *s, const hs__model *m)
{
    hs_buf_puts(b, "{\"id\":");
    put_string(b, m->name);
    hs_buf_printf(b, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"hotset\",\"aliases\":[",
                  (long long)s->started_at);
    for (size_t i = 0; i < m->n_aliases; i++) {
        hs_buf_puts(b, i ? "," : "");
        put_string(b, m->aliases[i]);
    }
    hs_buf_printf(b, "],\"status\":\"%s\"", m->engine ? "loaded" : "loading");
    if (m->engine) {
        const hs_plan *p = hs_engine_plan(m->engine);
        hs_buf_puts(b, ",\"architecture\":");
        put_string(b, p->arch);
        hs_buf_printf(b, ",\"context_length\":%u,\"experts\":%u,\"expert_slots\":%u,\"memory_bytes\":%llu",
                      hs_engine_max_context(m->engine), p->n_experts, p->n_slots, (unsigned long long)p->total);
    }
    hs_buf_puts(b, "}");
}

void hs__route_models(hs__conn *c)
{
    static const char prefix[] = "/v1/models/";
    hs_server *s = c->server;
    hs_buf b;
    hs_buf_init(&b, 256u << 10);
    if (!strncmp(c->http.head.path, prefix, sizeof prefix - 1)) {
        const char *name = c->http.head.path + sizeof prefix - 1;
        const hs__model *m = hs__server_find_model(s, name);
        if (!m) {
            hs__reply_error(c, 404, "model", "model_not_found",
                            "there is no model %s; /v1/models lists those there are", name);
            return;
        }
        put_model(&b, s, m);
    } else {
        hs_buf_puts(&b, "{\"object\":\"list\",\"data\":[");
        for (size_t i = 0; i < s->n_models; i++) {
            hs_buf_puts(&b, i ? "," : "");
            put_model(&b, s, &s->models[i]);
        }
        hs_buf_puts(&b, "]}");
    }
    hs_buf_puts(&b, "\n");
    hs__reply_buf(c, 200, "application/json", &b);
}
