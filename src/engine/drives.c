/*
 * drives.c - the drives that a model's experts lie on, and how fast they are together. Finding them opens the model's
 * tables; joining is pure. Any thread.
 *
 * One copy on several drives (a striped pack, links to files elsewhere) is as fast as the drive that takes longest for
 * its share. An expert that is cut takes the slowest piece; experts that are dealt out whole fall on drives by chance,
 * and a layer waits for the drive that got most: the mean over all ways to fall (multinomial). Whole copies (mirrors)
 * add up, for each sub-read goes where it is done first; but a lone small expert is one sub-read, and gains nothing.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/engine_int.h"

#define MOST_WAVE 64u /* experts that a layer asks for at once */

/* ---- which they are ---- */

typedef struct survey {
    const hs_objects *objects;
    const int *fds;
    uint32_t n_files;   /* of a copy */
    uint64_t *bytes;    /* [n_files] of experts */
    struct stat *files; /* [n_files] of the copy at hand */
} survey;

/* Bytes of experts in each file, and whether one has some on several drives; of the first copy, which is at hand. */
static bool weigh(survey *s)
{
    bool cut = false;
    for (uint32_t i = 0; i < hs_objects_count(s->objects); i++) {
        hs_range ranges[HS_OBJECT_MAX_RANGES];
        uint32_t n = hs_object_ranges(s->objects, i, ranges);
        for (uint32_t k = 0; k < n; k++) {
            s->bytes[ranges[k].file] += ranges[k].len;
            cut = cut || s->files[ranges[k].file].st_dev != s->files[ranges[0].file].st_dev;
        }
    }
    return cut;
}

static int stat_files(const survey *s, uint32_t copy, hs_err *err)
{
    for (uint32_t i = 0; i < s->n_files; i++)
        if (fstat(s->fds[copy * s->n_files + i], &s->files[i]) < 0)
            return hs_err_set(err, -errno, "%s: %s", hs_objects_copy_path(s->objects, copy), hs_strerror(errno));
    return 0;
}

/* The copy's drives, behind those that ret has, unless one of them is there already: then it adds nothing. */
static int add_copy(const survey *s, uint32_t copy, hs_drives *ret, hs_err *err)
{
    uint32_t biggest[HS_MAX_DRIVES], first = ret->n, n = first;
    char path[4096];
    double all = 0;
    for (uint32_t i = 0; i < s->n_files; i++) {
        uint32_t k = 0;
        if (!s->bytes[i])
            continue;
        while (k < n && ret->drive[k].dev != s->files[i].st_dev)
            k++;
        if (k < first)
            return 0;
        if (k == HS_MAX_DRIVES)
            return hs_err_set(err, -E2BIG, "%s: on more than %u drives", hs_objects_copy_path(s->objects, copy), k);
        if (k == n) {
            ret->drive[n++] = (hs_drive_place){.dev = s->files[i].st_dev, .copy = copy};
            biggest[k] = i;
        }
        biggest[k] = s->bytes[i] > s->bytes[biggest[k]] ? i : biggest[k];
        ret->drive[k].share += (double)s->bytes[i];
        all += (double)s->bytes[i];
    }
    for (uint32_t k = first; k < n; k++) {
        ret->drive[k].share /= all;
        hs_file_name(s->fds[copy * s->n_files + biggest[k]], path, sizeof path);
        ret->drive[k].file = hs_strdup(path);
        ret->n = k + 1;
        if (!ret->drive[k].file)
            return hs_err_set(err, -ENOMEM, "out of memory");
    }
    return 0;
}

int hs_drives_find(const hs_engine_options *opt, hs_drives *ret, hs_err *err)
{
    hs__opened o;
    hs_drives d = {0};
    int r = hs__open(opt, &o, err);
    if (r < 0)
        return r;
    uint32_t n, copies = hs_objects_copies(o.objects);
    survey s = {.objects = o.objects, .fds = hs_objects_fds(o.objects, &n)};
    s.n_files = n / copies;
    s.bytes = hs_calloc(s.n_files + 1, sizeof *s.bytes);
    s.files = hs_calloc(s.n_files + 1, sizeof *s.files);
    r = s.bytes && s.files ? stat_files(&s, 0, err) : hs_err_set(err, -ENOMEM, "out of memory");
    if (r == 0)
        d.is_cut = weigh(&s);
    for (uint32_t c = 0; r == 0 && c < copies; c++) {
        r = stat_files(&s, c, err);
        if (r == 0)
            r = add_copy(&s, c, &d, err);
    }
    hs_free(s.bytes);
    hs_free(s.files);
    hs__close(&o);
    if (r < 0)
        hs_drives_deinit(&d);
    else
        *ret = d;
    return r;
}

void hs_drives_deinit(hs_drives *d)
{
    for (uint32_t i = 0; i < d->n; i++)
        hs_free(d->drive[i].file);
    *d = (hs_drives){0};
}

/* ---- how fast they are together ---- */

/* Two points make the line by which waves are told. */
static hs_drive through(double rate, double one_s, double many_s, uint32_t many)
{
    hs_drive d = {.bytes_per_s = rate, .each_s = many > 1 ? (many_s - one_s) / (many - 1) : one_s};
    d.first_s = fmax(one_s - d.each_s, 0);
    return d;
}

/* How likely it is that of n experts drive i gets at most limit[i], for each of them. */
static double within(const hs_drives *d, uint32_t from, uint32_t to, uint32_t n, const uint32_t *limit)
{
    double chance[MOST_WAVE + 1] = {1}; /* of k experts on the drives so far, times k! */
    for (uint32_t i = from; i < to; i++) {
        for (uint32_t k = n + 1; k-- > 0;) {
            double sum = 0, term = 1; /* share ^ j / j! */
            for (uint32_t j = 0; j <= k && j <= limit[i - from]; j++) {
                sum += term * chance[k - j];
                term *= d->drive[i].share / (j + 1);
            }
            chance[k] = sum;
        }
    }
    double times = 1;
    for (uint32_t k = 2; k <= n; k++)
        times *= k;
    return chance[n] * times;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Mean of the slowest drive's time for n experts dealt out by share. */
static double dealt_seconds(const hs_drives *d, uint32_t from, uint32_t to, uint32_t n, const hs_drive *of)
{
    double at[HS_MAX_DRIVES * MOST_WAVE], mean = 0, below = 0;
    size_t m = 0;
    for (uint32_t i = from; i < to; i++)
        for (uint32_t j = 1; j <= n; j++)
            at[m++] = of[i].first_s + j * of[i].each_s;
    qsort(at, m, sizeof *at, by_size);
    for (size_t a = 0; a < m; a++) {
        uint32_t limit[HS_MAX_DRIVES];
        for (uint32_t i = from; i < to; i++) {
            double most = of[i].each_s > 0 ? (at[a] - of[i].first_s) / of[i].each_s + 1e-9 : n;
            limit[i - from] = most < 0 ? 0 : most > n ? n : (uint32_t)most;
        }
        double chance = within(d, from, to, n, limit);
        mean += at[a] * (chance - below);
        below = chance;
    }
    return mean;
}

/* One copy, which lies on drives [from, to). */
static hs_drive join_stripe(const hs_drives *d, uint32_t from, uint32_t to, uint32_t wave, const hs_drive *of)
{
    hs_drive x = of[from];
    double one = 0;
    if (to - from == 1)
        return x;
    x = (hs_drive){.bytes_per_s = INFINITY};
    for (uint32_t i = from; i < to; i++) {
        double share = d->drive[i].share;
        x.bytes_per_s = fmin(x.bytes_per_s, of[i].bytes_per_s / share);
        x.first_s = fmax(x.first_s, of[i].first_s);
        x.each_s = fmax(x.each_s, share * of[i].each_s);
        one += share * (of[i].first_s + of[i].each_s);
    }
    return d->is_cut ? x : through(x.bytes_per_s, one, dealt_seconds(d, from, to, wave, of), wave);
}

/* n experts of so many sub-reads each, which go one by one to the copy that is done first. */
static double spread_seconds(const hs_drive *copy, uint32_t n_copies, uint32_t n, uint32_t pieces)
{
    double done[HS_MAX_DRIVES], last = 0;
    for (uint32_t i = 0; i < n_copies; i++)
        done[i] = copy[i].first_s;
    for (uint32_t k = 0; k < n * pieces; k++) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < n_copies; i++)
            if (done[i] + copy[i].each_s / pieces < done[best] + copy[best].each_s / pieces)
                best = i;
        done[best] += copy[best].each_s / pieces;
        last = fmax(last, done[best]);
    }
    return last;
}

hs_drive hs_drives_join(const hs_plan *p, const hs_drives *d, uint64_t read_size, const hs_drive *of)
{
    hs_drive copy[HS_MAX_DRIVES];
    uint32_t n = 0, k = p->moe_layers ? p->token_cycle / p->moe_layers : 1;
    uint64_t bytes = p->token_cycle ? p->bytes_per_token_cold / p->token_cycle : 0;
    uint32_t wave = k < 2 ? 2 : k < MOST_WAVE ? k : MOST_WAVE;
    double rate = 0;
    for (uint32_t from = 0, to; from < d->n; from = to) {
        for (to = from; to < d->n && d->drive[to].copy == d->drive[from].copy;)
            to++;
        copy[n] = join_stripe(d, from, to, wave, of);
        rate += copy[n++].bytes_per_s;
    }
    if (n == 1)
        return copy[0];
    uint64_t pieces = read_size && bytes > read_size ? (bytes + read_size - 1) / read_size : 1;
    pieces = pieces < 64 ? pieces : 64;
    return through(rate, spread_seconds(copy, n, 1, (uint32_t)pieces), spread_seconds(copy, n, wave, (uint32_t)pieces),
                   wave);
}
