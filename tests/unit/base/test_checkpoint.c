/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/checkpoint.h"

static void every_name_is_found(void **state)
{
    (void)state;
    static char names[40][16];
    hs_tensor t[40];
    for (uint32_t n = 0; n <= 40; n++) {
        for (uint32_t i = 0; i < n; i++) {
            snprintf(names[i], sizeof names[i], "t.%02u", 2 * i);
            t[i] = (hs_tensor){.name = names[i]};
        }
        hs_checkpoint c = {.tensors = t, .n_tensors = n};
        for (uint32_t i = 0; i < n; i++) {
            char between[16];
            assert_int_equal(hs_checkpoint_find(&c, names[i]), i);
            snprintf(between, sizeof between, "t.%02u", 2 * i + 1);
            assert_true(hs_checkpoint_find(&c, between) == HS_NO_TENSOR);
        }
        assert_true(hs_checkpoint_find(&c, "") == HS_NO_TENSOR);
        assert_true(hs_checkpoint_find(&c, "u") == HS_NO_TENSOR);
    }
}

static void stacked_experts_are_known_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t n_dims;
        bool stacks;
    } names[] = {
        {"model.layers.0.mlp.experts.gate_up_proj_blocks", 4, true},
        {"model.layers.0.mlp.experts.gate_up_proj_scales", 3, true},
        {"model.layers.0.mlp.experts.gate_up_proj", 3, true},
        {"model.layers.0.mlp.experts.down_proj_bias", 2, false},
        {"model.layers.0.block_sparse_moe.input_linear.weight", 3, true},
        {"model.layers.0.mlp.experts.down_proj", 1, false},
        {"model.layers.0.mlp.experts.3.down_proj.weight", 2, false},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(hs_stacks_experts(names[i].name, names[i].n_dims), names[i].stacks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_name_is_found),
                                       cmocka_unit_test(stacked_experts_are_known_by_name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
