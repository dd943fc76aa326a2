/*
 * cmd_run.c - chat in the terminal. stdout is the answer and nothing else; reasoning, progress and the receipt go to
 * stderr, so that `hotset run MODEL "question" > file` does what it looks like.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/chat.h"
#include "cli/daemon.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/shapes.h"
#include "cli/verbs.h"

#define MAX_PROMPT  (16u << 20)
#define MAX_HISTORY (64u << 20) /* bytes of one answer kept for the conversation */

typedef struct screen {
    hs_progress progress;
    bool terminal;     /* stderr: reasoning is shown dim */
    bool in_reasoning; /* dim is switched on */
    bool ends_in_line; /* stdout's last character was a line end */
    hs_buf answer;     /* of this turn */
} screen;

static void on_text(void *ctx, bool is_reasoning, const char *text, size_t len)
{
    screen *s = ctx;
    hs_progress_clear(&s->progress);
    if (is_reasoning != s->in_reasoning && s->terminal)
        fputs(is_reasoning ? "\033[2m" : "\033[0m\n", stderr);
    s->in_reasoning = is_reasoning;
    if (is_reasoning) {
        fwrite(text, 1, len, stderr);
        return;
    }
    fwrite(text, 1, len, stdout);
    fflush(stdout);
    s->ends_in_line = text[len - 1] == '\n';
    hs_buf_append(&s->answer, text, len);
}

static void on_status(void *ctx, const char *stage, uint64_t done, uint64_t total)
{
    screen *s = ctx;
    hs_progress_unit unit = strcmp(stage, "prefill") ? HS_PROGRESS_PERCENT : HS_PROGRESS_TOKENS;
    hs_progress_update(&s->progress, stage, unit, done, total, hs_now_ns());
}

static void print_receipt(const hs_chat_cost *cost)
{
    hs_buf line;
    hs_buf_init(&line, 4096);
    hs_receipt_format(cost->hotset, cost->prompt_tokens, cost->generated_tokens, &line);
    hs_say("%s%s", line.len ? line.data : "", cost->hit_length ? " · cut at the length limit" : "");
    hs_buf_deinit(&line);
}

/* One turn; the answer is appended to messages. */
static int turn(hs_chat *chat, json_t *messages, screen *s, hs_err *err)
{
    hs_chat_sink sink = {s, on_text, on_status};
    hs_chat_cost cost = {0};
    hs_buf_clear(&s->answer);
    s->ends_in_line = s->in_reasoning = false;
    int r = chat->ops->ask(chat, messages, &sink, &cost, err);
    hs_progress_clear(&s->progress);
    if (s->in_reasoning && s->terminal)
        fputs("\033[0m\n", stderr);
    if (s->answer.len && !s->ends_in_line)
        putchar('\n');
    fflush(stdout);
    if (cost.hotset || cost.generated_tokens)
        print_receipt(&cost);
    json_decref(cost.hotset);
    if (r == 0 || r == -ECANCELED)
        json_array_append_new(
            messages, json_pack("{s:s, s:s}", "role", "assistant", "content", s->answer.len ? s->answer.data : ""));
    return r;
}

static json_t *first_messages(const hs_args *a)
{
    json_t *messages = json_array();
    const char *system = hs_args_text(a, "system");
    if (system)
        json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system", "content", system));
    return messages;
}

/* -EINVAL if text is not UTF-8. */
static int add_user(json_t *messages, const char *text, size_t len, hs_err *err)
{
    json_t *content = json_stringn(text, len);
    if (!content)
        return hs_err_set(err, -EINVAL, "the prompt is not UTF-8 text");
    return json_array_append_new(messages, json_pack("{s:s, s:o}", "role", "user", "content", content))
               ? hs_err_set(err, -ENOMEM, "out of memory")
               : 0;
}

/* Lines from the terminal until its end, or /exit. A failed turn is said and forgotten. */
static int converse(hs_chat *chat, const hs_args *a, screen *s)
{
    json_t *messages = first_messages(a);
    char *line = NULL;
    size_t cap = 0;
    fputs("/clear forgets the conversation, /exit or Ctrl-D ends, Ctrl-C stops an answer.\n", stderr);
    for (;;) {
        fputs("> ", stderr);
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0 && hs_stop_asked()) {
            fputs("\n/exit or Ctrl-D ends.\n", stderr);
            clearerr(stdin);
            hs_stop_forget();
            continue;
        }
        if (n < 0)
            fputc('\n', stderr);
        if (n < 0 || !strcmp(line, "/exit\n"))
            break;
        if (!strcmp(line, "/clear\n")) {
            json_decref(messages);
            messages = first_messages(a);
            continue;
        }
        n -= n > 0 && line[n - 1] == '\n';
        if (n == 0)
            continue;
        hs_err err = {0};
        size_t before = json_array_size(messages);
        int r = add_user(messages, line, (size_t)n, &err);
        if (r == 0)
            r = turn(chat, messages, s, &err);
        if (r < 0 && r != -ECANCELED) {
            hs_say("%s", err.text);
            while (json_array_size(messages) > before)
                json_array_remove(messages, before);
        }
        hs_stop_forget();
    }
    free(line);
    json_decref(messages);
    return 0;
}

/* The prompt operand, or stdin if that is no terminal; *ret_messages NULL = a conversation is wanted. */
static int single_turn(const hs_args *a, json_t **ret_messages, hs_err *err)
{
    char *text = NULL;
    size_t len = 0;
    int r = 0;
    if (a->n_operands > 1) {
        len = strlen(a->operands[1]);
        text = hs_strdup(a->operands[1]);
        r = text ? 0 : hs_err_set(err, -ENOMEM, "out of memory");
    } else if (!isatty(STDIN_FILENO)) {
        r = hs_read_stdin(MAX_PROMPT, &text, &len, err);
        len -= r == 0 && len && text[len - 1] == '\n';
        if (r == 0 && !len)
            r = hs_err_set(err, -EINVAL, "stdin holds no prompt");
    } else {
        return 0;
    }
    json_t *messages = first_messages(a);
    if (r == 0)
        r = add_user(messages, text, len, err);
    hs_free(text);
    if (r < 0)
        json_decref(messages);
    else
        *ret_messages = messages;
    return r;
}

/* Is MODEL loaded here? */
static bool is_local(const hs_args *a)
{
    struct stat st;
    return !hs_args_has(a, "socket") && (strchr(a->operands[0], '/') || stat(a->operands[0], &st) == 0);
}

static int open_chat(const hs_args *a, const hs_config *config, const json_t *messages, hs_chat **ret, hs_err *err)
{
    const char *model = a->operands[0];
    hs_chat_wishes w = {.temperature = hs_args_number(a, "temp", -1),
                        .top_p = hs_args_number(a, "top-p", -1),
                        .min_p = hs_args_number(a, "min-p", -1),
                        .top_k = hs_args_int(a, "top-k", -1),
                        .max_tokens = hs_args_int(a, "max-tokens", -1),
                        .seed = hs_args_int(a, "seed", -1),
                        .expert_profile = hs_args_text(a, "expert-profile")};
    hs_daemon d;
    int r = is_local(a) ? hs_files_check(model, HS_NEEDED_MODEL, err) : 0;
    if (r == 0 && is_local(a))
        return hs_chat_open_local(model, hs_args_text(a, "mirror"), config, &w, messages, ret, err);
    if (r == 0)
        r = hs_daemon_find(a, config, &d, err);
    if (r < 0)
        return r;
    r = hs_chat_open_remote(model, d.address, d.api_key, &w, ret, err);
    hs_daemon_deinit(&d);
    return r;
}

static int run_run(const hs_args *a)
{
    hs_config *config = NULL;
    if (hs_args_has(a, "mirror") && !is_local(a))
        return hs_fail_usage(a->verb, "--mirror goes with the path of a model, which is loaded here");
    int status = hs_load_config(a, &config);
    if (status)
        return status;
    hs_chat *chat = NULL;
    json_t *messages = NULL;
    hs_err err = {0};
    hs_signals_setup();
    int r = single_turn(a, &messages, &err);
    if (r == 0)
        r = open_chat(a, config, messages, &chat, &err);
    if (r == 0) {
        screen s = {0};
        hs_progress_init(&s.progress, stderr);
        s.terminal = s.progress.terminal;
        if (s.terminal) /* what is not wrong would stand amid the answer */
            hs_log_setup(HS_LOG_WARN, HS_LOG_TEXT);
        hs_buf_init(&s.answer, MAX_HISTORY);
        r = messages ? turn(chat, messages, &s, &err) : converse(chat, a, &s);
        hs_buf_deinit(&s.answer);
    }
    if (r < 0)
        status = hs_fail(&err);
    if ((r == -ENOENT || r == -ECONNREFUSED) && chat && !hs_args_has(a, "socket"))
        hs_say("start hotset serve, or give the path of a model folder to run it here%s",
               hs_known_model_find(a->operands[0]) ? "; hotset plan tells how a published model of this name would run"
                                                   : "");
    if (chat)
        chat->ops->close(chat);
    json_decref(messages);
    hs_config_destroy(&config);
    return status;
}

static const hs_flag flags[] = {
    {"system", HS_FLAG_TEXT, "TEXT", 0, 0, "system message"},
    {"max-tokens", HS_FLAG_INT, "N", 1, 16777216, "longest answer; default what the context leaves"},
    {"temp", HS_FLAG_NUMBER, "T", 0, 100, "temperature; 0 takes the likeliest token. Default: the model's"},
    {"top-p", HS_FLAG_NUMBER, "P", 1e-6, 1, "nucleus sampling; 1 = off"},
    {"top-k", HS_FLAG_INT, "K", 0, 16777216, "sample among the K likeliest; 0 = off"},
    {"min-p", HS_FLAG_NUMBER, "P", 0, 0.999999, "drop tokens less likely than this share of the likeliest; 0 = off"},
    {"seed", HS_FLAG_INT, "N", 0, 9.2e18, "the same seed gives the same answer; default a random one"},
    {"expert-profile", HS_FLAG_TEXT, "NAME", 0, 0,
     "count which experts are used for this profile, and begin with what it used before; default the model's own in a "
     "daemon, none here"},
    HS_FLAG_MIRROR,
    HS_FLAG_SOCKET,
    HS_FLAGS_CONFIG,
    HS_FLAGS_END};

const hs_verb hs_verb_run = {
    .name = "run",
    .synopsis = "MODEL [\"prompt\"]",
    .summary = "Chat in the terminal, in this process or through the daemon.",
    .details =
        "MODEL is the path of a model folder, which is loaded here, or the name under which a running daemon serves "
        "it. Without a prompt, stdin is the prompt, or a conversation begins if stdin is a terminal.\n\nThe answer "
        "goes to stdout; reasoning, progress and the receipt go to stderr.",
    .flags = flags,
    .min_operands = 1,
    .max_operands = 2,
    .run = run_run};
