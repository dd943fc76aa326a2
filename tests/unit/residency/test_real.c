/* labels: unit */
/* The residency over the real store: every byte of every part of the test model's experts, through both ways of
 * reading, with few slots and with guesses, is the byte in the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "residency/residency.h"
#include "store/source.h"

#define FOLDER    TESTS_DIR "/models/tale-moe-fp8"
#define N_LAYERS  5u
#define N_EXPERTS 64u
#define TOP_K     6u

static uint32_t parts[N_LAYERS * N_EXPERTS][HS_EXPERT_PARTS];

static void find_parts(const hs_checkpoint *c)
{
    static const char *const names[] = {"gate_proj.weight", "gate_proj.weight_scale_inv",
                                        "up_proj.weight",   "up_proj.weight_scale_inv",
                                        "down_proj.weight", "down_proj.weight_scale_inv"};
    for (uint32_t i = 0; i < N_LAYERS * N_EXPERTS; i++) {
        for (uint32_t p = 0; p < HS_EXPERT_PARTS; p++) {
            char name[128];
            snprintf(name, sizeof name, "model.layers.%u.mlp.experts.%u.%s", 1 + i / N_EXPERTS, i % N_EXPERTS,
                     names[p]);
            parts[i][p] = hs_checkpoint_find(c, name);
            assert_true(parts[i][p] != HS_NO_TENSOR);
        }
    }
}

static void expect_bytes(int fd, const hs_checkpoint *c, uint32_t object, const hs_expert *e)
{
    for (uint32_t p = 0; p < HS_EXPERT_PARTS; p++) {
        const hs_tensor *t = &c->tensors[parts[object][p]];
        static uint8_t is[1 << 17];
        assert_true(t->nbytes <= sizeof is);
        assert_int_equal(pread(fd, is, t->nbytes, (off_t)t->offset), t->nbytes);
        assert_memory_equal(e->part[p], is, t->nbytes);
    }
}

static void run_layer(const hs_experts *x, int fd, const hs_checkpoint *c, uint32_t layer, uint32_t first)
{
    hs_expert_want wants[TOP_K];
    hs_expert_guess guesses[TOP_K];
    hs_err err;
    for (uint32_t i = 0; i < TOP_K; i++) {
        wants[i] = (hs_expert_want){(first + i * 7) % N_EXPERTS, 1, 0};
        guesses[i] = (hs_expert_guess){(first + 5 + i * 7) % N_EXPERTS, (float)(TOP_K - i)};
    }
    if (x->ops->begin(x->self, layer, wants, TOP_K, NULL, &err) < 0)
        fail_msg("%s", err.text);
    x->ops->hint(x->self, (layer + 1) % N_LAYERS, guesses, TOP_K);
    for (uint32_t got = 0; got < TOP_K;) {
        uint32_t index[TOP_K], n;
        hs_expert e[TOP_K];
        if (x->ops->wait(x->self, TOP_K, index, e, &n, &err) < 0)
            fail_msg("%s", err.text);
        for (uint32_t i = 0; i < n; i++) {
            expect_bytes(fd, c, layer * N_EXPERTS + wants[index[i]].expert, &e[i]);
            x->ops->release(x->self, index[i]);
        }
        got += n;
    }
    x->ops->end(x->self);
}

static void through(hs_io_engine_kind engine, uint32_t n_slots)
{
    hs_source *s = NULL;
    hs_objects *o = NULL;
    hs_pool *pool = NULL;
    hs_residency *r = NULL;
    hs_io *io = NULL;
    hs_err err;
    if (hs_source_open(FOLDER, &s, &err) < 0)
        fail_msg("%s", err.text);
    const hs_checkpoint *c = hs_source_checkpoint(s);
    find_parts(c);
    assert_int_equal(hs_objects_create(s, parts[0], N_LAYERS * N_EXPERTS, HS_EXPERT_PARTS, &o, &err), 0);
    assert_int_equal(hs_pool_create(2, &pool, &err), 0);
    hs_residency_config rc = {.objects = o,
                              .pool = pool,
                              .n_layers = N_LAYERS,
                              .n_experts = N_EXPERTS,
                              .top_k = TOP_K,
                              .n_slots = n_slots,
                              .policy = "ewma",
                              .prefetch = true,
                              .prefetch_budget = 1 << 20};
    assert_int_equal(hs_residency_create(&rc, &r, &err), 0);
    struct iovec iov[4];
    hs_io_config ic = {.engine = engine, .buffers = iov, .n_buffers = hs_residency_buffers(r, iov, 4)};
    ic.fds = hs_objects_fds(o, &ic.n_fds);
    if (hs_io_create(&ic, &io, &err) < 0)
        fail_msg("%s", err.text);
    hs_residency_attach_io(r, io);
    print_message("%s, %u slots\n", hs_io_engine_name(io), n_slots);
    hs_experts x = hs_residency_experts(r);
    int fd = open(FOLDER "/model.safetensors", O_RDONLY | O_CLOEXEC);
    for (uint32_t token = 0; token < 12; token++) {
        x.ops->step(x.self, HS_PHASE_DECODE, 1);
        for (uint32_t l = 0; l < N_LAYERS; l++) {
            run_layer(&x, fd, c, l, token * 5 + l * 11);
            const char *wrong = hs_residency_check(r);
            if (wrong)
                fail_msg("%s", wrong);
        }
    }
    close(fd);
    hs_residency_stats stats = hs_residency_get_stats(r);
    assert_int_equal(stats.hits + stats.misses, 12 * N_LAYERS * TOP_K);
    assert_int_equal(stats.errors, 0);
    hs_residency_destroy(&r);
    assert_true(hs_io_get_stats(io).bytes >= stats.bytes_read);
    hs_io_destroy(&io);
    hs_pool_destroy(&pool);
    hs_objects_destroy(&o);
    hs_source_close(&s);
}

static void bytes_are_those_of_the_file(void **state)
{
    (void)state;
    static const uint32_t slots[] = {TOP_K, 80, N_LAYERS * N_EXPERTS};
    for (int i = 0; i < 3; i++) {
        through(HS_IO_AUTO, slots[i]);
        through(HS_IO_PREAD, slots[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bytes_are_those_of_the_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
