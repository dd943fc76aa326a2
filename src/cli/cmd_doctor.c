/* cmd_doctor.c - looks at machine, configuration and model, and says what is wrong and what to do. Changes nothing. */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/option.h"
#include "cli/doctor.h"
#include "cli/options.h"
#include "cli/planned.h"
#include "cli/shapes.h"
#include "cli/verbs.h"
#include "engine/memory.h"
#include "math/mat.h"
#include "server/server.h"
#include "store/calibrate.h"

static int try_io_uring(void)
{
    struct io_uring_params p = {0};
    long fd = syscall(__NR_io_uring_setup, 1u, &p);
    if (fd < 0)
        return -errno;
    close((int)fd);
    return 0;
}

static void check_processor(hs_doctor *d, const hs_config *c)
{
    hs_kernel_set set;
    hs_err err = {0};
    const hs_kernels *k = NULL;
    if (hs_kernel_set_parse(c ? hs_config_str(c, "compute", "kernels") : "auto", &set) == 0)
        k = hs_kernels_get(set, &err);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (!k)
        hs_doctor_add(d, "processor", HS_HEALTH_FAIL, "compute.kernels = auto", "%s", err.text);
    else if (!strcmp(k->name, "generic"))
        hs_doctor_add(d, "processor", HS_HEALTH_WARN, "a processor with AVX2, or compute.kernels = auto",
                      "%ld processors, generic kernels: slow", n);
    else
        hs_doctor_add(d, "processor", HS_HEALTH_OK, NULL, "%ld processors, %s kernels", n, k->name);
}

static void check_memory(hs_doctor *d)
{
    hs__memory m;
    char a[32], b[32];
    hs__memory_look("", &m);
    if (m.budget == UINT64_MAX) {
        hs_doctor_add(d, "memory", HS_HEALTH_WARN, "set memory.limit", "neither machine nor control group tell it");
        return;
    }
    uint64_t limit = hs__memory_auto_limit(m.budget);
    bool little = limit < 1ull << 30;
    hs_doctor_add(d, "memory", little ? HS_HEALTH_WARN : HS_HEALTH_OK, little ? "free some, or raise MemoryMax" : NULL,
                  "%s free by machine and control groups; memory.limit = auto is %s",
                  hs_format_size(m.budget, a, sizeof a), hs_format_size(limit, b, sizeof b));
}

static void check_machine(hs_doctor *d, const hs_config *c)
{
    struct utsname u = {0};
    struct rlimit lock;
    uname(&u);
    hs_doctor_kernel(d, u.release);
    hs_doctor_io_uring(d, try_io_uring());
    if (getrlimit(RLIMIT_MEMLOCK, &lock) == 0)
        hs_doctor_memlock(d, lock.rlim_cur == RLIM_INFINITY ? UINT64_MAX : lock.rlim_cur);
    check_processor(d, c);
    check_memory(d);
    hs_doctor_pressure(d);
    hs_doctor_huge_pages(d);
    hs_doctor_swap(d);
}

static void check_direct(hs_doctor *d, const char *file)
{
    static _Alignas(4096) char page[4096];
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_DIRECT);
    int code = fd < 0 || pread(fd, page, sizeof page, 0) < 0 ? -errno : 0; /* some refuse only when it is read */
    if (fd >= 0)
        close(fd);
    if (code == -EINVAL)
        hs_doctor_add(d, "O_DIRECT", HS_HEALTH_WARN, "put the model on ext4, XFS or btrfs",
                      "this filesystem refuses it: reads go through the page cache");
    else if (code < 0)
        hs_doctor_add(d, "O_DIRECT", HS_HEALTH_FAIL, "let this user read the model", "%s: %s", file, hs_strerror(code));
    else
        hs_doctor_add(d, "O_DIRECT", HS_HEALTH_OK, NULL, "allowed");
}

static void check_calibration(hs_doctor *d, const hs_config *c, const char *file, uint64_t bytes)
{
    hs_io_choice choice;
    hs_err err = {0};
    char a[32];
    const char *dir = hs_config_str(c, "state", "dir");
    int r = *dir ? hs_calibration_load(dir, file, &choice, &err) : -ENOENT;
    if (r == 0)
        hs_doctor_add(d, "calibration", HS_HEALTH_OK, NULL, "kept: random reads at %s/s",
                      hs_format_size((uint64_t)choice.bytes_per_s, a, sizeof a));
    else if (r != -ENOENT)
        hs_doctor_add(d, "calibration", HS_HEALTH_WARN, "hotset bench --disk PATH measures anew", "%s", err.text);
    else if (bytes < HS_CALIBRATE_MIN_BYTES)
        hs_doctor_add(d, "calibration", HS_HEALTH_OK, NULL, "not needed for a model as small as this");
    else
        hs_doctor_add(d, "calibration", HS_HEALTH_OK, NULL, "none yet: hotset serve makes it at its first start");
}

/* name: of its section, or NULL. */
static void say_plan(hs_doctor *d, const char *name, int r, const hs_plan *p, const hs_err *err)
{
    char a[32], b[32], who[80] = "";
    if (name)
        snprintf(who, sizeof who, "%s: ", name);
    hs_format_size(p->total - p->outside, a, sizeof a);
    hs_format_size(p->recommended - p->outside, b, sizeof b);
    if (r < 0)
        hs_doctor_add(d, "model", HS_HEALTH_FAIL,
                      r == -ENOMEM ? "hotset plan shows what it needs: more memory, or a smaller model" : NULL, "%s",
                      err->text);
    else if (p->limit < p->recommended)
        hs_doctor_add(d, "model", HS_HEALTH_WARN, "more memory, or fewer other programs",
                      "%sfits, below what is recommended: %s of %s; %u of %u experts in memory", who, a, b, p->n_slots,
                      p->n_experts);
    else
        hs_doctor_add(d, "model", HS_HEALTH_OK, NULL, "%sfits: %s planned, %u of %u experts in memory", who, a,
                      p->n_slots, p->n_experts);
}

/* Each drive that it lies on. False if there is no model there. */
static bool check_files(hs_doctor *d, const hs_config *c, const char *path)
{
    hs_disk_file on[HS_IO_MAX_DRIVES];
    hs_err err = {0};
    int n = hs_disk_pick_each(path, on, HS_IO_MAX_DRIVES, &err);
    if (n < 0)
        hs_doctor_add(d, "model", HS_HEALTH_FAIL, "give the path of a model", "%s", err.text);
    for (int i = 0; i < n; i++) {
        hs_doctor_drive(d, on[i].file, major(on[i].dev), minor(on[i].dev));
        check_direct(d, on[i].file);
        check_calibration(d, c, on[i].file, on[i].bytes);
        hs_free(on[i].file);
    }
    return n > 0;
}

/* A model that the configuration does not name: as if hotset serve were given it alone. */
static void check_alone(hs_doctor *d, const hs_config *c, const hs_server_options *so, const char *path)
{
    hs_engine_options opt;
    hs_plan p = {0};
    hs_err err = {0};
    if (!check_files(d, c, path))
        return;
    hs_engine_options_from_config(c, &opt);
    opt.path = path;
    opt.parallel = so->parallel;
    opt.memory_outside = hs_server_memory_bytes(so);
    int r = hs_plan_make(&opt, &p, &err);
    say_plan(d, NULL, r, &p, &err);
}

/* The configuration's models, which hotset serve loads together; only one of them is told of if `only` is not NULL. */
static void check_together(hs_doctor *d, const hs_config *c, const hs_server_options *so, const hs_planned *only,
                           hs_planned *m, size_t n)
{
    hs_err err = {0};
    size_t at = n;
    int r = hs_planned_make(m, n, hs_server_memory_bytes(so), &at, &err);
    for (size_t i = 0; i < n; i++) {
        if ((only && &m[i] != only) || !check_files(d, c, m[i].options.path))
            continue;
        if (m[i].is_planned || i == at)
            say_plan(d, m[i].name, m[i].is_planned ? 0 : r, &m[i].plan, &err);
        else
            hs_doctor_add(d, "model", HS_HEALTH_WARN, NULL, "%s: not planned, because %s does not fit", m[i].name,
                          m[at].name);
    }
}

/* path: of one of the configuration, or of another; NULL = all of the configuration. */
static void check_models(hs_doctor *d, const hs_config *c, const char *path)
{
    size_t n = hs_config_n_models(c);
    hs_planned *m = hs_calloc(n ? n : 1, sizeof *m), *only = NULL;
    hs_server_options so;
    hs_err err = {0};
    if (hs_server_options_from_config(c, &so, &err) < 0) { /* said of the configuration */
        hs_free(m);
        return;
    }
    int r = m ? hs_planned_describe(c, &so, m, &err) : hs_err_set(&err, -ENOMEM, "out of memory");
    if (r == 0 && n > HS_SERVER_MAX_MODELS)
        r = hs_err_set(&err, -E2BIG, "%zu models; at most %d are possible", n, HS_SERVER_MAX_MODELS);
    for (size_t i = 0; r == 0 && path && i < n; i++)
        only = strcmp(path, m[i].options.path) ? only : &m[i];
    if (path && !only)
        check_alone(d, c, &so, path);
    else if (r < 0)
        hs_doctor_add(d, "model", HS_HEALTH_FAIL, "correct the [model NAME] sections", "%s", err.text);
    else
        check_together(d, c, &so, only, m, n);
    hs_free(m);
}

static void check_config(hs_doctor *d, const hs_config *c, const char *why)
{
    hs_server_options o;
    hs_err err = {0};
    if (!c) {
        hs_doctor_add(d, "config", HS_HEALTH_FAIL, "config/hotset.conf and man hotset.conf list every option", "%s",
                      why);
        return;
    }
    int r = hs_server_options_from_config(c, &o, &err);
    if (r == 0)
        r = hs_server_check(&o, NULL, 0, &err);
    if (r < 0)
        hs_doctor_add(d, "config", HS_HEALTH_FAIL, "correct that option", "%s", err.text);
    else
        hs_doctor_add(d, "config", HS_HEALTH_OK, NULL, "valid; %zu models in it", hs_config_n_models(c));
    hs_doctor_state_dir(d, hs_config_str(c, "state", "dir"));
}

static int run_doctor(const hs_args *a)
{
    hs_config *c = NULL;
    hs_err err = {0};
    hs_doctor *d = hs_calloc(1, sizeof *d);
    if (!d)
        return hs_fail(&(hs_err){.text = "out of memory"});
    d->root = "";
    if (hs_reread_config(a, &c, &err) < 0)
        c = NULL;
    check_machine(d, c);
    check_config(d, c, err.text);
    if (c)
        check_models(d, c, a->n_operands ? a->operands[0] : NULL);
    int status = hs_doctor_count(d, HS_HEALTH_FAIL) > 0;
    if (hs_args_has(a, "json")) {
        status |= hs_print_json(hs_doctor_json(d));
    } else {
        hs_buf b;
        hs_buf_init(&b, 1 << 16);
        hs_doctor_format(d, &b);
        fputs(b.len ? b.data : "", stdout);
        hs_buf_deinit(&b);
    }
    hs_config_destroy(&c);
    hs_free(d);
    return status;
}

static const hs_flag flags[] = {HS_FLAGS_CONFIG, HS_FLAG_JSON, HS_FLAGS_END};

const hs_verb hs_verb_doctor = {
    .name = "doctor",
    .synopsis = "[MODEL]",
    .summary = "What is wrong with machine, configuration or model, and what to do.",
    .details = "Each line says OK, WARN (it works, but slower) or FAIL (it does not); exit status 1 if any says FAIL. "
               "Without MODEL those of the configuration are looked at, as hotset serve would load them together. "
               "Changes nothing.",
    .flags = flags,
    .max_operands = 1,
    .first = HS_NEEDED_MODEL,
    .run = run_doctor};
