/* verbs.c - the list of verbs, help and version, and dispatch. */
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/completion.h"
#include "cli/manual.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/shapes.h"

const hs_verb *const hs_verbs[] = {
    &hs_verb_serve,    &hs_verb_run,       &hs_verb_ps,      &hs_verb_top,  &hs_verb_pack,
    &hs_verb_unpack,   &hs_verb_verify,    &hs_verb_inspect, &hs_verb_plan, &hs_verb_eval,
    &hs_verb_tokenize, &hs_verb_template,  &hs_verb_bench,   &hs_verb_sim,  &hs_verb_doctor,
    &hs_verb_tune,     &hs_verb_help_text, &hs_verb_version, NULL};

const hs_verb *hs_verb_find(const char *name)
{
    for (size_t i = 0; hs_verbs[i]; i++)
        if (!strcmp(hs_verbs[i]->name, name))
            return hs_verbs[i];
    return NULL;
}

static const char *verb_name(const void *ctx, size_t i)
{
    (void)ctx;
    return hs_verbs[i]->name;
}

void hs_verbs_help(hs_buf *out)
{
    hs_buf_puts(out,
                "hotset " HOTSET_VERSION " serves mixture-of-experts language models that are bigger than memory.\n\n"
                "usage: hotset VERB ...\n\n");
    for (size_t i = 0; hs_verbs[i]; i++)
        hs_buf_printf(out, "  %-9s %s\n", hs_verbs[i]->name, hs_verbs[i]->summary);
    hs_buf_puts(out, "\nhotset VERB --help tells more. Options of the configuration come, in rising precedence, "
                     "from\n" HS_DEFAULT_CONFIG ", HOTSET_SECTION_KEY in the environment, and flags.\n"
                     "Exit status: 0 done, 1 it failed, 2 wrong usage.\n");
}

static int print_help(const hs_verb *verb)
{
    hs_buf b;
    hs_buf_init(&b, 1 << 20);
    if (verb)
        hs_verb_help(verb, &b);
    else
        hs_verbs_help(&b);
    if (b.len)
        fputs(b.data, stdout);
    hs_buf_deinit(&b);
    return 0;
}

static int unknown_verb(const char *name)
{
    size_t n = 0;
    while (hs_verbs[n])
        n++;
    size_t near = hs_nearest(name, verb_name, NULL, n);
    if (near < n)
        hs_say("unknown verb '%s'; did you mean %s?", name, hs_verbs[near]->name);
    else
        hs_say("unknown verb '%s'", name);
    fputs("See hotset help.\n", stderr);
    return 2;
}

static int print_as(const char *form)
{
    static const struct {
        const char *form;
        void (*print)(hs_buf *out);
    } forms[] = {{"man", hs_manual_program},
                 {"man-conf", hs_manual_config},
                 {"bash", hs_completion_bash},
                 {"zsh", hs_completion_zsh},
                 {"fish", hs_completion_fish}};
    hs_buf b;
    hs_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(form, forms[i].form))
            forms[i].print(&b);
    int failed = b.failed;
    if (!failed)
        fputs(b.data, stdout);
    hs_buf_deinit(&b);
    return failed ? 1 : 0;
}

static int run_help(const hs_args *a)
{
    if (hs_args_has(a, "as"))
        return print_as(hs_args_text(a, "as"));
    if (a->n_operands == 0)
        return print_help(NULL);
    const hs_verb *verb = hs_verb_find(a->operands[0]);
    return verb ? print_help(verb) : unknown_verb(a->operands[0]);
}

static const hs_flag help_flags[] = {
    {"as", HS_FLAG_CHOICE, "man|man-conf|bash|zsh|fish", 0, 0,
     "the manual page hotset(1) or hotset.conf(5) in roff, or a script that completes command lines in that shell"},
    HS_FLAGS_END};

const hs_verb hs_verb_help_text = {.name = "help",
                                   .synopsis = "[VERB]",
                                   .summary = "What the verbs are, or how one is used.",
                                   .flags = help_flags,
                                   .max_operands = 1,
                                   .run = run_help};

static int run_version(const hs_args *a)
{
    if (hs_args_has(a, "json"))
        return hs_print_json(json_pack("{s:s}", "version", HOTSET_VERSION));
    puts("hotset " HOTSET_VERSION);
    return 0;
}

static const hs_flag version_flags[] = {HS_FLAG_JSON, HS_FLAGS_END};

const hs_verb hs_verb_version = {.name = "version",
                                 .synopsis = "",
                                 .summary = "The version of this program.",
                                 .flags = version_flags,
                                 .run = run_version};

int hs_verbs_run(int argc, char *const *argv, char *const *env)
{
    if (argc == 0) {
        hs_buf b;
        hs_buf_init(&b, 1 << 20);
        hs_verbs_help(&b);
        fputs(b.len ? b.data : "", stderr);
        hs_buf_deinit(&b);
        return 2;
    }
    if (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))
        return hs_finish_stdout(print_help(NULL));
    if (!strcmp(argv[0], "--version"))
        return hs_verbs_run(1, (char *const[]){(char[]){"version"}, NULL}, env);
    const hs_verb *verb = hs_verb_find(argv[0]);
    if (!verb)
        return unknown_verb(argv[0]);
    hs_args a = {.env = env};
    hs_err err = {0};
    if (hs_args_parse(verb, argc - 1, argv + 1, &a, &err) < 0)
        return hs_fail_usage(verb, "%s", err.text);
    if (!a.help && verb->first && a.n_operands && hs_files_check(a.operands[0], verb->first, &err) < 0)
        return hs_fail(&err);
    return hs_finish_stdout(a.help ? print_help(verb) : verb->run(&a));
}
