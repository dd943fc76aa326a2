/* rooms: server, max_len: 4096 */
/*
 * fuzz_request.c - the body of /v1/chat/completions (or /apply-template), /v1/completions, /tokenize or /detokenize, up
 * to the token ids that the engine would get, or the text of the answer.
 * The first byte of the input chooses the route and the model's template.
 *
 * Every body is refused with a status, a sentence and an error object that is JSON, or gives parameters within the
 * bounds that the engine was promised.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "server/openai.h"
#include "server/server_int.h"

static const char *const template_files[] = {"Qwen3-Coder",
                                             "MiniMax-M2",
                                             "openai-gpt-oss-120b",
                                             "deepseek_v3",
                                             "Qwen3.5-4B",
                                             "GLM-4.6",
                                             "Kimi-K2-Thinking",
                                             "qwen3",
                                             "deepseek-ai-DeepSeek-V3.1",
                                             "ibm-granite-granite-4.0"};
#define N_FILES (sizeof template_files / sizeof template_files[0])

static hs_tokenizer *tokenizer;
static hs_template *templates[N_FILES + 1];

static void load(void)
{
    static const char dir[] = TESTS_DIR "/models/tale-moe-fp8";
    if (tokenizer)
        return;
    FUZZ_CHECK(hs_tokenizer_load(dir, &tokenizer, NULL) == 0);
    FUZZ_CHECK(hs_template_load(dir, &templates[N_FILES], NULL) == 0);
    for (size_t i = 0; i < N_FILES; i++) {
        char file[512];
        snprintf(file, sizeof file, TESTS_DIR "/data/templates/%s.jinja", template_files[i]);
        FUZZ_CHECK(hs_template_load_file(dir, file, &templates[i], NULL) == 0);
    }
}

static void refused(const hs__api_error *e)
{
    hs_buf b;
    FUZZ_CHECK(e->status >= 400 && e->status < 500 && *e->text);
    hs_buf_init(&b, 16384);
    hs__error_object(&b, e->status, *e->param ? e->param : NULL, e->code, e->text);
    json_t *object = b.failed ? NULL : json_loadb(b.data, b.len, 0, NULL);
    FUZZ_CHECK(json_is_string(json_object_get(json_object_get(object, "error"), "message")));
    json_decref(object);
    hs_buf_deinit(&b);
}

static void check_params(const hs__params *p, hs__body kind)
{
    hs_sampling s;
    hs_sampling_defaults none = {.temperature = -1, .top_p = -1, .min_p = -1, .top_k = -1};
    hs__params_sampling(p, &none, NULL, &s);
    FUZZ_CHECK(isfinite(s.temperature) && s.temperature >= 0 && s.temperature <= 100);
    FUZZ_CHECK(s.top_p > 0 && s.top_p <= 1 && s.min_p >= 0 && s.min_p < 1);
    FUZZ_CHECK(!p->has_seed || s.seed == p->seed);
    FUZZ_CHECK(p->n_stop <= HS_MAX_STOP);
    for (uint32_t i = 0; i < p->n_stop; i++)
        FUZZ_CHECK(*p->stop[i] && strlen(p->stop[i]) <= 256);
    FUZZ_CHECK(kind == HS__BODY_CHAT         ? json_array_size(p->messages) > 0
               : kind == HS__BODY_TOKENIZE   ? json_is_string(p->prompt)
               : kind == HS__BODY_DETOKENIZE ? json_is_array(p->prompt)
                                             : json_is_string(p->prompt) || json_array_size(p->prompt) > 0);
}

static void encode(const char *text, const uint8_t *is_input, size_t len)
{
    uint32_t *ids;
    size_t n;
    hs_err err = {0};
    if (hs_tokenizer_encode_rendered(tokenizer, text, is_input, len, &ids, &n, &err) < 0) {
        FUZZ_CHECK(*err.text);
        return;
    }
    for (size_t i = 0; i < n; i++)
        FUZZ_CHECK(ids[i] < hs_tokenizer_size(tokenizer));
    hs_free(ids);
}

/* Ids that no tokenizer has among them. */
static void decode(const json_t *ids)
{
    hs_buf text;
    hs_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        uint32_t id = (uint32_t)json_integer_value(json_array_get(ids, i));
        FUZZ_CHECK(hs_tokenizer_decode(tokenizer, &id, 1, false, &text, NULL) == 0);
    }
    hs_buf_deinit(&text);
}

static void render(const hs_template *t, const hs__params *p)
{
    json_t *messages = NULL;
    char *text;
    uint8_t *is_input;
    size_t len;
    hs_err err = {0};
    int r = hs_template_normalise(t, p->messages, &messages, &err);
    hs_template_input in = {
        .messages = messages,
        .tools = p->tools,
        .kwargs = p->kwargs,
        .add_generation_prompt = p->add_generation_prompt,
        .continue_final_message = p->continue_final_message,
    };
    if (r == 0)
        r = hs_template_render(t, &in, &text, &len, &is_input, &err);
    json_decref(messages);
    if (r < 0) {
        FUZZ_CHECK(*err.text);
        return;
    }
    FUZZ_CHECK(len <= HS_TEMPLATE_MAX_OUTPUT && text[len] == '\0');
    encode(text, is_input, len);
    hs_free(text);
    hs_free(is_input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hs__api_error e = {0};
    hs__params p;
    json_t *root = NULL;
    load();
    if (!size)
        return 0;
    size_t which = data[0] % (N_FILES + 4);
    hs__body kind = which <= N_FILES ? HS__BODY_CHAT : HS__BODY_COMPLETIONS << (which - N_FILES - 1);
    int r = hs__body_parse((const char *)data + 1, size - 1, &root, &e);
    if (r == 0)
        r = hs__params_parse(root, kind, &p, &e);
    if (r < 0) {
        refused(&e);
    } else {
        check_params(&p, kind);
        if (kind == HS__BODY_CHAT)
            render(templates[which], &p);
        else if (json_is_string(p.prompt))
            encode(json_string_value(p.prompt), NULL, json_string_length(p.prompt));
        else if (kind == HS__BODY_DETOKENIZE)
            decode(p.prompt);
    }
    json_decref(root);
    return 0;
}
