/*
 * metrics.c - counters of this room, and everything as Prometheus text 0.0.4.
 * One table makes the engine's part: name, kind, help and how to get the value from a model's stats.
 */
#include <stddef.h>
#include <string.h>

#include "server/server_int.h"

static const double duration_bounds[] = {0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600};
static const double first_token_bounds[] = {0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900};
static const double inter_token_bounds[] = {0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10};

#define BOUNDS(a)                                                                                                      \
    {                                                                                                                  \
        .bounds = (a), .n_bounds = sizeof(a) / sizeof(a)[0]                                                            \
    }
_Static_assert(sizeof duration_bounds / sizeof duration_bounds[0] < HS__HIST_MAX, "a histogram has room for it");

void hs__metrics_init(hs__metrics *m)
{
    *m = (hs__metrics){
        .duration = BOUNDS(duration_bounds),
        .first_token = BOUNDS(first_token_bounds),
        .inter_token = BOUNDS(inter_token_bounds),
    };
}

void hs__histogram_add(hs__histogram *h, double v, uint32_t times)
{
    uint32_t i = 0;
    while (i < h->n_bounds && v > h->bounds[i])
        i++;
    h->counts[i] += times;
    h->sum += v * times;
}

void hs__metrics_count(hs__metrics *m, size_t route, int status, double seconds)
{
    m->requests[route][hs__status_index(status)]++;
    hs__histogram_add(&m->duration, seconds, 1);
}

typedef enum source_kind { STATS_U64, STATS_U32, STATS_NS, STATS_PPM, STATS_BOOL } source_kind;

typedef struct metric {
    const char *name, *type, *help;
    source_kind kind;
    size_t offset; /* in hs_engine_stats, hs_engine_layer or hs_engine_drive */
} metric;

#define STAT(member) offsetof(hs_engine_stats, member)

static const metric metrics[] = {
    {"hotset_queue_depth", "gauge", "Requests waiting for a model.", STATS_U32, STAT(queued)},
    {"hotset_slots_busy", "gauge", "Requests a model works on.", STATS_U32, STAT(active)},
    {"hotset_prompt_tokens_total", "counter", "Prompt tokens processed.", STATS_U64, STAT(prompt_tokens)},
    {"hotset_generated_tokens_total", "counter", "Tokens generated.", STATS_U64, STAT(generated_tokens)},
    {"hotset_generations_done_total", "counter", "Requests finished by a model.", STATS_U64, STAT(requests_done)},
    {"hotset_generations_failed_total", "counter", "Requests a model failed.", STATS_U64, STAT(requests_failed)},
    {"hotset_generations_cancelled_total", "counter", "Requests whose client left.", STATS_U64,
     STAT(requests_cancelled)},
    {"hotset_forward_passes_total", "counter", "Forward passes.", STATS_U64, STAT(steps)},
    {"hotset_kv_bytes", "gauge", "Keys and values in use.", STATS_U64, STAT(kv_bytes_used)},
    {"hotset_expert_cache_hits_total", "counter", "Experts found in memory.", STATS_U64, STAT(expert_hits)},
    {"hotset_expert_cache_misses_total", "counter", "Experts that had to be read.", STATS_U64, STAT(expert_misses)},
    {"hotset_expert_cache_evictions_total", "counter", "Experts dropped for others.", STATS_U64,
     STAT(expert_evictions)},
    {"hotset_expert_cache_resident", "gauge", "Experts in memory.", STATS_U32, STAT(resident)},
    {"hotset_expert_cache_slots", "gauge", "Experts that memory has room for now.", STATS_U32, STAT(slots)},
    {"hotset_expert_cache_slots_planned", "gauge", "Experts that memory had room for at the start.", STATS_U32,
     STAT(slots_planned)},
    {"hotset_expert_cache_bytes", "gauge", "Memory for experts now.", STATS_U64, STAT(cache_bytes)},
    {"hotset_expert_cache_shrinks_total", "counter", "Times that memory was given back.", STATS_U64,
     STAT(cache_shrinks)},
    {"hotset_expert_cache_grows_total", "counter", "Times that memory was taken again.", STATS_U64, STAT(cache_grows)},
    {"hotset_memory_pressure_ratio", "gauge", "Share of the last second in which some task stood still for memory.",
     STATS_PPM, STAT(memory_pressure_ppm)},
    {"hotset_io_read_bytes_total", "counter", "Bytes read from disk.", STATS_U64, STAT(bytes_read)},
    {"hotset_io_demand_bytes_total", "counter", "Bytes read because a token needed them.", STATS_U64,
     STAT(demand_bytes)},
    {"hotset_io_speculative_bytes_total", "counter", "Bytes read ahead on a guess.", STATS_U64,
     STAT(speculative_bytes)},
    {"hotset_io_reads_total", "counter", "Reads completed.", STATS_U64, STAT(io_reads)},
    {"hotset_mirror_reads_total", "counter", "Reads that a mirror brought because another copy was bad.", STATS_U64,
     STAT(mirror_reads)},
    {"hotset_damaged_reads_total", "counter", "Experts that were read with a wrong checksum.", STATS_U64,
     STAT(damaged_reads)},
    {"hotset_io_errors_total", "counter", "Reads that failed.", STATS_U64, STAT(io_errors)},
    {"hotset_io_busy_seconds_total", "counter", "Time with at least one read in flight.", STATS_NS, STAT(io_busy_ns)},
    {"hotset_prefetch_issued_total", "counter", "Experts read ahead.", STATS_U64, STAT(prefetch_issued)},
    {"hotset_prefetch_useful_total", "counter", "Experts read ahead, and there in full when their layer began.",
     STATS_U64, STAT(prefetch_useful)},
    {"hotset_prefetch_late_total", "counter", "Experts read ahead whose read was under way when their layer began.",
     STATS_U64, STAT(prefetch_late)},
    {"hotset_prefetch_wasted_total", "counter", "Experts read ahead and dropped unused.", STATS_U64,
     STAT(prefetch_wasted)},
    {"hotset_experts_unpacked_total", "counter", "Experts of a compressed model that were read raw.", STATS_U64,
     STAT(unpacked)},
    {"hotset_experts_warm_hits_total", "counter", "Experts that were decoded from memory (cache.warm_tier).", STATS_U64,
     STAT(warm_hits)},
    {"hotset_warm_tier_bytes", "gauge", "Memory for experts that are kept compressed (cache.warm_tier).", STATS_U64,
     STAT(warm_bytes)},
    {"hotset_warm_tier_ratio", "gauge", "Size of an expert in it, of its size decoded; 0: there is none.", STATS_PPM,
     STAT(warm_ratio_ppm)},
    {"hotset_warm_tier_gain_ratio", "gauge",
     "Tokens per second with it by those without, as measured while serving; 0: not known.", STATS_PPM,
     STAT(warm_gain_ppm)},
    {"hotset_stall_seconds_total", "counter", "Time computing stood still for reads.", STATS_NS, STAT(disk_wait_ns)},
    {"hotset_expand_seconds_total", "counter", "Time spent on decompression while waiting.", STATS_NS, STAT(expand_ns)},
};
#define N_METRICS (sizeof metrics / sizeof metrics[0])

static void head(hs_buf *b, const char *name, const char *type, const char *help)
{
    hs_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_label(hs_buf *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '"' || *s == '\\' || *s == '\n')
            hs_buf_puts(b, "\\");
        hs_buf_append(b, *s == '\n' ? "n" : s, 1);
    }
}

static void put_value(hs_buf *b, const metric *m, const void *of)
{
    const char *at = (const char *)of + m->offset;
    uint64_t v = 0;
    if (m->kind == STATS_U32)
        v = *(const uint32_t *)(const void *)at;
    else if (m->kind == STATS_BOOL)
        v = *(const bool *)(const void *)at;
    else
        v = *(const uint64_t *)(const void *)at;
    if (m->kind == STATS_NS)
        hs_buf_printf(b, "%.9f\n", (double)v * 1e-9);
    else if (m->kind == STATS_PPM)
        hs_buf_printf(b, "%.6f\n", (double)v * 1e-6);
    else
        hs_buf_printf(b, "%llu\n", (unsigned long long)v);
}

static void put_engines(hs_buf *b, const hs_server *s)
{
    hs_engine_stats st[HS_SERVER_MAX_MODELS];
    for (size_t i = 0; i < s->n_models; i++)
        if (s->models[i].engine)
            st[i] = hs_engine_get_stats(s->models[i].engine);
    for (size_t k = 0; k < N_METRICS; k++) {
        head(b, metrics[k].name, metrics[k].type, metrics[k].help);
        for (size_t i = 0; i < s->n_models; i++) {
            if (!s->models[i].engine)
                continue;
            hs_buf_printf(b, "%s{model=\"", metrics[k].name);
            put_label(b, s->models[i].name);
            hs_buf_puts(b, "\"} ");
            put_value(b, &metrics[k], &st[i]);
        }
    }
}

#define LAYER(field) offsetof(hs_engine_layer, field)
static const metric layer_metrics[] = {
    {"hotset_expert_cache_layer_resident", "gauge", "Experts of a layer in memory.", STATS_U64, LAYER(resident)},
    {"hotset_prefetch_layer_absent_total", "counter",
     "Uses of a layer's experts that were not in memory, or would not have been if nothing had been read ahead.",
     STATS_U64, LAYER(absent)},
    {"hotset_prefetch_layer_issued_total", "counter", "Experts read ahead for a layer.", STATS_U64, LAYER(issued)},
    {"hotset_prefetch_layer_useful_total", "counter",
     "Of a layer's absent uses: read ahead, and there in full in time.", STATS_U64, LAYER(useful)},
    {"hotset_prefetch_layer_late_total", "counter", "Of a layer's absent uses: the read was under way in time.",
     STATS_U64, LAYER(late)},
    {"hotset_prefetch_layer_wasted_total", "counter", "Experts read ahead for a layer and not used.", STATS_U64,
     LAYER(wasted)},
};

static void put_layers(hs_buf *b, const hs_server *s, const metric *m)
{
    head(b, m->name, m->type, m->help);
    for (size_t i = 0; i < s->n_models; i++) {
        const hs_engine *e = s->models[i].engine;
        const uint32_t *numbers = NULL;
        uint32_t n = e ? hs_engine_moe_layers(e, &numbers) : 0;
        for (uint32_t l = 0; l < n; l++) {
            hs_engine_layer layer = hs_engine_get_layer(e, l);
            hs_buf_printf(b, "%s{model=\"", m->name);
            put_label(b, s->models[i].name);
            hs_buf_printf(b, "\",layer=\"%u\"} ", numbers[l]);
            put_value(b, m, &layer);
        }
    }
}

#define DRIVE(field) offsetof(hs_engine_drive, field)
static const metric drive_metrics[] = {
    {"hotset_drive_read_bytes_total", "counter", "Bytes read from a drive.", STATS_U64, DRIVE(bytes)},
    {"hotset_drive_busy_seconds_total", "counter", "Time with a read in flight on a drive.", STATS_NS, DRIVE(busy_ns)},
    {"hotset_drive_behind", "gauge", "1 while a drive holds the others of a striped model up.", STATS_BOOL,
     DRIVE(is_behind)},
};

static void put_drives(hs_buf *b, const hs_server *s, const metric *m)
{
    head(b, m->name, m->type, m->help);
    for (size_t i = 0; i < s->n_models; i++) {
        hs_engine_drive d;
        for (uint32_t j = 0; s->models[i].engine && hs_engine_get_drive(s->models[i].engine, j, &d); j++) {
            hs_buf_printf(b, "%s{model=\"", m->name);
            put_label(b, s->models[i].name);
            hs_buf_puts(b, "\",drive=\"");
            put_label(b, d.folder);
            hs_buf_puts(b, "\"} ");
            put_value(b, m, &d);
        }
    }
}

static void put_profiles(hs_buf *b, const hs_server *s)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } of[] = {
        {"hotset_expert_profile_requests_total", "Requests begun.", offsetof(hs_profile, requests)},
        {"hotset_expert_profile_hits_total", "Experts found in memory.", offsetof(hs_profile, expert_hits)},
        {"hotset_expert_profile_misses_total", "Experts that had to be read.", offsetof(hs_profile, expert_misses)},
    };
    for (size_t k = 0; k < sizeof of / sizeof of[0]; k++) {
        head(b, of[k].name, "counter", of[k].help);
        for (size_t i = 0; i < s->n_models; i++) {
            hs_profile p;
            for (uint32_t j = 0; s->models[i].engine && hs_engine_get_profile(s->models[i].engine, j, &p); j++) {
                hs_buf_printf(b, "%s{model=\"", of[k].name);
                put_label(b, s->models[i].name);
                hs_buf_printf(b, "\",profile=\"%s\"} %llu\n", p.name,
                              (unsigned long long)*(const uint64_t *)(const void *)((const char *)&p + of[k].offset));
            }
        }
    }
}

static void put_histogram(hs_buf *b, const char *name, const char *help, const hs__histogram *h)
{
    uint64_t n = 0;
    head(b, name, "histogram", help);
    for (uint32_t i = 0; i < h->n_bounds; i++) {
        n += h->counts[i];
        hs_buf_printf(b, "%s_bucket{le=\"%g\"} %llu\n", name, h->bounds[i], (unsigned long long)n);
    }
    n += h->counts[h->n_bounds];
    hs_buf_printf(b, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9g\n%s_count %llu\n", name, (unsigned long long)n, name,
                  h->sum, name, (unsigned long long)n);
}

static void put_requests(hs_buf *b, const hs__metrics *m)
{
    head(b, "hotset_requests_total", "counter", "HTTP requests answered; code 499 is a client that left.");
    for (size_t r = 0; r <= hs__n_routes; r++)
        for (size_t i = 0; hs__status_at(i); i++)
            if (m->requests[r][i])
                hs_buf_printf(b, "hotset_requests_total{endpoint=\"%s\",code=\"%d\"} %llu\n",
                              r < hs__n_routes ? hs__routes[r].path : "other", hs__status_at(i),
                              (unsigned long long)m->requests[r][i]);
}

int hs__metrics_print(const hs_server *s, hs_buf *b)
{
    const hs__metrics *m = &s->metrics;
    head(b, "hotset_build_info", "gauge", "Version of this daemon.");
    hs_buf_puts(b, "hotset_build_info{version=\"" HOTSET_VERSION "\"} 1\n");
    head(b, "hotset_ready", "gauge", "1 when all models are loaded and warm.");
    hs_buf_printf(b, "hotset_ready %d\n", s->ready);
    head(b, "hotset_connections", "gauge", "Clients connected.");
    hs_buf_printf(b, "hotset_connections %u\n", s->n_conns);
    head(b, "hotset_connections_total", "counter", "Connections accepted.");
    hs_buf_printf(b, "hotset_connections_total %llu\n", (unsigned long long)m->connections);
    head(b, "hotset_connections_refused_total", "counter", "Connections beyond server.max_connections.");
    hs_buf_printf(b, "hotset_connections_refused_total %llu\n", (unsigned long long)m->connections_refused);
    head(b, "hotset_buffer_bytes", "gauge", "Part of server.buffer_memory in use.");
    hs_buf_printf(b, "hotset_buffer_bytes %llu\n", (unsigned long long)s->budget.used);
    put_requests(b, m);
    put_histogram(b, "hotset_request_duration_seconds", "First byte of a request to last byte of its answer.",
                  &m->duration);
    put_histogram(b, "hotset_time_to_first_token_seconds", "Request to its first token.", &m->first_token);
    put_histogram(b, "hotset_inter_token_seconds", "Token to token of one request.", &m->inter_token);
    put_engines(b, s);
    for (size_t k = 0; k < sizeof layer_metrics / sizeof *layer_metrics; k++)
        put_layers(b, s, &layer_metrics[k]);
    for (size_t k = 0; k < sizeof drive_metrics / sizeof *drive_metrics; k++)
        put_drives(b, s, &drive_metrics[k]);
    put_profiles(b, s);
    return b->failed;
}
