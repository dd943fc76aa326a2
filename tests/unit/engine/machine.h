/* machine.h - a made-up machine for the engine's tests: a folder with proc/ and sys/ in it. */
#ifndef TESTS_ENGINE_MACHINE_H
#define TESTS_ENGINE_MACHINE_H

extern char machine_root[64];

/* cmocka's setup and teardown. */
int machine_create(void **state);
int machine_destroy(void **state);
/* Writes a file ("/proc/meminfo"), with the folders on the way. */
void machine_put(const char *name, const char *text);

#endif
