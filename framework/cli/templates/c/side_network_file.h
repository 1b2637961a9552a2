/*
 * Adapter and checkpoint: a header, the context (JSON), numbers, and a checksum of all that comes before it; bytes are as
 * a little-endian machine has them. Nothing is believed that a file merely claims.
 */
#ifndef FILE_H
#define FILE_H

#include <math.h>

#include "kit.h"

#define FILE_VERSION 1

/* Its fields have no gaps between them. */
typedef struct {
    /* "QUAD", and which of the two it is. */
    char magic[8];
    uint64_t version;
    uint64_t step;
    double rate;
    /* Bytes of the context. */
    uint64_t context;
} Header;

/* What a sound file holds, where it stands. */
typedef struct {
    Header header;
    MobillmText context;
    /* `count` floats; not aligned. */
    const uint8_t *numbers;
    size_t count;
} File;

/* FNV-1a, of what was before and of `length` bytes more. */
static uint64_t checksum(uint64_t before, const void *data, size_t length) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < length; i++) {
        before = (before ^ bytes[i]) * 0x100000001b3;
    }
    return before;
}

#define CHECKSUM_OF_NOTHING 0xcbf29ce484222325

/* Writes a part of a file; gives the checksum up to its end. */
static uint64_t put(const MobillmWriter *out, uint64_t before, const void *data, size_t length) {
    MobillmBytes bytes = {data, length};
    out->write(out->context, bytes);
    return checksum(before, data, length);
}

/* Reads a file of that magic; a `kind` is "adapter" or "checkpoint". */
static bool read_file(MobillmBytes bytes, const char *magic, const char *kind, File *file,
                      const MobillmWriter *error) {
    Header *header = &file->header;
    uint64_t sum = 0;
    size_t least = sizeof *header + sizeof sum;
    if (bytes.length < least || memcmp(bytes.data, magic, sizeof header->magic) != 0) {
        sayf(error, "it is no %s of plugin.tag", kind);
        return false;
    }
    memcpy(header, bytes.data, sizeof *header);
    if (header->version != FILE_VERSION) {
        sayf(error, "it is a %s of version %llu, expected %d; get the plugin-name that wrote it", kind,
             (unsigned long long)header->version, FILE_VERSION);
        return false;
    }
    size_t body = bytes.length - sizeof sum, rest = bytes.length - least;
    memcpy(&sum, bytes.data + body, sizeof sum);
    if (sum != checksum(CHECKSUM_OF_NOTHING, bytes.data, body) || header->context > rest) {
        sayf(error, "the %s is damaged; take another copy of it", kind);
        return false;
    }
    file->context = (MobillmText){bytes.data + sizeof *header, (size_t)header->context};
    file->numbers = file->context.data + file->context.length;
    file->count = (rest - file->context.length) / sizeof(float);
    for (size_t i = 0; i < file->count; i++) {
        float number;
        memcpy(&number, file->numbers + i * sizeof number, sizeof number);
        if (!isfinite(number)) {
            sayf(error, "a number of the %s is not finite", kind);
            return false;
        }
    }
    return true;
}

/* What to print of a text. */
#define SOME(text) (int)begin_of(text, 200).length, (const char *)(text).data

/* Refuses a context that is not `expected`, and says in what they differ. What `got` does not have is passed over: an
 * older mobillm may have said less. */
static bool is_same_run(MobillmText got, MobillmText expected, const MobillmWriter *error) {
    MobillmText name;
    for (size_t at = 0; (name = json_next(got, &at)).length > 0;) {
        MobillmText value = json_next(got, &at), other = json_value(expected, name);
        bool objects = value.length > 0 && value.data[0] == '{' && other.length > 0 && other.data[0] == '{';
        if (objects ? is_same_run(value, other, error) : same(value, other)) {
            continue;
        }
        if (!objects) {
            other = other.length > 0 ? other : as_text("nothing");
            sayf(error, "it is of another run: %.*s: %.*s, expected %.*s", SOME(name), SOME(value), SOME(other));
        }
        return false;
    }
    return true;
}

#endif
