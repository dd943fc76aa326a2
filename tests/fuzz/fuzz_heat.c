/* rooms: engine, max_len: 512 */
/*
 * fuzz_heat.c - a file of expert uses in the state folder. The first byte chooses the model's shape and whether the
 * rest is the file as it is, or what is to be made one of this model with the right checksum. Whatever it is, the model
 * comes up; what is taken over is in order and within its bounds, of a second profile with the same file, too; what is
 * written afterwards is read again as that. And the bytes as the name of a profile: refused, or a profile of its own.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/heat.h"
#include "scratch.h"
#include "store/store_int.h"

#define MOST        64u /* experts of all layers */
#define HEAD        32u /* magic, identity, layers, experts */
#define MOST_TOKENS 8192u

static const struct {
    uint32_t layers, experts, top_k;
} shapes[] = {{1, 1, 1}, {3, 4, 2}, {2, 32, 6}, {16, 4, 4}};

static hs_source source = {.identity = "0123456789abcde"};
static uint8_t file[1024];
static uint32_t uses[MOST];

static uint64_t fnv(const uint8_t *p, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

/* The bytes as the uses of a whole file; its length. */
static size_t seal(const uint8_t *data, size_t size, uint32_t layers, uint32_t experts)
{
    size_t body = HEAD + (size_t)layers * experts * 4;
    memset(file, 0, sizeof file);
    memcpy(file, "hotheat1", 8);
    memcpy(file + 8, source.identity, 16);
    memcpy(file + 24, &layers, 4);
    memcpy(file + 28, &experts, 4);
    memcpy(file + HEAD, data, size < body - HEAD ? size : body - HEAD);
    uint64_t sum = fnv(file, body);
    memcpy(file + body, &sum, 8);
    return body + 8;
}

/* Refused with a sentence and nothing read, or accepted as the only file that has these uses. True: accepted. */
static bool parse(size_t len, uint32_t layers, uint32_t experts)
{
    static uint8_t is[sizeof file];
    hs_err err = {0};
    memcpy(is, file, len);
    memset(uses, 0xee, sizeof uses);
    int r = hs__heat_parse(is, len, source.identity, layers, experts, uses, &err);
    FUZZ_CHECK(r == 0 || (r == -EBADMSG && *err.text));
    for (uint32_t i = r < 0 ? 0 : layers * experts; i < MOST; i++)
        FUZZ_CHECK(uses[i] == 0xeeeeeeee);
    if (r < 0)
        return false;
    static uint32_t own[MOST];
    memcpy(own, uses, sizeof own);
    FUZZ_CHECK(seal((const uint8_t *)own, (size_t)layers * experts * 4, layers, experts) == len);
    FUZZ_CHECK(!memcmp(file, is, len));
    return true;
}

static hs__heat *create(const hs_engine_options *opt, const hs__opened *o)
{
    hs__heat *h = NULL;
    hs_err err = {0};
    FUZZ_CHECK(hs__heat_create(opt, o, &h, &err) == 0 && h);
    return h;
}

/* Most used first, each once; their sum. */
static uint64_t check_order(const hs__heat *h, uint32_t n)
{
    const uint32_t *objects, *of;
    uint32_t tokens, known = hs__heat_order(h, &objects, &of, &tokens);
    uint64_t sum = 0;
    bool seen[MOST] = {0};
    FUZZ_CHECK(known <= n && tokens <= MOST_TOKENS && (tokens || !known));
    for (uint32_t i = 0; i < known; i++) {
        FUZZ_CHECK(objects[i] < n && !seen[objects[i]] && of[i] > 0 && (i == 0 || of[i] <= of[i - 1]));
        seen[objects[i]] = true;
        sum += of[i];
    }
    return sum;
}

/* What is kept of `uses`: all, or, where they are of more tokens, what that many would have used at most. */
static bool is_aged(uint64_t sum, uint32_t s)
{
    uint64_t all = 0, most = 0;
    for (uint32_t l = 0; l < shapes[s].layers; l++) {
        uint64_t of_layer = 0;
        for (uint32_t x = 0; x < shapes[s].experts; x++)
            of_layer += uses[l * shapes[s].experts + x];
        all += of_layer;
        most = of_layer > most ? of_layer : most;
    }
    if (most / shapes[s].top_k <= MOST_TOKENS)
        return sum == all;
    return sum <= (uint64_t)MOST_TOKENS * shapes[s].top_k * shapes[s].layers + shapes[s].layers * shapes[s].top_k;
}

/* What is kept, into `file`; its length, 0 if there is none. */
static size_t kept(const char *name)
{
    FILE *f = fopen(scratch_file(name), "rb");
    size_t n = f ? fread(file, 1, sizeof file, f) : 0;
    if (f)
        fclose(f);
    return n;
}

/* The bytes as a name. */
static void check_name(hs__heat *h, const uint8_t *data, size_t size)
{
    char name[100] = "";
    hs_err err = {0};
    uint32_t i = 99, again = 99;
    memcpy(name, data, size < sizeof name - 1 ? size : sizeof name - 1);
    int r = hs__heat_profile(h, name, &i, &err);
    FUZZ_CHECK(r == 0 ? i < 3 : r == -EINVAL && *err.text && i == 99);
    if (r < 0)
        return;
    FUZZ_CHECK(strlen(name) <= HS_PROFILE_NAME && !strpbrk(name, "/. %"));
    FUZZ_CHECK(hs__heat_profile(h, name, &again, &err) == 0 && again == i);
    FUZZ_CHECK((i < 2) == (!strcmp(name, "p") || !strcmp(name, "q")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char name[] = "heat-30313233343536373839616263646500-p";
    static const char other[] = "heat-30313233343536373839616263646500-q";
    if (size < 1 || size > 512)
        return 0;
    scratch_begin();
    hs_log_setup(HS_LOG_ERROR, HS_LOG_TEXT); /* a bad file is a warning */
    uint32_t s = data[0] / 2 % 4, n = shapes[s].layers * shapes[s].experts;
    uint32_t numbers[16];
    for (uint32_t i = 0; i < 16; i++)
        numbers[i] = i + 1; /* layer 0 has no experts */
    hs_model_spec spec = {.n_layers = 17,
                          .n_moe_layers = shapes[s].layers,
                          .n_experts = shapes[s].experts,
                          .top_k = shapes[s].top_k,
                          .moe_layer_number = numbers};
    hs__opened o = {.source = &source, .spec = &spec};
    hs_engine_options opt = {.profile = "p", .state_dir = scratch_path};
    size_t len = size - 1;
    if (data[0] & 1)
        len = seal(data + 1, size - 1, shapes[s].layers, shapes[s].experts);
    else
        memcpy(file, data + 1, len);
    scratch_write(name, file, len, len);
    scratch_write(other, file, len, len);
    bool good = parse(len, shapes[s].layers, shapes[s].experts);
    FUZZ_CHECK(good || !(data[0] & 1));

    hs_err err = {0};
    hs__heat *h = create(&opt, &o);
    uint64_t sum = check_order(h, n);
    FUZZ_CHECK(good || !sum);
    FUZZ_CHECK(!good || is_aged(sum, s));
    FUZZ_CHECK(sum == 0 || hs__heat_enter(h, 1));
    FUZZ_CHECK(check_order(h, n) <= sum + n); /* rounded to fewer tokens */
    check_name(h, data + 1, size - 1);
    FUZZ_CHECK(hs__heat_save(h, &err) == 0);
    FUZZ_CHECK(kept(name) == len); /* nothing was used: it stays as it is */
    uint32_t expert = (uint32_t)size % shapes[s].experts;
    hs__heat_use(h, 0, 1, &expert, 1);
    FUZZ_CHECK(hs__heat_save(h, &err) == 0);
    hs__heat_destroy(&h);
    len = kept(name);
    uint64_t again = 0;
    FUZZ_CHECK(parse(len, shapes[s].layers, shapes[s].experts) && uses[expert] > 0);
    for (uint32_t i = 0; i < n; i++)
        again += uses[i];
    FUZZ_CHECK(again == sum + 1);
    unlink(scratch_file(name));
    unlink(scratch_file(other));
    return 0;
}
