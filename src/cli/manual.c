/* manual.c - the manual pages. Only what the tables cannot say is written here. Pure. */
#include "cli/manual.h"

#include <string.h>

#include "cli/options.h"
#include "cli/verbs.h"

/* Running text as roff: "-" is the character that is typed, blank lines begin a paragraph, nothing is a request. */
static void put_text(hs_buf *out, const char *text)
{
    for (bool line_begins = true; *text; text++) {
        if (text[0] == '\n' && text[1] == '\n') {
            hs_buf_puts(out, "\n.PP\n");
            text++;
            line_begins = true;
            continue;
        }
        if (line_begins && (*text == '.' || *text == '\''))
            hs_buf_puts(out, "\\&");
        if (*text == '\\')
            hs_buf_puts(out, "\\e");
        else if (*text == '-')
            hs_buf_puts(out, "\\-");
        else if (*text == '|')
            hs_buf_puts(out, "|\\:"); /* a long list of choices may be broken there */
        else
            hs_buf_append(out, text, 1);
        line_begins = *text == '\n';
    }
}

static void put_line(hs_buf *out, const char *text)
{
    put_text(out, text);
    hs_buf_puts(out, "\n");
}

static void put_header(hs_buf *out, const char *name, int section, const char *manual, const char *purpose)
{
    hs_buf_printf(out, ".TH %s %d \"\" \"hotset %s\" \"%s\"\n.SH NAME\n%s \\- %s\n", name, section, HOTSET_VERSION,
                  manual, name, purpose);
}

/* word in bold, then, if there is one, value in italics. */
static void put_term(hs_buf *out, const char *before, const char *word, const char *value)
{
    hs_buf_puts(out, ".TP\n\\fB");
    put_text(out, before);
    put_text(out, word);
    hs_buf_puts(out, "\\fR");
    if (value) {
        hs_buf_puts(out, " \\fI");
        put_text(out, value);
        hs_buf_puts(out, "\\fR");
    }
}

static void put_verb(hs_buf *out, const hs_verb *verb)
{
    hs_buf_printf(out, ".SS hotset %s ", verb->name);
    put_text(out, verb->synopsis);
    hs_buf_puts(out, *verb->synopsis ? " [flags]\n" : "[flags]\n");
    put_line(out, verb->summary);
    if (verb->details) {
        hs_buf_puts(out, ".PP\n");
        put_line(out, verb->details);
    }
    for (const hs_flag *f = verb->flags; f && f->name; f++) {
        put_term(out, "--", f->name, f->type == HS_FLAG_SWITCH ? NULL : f->value);
        hs_buf_puts(out, f->type == HS_FLAG_LIST ? " (repeatable)\n" : "\n");
        put_line(out, f->help);
    }
}

void hs_manual_program(hs_buf *out)
{
    put_header(out, "hotset", 1, "User Commands", "serves mixture\\-of\\-experts language models bigger than memory");
    hs_buf_puts(out, ".SH SYNOPSIS\n.B hotset\n.I VERB\n[operands] [flags]\n.SH DESCRIPTION\n");
    put_line(out,
             "The dense part of the model and the experts that are used most stay in memory; the others are read "
             "from compressed shards, or straight from safetensors files, when a token needs them. Results are the "
             "same bits whatever is in memory.\n\n"
             "hotset serve is the daemon, usually run by systemd as hotset.service and reached through "
             "hotset.socket by whoever is in the group hotset. Each verb explains itself with --help.");
    hs_buf_puts(out, ".SH VERBS\n");
    for (size_t i = 0; hs_verbs[i]; i++)
        put_verb(out, hs_verbs[i]);
    hs_buf_puts(out, ".SH EXIT STATUS\n");
    put_line(out, "0 done, 1 it failed (bad input included), 2 wrong usage. The reason stands on standard error.");
    hs_buf_puts(out, ".SH ENVIRONMENT\n");
    put_term(out, "", "HOTSET_SECTION_KEY", NULL);
    hs_buf_puts(out, "\n");
    put_line(out,
             "Any option of the configuration outside the model sections, e.g. HOTSET_CACHE_SIZE=25%. It overrides "
             "files and is overridden by flags.");
    hs_buf_puts(out, ".SH FILES\n");
    put_term(out, "", HS_DEFAULT_CONFIG, NULL);
    hs_buf_puts(out, "\nThe configuration, see\n.BR hotset.conf (5).\n");
    put_term(out, "", "/run/hotset/api.sock", NULL);
    hs_buf_puts(out, "\nThe socket on which the daemon answers HTTP.\n");
    hs_buf_puts(out, ".SH EXAMPLES\n.nf\n");
    put_line(out, "hotset plan /models/DeepSeek-V3\n"
                  "hotset pack /models/DeepSeek-V3 /srv/models/deepseek\n"
                  "hotset run deepseek \"Why is the sky blue?\"\n"
                  "curl --unix-socket /run/hotset/api.sock http://localhost/v1/models");
    hs_buf_puts(out, ".fi\n.SH SEE ALSO\n.BR hotset.conf (5),\n.BR systemctl (1)\n");
}

static void put_option(void *ctx, const hs_option *o, bool opens_section)
{
    hs_buf *out = ctx;
    if (opens_section)
        hs_buf_printf(out, strcmp(o->section, "model") ? ".SH [%s]\n" : ".SH [%s NAME]\n", o->section);
    put_term(out, "", o->key, NULL);
    hs_buf_puts(out, " = ");
    put_line(out, o->def);
    put_line(out, o->help);
    hs_buf_puts(out, ".br\n(");
    hs_buf tail;
    hs_buf_init(&tail, out->max);
    hs_option_describe(o, &tail);
    put_text(out, tail.data ? tail.data : "");
    hs_buf_deinit(&tail);
    hs_buf_puts(out, ")\n");
}

void hs_manual_config(hs_buf *out)
{
    hs_option_table tables[HS_N_OPTION_TABLES];
    hs_option_tables(tables);
    put_header(out, "hotset.conf", 5, "File Formats", "configuration of hotset");
    hs_buf_puts(out, ".SH SYNOPSIS\n");
    put_line(out, HS_DEFAULT_CONFIG "\n\n" HS_DEFAULT_CONFIG ".d/*.conf");
    hs_buf_puts(out, ".SH DESCRIPTION\n");
    put_line(out,
             "Sections in brackets, lines of the form key = value, comments from # at a line's start and from a blank "
             "and ; after a value. The files of hotset.conf.d are read after hotset.conf, in the order of their names, "
             "and override it; so do HOTSET_SECTION_KEY=value in the environment and, above all, flags (--set "
             "section.key=value). An unknown section or key is an error that names file and line.\n\n"
             "A size is bytes, or a number of k, M, G or T (powers of 1024; iB may follow): 4096, 8G, 3.5M. A time is "
             "seconds, or an integer with s, min or h.\n\n"
             "Options marked reloadable are applied by SIGHUP (systemctl reload hotset); all others need a restart. "
             "hotset serve --check-config tells what is wrong, --print-config where each value comes from.");
    hs_options_walk(tables, HS_N_OPTION_TABLES, put_option, out);
    hs_buf_puts(out, ".SH EXAMPLE\n.nf\n");
    put_line(out, "[memory]\nlimit = 48G\n\n[model deepseek]\npath = /srv/models/deepseek");
    hs_buf_puts(out, ".fi\n.SH SEE ALSO\n.BR hotset (1)\n");
}
