/* behave.h - the ways in which clients behave, good and bad. */
#ifndef HS_TESTS_BEHAVE_H
#define HS_TESTS_BEHAVE_H

#include "ask.h"

extern const struct behaviour {
    const char *name;
    void (*run)(client *c);
} behaviours[];
extern const unsigned n_behaviours;

/* Connects and does one thing after another until the tally says stop. */
void *client_main(void *client);

#endif
