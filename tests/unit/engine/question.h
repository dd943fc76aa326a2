/*
 * question.h - requests so short that each makes few reads and needs few of a model's experts: which ones, and the
 * answer, as a session of an undisturbed engine has them. Every failure ends the running test.
 */
#ifndef TESTS_ENGINE_QUESTION_H
#define TESTS_ENGINE_QUESTION_H

#include "engine/engine_int.h"

#define QUESTION_PROMPT  4u
#define QUESTION_TOKENS  3u
#define QUESTION_OBJECTS 320u

typedef struct question {
    uint32_t ids[QUESTION_PROMPT], n; /* set before question_answer */
    uint32_t tokens;                  /* of the answer, at most QUESTION_TOKENS; the same */
    uint32_t answer[QUESTION_TOKENS];
    char text[QUESTION_TOKENS + 1][64]; /* of the answer's first so many tokens */
    bool needs[QUESTION_OBJECTS];       /* objects of the prompt and of all tokens but the last */
} question;

/* Greedy answers. e: sessions only. */
void question_answer(hs_engine *e, question *q, uint32_t n);
hs_request_options question_ask(const question *q, uint32_t tokens);

#endif
