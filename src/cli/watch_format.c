/* watch_format.c - pictures of a daemon for people (ps, top) and programs (JSON). Pure; see watch.h. */
#include <string.h>

#include "base/option.h"
#include "cli/watch.h"

void hs_watch_uptime(char buf[16], int64_t seconds)
{
    int64_t s = seconds > 0 ? seconds : 0, days = s / 86400;
    if (days > 99999)
        snprintf(buf, 16, ">99999d");
    else if (days)
        snprintf(buf, 16, "%dd%02dh", (int)days, (int)(s / 3600 % 24));
    else if (s >= 3600)
        snprintf(buf, 16, "%dh%02dmin", (int)(s / 3600), (int)(s / 60 % 60));
    else if (s >= 60)
        snprintf(buf, 16, "%dmin%02ds", (int)(s / 60), (int)(s % 60));
    else
        snprintf(buf, 16, "%ds", (int)s);
}

static const char *size_text(double bytes, char buf[32])
{
    return hs_format_size(bytes > 0 ? (uint64_t)bytes : 0, buf, 32);
}

static const char *percent(double share, char buf[16])
{
    if (share < 0)
        return "-";
    snprintf(buf, 16, "%.0f %%", 100 * (share < 1 ? share : 1));
    return buf;
}

/* "; 1.12 times as fast": as measured, than without. Nothing where it is not known. */
static const char *gain_text(const hs_watch_model *m, char buf[64])
{
    *buf = '\0';
    if (m->warm_gain > 0)
        snprintf(buf, 64, "; %.2f times as fast", m->warm_gain);
    return buf;
}

/* ---- ps ---- */

void hs_watch_format_ps(const hs_watch *w, int64_t now_epoch, hs_buf *out)
{
    char up[16], a[32], b[32], hit[16], share[16], resident[32], gain[64];
    hs_watch_uptime(up, now_epoch - w->started_at);
    hs_buf_printf(out, "%-15s %-7s %11s %9s %9s %4s %4s %5s %8s\n", "MODEL", "STATE", "EXPERTS", "CACHE", "MEMORY",
                  "RUN", "WAIT", "HITS", "UP");
    for (uint32_t i = 0; i < w->n_models; i++) {
        const hs_watch_model *m = &w->models[i];
        hs_watch_rates r = hs_watch_rate(NULL, w, i);
        snprintf(resident, sizeof resident, "%.0f/%.0f", m->resident, m->slots);
        hs_buf_printf(out, "%-15s %-7s %11s %9s %9s %4.0f %4.0f %5s %8s\n", m->name,
                      !strcmp(m->status, "loaded") && !w->ready ? "warming" : m->status, resident,
                      size_text(m->cache_bytes, a), size_text((double)m->memory_bytes, b), m->active, m->queued,
                      percent(r.hit_rate, hit), up);
        if (m->warm_bytes > 0)
            hs_buf_printf(out, "  warm tier: kept compressed to %s, %s of hits%s\n", percent(m->warm_ratio, hit),
                          percent(r.warm_share, share), gain_text(m, gain));
    }
}

/* ---- top ---- */

typedef struct screen {
    hs_buf *out;
    unsigned columns, left; /* lines that may still come */
} screen;

static void put_line(screen *s, const char *fmt, ...) HS_PRINTF(2, 3);
static void put_line(screen *s, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    if (!s->left)
        return;
    s->left--;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    size_t n = strlen(line);
    if (n > s->columns)
        n = s->columns;
    while (n < strlen(line) && n && ((unsigned char)line[n] & 0xc0) == 0x80) /* not inside a character */
        n--;
    line[n] = '\0';
    hs_buf_printf(s->out, "%s\n", line);
}

/* A layer is one digit: tenths of its experts that are in memory; '#' all of them, '.' none. */
static char layer_mark(uint32_t resident, double experts)
{
    if (!resident)
        return '.';
    if (resident >= experts)
        return '#';
    return (char)('0' + (int)(10.0 * resident / experts));
}

static void put_map(screen *s, const hs_watch_model *m)
{
    double experts = m->n_layers ? (double)m->experts / m->n_layers : 0;
    unsigned width = s->columns > 24 ? s->columns - 22 : 2;
    for (uint32_t from = 0; from < m->n_layers; from += width) {
        char marks[HS_WATCH_MAX_LAYERS + 1], label[32];
        uint32_t n = m->n_layers - from < width ? m->n_layers - from : width;
        for (uint32_t i = 0; i < n; i++)
            marks[i] = layer_mark(m->layers[from + i].resident, experts);
        marks[n] = '\0';
        snprintf(label, sizeof label, "%u-%u", m->layers[from].number, m->layers[from + n - 1].number);
        put_line(s, "  layers %-11s %s", label, marks);
    }
}

/* Those that were used, if it is not always the same. */
static void put_profiles(screen *s, const hs_watch_model *m)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < m->n_profiles; i++)
        used += m->profiles[i].requests > 0;
    for (uint32_t i = 0; used > 1 && i < m->n_profiles; i++) {
        const hs_watch_profile *p = &m->profiles[i];
        char x[16];
        double uses = p->hits + p->misses;
        if (p->requests > 0)
            put_line(s, "  profile    %s: %.0f requests, hit rate %s", p->name, p->requests,
                     percent(uses > 0 ? p->hits / uses : -1, x));
    }
}

static void put_busy(screen *s, const hs_watch_model *m)
{
    for (uint32_t i = 0; i < m->n_busy; i++) {
        const hs_watch_slot *b = &m->busy[i];
        char client[40] = "over TCP";
        if (b->client_pid)
            snprintf(client, sizeof client, "process %llu", (unsigned long long)b->client_pid);
        put_line(s, "  slot %-3u %-8s prompt %llu, generated %llu of %llu, for %s", b->id, b->state,
                 (unsigned long long)b->prompt_tokens, (unsigned long long)b->generated_tokens,
                 (unsigned long long)b->max_tokens, client);
    }
}

/* What holds, or might hold, experts as they are stored. */
static void put_warm_tier(screen *s, const hs_watch_model *m, const hs_watch_rates *r)
{
    char a[32], x[16], y[16], gain[64];
    if (m->warm_bytes > 0)
        put_line(s, "  warm tier  %s at %s of their size, %s of hits%s", size_text(m->warm_bytes, a),
                 percent(m->warm_ratio, x), percent(r->warm_share, y), gain_text(m, gain));
    else if (m->warm_gain > 0)
        put_line(s, "  warm tier  off; with it %.2f times as fast", m->warm_gain);
}

static void put_model(screen *s, const hs_watch *before, const hs_watch *now, uint32_t i)
{
    const hs_watch_model *m = &now->models[i];
    hs_watch_rates r = hs_watch_rate(before, now, i);
    char a[32], b[32], c[32], x[16], y[16], z[16];
    if (strcmp(m->status, "loaded")) {
        put_line(s, "%s: %s", m->name, m->status);
        return;
    }
    put_line(s, "%s (%s): memory %s, of it experts %s; KV in use %s", m->name, m->arch,
             size_text((double)m->memory_bytes, a), size_text(m->cache_bytes, b), size_text(m->kv_bytes, c));
    put_line(s, "  tokens/s   decode %8.1f   prefill %8.1f", r.generated_per_s, r.prompt_per_s);
    put_line(s, "  requests   %.0f of %u slots busy, %.0f waiting; %.0f done, %.0f failed, %.0f cancelled", m->active,
             m->n_slots, m->queued, m->done, m->failed, m->cancelled);
    put_line(s, "  hit rate   %6s   misses %.0f/s", percent(r.hit_rate, x), r.misses_per_s);
    put_line(s, "  disk       %.1f MB/s, ahead %.1f MB/s; busy %s; errors %.0f", r.read_per_s / 1e6,
             r.speculative_per_s / 1e6, percent(r.io_busy, x), m->io_errors);
    put_line(s, "  waiting    for the drive %s, decompressing %s of the time", percent(r.stalled, x),
             percent(r.expanding, y));
    put_line(s, "  prefetch   %.0f experts/s, %s of them used", r.prefetch_per_s, percent(r.prefetch_useful, x));
    put_line(s, "  governor   room for %.0f of %.0f; shrunk %.0f, grown %.0f; pressure %s", m->slots, m->slots_planned,
             m->shrinks, m->grows, percent(m->pressure, z));
    put_warm_tier(s, m, &r);
    put_line(s, "  cache      %.0f of %llu experts in memory", m->resident, (unsigned long long)m->experts);
    put_map(s, m);
    put_profiles(s, m);
    put_busy(s, m);
}

void hs_watch_format_top(const hs_watch *before, const hs_watch *now, const char *address, int64_t now_epoch,
                         unsigned columns, unsigned rows, hs_buf *out)
{
    screen s = {out, columns, rows};
    char up[16];
    hs_watch_uptime(up, now_epoch - now->started_at);
    put_line(&s, "hotset %s at %s: %s, up %s, %.0f connected", now->version, address,
             now->ready ? "ready" : "loading or warming", up, now->connections);
    for (uint32_t i = 0; i < now->n_models; i++) {
        put_line(&s, "%s", "");
        put_model(&s, before, now, i);
    }
}

/* ---- JSON ---- */

static json_t *number_or_null(double v)
{
    return v >= 0 ? json_real(v) : json_null();
}

static json_t *rates_json(const hs_watch_rates *r)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:f, s:f, s:f, s:o}", "seconds", r->seconds,
                     "prefill_tokens_per_s", r->prompt_per_s, "decode_tokens_per_s", r->generated_per_s, "misses_per_s",
                     r->misses_per_s, "disk_bytes_per_s", r->read_per_s, "speculative_bytes_per_s",
                     r->speculative_per_s, "prefetch_per_s", r->prefetch_per_s, "hit_rate", number_or_null(r->hit_rate),
                     "prefetch_useful", number_or_null(r->prefetch_useful), "disk_busy", r->io_busy, "stalled",
                     r->stalled, "expanding", r->expanding, "warm_share", number_or_null(r->warm_share));
}

static json_t *busy_json(const hs_watch_model *m)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < m->n_busy; i++) {
        const hs_watch_slot *b = &m->busy[i];
        json_array_append_new(list, json_pack("{s:i, s:s, s:I, s:I, s:I, s:o}", "id", (int)b->id, "state", b->state,
                                              "prompt_tokens", (json_int_t)b->prompt_tokens, "generated_tokens",
                                              (json_int_t)b->generated_tokens, "max_tokens", (json_int_t)b->max_tokens,
                                              "client_pid",
                                              b->client_pid ? json_integer((json_int_t)b->client_pid) : json_null()));
    }
    return list;
}

static json_t *model_json(const hs_watch *before, const hs_watch *now, uint32_t i)
{
    const hs_watch_model *m = &now->models[i];
    json_t *layers = json_array(), *profiles = json_array(), *o;
    for (uint32_t k = 0; k < m->n_profiles; k++)
        json_array_append_new(profiles, json_pack("{s:s, s:f, s:f, s:f}", "name", m->profiles[k].name, "requests",
                                                  m->profiles[k].requests, "hits", m->profiles[k].hits, "misses",
                                                  m->profiles[k].misses));
    for (uint32_t l = 0; l < m->n_layers; l++)
        json_array_append_new(
            layers, json_pack("{s:i, s:i}", "layer", (int)m->layers[l].number, "resident", (int)m->layers[l].resident));
    o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:o, s:o, s:o}", "name", m->name, "architecture", m->arch,
                  "status", m->status, "experts", (json_int_t)m->experts, "memory_bytes", (json_int_t)m->memory_bytes,
                  "context_length", (json_int_t)m->context, "sequences", (int)m->n_slots, "busy", busy_json(m),
                  "layers", layers, "profiles", profiles);
    if (!o)
        return NULL;
#define X(member, metric) json_object_set_new(o, #member, json_real(m->member));
    HS_WATCH_METRICS(X)
#undef X
    if (before) {
        hs_watch_rates r = hs_watch_rate(before, now, i);
        json_object_set_new(o, "rates", rates_json(&r));
    }
    return o;
}

json_t *hs_watch_json(const hs_watch *before, const hs_watch *now, const char *address, int64_t now_epoch)
{
    json_t *models = json_array();
    for (uint32_t i = 0; i < now->n_models; i++)
        json_array_append_new(models, model_json(before, now, i));
    return json_pack("{s:s, s:s, s:b, s:I, s:f, s:o}", "address", address, "version", now->version, "ready", now->ready,
                     "uptime_s", (json_int_t)(now_epoch > now->started_at ? now_epoch - now->started_at : 0),
                     "connections", now->connections, "models", models);
}
