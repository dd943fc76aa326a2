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
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_DIRECT);
    int code = fd < 0 ? -errno : 0;
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

static void check_plan(hs_doctor *d, const hs_config *c, const char *path)
{
    hs_engine_options opt;
    hs_server_options server;
    hs_plan p = {0};
    hs_err err = {0};
    char a[32], b[32];
    hs_engine_options_from_config(c, &opt);
    opt.path = path;
    if (hs_server_options_from_config(c, &server, &err) == 0) {
        opt.parallel = server.parallel;
        opt.memory_outside = hs_server_memory_bytes(&server);
    }
    int r = hs_plan_make(&opt, &p, &err);
    hs_format_size(p.total, a, sizeof a);
    hs_format_size(p.recommended, b, sizeof b);
    if (r < 0)
        hs_doctor_add(d, "model", HS_HEALTH_FAIL,
                      r == -ENOMEM ? "hotset plan shows what it needs: more memory, or a smaller model" : NULL, "%s",
                      err.text);
    else if (p.limit < p.recommended)
        hs_doctor_add(d, "model", HS_HEALTH_WARN, "more memory, or fewer other programs",
                      "fits, below what is recommended: %s of %s; %u of %u experts in memory", a, b, p.n_slots,
                      p.n_experts);
    else
        hs_doctor_add(d, "model", HS_HEALTH_OK, NULL, "fits: %s planned, %u of %u experts in memory", a, p.n_slots,
                      p.n_experts);
}

static void check_model(hs_doctor *d, const hs_config *c, const char *path)
{
    char *file = NULL;
    uint64_t bytes = 0;
    hs_err err = {0};
    struct stat st;
    if (hs_disk_pick(path, &file, &bytes, &err) < 0 || stat(file, &st) < 0) {
        hs_doctor_add(d, "model", HS_HEALTH_FAIL, "give the path of a model", "%s", err.text);
    } else {
        hs_doctor_drive(d, file, major(st.st_dev), minor(st.st_dev));
        check_direct(d, file);
        check_calibration(d, c, file, bytes);
        check_plan(d, c, path);
    }
    hs_free(file);
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
        r = hs_server_check_listen(o.listen, &err);
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
    if (a->n_operands && c)
        check_model(d, c, a->operands[0]);
    for (size_t i = 0; c && !a->n_operands && i < hs_config_n_models(c); i++)
        check_model(d, c, hs_config_model_str(c, i, "path") ? hs_config_model_str(c, i, "path") : "");
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
               "Without MODEL those of the configuration are looked at. Changes nothing.",
    .flags = flags,
    .max_operands = 1,
    .run = run_doctor};
