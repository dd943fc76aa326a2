/* options.c - the option table of [server], [limits], [log] and of the server's keys in [model NAME], and reading it.
 */
#include <stdlib.h>
#include <string.h>

#include "server/generation.h"
#include "text/output.h"

static const hs_option options[] = {
    {"server", "listen", HS_OPT_STRING, "unix:/run/hotset/api.sock", 0, 0, NULL, "",
     "Where to listen: unix:PATH and tcp:ADDRESS:PORT, several with blanks between. TCP other than loopback needs "
     "server.api_key_file. Sockets that the service manager hands over replace this.",
     false},
    {"server", "socket_mode", HS_OPT_STRING, "0660", 0, 0, NULL, "",
     "Permissions of Unix sockets, octal. Whoever may write to the socket may use the models.", false},
    {"server", "socket_group", HS_OPT_STRING, "", 0, 0, NULL, "",
     "Group of Unix sockets, by name or number. Empty leaves the group of the process.", false},
    {"server", "api_key_file", HS_OPT_STRING, "", 0, 0, NULL, "",
     "File with one API key per line. When set, every request over TCP (not over Unix sockets, which have "
     "permissions) must carry one of them as 'Authorization: Bearer KEY'; /health and /ready stay open.",
     true},
    {"server", "max_connections", HS_OPT_INT, "128", 1, 4096, NULL, "connections",
     "Clients connected at the same time. One more is answered 503 and closed.", true},
    {"server", "max_body", HS_OPT_SIZE, "1M", 4096, 256 << 20, NULL, "bytes",
     "Largest request body; beyond it 413. A prompt of 100000 tokens is about half a megabyte.", false},
    {"server", "max_header", HS_OPT_SIZE, "16k", 1024, 1 << 20, NULL, "bytes",
     "Largest request line and header fields together; beyond it 431.", false},
    {"server", "buffer_memory", HS_OPT_SIZE, "8M", 65536, 4e9, NULL, "bytes",
     "Request bodies being received and answers being collected (not streamed), all connections together. A request "
     "that finds no room is answered 503. At least server.max_body.",
     false},
    {"server", "idle_timeout", HS_OPT_SECONDS, "60", 1, 86400, NULL, "seconds",
     "A connection without a request is closed after this time, as is one whose request does not arrive completely "
     "within it, or whose client lets its answer wait for longer in all.",
     true},
    {"server", "ping_interval", HS_OPT_SECONDS, "15", 1, 3600, NULL, "seconds",
     "Silence on an event stream after which a comment line is sent, so that clients and proxies keep waiting.", true},
    {"limits", "max_queue", HS_OPT_INT, "64", 0, 65536, NULL, "requests",
     "Requests that wait for a model beyond those it works on; one more is answered 429. The last quarter is for "
     "clients that have none waiting. A client is a process on a Unix socket, an address over TCP.",
     false},
    {"limits", "parallel", HS_OPT_INT, "2", 1, 256, NULL, "requests",
     "Requests that a model works on side by side. Each needs memory for a whole context.", false},
    {"limits", "max_context", HS_OPT_INT, "0", 0, 16777216, NULL, "tokens",
     "Prompt and answer of one request together; 0 leaves it to the model's context.", true},
    {"limits", "max_tokens", HS_OPT_INT, "0", 0, 16777216, NULL, "tokens",
     "Longest answer: requests that ask for more are refused, those that do not say get this. 0 = what the context "
     "leaves.",
     true},
    {"limits", "request_timeout", HS_OPT_SECONDS, "0", 0, 604800, NULL, "seconds",
     "Time from a request's arrival to its last token, waiting included; 0 = no limit.", true},
    {"log", "level", HS_OPT_ENUM, "info", 0, 0, "error|warn|info|debug", "", "What is logged to standard error.", true},
    {"log", "format", HS_OPT_ENUM, "auto", 0, 0, "auto|text|systemd|json", "",
     "auto is systemd when the journal reads standard error, else text.", false},
    {"model", "alias", HS_OPT_STRING, "", 0, 0, NULL, "",
     "Further names that clients may ask for, with blanks between.", false},
    {"model", "temperature", HS_OPT_NUMBER, "", 0, 100, NULL, "",
     "Sampling temperature when a request gives none; 0 takes the likeliest token. Unset: the model's "
     "generation_config.json, else 1.",
     false},
    {"model", "top_p", HS_OPT_NUMBER, "", 1e-6, 1, NULL, "", "Nucleus sampling, likewise. Unset: the model's, else 1.",
     false},
    {"model", "top_k", HS_OPT_INT, "", 0, 16777216, NULL, "",
     "Sampling among the k likeliest tokens, likewise; 0 = off. Unset: the model's, else 0.", false},
    {"model", "min_p", HS_OPT_NUMBER, "", 0, 0.999999, NULL, "",
     "Drops tokens less likely than this share of the likeliest, likewise. Unset: the model's, else 0.", false},
};

const hs_option_table hs_server_option_table = HS_OPTION_TABLE(options);

static int parse_mode(const char *text, uint32_t *ret, hs_err *err)
{
    char *end;
    unsigned long mode = strtoul(text, &end, 8);
    if (text[0] < '0' || text[0] > '7' || *end || mode > 0777)
        return hs_err_set(err, -EINVAL, "server.socket_mode: %s is not an octal mode such as 0660", text);
    *ret = (uint32_t)mode;
    return 0;
}

int hs_server_options_from_config(const hs_config *c, hs_server_options *ret, hs_err *err)
{
    uint32_t mode = 0;
    int r = parse_mode(hs_config_str(c, "server", "socket_mode"), &mode, err);
    if (r < 0)
        return r;
    hs_server_options o = {
        .listen = hs_config_str(c, "server", "listen"),
        .socket_mode = mode,
        .socket_group = hs_config_str(c, "server", "socket_group"),
        .api_key_file = hs_config_str(c, "server", "api_key_file"),
        .max_connections = (uint32_t)hs_config_int(c, "server", "max_connections"),
        .max_body = hs_config_size(c, "server", "max_body"),
        .max_header = hs_config_size(c, "server", "max_header"),
        .buffer_memory = hs_config_size(c, "server", "buffer_memory"),
        .idle_timeout_s = (uint32_t)hs_config_seconds(c, "server", "idle_timeout"),
        .ping_interval_s = (uint32_t)hs_config_seconds(c, "server", "ping_interval"),
        .max_queue = (uint32_t)hs_config_int(c, "limits", "max_queue"),
        .parallel = (uint32_t)hs_config_int(c, "limits", "parallel"),
        .max_tokens = (uint32_t)hs_config_int(c, "limits", "max_tokens"),
        .max_context = (uint32_t)hs_config_int(c, "limits", "max_context"),
        .request_timeout_s = (uint32_t)hs_config_seconds(c, "limits", "request_timeout"),
    };
    r = hs__options_check(&o, err);
    if (r == 0)
        *ret = o;
    return r;
}

int hs__options_check(const hs_server_options *o, hs_err *err)
{
    if (o->buffer_memory < o->max_body)
        return hs_err_set(err, -EINVAL,
                          "server.buffer_memory is %llu bytes; it must hold one body of server.max_body, %llu bytes",
                          (unsigned long long)o->buffer_memory, (unsigned long long)o->max_body);
    if (!o->max_connections || !o->max_header || !o->idle_timeout_s || !o->ping_interval_s)
        return hs_err_set(err, -EINVAL,
                          "server.max_connections, max_header, idle_timeout and ping_interval must not be 0");
    return 0;
}

static double number_or_unset(const hs_config *c, size_t i, const char *key)
{
    const char *text = hs_config_model_str(c, i, key);
    double d;
    return text && *text && hs_parse_number(text, &d) == 0 ? d : -1;
}

int hs_server_model_from_config(const hs_config *c, size_t i, hs_server_model *ret, hs_err *err)
{
    if (i >= hs_config_n_models(c))
        return hs_err_set(err, -EINVAL, "there is no model section %zu", i);
    *ret = (hs_server_model){
        .name = hs_config_model_name(c, i),
        .aliases = hs_config_model_str(c, i, "alias"),
        .defaults = {.temperature = number_or_unset(c, i, "temperature"),
                     .top_p = number_or_unset(c, i, "top_p"),
                     .min_p = number_or_unset(c, i, "min_p"),
                     .top_k = (int64_t)number_or_unset(c, i, "top_k")},
    };
    return 0;
}

uint64_t hs_server_memory_bytes(const hs_server_options *o)
{
    uint64_t per_connection = sizeof(hs__conn) + HS__INPUT_MAX + HS__OUTPUT_MAX + hs__generation_max_bytes();
    /* A collected answer exists three times for a moment: as object, as response, and as what the socket did not take.
     */
    uint64_t buffers = 3 * o->buffer_memory;
    /* One request at a time is parsed, rendered and then encoded: values, strings, the text with the origins of its
     * bytes, and what makes it or reads it. */
    uint64_t parse = (uint64_t)HS__JSON_MAX_VALUES * HS__JSON_VALUE_BYTES * 2 + 2 * o->max_body;
    uint64_t encode = hs_tokenizer_encode_bytes(hs__prompt_max(o));
    uint64_t prompt = 4 * hs__prompt_max(o) + (encode > HS_TEMPLATE_MAX_MEMORY ? encode : HS_TEMPLATE_MAX_MEMORY);
    /* One output at a time grows before it is counted. */
    return (o->max_connections + HS__EXTRA_CONNECTIONS) * per_connection + buffers + parse + prompt + HS_OUTPUT_MAX;
}
