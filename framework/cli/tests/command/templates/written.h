/* What a library writes, kept to be looked at. */
#ifndef WRITTEN_H
#define WRITTEN_H

#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "mobillm_plugin.h"

typedef struct {
    char bytes[1 << 16];
    size_t length;
} Written;

static MobillmStatus keep(void *context, MobillmBytes bytes) {
    Written *written = context;
    assert(bytes.length < sizeof written->bytes - written->length);
    memcpy(written->bytes + written->length, bytes.data, bytes.length);
    written->length += bytes.length;
    written->bytes[written->length] = '\0';
    return MOBILLM_OK;
}

/* A writer to `written`, which is then empty. */
static MobillmWriter into(Written *written) {
    written->length = 0;
    written->bytes[0] = '\0';
    return (MobillmWriter){.context = written, .write = keep};
}

/* `expected` is in what was written. */
static inline void says(const Written *written, const char *expected) {
    if (strstr(written->bytes, expected) == NULL) {
        fprintf(stderr, "expected: %s\ngot: %s\n", expected, written->bytes);
        assert(!"it says something else");
    }
}

#endif
