/* routes.c - which path is served by whom. A new route is one line here and one function in a route_*.c. */
#include <string.h>

#include "server/server_int.h"

const hs__route hs__routes[] = {
    {"GET", "/health", hs__route_health, true},
    {"GET", "/ready", hs__route_ready, true},
    {"GET", "/metrics", hs__route_metrics, false},
    {"GET", "/v1/models", hs__route_models, false},
    {"POST", "/v1/chat/completions", hs__route_chat, false},
    {"POST", "/v1/completions", hs__route_completions, false},
    {"POST", "/tokenize", hs__route_tokenize, false},
    {"POST", "/detokenize", hs__route_detokenize, false},
    {"POST", "/apply-template", hs__route_apply_template, false},
    {"GET", "/slots", hs__route_slots, false},
    {"GET", "/props", hs__route_props, false},
};
const size_t hs__n_routes = sizeof hs__routes / sizeof hs__routes[0];
_Static_assert(sizeof hs__routes / sizeof hs__routes[0] <= HS__MAX_ROUTES, "the metrics have a place for every route");

/* /v1/models/NAME belongs to /v1/models. */
static bool matches(const hs__route *r, const char *path)
{
    size_t n = strlen(r->path);
    return !strcmp(r->path, path) || (r->handle == hs__route_models && !strncmp(r->path, path, n) && path[n] == '/');
}

size_t hs__route_find(const hs__head *head, int *ret_status)
{
    const char *method = strcmp(head->method, "HEAD") ? head->method : "GET";
    *ret_status = 404;
    for (size_t i = 0; i < hs__n_routes; i++) {
        if (!matches(&hs__routes[i], head->path))
            continue;
        *ret_status = 405;
        if (!strcmp(hs__routes[i].method, method)) {
            *ret_status = 0;
            return i;
        }
    }
    return hs__n_routes;
}

const char *hs__route_allow(const hs__head *head)
{
    for (size_t i = 0; i < hs__n_routes; i++)
        if (matches(&hs__routes[i], head->path))
            return strcmp(hs__routes[i].method, "GET") ? "Allow: POST\r\n" : "Allow: GET, HEAD\r\n";
    return NULL;
}
