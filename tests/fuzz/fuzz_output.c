/* rooms: text */
/*
 * fuzz_output.c - what a model may write. Input: a byte that says which template, one that says where the text is cut,
 * the text (a byte 0xff in it is what the engine puts in front of a special token).
 *
 * What must hold: the way in which the stream is cut makes no difference; events are not empty and not too long;
 * arguments of calls are JSON objects; without calls and channels nothing is lost but marks of reasoning and blanks.
 */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "fuzz.h"
#include "text/output_int.h"

static const char *const files[] = {"qwen3.jinja",
                                    "Qwen3-Coder.jinja",
                                    "GLM-4.6.jinja",
                                    "MiniMax-M2.jinja",
                                    "deepseek_v3.jinja",
                                    "Kimi-K2-Thinking.jinja",
                                    "openai-gpt-oss-120b.jinja"};
#define N_FILES (sizeof files / sizeof *files)

static hs_template *templates[N_FILES];
static json_t *tools;

static void load(void)
{
    json_t *config = json_pack("{s:s,s:s}", "bos_token", "", "eos_token", "");
    tools = json_pack("[{s:s,s:{s:s,s:{s:{s:{s:s}}}}}]", "type", "function", "function", "name", "f", "parameters",
                      "properties", "s", "type", "string");
    FUZZ_CHECK(config && tools);
    for (size_t i = 0; i < N_FILES; i++) {
        char *path = hs_asprintf(TESTS_DIR "/data/templates/%s", files[i]), *source;
        size_t len;
        FUZZ_CHECK(hs_file_read(path, HS_TEMPLATE_MAX_SOURCE, &source, &len, NULL) == 0);
        FUZZ_CHECK(hs_template_create(source, len, files[i], config, &templates[i], NULL) == 0);
        hs_free(source);
        hs_free(path);
    }
    json_decref(config);
}

/* Kind and text of all events, one after the other; *ret_calls: how many. */
static void drain(hs_output *o, hs_buf *all, int *last, size_t *calls)
{
    hs_output_event ev;
    while (hs_output_next(o, &ev)) {
        FUZZ_CHECK(ev.len > 0 && ev.len <= HS_OUTPUT_PIECE);
        if ((int)ev.kind != *last || ev.kind == HS_OUTPUT_CALL)
            hs_buf_append(all, (char[]){'\0', (char)('0' + ev.kind)}, 2);
        *last = (int)ev.kind;
        *calls += ev.kind == HS_OUTPUT_CALL;
        hs_buf_append(all, ev.text, ev.len);
    }
}

static size_t understand(const hs_template *t, const char *text, size_t len, size_t cut, hs_buf *all)
{
    hs_output *o = NULL;
    int last = -1;
    size_t calls = 0;
    hs_buf_init(all, 4 << 20);
    FUZZ_CHECK(hs_output_create(t, "", 0, tools, &o, NULL) == 0);
    FUZZ_CHECK(hs_output_push(o, text, cut) == 0);
    drain(o, all, &last, &calls);
    FUZZ_CHECK(hs_output_push(o, text + cut, len - cut) == 0);
    drain(o, all, &last, &calls);
    FUZZ_CHECK(hs_output_end(o) == 0);
    drain(o, all, &last, &calls);
    FUZZ_CHECK(hs_output_bytes(o) <= HS_OUTPUT_MAX && !all->failed);
    hs_output_destroy(&o);
    return calls;
}

/* Bytes that are neither blank nor 0xff nor of a header of an event. */
static size_t solid(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (!text[i])
            i++;
        else
            n += (unsigned char)text[i] > ' ' && text[i] != '\xff';
    }
    return n;
}

/* Whether there may be a mark of reasoning: 0xff is passed over between its bytes. */
static bool has_think(const char *text, size_t len)
{
    static const char word[] = "think>";
    size_t n = 0;
    for (size_t i = 0; i < len && n < sizeof word - 1; i++)
        if (text[i] != '\xff')
            n = text[i] == word[n] ? n + 1 : text[i] == word[0];
    return n == sizeof word - 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!tools)
        load();
    if (size < 2)
        return 0;
    const hs_template *t = templates[data[0] % N_FILES];
    const char *text = (const char *)data + 2;
    size_t len = size - 2, cut = len * data[1] / 256;
    hs_buf once, twice;
    size_t calls = understand(t, text, len, len, &once);
    FUZZ_CHECK(understand(t, text, len, cut, &twice) == calls);
    FUZZ_CHECK(once.len == twice.len && (!once.len || !memcmp(once.data, twice.data, once.len)));
    if (!calls && !memchr(text, '\0', len) && !has_think(text, len) && data[0] % N_FILES != N_FILES - 1)
        FUZZ_CHECK(solid(once.data ? once.data : "", once.len) == solid(text, len));
    hs_buf_deinit(&once);
    hs_buf_deinit(&twice);
    return 0;
}
