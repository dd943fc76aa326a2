/* route_slots.c - /slots: what each sequence of each model does. /props: what requests without a model get. */
#include <string.h>

#include "server/openai.h"
#include "server/server_int.h"

static const char *state_word(const hs_slot *s)
{
    return !s->is_busy ? "idle" : s->is_paused ? "paused" : s->is_decoding ? "decode" : "prefill";
}

static void put_slot(hs_buf *b, const hs__model *m, uint32_t i)
{
    hs_slot s;
    hs_engine_get_slot(m->engine, i, &s);
    hs_buf_printf(b, "{\"id\":%u,\"model\":", i);
    hs_json_string(b, m->name, strlen(m->name));
    hs_buf_printf(b, ",\"state\":\"%s\",\"is_processing\":%s,\"n_ctx\":%u", state_word(&s),
                  s.is_busy ? "true" : "false", hs_engine_max_context(m->engine));
    if (s.is_busy)
        hs_buf_printf(b, ",\"prompt_tokens\":%u,\"generated_tokens\":%u,\"max_tokens\":%u,\"position\":%u",
                      s.prompt_tokens, s.generated_tokens, s.max_tokens, s.position);
    if (s.is_busy && !(s.client & HS__CLIENT_TCP)) /* else it came over TCP */
        hs_buf_printf(b, ",\"client_pid\":%llu", (unsigned long long)s.client);
    hs_buf_puts(b, "}");
}

void hs__route_slots(hs__conn *c)
{
    hs_server *s = c->server;
    hs_buf b;
    bool first = true;
    hs__collect_init(c, &b);
    hs_buf_puts(&b, "[");
    for (size_t k = 0; k < s->n_models; k++) {
        uint32_t n = s->models[k].engine ? hs_engine_plan(s->models[k].engine)->parallel : 0;
        for (uint32_t i = 0; i < n; i++, first = false) {
            hs_buf_puts(&b, first ? "" : ",");
            put_slot(&b, &s->models[k], i);
        }
    }
    hs_buf_puts(&b, "]\n");
    hs__reply_collected(c, &b);
}

void hs__route_props(hs__conn *c)
{
    const hs__model *m = &c->server->models[0];
    const hs__params unset = {.temperature = -1, .top_p = -1, .min_p = -1, .top_k = -1};
    hs_sampling d;
    hs_buf b;
    if (!m->engine) {
        hs__reply_error(c, 503, NULL, "loading", "Loading model%s%s", *c->server->progress ? ": " : "",
                        c->server->progress);
        return;
    }
    hs__params_sampling(&unset, &m->defaults, hs_engine_generation_config(m->engine), &d);
    hs_engine_stats st = hs_engine_get_stats(m->engine);
    hs_buf_init(&b, 4096);
    hs_buf_puts(&b, "{\"model\":");
    hs_json_string(&b, m->name, strlen(m->name));
    hs_buf_printf(&b,
                  ",\"build_info\":\"hotset " HOTSET_VERSION "\",\"total_slots\":%u,\"default_generation_settings\":"
                  "{\"n_ctx\":%u,\"params\":{\"temperature\":%g,\"top_p\":%g,\"top_k\":%u,\"min_p\":%g}},"
                  "\"expert_cache\":{\"slots\":%u,\"slots_planned\":%u,\"resident\":%u}}\n",
                  hs_engine_plan(m->engine)->parallel, hs_engine_max_context(m->engine), (double)d.temperature,
                  (double)d.top_p, d.top_k, (double)d.min_p, st.slots, st.slots_planned, st.resident);
    hs__reply_buf(c, 200, "application/json", &b);
}
