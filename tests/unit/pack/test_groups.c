/* labels: unit */
/* Which names are experts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "pack/pack_int.h"

static void experts_of_all_families(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t layer, expert, matrix;
        bool is_scale;
    } good[] = {
        {"model.layers.3.mlp.experts.255.gate_proj.weight", 3, 255, 0, false},
        {"model.layers.60.mlp.experts.0.up_proj.weight_scale_inv", 60, 0, 1, true},
        {"model.layers.0.mlp.experts.7.down_proj.weight", 0, 7, 2, false},
        {"model.layers.12.block_sparse_moe.experts.5.w1.weight", 12, 5, 0, false},
        {"model.layers.12.block_sparse_moe.experts.5.w3.weight", 12, 5, 1, false},
        {"model.layers.12.block_sparse_moe.experts.5.w2.weight", 12, 5, 2, false},
        {"layers.1.ffn.experts.2.w2.scale", 1, 2, 2, true},
        {"model.layers.1.mlp.experts.2.gate_proj.weight_packed", 1, 2, 0, false},
        {"model.layers.1.mlp.experts.2.other.weight", 1, 2, 3, false},
        {"blk.7.ffn_gate_exps.weight.12", 7, 12, 0, false},
        {"blk.0.ffn_up_exps.weight.0", 0, 0, 1, false},
        {"blk.60.ffn_down_exps.weight.255", 60, 255, 2, false},
        {"blk.1.ffn_gate_up_exps.weight.3", 1, 3, 0, false},
        {"blk.3.ffn_down.7.weight", 3, 7, 2, false},
        {"model.layers.35.mlp.experts.gate_up_proj_blocks.127", 35, 127, 0, false},
        {"model.layers.35.mlp.experts.down_proj_scales.0", 35, 0, 2, true},
        {"model.layers.0.mlp.experts.gate_up_proj.9", 0, 9, 0, false},
        {"model.layers.2.block_sparse_moe.output_linear.weight.1", 2, 1, 2, false},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        hs__pk_expert_name x = {0};
        if (!hs__pk_parse_expert(good[i].name, &x))
            fail_msg("%s", good[i].name);
        assert_int_equal(x.layer, good[i].layer);
        assert_int_equal(x.expert, good[i].expert);
        assert_int_equal(x.matrix, good[i].matrix);
        assert_int_equal(x.is_scale, good[i].is_scale);
        char want[40];
        if (*good[i].name == 'b')
            snprintf(want, sizeof want, "ffn_");
        else if (!strstr(good[i].name, "experts.") || strstr(good[i].name, "mlp.experts.gate_up") ||
                 strstr(good[i].name, "mlp.experts.down"))
            *want = 0; /* stacks begin behind the layer */
        else
            snprintf(want, sizeof want, "experts.%u", good[i].expert);
        assert_memory_equal(good[i].name + x.prefix, want, strlen(want));
    }
}

static void everything_else_is_dense(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        ".",
        "..",
        "model.embed_tokens.weight",
        "model.layers.3.mlp.gate.weight",
        "model.layers.3.mlp.shared_experts.gate_proj.weight",
        "model.layers.3.mlp.experts.gate_up_proj",
        "model.layers.3.mlp.experts.01.gate_proj.weight",
        "model.layers.3.mlp.experts.4",
        "model.layers.3.mlp.experts.4.",
        "model.layers.x.mlp.experts.4.w1.weight",
        "experts.4.w1.weight",
        "blk.3.ffn_gate_exps.weight",
        "blk.3.ffn_gate_exps.7",
        "blk.3.ffn_gate_exps.bias",
        "blk.3.ffn_gate_exps.weight.07",
        "blk.x.ffn_gate_exps.weight.7",
        "blk.3.ffn_gate.weight",
        "blk.3.ffn_gate.7.bias",
        "blk.3.ffn_norm.7.weight",
        "model.layers.3.mlp.experts.gate_up_proj_bias",
        "model.layers.3.mlp.experts.gate_up_proj_bias.3",
        "mylayers.3.mlp.experts.down_proj.1",
        "model.layers.3",
        "blk.3.ffn_norm_exps.weight.7",
        "model.layers.3.mlp.experts.99999999999.w1.weight",
        "model.layers.3.mlp.experts.-1.w1.weight",
        "model.layers.2147483648.mlp.experts.1.w1.weight",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hs__pk_expert_name x;
        if (hs__pk_parse_expert(bad[i], &x))
            fail_msg("%s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(experts_of_all_families),
        cmocka_unit_test(everything_else_is_dense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
