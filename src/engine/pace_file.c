/*
 * pace_file.c - what was measured of a model's pace on this drive and machine, kept in the state folder: "pace-"
 * identity of the model ".json". It is a hint: what is not whole, or of another drive, kernel, number of threads or
 * build than its key says, is measured anew. No state; any thread, one at a time per model.
 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/state_dir.h"
#include "engine/engine_int.h"
#include "math/mat.h"
#include "store/device.h"
#include "store/disk.h"

#define VERSION  1
#define MAX_FILE 4096u

int hs__pace_place_find(const hs_engine_options *opt, const hs__opened *o, const hs_plan *p, hs__pace_place *ret,
                        hs_err *err)
{
    *ret = (hs__pace_place){0};
    if (!opt->state_dir || !*opt->state_dir)
        return hs_err_set(err, -ENOENT, "there is no state folder");
    char *file = NULL, drive[400];
    uint64_t bytes;
    const uint8_t *identity = hs_source_identity(o->source);
    size_t n = (size_t)snprintf(ret->name, sizeof ret->name, "pace-");
    for (int i = 0; i < 16; i++)
        n += (size_t)snprintf(ret->name + n, sizeof ret->name - n, "%02x", identity[i]);
    snprintf(ret->name + n, sizeof ret->name - n, ".json");
    int r = hs_disk_pick(opt->path, &file, &bytes, err);
    if (r == 0)
        r = hs_device_describe(file, drive, sizeof drive, err);
    snprintf(ret->key, sizeof ret->key, "%s; %s, %u threads; hotset " HOTSET_VERSION, drive, o->kernels->name,
             p->threads);
    hs_free(file);
    if (r == 0 && !(ret->dir = hs_strdup(opt->state_dir)))
        r = hs_err_set(err, -ENOMEM, "out of memory");
    return r;
}

typedef struct field {
    const char *name;
    double *of;
} field;
#define FIELDS 12

/* Of a pace, in seconds and bytes. */
static void list_fields(hs__pace *x, field ret[FIELDS])
{
    const field all[FIELDS] = {{"bytes_per_s", &x->drive.bytes_per_s},
                               {"first_s", &x->drive.first_s},
                               {"expert_s", &x->drive.each_s},
                               {"decoding_expert_s", &x->speed.expand_s},
                               {"token_s", &x->speed.decode_s},
                               {"token_experts_s", &x->speed.decode_experts_s},
                               {"token_shared_experts_s", &x->speed.decode_shared_s},
                               {"cold_token_s", &x->cold.none_s},
                               {"cold_absent_s", &x->cold.absent_s},
                               {"warm_token_s", &x->warm.none_s},
                               {"warm_absent_s", &x->warm.absent_s},
                               {"found_gain", &x->found_gain}};
    memcpy(ret, all, sizeof all);
}

static int parse(const json_t *j, const char *path, const char *key, hs__pace *ret, hs_err *err)
{
    hs__pace x = {0};
    field f[FIELDS];
    int64_t version, slots = 0;
    const char *is = "";
    int r = hs_json_int(j, path, "version", VERSION, VERSION, &version, err);
    if (r == 0)
        r = hs_json_str_or(j, path, "key", "", &is, err);
    if (r == 0 && strcmp(is, key) != 0)
        return hs_err_set(err, -ENOENT, "%s: key: of another drive, machine or build", path);
    list_fields(&x, f);
    for (size_t i = 0; r == 0 && i < FIELDS; i++) {
        r = hs_json_num_or(j, path, f[i].name, 0, f[i].of, err);
        if (r == 0 && *f[i].of < 0)
            r = hs_err_set(err, -EINVAL, "%s: %s: is negative", path, f[i].name);
    }
    if (r == 0)
        r = hs_json_int_or(j, path, "found_slots", 0, UINT32_MAX, 0, &slots, err);
    if (r < 0)
        return r;
    x.found_slots = (uint32_t)slots;
    *ret = x;
    return 0;
}

int hs__pace_load(const hs__pace_place *at, hs__pace *ret, hs_err *err)
{
    json_t *j = NULL;
    char *path = hs_asprintf("%s/%s", at->dir, at->name);
    int r = path ? hs_json_load_file(path, MAX_FILE, &j, err) : hs_err_set(err, -ENOMEM, "out of memory");
    if (r == 0)
        r = parse(j, path, at->key, ret, err);
    json_decref(j);
    hs_free(path);
    return r;
}

int hs__pace_save(const hs__pace_place *at, const hs__pace *pace, hs_err *err)
{
    field f[FIELDS];
    hs__pace x = *pace;
    json_t *j =
        json_pack("{s:i, s:s, s:I}", "version", VERSION, "key", at->key, "found_slots", (json_int_t)pace->found_slots);
    list_fields(&x, f);
    bool is_whole = j != NULL;
    for (size_t i = 0; is_whole && i < FIELDS; i++)
        is_whole = json_object_set_new(j, f[i].name, json_real(*f[i].of)) == 0;
    char *text = is_whole ? json_dumps(j, JSON_INDENT(1)) : NULL;
    int r =
        text ? hs_state_write(at->dir, at->name, text, strlen(text), err) : hs_err_set(err, -ENOMEM, "out of memory");
    hs_free(text);
    json_decref(j);
    return r;
}
