/*
 * gguf_pre.c - the pre-tokenizers that GGUF files name: the steps are those of the tokenizer.json that the models were
 * published with (Kimi-K2: of its tokenizer's source, which intersects character classes; a lookahead does the same).
 */
#include "text/gguf_pre.h"

#include <string.h>

#include "base/buf.h"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define BLANKS       "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER        "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER        "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define UPPER_NO_HAN "(?:(?!\\p{Han})" UPPER ")"
#define LOWER_NO_HAN "(?:(?!\\p{Han})" LOWER ")"

/* Words that begin in capitals and words all in capitals, each with what may follow at once. */
#define CASED(upper, lower, after)                                                                                     \
    "[^\\r\\n\\p{L}\\p{N}]?" upper "*" lower "+" after "|[^\\r\\n\\p{L}\\p{N}]?" upper "+" lower "*" after
#define LLAMA_LIKE(digits)                                                                                             \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" BLANKS

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define HAN  "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"

static const char *const gpt2[] = {GPT2, NULL};
static const char *const digits_gpt2[] = {"\\p{N}", GPT2, NULL};
/* What llama.cpp splits with when the file does not say; such files have nothing that would know better. */
static const char *const unnamed[] = {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]", NULL};
static const char *const llama3[] = {LLAMA_LIKE("\\p{N}{1,3}"), NULL};
static const char *const qwen2[] = {LLAMA_LIKE("\\p{N}"), NULL};
static const char *const qwen35[] = {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
                                                  "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" BLANKS,
                                     NULL};
static const char *const gpt4o[] = {
    CASED(UPPER, LOWER, CONTRACTIONS "?") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BLANKS, NULL};
static const char *const tekken[] = {CASED(UPPER, LOWER, "") "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BLANKS, NULL};
static const char *const kimi_k2[] = {"\\p{Han}+|" CASED(UPPER_NO_HAN, LOWER_NO_HAN,
                                                         CONTRACTIONS
                                                         "?") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" BLANKS,
                                      NULL};
static const char *const deepseek_v3[] = {
    "\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" BLANKS,
    NULL};
static const char *const deepseek_coder[] = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN, "\\p{N}", NULL};
/* Letters that have a case, in an older Unicode and with gaps. */
static const char *const deepseek_llm[] = {
    "[\\r\\n]",
    "\\s?[A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}"
    "\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}"
    "\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}"
    "\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}"
    "\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}"
    "\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}"
    "\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}"
    "\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}"
    "\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}"
    "\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}"
    "\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}"
    "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}"
    "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}"
    "\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}"
    "\\x{1e900}-\\x{1e943}]+",
    "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+",
    "\\s+$",
    HAN,
    "\\p{N}",
    NULL};

static const hs__gguf_pre all[] = {
    {.name = "default", .patterns = unnamed},
    {.name = "gpt-2", .patterns = gpt2},
    {.name = "phi-2", .patterns = gpt2},
    {.name = "olmo", .patterns = gpt2, .nfc = true},
    {.name = "mpt", .patterns = gpt2, .nfc = true},
    {.name = "starcoder", .patterns = digits_gpt2},
    {.name = "refact", .patterns = digits_gpt2},
    {.name = "smollm", .patterns = digits_gpt2},
    {.name = "command-r", .patterns = digits_gpt2, .nfc = true},
    {.name = "llama-bpe", .patterns = llama3, .ignore_merges = true, .bos = true},
    {.name = "llama3", .patterns = llama3, .ignore_merges = true, .bos = true},
    {.name = "llama-v3", .patterns = llama3, .ignore_merges = true, .bos = true},
    {.name = "lfm2", .patterns = llama3, .ignore_merges = true, .bos = true},
    {.name = "pixtral", .patterns = llama3, .ignore_merges = true, .bos = true},
    {.name = "dbrx", .patterns = llama3},
    {.name = "smaug-bpe", .patterns = llama3},
    {.name = "glm4", .patterns = llama3},
    {.name = "chatglm-bpe", .patterns = llama3},
    {.name = "qwen2", .patterns = qwen2, .nfc = true},
    {.name = "deepseek-r1-qwen", .patterns = qwen2, .nfc = true},
    {.name = "stablelm2", .patterns = qwen2},
    {.name = "hunyuan", .patterns = qwen2},
    {.name = "qwen35", .patterns = qwen35, .nfc = true},
    {.name = "gpt-4o", .patterns = gpt4o, .ignore_merges = true},
    {.name = "llama4", .patterns = gpt4o, .ignore_merges = true},
    {.name = "minimax-m2", .patterns = gpt4o},
    {.name = "tekken", .patterns = tekken, .ignore_merges = true},
    {.name = "kimi-k2", .patterns = kimi_k2, .ignore_merges = true},
    {.name = "deepseek-llm", .patterns = deepseek_llm},
    {.name = "deepseek-coder", .patterns = deepseek_coder},
    {.name = "deepseek-v3", .patterns = deepseek_v3},
    {.name = "hunyuan-dense", .patterns = deepseek_v3},
    {.name = "joyai-llm", .patterns = deepseek_v3},
};

#define COUNT (sizeof all / sizeof *all)

const hs__gguf_pre *hs__gguf_pre_find(const char *name)
{
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(all[i].name, name) == 0)
            return &all[i];
    return NULL;
}

void hs__gguf_pre_names(hs_buf *out)
{
    for (size_t i = 0; i < COUNT; i++)
        (void)hs_buf_printf(out, i ? " %s" : "%s", all[i].name);
}
