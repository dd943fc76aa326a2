/* route_metrics.c - /metrics in Prometheus' text format. */
#include "server/server_int.h"

void hs__route_metrics(hs__conn *c)
{
    hs_buf b;
    hs_buf_init(&b, 1u << 20);
    hs__metrics_print(c->server, &b);
    hs__reply_buf(c, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}
