/* What a component in C needs beside mobillm's header. */
#ifndef KIT_H
#define KIT_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "mobillm_plugin.h"

/* Writes text, which the host takes a copy of. */
static inline void say(const MobillmWriter *writer, const char *text) {
    if (writer != NULL) {
        MobillmBytes bytes = {(const uint8_t *)text, strlen(text)};
        writer->write(writer->context, bytes);
    }
}

static inline bool is(MobillmText text, const char *expected) {
    size_t length = strlen(expected);
    return text.length == length && (length == 0 || memcmp(text.data, expected, length) == 0);
}

/* The number at the first key of this name in a JSON text; false if there is none. The host sends sound JSON. */
static inline bool json_number(MobillmText json, const char *key, double *number) {
    const char *text = (const char *)json.data;
    for (size_t at = 0; at < json.length; at++) {
        if (text[at] != '"') {
            continue;
        }
        size_t start = ++at;
        while (at < json.length && text[at] != '"') {
            at += text[at] == '\\' ? 2 : 1;
        }
        MobillmText name = {json.data + start, at - start};
        size_t after = at + 1;
        while (after < json.length && text[after] == ' ') {
            after++;
        }
        /* A text that no colon follows is a value. */
        if (after >= json.length || text[after] != ':' || !is(name, key)) {
            continue;
        }
        /* The text ends without a zero, which strtod needs. */
        char digits[64];
        size_t length = json.length - after - 1;
        length = length < sizeof digits - 1 ? length : sizeof digits - 1;
        memcpy(digits, text + after + 1, length);
        digits[length] = '\0';
        char *end;
        *number = strtod(digits, &end);
        return end != digits;
    }
    return false;
}

/* The host lends tensors that are contiguous: rows lie one after the other. */
static inline float *values(const DLTensor *tensor) {
    return (float *)(void *)((char *)tensor->data + tensor->byte_offset);
}

static inline size_t count(const DLTensor *tensor) {
    size_t product = 1;
    for (int32_t axis = 0; axis < tensor->ndim; axis++) {
        product *= (size_t)tensor->shape[axis];
    }
    return product;
}

#endif
