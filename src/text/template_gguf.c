/* template_gguf.c - the chat template that a GGUF file carries. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "text/template.h"

/* Puts the token's text under name, if there is such a token. */
static int set_token(json_t *config, const char *name, const hs_vocab_data *v, int64_t id)
{
    json_t *text = id >= 0 && id < v->n_tokens ? json_stringn(v->tokens[id].data, v->tokens[id].len) : NULL;
    return text ? json_object_set_new(config, name, text) : 0;
}

int hs_template_create_gguf(const hs_vocab_data *v, const char *where, const char *file, hs_template **ret_template,
                            hs_err *err)
{
    char *read = NULL;
    const char *source = v->chat_template;
    size_t len = source ? strlen(source) : 0;
    if (file) {
        int r = hs_file_read(file, HS_TEMPLATE_MAX_SOURCE, &read, &len, err);
        if (r < 0)
            return r;
        source = read;
    }
    if (!source)
        return hs_err_set(err, -ENOENT, "%s: the file has no chat template (tokenizer.chat_template)", where);
    json_t *config = json_object();
    int r = config ? 0 : -1;
    if (r == 0)
        r = set_token(config, "bos_token", v, v->bos);
    if (r == 0)
        r = set_token(config, "eos_token", v, v->eos);
    if (r == 0)
        r = set_token(config, "unk_token", v, v->unknown);
    if (r == 0)
        r = set_token(config, "pad_token", v, v->padding);
    r = r < 0 ? hs_err_set(err, -ENOMEM, "%s: out of memory", where)
              : hs_template_create(source, len, file ? file : where, config, ret_template, err);
    json_decref(config);
    hs_free(read);
    return r;
}
