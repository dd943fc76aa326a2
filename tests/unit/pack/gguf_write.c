/* gguf_write.c - the writer of store's tests, for those of pack. */
#include "unit/store/gguf_write.c"
