/*
 * completion.c - what may follow: verbs; flags of the verb; choices of a flag; option names after --set; verbs after
 * help; file names everywhere else. Pure.
 */
#include "cli/completion.h"

#include <string.h>

#include "cli/options.h"
#include "cli/verbs.h"

static void put_verb_names(hs_buf *out)
{
    for (size_t i = 0; hs_verbs[i]; i++)
        hs_buf_printf(out, "%s%s", i ? " " : "", hs_verbs[i]->name);
}

static void put_option_name(void *ctx, const hs_option *o, bool opens_section)
{
    (void)opens_section;
    if (strcmp(o->section, "model") != 0)
        hs_buf_printf(ctx, "%s.%s= ", o->section, o->key);
}

/* "server.listen= server.socket_mode= ..." */
static void put_option_names(hs_buf *out)
{
    hs_option_table tables[HS_N_OPTION_TABLES];
    hs_option_tables(tables);
    hs_options_walk(tables, HS_N_OPTION_TABLES, put_option_name, out);
}

/* "a|b|c" as "a b c" */
static void put_choices(hs_buf *out, const char *choices)
{
    for (; *choices; choices++)
        hs_buf_append(out, *choices == '|' ? " " : choices, 1);
}

/* text inside single quotes; characters of `special` get a backslash. */
static void put_quoted(hs_buf *out, const char *text, const char *special, const char *quote)
{
    for (; *text; text++) {
        if (*text == '\'') {
            hs_buf_puts(out, quote);
            continue;
        }
        if (strchr(special, *text))
            hs_buf_puts(out, "\\");
        hs_buf_append(out, *text == '\n' ? " " : text, 1);
    }
}

void hs_completion_bash(hs_buf *out)
{
    hs_buf_puts(out, "# bash completion for hotset. Made by: hotset help --as bash\n"
                     "_hotset()\n{\n"
                     "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=\n"
                     "    COMPREPLY=()\n"
                     "    [[ $cur == = ]] && cur=\n"
                     "    [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
                     "    if ((COMP_CWORD == 1)); then\n"
                     "        words='");
    put_verb_names(out);
    hs_buf_puts(out, " --help --version'\n"
                     "    elif [[ $prev == --set ]]; then\n"
                     "        compopt -o nospace\n"
                     "        words='");
    put_option_names(out);
    hs_buf_puts(out, "'\n    else\n        case ${COMP_WORDS[1]}:$prev:$cur in\n");
    for (size_t i = 0; hs_verbs[i]; i++)
        for (const hs_flag *f = hs_verbs[i]->flags; f && f->name; f++)
            if (f->type == HS_FLAG_CHOICE) {
                hs_buf_printf(out, "        %s:--%s:*) words='", hs_verbs[i]->name, f->name);
                put_choices(out, f->value);
                hs_buf_puts(out, "' ;;\n");
            }
    for (size_t i = 0; hs_verbs[i]; i++) {
        hs_buf_printf(out, "        %s:*:-*) words='", hs_verbs[i]->name);
        for (const hs_flag *f = hs_verbs[i]->flags; f && f->name; f++)
            hs_buf_printf(out, "--%s ", f->name);
        hs_buf_puts(out, "--help' ;;\n");
    }
    hs_buf_puts(out, "        help:*) words='");
    put_verb_names(out);
    hs_buf_puts(out, "' ;;\n        esac\n    fi\n"
                     "    [[ -z $words ]] || mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                     "}\n"
                     "complete -o bashdefault -o default -F _hotset hotset\n");
}

/* One spec of _arguments: '--name=[help]:VALUE:action' */
static void put_zsh_flag(hs_buf *out, const hs_flag *f)
{
    bool takes_value = f->type != HS_FLAG_SWITCH;
    hs_buf_printf(out, " \\\n            '%s--%s%s[", f->type == HS_FLAG_LIST ? "*" : "", f->name,
                  takes_value ? "=" : "");
    put_quoted(out, f->help, "\\[]:", "'\\''");
    hs_buf_puts(out, "]");
    if (f->type == HS_FLAG_CHOICE) {
        hs_buf_puts(out, ":choice:(");
        put_choices(out, f->value);
        hs_buf_puts(out, ")");
    } else if (!strcmp(f->name, "set")) {
        hs_buf_puts(out, ":option:{compadd -S \"\" -- $options_of_config}");
    } else if (takes_value) {
        hs_buf_puts(out, ":");
        put_quoted(out, f->value, "\\:", "'\\''");
        hs_buf_puts(out, ":_files");
    }
    hs_buf_puts(out, "'");
}

void hs_completion_zsh(hs_buf *out)
{
    hs_buf_puts(out, "#compdef hotset\n# Made by: hotset help --as zsh\n"
                     "_hotset() {\n"
                     "    local -a verbs options_of_config\n"
                     "    verbs=(\n");
    for (size_t i = 0; hs_verbs[i]; i++) {
        hs_buf_printf(out, "        '%s:", hs_verbs[i]->name);
        put_quoted(out, hs_verbs[i]->summary, "\\", "'\\''");
        hs_buf_puts(out, "'\n");
    }
    hs_buf_puts(out, "    )\n    options_of_config=(");
    put_option_names(out);
    hs_buf_puts(out, ")\n"
                     "    if ((CURRENT == 2)); then\n"
                     "        _describe verb verbs\n"
                     "        return\n"
                     "    fi\n"
                     "    local verb=$words[2]\n"
                     "    shift words\n"
                     "    ((CURRENT--))\n"
                     "    case $verb in\n");
    for (size_t i = 0; hs_verbs[i]; i++) {
        hs_buf_printf(out, "    %s)\n        _arguments", hs_verbs[i]->name);
        for (const hs_flag *f = hs_verbs[i]->flags; f && f->name; f++)
            put_zsh_flag(out, f);
        hs_buf_puts(out, " \\\n            '--help[how it is used]'");
        if (hs_verbs[i] == &hs_verb_help_text) {
            hs_buf_puts(out, " '1:verb:(");
            put_verb_names(out);
            hs_buf_puts(out, ")'\n        ;;\n");
        } else {
            hs_buf_puts(out, " '*:file:_files'\n        ;;\n");
        }
    }
    hs_buf_puts(out, "    esac\n}\n_hotset \"$@\"\n");
}

void hs_completion_fish(hs_buf *out)
{
    hs_buf_puts(out, "# Made by: hotset help --as fish\n");
    for (size_t i = 0; hs_verbs[i]; i++) {
        const hs_verb *v = hs_verbs[i];
        hs_buf_printf(out, "complete -c hotset -n __fish_use_subcommand -xa %s -d '", v->name);
        put_quoted(out, v->summary, "\\", "\\'");
        hs_buf_puts(out, "'\n");
        for (const hs_flag *f = v->flags; f && f->name; f++) {
            hs_buf_printf(out, "complete -c hotset -n '__fish_seen_subcommand_from %s' -l %s", v->name, f->name);
            bool is_choice = f->type == HS_FLAG_CHOICE, is_set = !strcmp(f->name, "set");
            if (is_choice || is_set) {
                hs_buf_puts(out, " -xa '");
                if (is_choice)
                    put_choices(out, f->value);
                else
                    put_option_names(out);
                hs_buf_puts(out, "'");
            } else if (f->type != HS_FLAG_SWITCH) {
                hs_buf_puts(out, " -r");
            }
            hs_buf_puts(out, " -d '");
            put_quoted(out, f->help, "\\", "\\'");
            hs_buf_puts(out, "'\n");
        }
    }
    hs_buf_puts(out, "complete -c hotset -n '__fish_seen_subcommand_from help' -xa '");
    put_verb_names(out);
    hs_buf_puts(out, "'\n");
}
