/* labels: unit fault */
/* GGUF sources: packed, served alike, verified, and given back bit for bit with headers, parts and padding. */
#include "unit/store/gguf_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "make.h"
#include "store/objects.h"
#include "store/source.h"

typedef struct world {
    const char *src, *out;
    char file[300], packed[220], back[220];
    uint32_t n_files;
} world;

/* Changes one byte, or appends it. */
static void set_byte(const char *folder, const char *name, size_t at, char byte)
{
    size_t n;
    char *data = read_file(folder, name, &n), *more = malloc(n + 1);
    assert_non_null(more);
    memcpy(more, data, n);
    at = at < n ? at : n;
    more[at] = byte;
    write_file(folder, name, more, at == n ? n + 1 : n);
    free(data);
    free(more);
}

static const char *first_name(const world *w)
{
    return w->n_files == 1 ? "m.gguf" : "m-00001-of-00003.gguf";
}

/* The small model, whose last part does not end with its last tensor, and whose padding is not all zeros. */
static world begin(uint32_t n_files)
{
    world w = {.src = temp_folder(0), .out = temp_folder(1), .n_files = n_files};
    gguf_small(w.src, "m", n_files);
    const char *last = n_files == 1 ? "m.gguf" : "m-00003-of-00003.gguf";
    set_byte(w.src, last, SIZE_MAX, 'z');
    size_t n;
    char *data = read_file(w.src, last, &n);
    free(data);
    snprintf(w.file, sizeof w.file, "%s/%s", w.src, first_name(&w));
    snprintf(w.packed, sizeof w.packed, "%s/p", w.out);
    snprintf(w.back, sizeof w.back, "%s/b", w.out);
    return w;
}

static void end(world *w)
{
    remove_tree(w->src);
    remove_tree(w->out);
}

static hs_source *opened(const char *path)
{
    hs_source *s = NULL;
    hs_err err = {0};
    if (hs_source_open(path, &s, &err) < 0)
        fail_msg("%s", err.text);
    return s;
}

static void same_text(const char *a, const char *b)
{
    if (a && b)
        assert_string_equal(a, b);
    else
        assert_true(a == b);
}

static void same_strings(const hs_bytes *a, const hs_bytes *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(a[i].len, b[i].len);
        assert_memory_equal(a[i].data, b[i].data, a[i].len);
    }
}

static void same_vocab(const hs_vocab_data *a, const hs_vocab_data *b)
{
    same_text(a->model, b->model);
    same_text(a->pre, b->pre);
    same_text(a->chat_template, b->chat_template);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_int_equal(a->n_merges, b->n_merges);
    same_strings(a->tokens, b->tokens, a->n_tokens);
    same_strings(a->merges, b->merges, a->n_merges);
    assert_int_equal(a->scores != NULL, b->scores != NULL);
    if (a->scores)
        assert_memory_equal(a->scores, b->scores, a->n_tokens * sizeof *a->scores);
    if (a->token_type)
        assert_memory_equal(a->token_type, b->token_type, a->n_tokens * sizeof *a->token_type);
    assert_int_equal(a->bos, b->bos);
    assert_int_equal(a->padding, b->padding);
    assert_int_equal(a->add_bos, b->add_bos);
}

/* The bytes of tensor i; free(). */
static uint8_t *load(const hs_source *s, uint32_t i, hs_pool *pool)
{
    uint8_t *p = malloc(hs_source_checkpoint(s)->tensors[i].nbytes);
    hs_load one = {i, p};
    assert_non_null(p);
    assert_int_equal(hs_source_load(s, &one, 1, pool, NULL, NULL, NULL, NULL), 0);
    return p;
}

/* Both give the model the same. */
static void same_model(const char *plain, const char *packed)
{
    hs_pool *pool;
    hs_source *s = opened(plain), *p = opened(packed);
    const hs_checkpoint *a = hs_source_checkpoint(s), *b = hs_source_checkpoint(p);
    assert_true(hs_source_is_packed(p));
    assert_true(a->gguf && b->gguf);
    assert_true(json_equal(a->config, b->config));
    same_vocab(a->vocab, b->vocab);
    assert_int_equal(a->n_tensors, b->n_tensors);
    assert_int_equal(hs_pool_create(1, &pool, NULL), 0);
    for (uint32_t i = 0; i < a->n_tensors; i++) {
        const hs_tensor *x = &a->tensors[i], *y = &b->tensors[i];
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->dtype, y->dtype);
        assert_int_equal(x->n_dims, y->n_dims);
        assert_memory_equal(x->dims, y->dims, sizeof x->dims);
        assert_int_equal(x->nbytes, y->nbytes);
        uint8_t *m = load(s, i, pool), *n = load(p, i, pool);
        assert_memory_equal(m, n, x->nbytes);
        free(m);
        free(n);
    }
    hs_pool_destroy(&pool);
    hs_source_close(&s);
    hs_source_close(&p);
}

static void a_packed_gguf_model_is_the_same_model(void **state)
{
    (void)state;
    for (uint32_t n_files = 1; n_files <= 3; n_files += 2) {
        for (int codec = HS_PACK_ZSTD; codec <= HS_PACK_RAW; codec++) {
            world w = begin(n_files);
            assert_int_equal(pack(w.file, w.packed, (hs_pack_codec)codec, 0, NULL), 0);
            same_model(w.file, w.packed);
            uint64_t problems = 99;
            assert_int_equal(hs_verify(w.packed, NULL, NULL, &problems, NULL), 0);
            assert_int_equal(problems, 0);
            assert_int_equal(hs_unpack(w.packed, w.back, NULL, NULL, NULL), 0);
            assert_same_folder(w.src, w.back);
            assert_int_equal(pack(w.file, w.packed, (hs_pack_codec)codec, 0, NULL), 0); /* complete already */
            hs_pack_options check = {.src = w.file, .dst = w.packed, .threads = 1, .check = true};
            assert_int_equal(hs_pack(&check, NULL), 0);
            end(&w);
        }
    }
}

static void an_expert_lies_in_one_record(void **state)
{
    (void)state;
    static const char *const names[4] = {"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight",
                                         "ffn_gate_up_exps.weight"};
    world w = begin(3);
    assert_int_equal(pack(w.file, w.packed, HS_PACK_RAW, 0, NULL), 0);
    hs_source *s = opened(w.packed);
    hs_objects *o;
    uint32_t parts[16];
    for (uint32_t i = 0; i < 16; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.0.%s.%u", names[i % 4], i / 4);
        parts[i] = hs_checkpoint_find(hs_source_checkpoint(s), name);
        assert_int_not_equal(parts[i], HS_NO_TENSOR);
    }
    assert_int_equal(hs_objects_create(s, parts, 4, 4, &o, NULL), 0);
    assert_int_equal(hs_object_raw_bytes(o, 3), 2 * 4608 + 1680 + 36);
    hs_objects_destroy(&o);
    hs_source_close(&s);
    end(&w);
}

static void what_lies_beside_the_parts_is_left_alone(void **state)
{
    (void)state;
    world w = begin(1);
    write_file(w.src, "mmproj-m.gguf", "GGUF", 4);
    write_file(w.src, "README.md", "x", 1);
    assert_int_equal(pack(w.file, w.packed, HS_PACK_RAW, 0, NULL), 0);
    assert_true(file_exists(w.packed, "m.gguf.header"));
    assert_false(file_exists(w.packed, "README.md"));
    assert_false(file_exists(w.packed, "mmproj-m.gguf"));
    end(&w);
}

static void real_files_come_back(void **state)
{
    (void)state;
    static const char *const names[] = {"qwen3_moe-256-Q4_K_M.gguf", "gpt_oss_mxfp4-bf16.gguf", "mixtral-bf16.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        world w = {.out = temp_folder(1)};
        size_t a, b;
        snprintf(w.file, sizeof w.file, "%s/data/gguf/%s", TESTS_DIR, names[i]);
        snprintf(w.packed, sizeof w.packed, "%s/p", w.out);
        snprintf(w.back, sizeof w.back, "%s/b", w.out);
        assert_int_equal(pack(w.file, w.packed, HS_PACK_ZSTD, 0, NULL), 0);
        same_model(w.file, w.packed);
        assert_int_equal(hs_unpack(w.packed, w.back, NULL, NULL, NULL), 0);
        char *x = read_file(TESTS_DIR "/data/gguf", names[i], &a), *y = read_file(w.back, names[i], &b);
        assert_int_equal(a, b);
        assert_memory_equal(x, y, a);
        free(x);
        free(y);
        remove_tree(w.out);
    }
}

/* Every byte of the pack's header files, and some of its shards. */
static void damage_to_a_pack_is_found(void **state)
{
    (void)state;
    static const char *const files[] = {"m-00001-of-00003.gguf.header", "m-00003-of-00003.gguf.header",
                                        "dense-00000.hss", "experts-00000.hss"};
    world w = begin(3);
    assert_int_equal(pack(w.file, w.packed, HS_PACK_ZSTD, 0, NULL), 0);
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        size_t n;
        char *data = read_file(w.packed, files[f], &n);
        for (size_t at = 0; at < n; at += n / 40 + 1) {
            uint64_t problems = 0;
            set_byte(w.packed, files[f], at, (char)~data[at]);
            assert_int_equal(hs_verify(w.packed, NULL, NULL, &problems, NULL), -EBADMSG);
            assert_true(problems > 0);
            set_byte(w.packed, files[f], at, data[at]);
        }
        free(data);
    }
    assert_int_equal(hs_verify(w.packed, NULL, NULL, NULL, NULL), 0);
    end(&w);
}

/* The padding behind the last tensor is a byte of the model like any other. */
static void another_padding_is_another_model(void **state)
{
    (void)state;
    world w = begin(1);
    hs_err err = {0};
    size_t n;
    assert_int_equal(pack(w.file, w.packed, HS_PACK_RAW, 0, NULL), 0);
    free(read_file(w.src, "m.gguf", &n));
    set_byte(w.src, "m.gguf", n - 1, 'y');
    hs_pack_options check = {.src = w.file, .dst = w.packed, .threads = 1, .check = true};
    assert_int_equal(hs_pack(&check, &err), -EBADMSG);
    assert_int_equal(pack(w.file, w.packed, HS_PACK_RAW, 0, &err), -EEXIST);
    end(&w);
}

static void keep_last(void *ctx, hs_pack_phase phase, uint64_t done, uint64_t total)
{
    uint64_t *last = ctx;
    assert_int_equal(phase, HS_PACK_PHASE_VERIFY);
    last[0] = done;
    last[1] = total;
}

static void a_gguf_file_itself_is_verified(void **state)
{
    (void)state;
    world w = begin(3);
    uint64_t problems = 99, last[2] = {0};
    hs_pack_monitor m = {.ctx = last, .progress = keep_last};
    hs_err err = {0};
    assert_int_equal(hs_verify(w.file, NULL, &m, &problems, NULL), 0);
    assert_int_equal(problems, 0);
    assert_int_equal(last[0], folder_bytes(w.src)); /* every byte is read */
    assert_int_equal(last[1], last[0]);
    char path[320];
    snprintf(path, sizeof path, "%s/m-00003-of-00003.gguf", w.src);
    assert_int_equal(truncate(path, 9000), 0);
    assert_int_equal(hs_verify(w.file, NULL, NULL, &problems, &err), -EBADMSG);
    assert_int_equal(problems, 1);
    assert_non_null(strstr(err.text, "m-00003-of-00003.gguf: tensor blk.0.ffn_"));
    snprintf(path, sizeof path, "%s/absent.gguf", w.src);
    assert_int_equal(hs_verify(path, NULL, NULL, &problems, &err), -ENOENT);
    end(&w);
}

static void every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    world w = begin(3);
    int r = -1;
    for (int64_t n = 0; r < 0; n += 1 + n / 40) {
        hs_err err = {0};
        hs_mem_fail_after(n);
        r = pack(w.file, w.packed, HS_PACK_RAW, 0, &err);
        hs_mem_fail_after(-1);
        assert_true(r == 0 || err.text[0]);
        assert_true(n < 1000000);
    }
    same_model(w.file, w.packed);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packed_gguf_model_is_the_same_model),
        cmocka_unit_test(an_expert_lies_in_one_record),
        cmocka_unit_test(what_lies_beside_the_parts_is_left_alone),
        cmocka_unit_test(real_files_come_back),
        cmocka_unit_test(damage_to_a_pack_is_found),
        cmocka_unit_test(another_padding_is_another_model),
        cmocka_unit_test(a_gguf_file_itself_is_verified),
        cmocka_unit_test(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
