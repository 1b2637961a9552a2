/* What a component in C needs beside mobillm's header. */
#ifndef KIT_H
#define KIT_H

#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#include "mobillm_plugin.h"

/* The host, once it has started the library. */
static const MobillmHost *host;

/* How numbers are written in JSON, whatever locale the process has: with a point. From the start on, as the host. */
static locale_t of_json;

/* Writes text, which the host takes a copy of; false if it has no room for it, and then the call has failed. */
static inline bool say_text(const MobillmWriter *writer, MobillmText text) {
    MobillmBytes bytes = {text.data, text.length};
    return writer->write(writer->context, bytes) == MOBILLM_OK;
}

static inline MobillmText as_text(const char *string) {
    return (MobillmText){(const uint8_t *)string, strlen(string)};
}

static inline bool say(const MobillmWriter *writer, const char *text) {
    return say_text(writer, as_text(text));
}

/* The beginning of a text of UTF-8, `most` bytes or, where that would be inside a character, some fewer. */
static inline MobillmText begin_of(MobillmText text, size_t most) {
    if (text.length > most) {
        text.length = most;
        while (text.length > 0 && (text.data[text.length] & 0xc0) == 0x80) {
            text.length--;
        }
    }
    return text;
}

/* The same, as printf has it; what is longer than some lines is cut. */
__attribute__((format(printf, 2, 3))) static inline bool sayf(const MobillmWriter *writer,
                                                              const char *format, ...) {
    char text[1024];
    locale_t before = uselocale(of_json);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    uselocale(before);
    /* One byte is to spare: it says whether a character goes on where the text is cut. */
    return say_text(writer, begin_of(as_text(text), sizeof text - 2));
}

/* Says a line to the user, at a level MOBILLM_LOG_*. */
static inline void tell(uint32_t level, const char *line) {
    host->log(host->context, level, as_text(line));
}

static inline bool same(MobillmText left, MobillmText right) {
    return left.length == right.length && (left.length == 0 || memcmp(left.data, right.data, left.length) == 0);
}

static inline bool is(MobillmText text, const char *expected) {
    return same(text, as_text(expected));
}

/*
 * JSON, read where it stands: a value is the piece of the text that it is, quotes and brackets included. Sound JSON is
 * read as it is; whatever else a text may hold, nothing is read beyond its end.
 */

/* The next piece of a list or an object, from `*at` on, which begins at 0: in an object names and values take turns.
 * Empty at the end. */
static inline MobillmText json_next(MobillmText json, size_t *at) {
    *at += *at == 0; /* the bracket that it begins with */
    while (*at < json.length && strchr(" \t\r\n,:", json.data[*at]) != NULL) {
        (*at)++;
    }
    size_t start = *at, depth = 0;
    bool quoted = false;
    for (; *at < json.length; (*at)++) {
        uint8_t c = json.data[*at];
        if (quoted) {
            /* What stands after a backslash ends nothing. */
            *at += c == '\\' && *at + 1 < json.length;
            quoted = c != '"';
        } else if (depth == 0 && strchr(" \t\r\n,:]}", c) != NULL) {
            break;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    MobillmText next = {NULL, 0};
    if (start < *at) {
        next = (MobillmText){json.data + start, *at - start};
    }
    return next;
}

/* The value in an object whose name is `key`, a string of JSON; empty if there is none. */
static inline MobillmText json_value(MobillmText object, MobillmText key) {
    size_t at = 0;
    MobillmText name, value;
    do {
        name = json_next(object, &at);
        value = json_next(object, &at);
    } while (name.length > 0 && !same(name, key));
    return value;
}

/* The same for a name without its quotes, of some letters. */
static inline MobillmText json_at(MobillmText object, const char *name) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\"", name);
    return json_value(object, as_text(key));
}

/* A finite number; false if it is none, and then `number` stays as it is. */
static inline bool json_number(MobillmText value, double *number) {
    /* The text ends without a zero, which strtod needs. */
    char digits[64] = "";
    if (value.length == 0 || value.length >= sizeof digits) {
        return false;
    }
    memcpy(digits, value.data, value.length);
    char *end;
    locale_t before = uselocale(of_json);
    double read = strtod(digits, &end);
    uselocale(before);
    /* strtod also takes words and hexadecimal digits, which JSON has not. */
    bool whole = end == digits + value.length && strspn(digits, "+-.0123456789Ee") == value.length && isfinite(read);
    *number = whole ? read : *number;
    return whole;
}

/* The option of that name; where there is none, `number` stays as it is. False if what is there is no number. */
static inline bool json_option(MobillmText options, const char *name, double *number) {
    MobillmText value = json_at(options, name);
    return value.length == 0 || json_number(value, number);
}

/* A whole number of up to 64 bits, all of them. */
static inline bool json_whole(MobillmText value, uint64_t *number) {
    uint64_t read = 0;
    for (size_t i = 0; i < value.length; i++) {
        uint64_t digit = (uint64_t)value.data[i] - '0';
        if (value.data[i] < '0' || digit > 9 || read > (UINT64_MAX - digit) / 10) {
            return false;
        }
        read = 10 * read + digit;
    }
    *number = value.length > 0 ? read : *number;
    return value.length > 0;
}

/* A string, which then ends with a zero; its bytes, or 0 if it is none, is longer than `room`, or has control characters. */
static inline size_t json_string(MobillmText value, char *string, size_t room) {
    size_t length = 0;
    bool fits = value.length >= 2 && value.data[0] == '"' && value.length <= room;
    for (size_t i = 1; fits && i + 1 < value.length; i++) {
        bool escaped = value.data[i] == '\\';
        i += escaped;
        fits = !escaped || strchr("\"\\/", value.data[i]) != NULL;
        string[length++] = (char)value.data[i];
    }
    string[length] = '\0';
    return fits ? length : 0;
}

/* The host lends tensors that are contiguous: rows lie one after the other. */
static inline float *values(const MobillmTensor *tensor) {
    return (float *)(void *)((char *)tensor->data + tensor->byte_offset);
}

static inline size_t count(const MobillmTensor *tensor) {
    size_t product = 1;
    for (int32_t axis = 0; axis < tensor->ndim; axis++) {
        product *= (size_t)tensor->shape[axis];
    }
    return product;
}

#endif
