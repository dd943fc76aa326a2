/*
 * heat_file.c - the file of one profile's uses in the state folder: "heat-" identity of the model "-" profile.
 *
 * struct header, uses[n_layers * n_experts], a checksum of both; little endian. It is a hint: one that is not whole, or
 * not of this model, is left alone with a warning, and written anew when the profile has been used. No state.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/state_dir.h"
#include "engine/engine_int.h"
#include "engine/heat.h"

#define MAGIC "hotheat1"

typedef struct header {
    char magic[8];
    uint8_t identity[16];
    uint32_t n_layers, n_experts;
} header;
_Static_assert(sizeof(header) == 32, "the file's layout");

/* FNV-1a, 64 bit. */
static uint64_t checksum(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

size_t hs__heat_file_bytes(uint32_t n_layers, uint32_t n_experts)
{
    return sizeof(header) + (size_t)n_layers * n_experts * sizeof(uint32_t) + sizeof(uint64_t);
}

int hs__heat_parse(const void *data, size_t len, const uint8_t identity[16], uint32_t n_layers, uint32_t n_experts,
                   uint32_t *ret_uses, hs_err *err)
{
    header h;
    uint64_t sum, body = hs__heat_file_bytes(n_layers, n_experts) - sizeof sum;
    if (len < sizeof h || memcmp(data, MAGIC, 8) != 0)
        return hs_err_set(err, -EBADMSG, "not a file of expert uses of this version");
    memcpy(&h, data, sizeof h);
    if (memcmp(h.identity, identity, 16) != 0 || h.n_layers != n_layers || h.n_experts != n_experts)
        return hs_err_set(err, -EBADMSG, "of another model: %u layers of %u experts", h.n_layers, h.n_experts);
    if (len != body + sizeof sum)
        return hs_err_set(err, -EBADMSG, "%zu bytes instead of %" PRIu64, len, body + sizeof sum);
    memcpy(&sum, (const uint8_t *)data + body, sizeof sum);
    if (sum != checksum(data, body))
        return hs_err_set(err, -EBADMSG, "damaged: its checksum is wrong");
    memcpy(ret_uses, (const uint8_t *)data + sizeof h, body - sizeof h);
    return 0;
}

void hs__heat_seal(void *data, const uint8_t identity[16], uint32_t n_layers, uint32_t n_experts)
{
    size_t body = hs__heat_file_bytes(n_layers, n_experts) - sizeof(uint64_t);
    header h = {.n_layers = n_layers, .n_experts = n_experts};
    memcpy(h.magic, MAGIC, 8);
    memcpy(h.identity, identity, 16);
    memcpy(data, &h, sizeof h);
    uint64_t sum = checksum(data, body);
    memcpy((uint8_t *)data + body, &sum, sizeof sum);
}

uint32_t *hs__heat_uses(void *data)
{
    return (uint32_t *)(void *)((uint8_t *)data + sizeof(header));
}

int hs__profile_check(const char *name, hs_err *err)
{
    size_t n = strlen(name), good = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                                 "0123456789-_");
    if (n < 1 || n > HS_PROFILE_NAME || good != n)
        return hs_err_set(err, -EINVAL, "expert_profile: '%.60s' is not 1 to %d letters, digits, - or _", name,
                          HS_PROFILE_NAME);
    return 0;
}

void hs__heat_file_prefix(const uint8_t identity[16], char ret[HS__HEAT_PREFIX])
{
    size_t n = (size_t)snprintf(ret, HS__HEAT_PREFIX, "heat-");
    for (int i = 0; i < 16; i++)
        n += (size_t)snprintf(ret + n, HS__HEAT_PREFIX - n, "%02x", identity[i]);
    snprintf(ret + n, HS__HEAT_PREFIX - n, "-");
}

int hs__heat_file_read(const char *dir, const char *name, const uint8_t identity[16], uint32_t n_layers,
                       uint32_t n_experts, uint32_t *ret_uses)
{
    char *data = NULL, *path = hs_asprintf("%s/%s", dir, name);
    size_t len = 0;
    hs_err err = {0};
    int r = path && hs_file_exists(path)
                ? hs_file_read(path, hs__heat_file_bytes(n_layers, n_experts), &data, &len, &err)
                : -ENOENT;
    if (r == 0) {
        r = hs__heat_parse(data, len, identity, n_layers, n_experts, ret_uses, &err);
        if (r < 0)
            hs_err_prefix(&err, "%s", path);
    }
    if (r < 0 && r != -ENOENT)
        hs_warn("%s; which experts were used is not known", err.text);
    hs_free(data);
    hs_free(path);
    return r;
}

uint32_t hs__heat_file_list(const char *dir, const char *prefix, char (*ret_names)[HS_PROFILE_NAME + 1], uint32_t max)
{
    uint32_t n = 0, left = 0;
    size_t len = strlen(prefix);
    DIR *d = opendir(dir);
    for (const struct dirent *f; d && (f = readdir(d));) {
        hs_err ignored = {0};
        if (strncmp(f->d_name, prefix, len) != 0 || hs__profile_check(f->d_name + len, &ignored) < 0)
            continue;
        if (n < max)
            snprintf(ret_names[n++], HS_PROFILE_NAME + 1, "%s", f->d_name + len);
        else
            left++;
    }
    if (d)
        closedir(d);
    if (left)
        hs_warn("%s: %u of the files %s* are left alone: a model has at most %d expert profiles", dir, left, prefix,
                HS_MAX_PROFILES);
    return n;
}
