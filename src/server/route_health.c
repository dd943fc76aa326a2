/*
 * route_health.c - /health (requests can be answered) and /ready (models are loaded and warm). Both are 503 while
 * models load and while the server drains, so that clients which poll either of them wait as long as they should.
 */
#include <string.h>

#include "server/server_int.h"

static void reply(hs__conn *c, bool is_fit)
{
    hs_server *s = c->server;
    if (s->draining) {
        hs__reply_error(c, 503, NULL, "shutting_down", "the server is shutting down");
    } else if (is_fit) {
        static const char body[] = "{\"status\":\"ok\"}\n";
        hs__reply(c, 200, "application/json", NULL, body, sizeof body - 1);
    } else {
        hs__reply_error(c, 503, NULL, "loading", "Loading model%s%s", *s->progress ? ": " : "", s->progress);
    }
}

static bool any_engine(const hs_server *s)
{
    for (size_t i = 0; i < s->n_models; i++)
        if (s->models[i].engine)
            return true;
    return false;
}

void hs__route_health(hs__conn *c)
{
    reply(c, any_engine(c->server));
}

void hs__route_ready(hs__conn *c)
{
    reply(c, c->server->ready);
}
