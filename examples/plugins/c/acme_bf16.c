/*
 * A quantizer for mobillm in C: `acme.bf16`, two bytes a value.
 *
 * A bfloat16 is the upper half of an f32, rounded to the nearest, ties to even. It keeps the range of f32 and
 * 8 bits of precision. There are no options, and an instance has no state: so calls from several threads at once
 * are no matter.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mobillm_plugin.h"

static const char TAG[] = "acme.bf16";

/* What the library has. `description` is the line of help that `mobillm plugins list` shows. */
static const char COMPONENTS[] =
    "[{\"slot\": \"quantizer\", \"tag\": \"acme.bf16\", \"schema\": {"
    "\"type\": \"object\", \"additionalProperties\": false, "
    "\"description\": \"bfloat16, 2 bytes a value: the range of f32, 8 bits of precision.\"}}]";

static void say(const MobillmWriter *writer, const char *text) {
    if (writer != NULL) {
        MobillmBytes bytes = {(const uint8_t *)text, strlen(text)};
        writer->write(writer->context, bytes);
    }
}

static int is(MobillmText text, const char *expected) {
    size_t length = strlen(expected);
    return text.length == length && memcmp(text.data, expected, length) == 0;
}

/* The host lends tensors that are contiguous: rows lie one after the other. */
static float *values(const MobillmTensor *tensor) {
    return (float *)(void *)((char *)tensor->data + tensor->byte_offset);
}

static size_t count(const MobillmTensor *tensor) {
    size_t product = 1;
    for (int32_t axis = 0; axis < tensor->ndim; axis++) {
        product *= (size_t)tensor->shape[axis];
    }
    return product;
}

static MobillmStatus known(MobillmText tag, MobillmText options, const MobillmWriter *error) {
    if (!is(tag, TAG)) {
        say(error, "this library has only acme.bf16");
        return MOBILLM_REFUSED;
    }
    if (!is(options, "{}")) {
        say(error, "acme.bf16 has no options");
        return MOBILLM_REFUSED;
    }
    return MOBILLM_OK;
}

static MobillmStatus check(MobillmText tag, MobillmText options, MobillmText context,
                           const MobillmWriter *diagnostics, const MobillmWriter *error) {
    (void)context;
    MobillmStatus status = known(tag, options, error);
    if (status == MOBILLM_OK) {
        say(diagnostics, "[]");
    }
    return status;
}

static MobillmStatus build(MobillmText tag, MobillmText options, MobillmText context,
                           void **instance, const MobillmWriter *error) {
    /* Every instance is the same: any address will do, but NULL. */
    static char shared;
    (void)context;
    MobillmStatus status = known(tag, options, error);
    if (status == MOBILLM_OK) {
        *instance = &shared;
    }
    return status;
}

static void release(void *instance) {
    (void)instance;
}

static MobillmStatus format(void *instance, MobillmPayloadFormat *format,
                            const MobillmWriter *error) {
    (void)instance, (void)error;
    *format = (MobillmPayloadFormat){.name = {'b', 'f', '1', '6'}, .version = 1};
    return MOBILLM_OK;
}

static MobillmStatus row_bytes(void *instance, size_t hidden, size_t *bytes,
                               const MobillmWriter *error) {
    (void)instance, (void)error;
    *bytes = 2 * hidden;
    return MOBILLM_OK;
}

/* Half a unit in the last place: 2^-8 of the value, or half the smallest bfloat16. */
static MobillmStatus error_bound(void *instance, const MobillmTensor *row, const MobillmTensor *bound,
                                 const MobillmWriter *error) {
    (void)instance, (void)error;
    const float *from = values(row);
    float *to = values(bound);
    for (size_t i = 0, n = count(row); i < n; i++) {
        to[i] = fmaxf(fabsf(from[i]) * 0x1p-8f, 0x1p-134f);
    }
    return MOBILLM_OK;
}

static uint16_t rounded(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* An exponent of ones is an infinity or no number. */
static int is_finite(uint16_t half) {
    return (half & 0x7f80) != 0x7f80;
}

static MobillmStatus refuse(const MobillmWriter *error, size_t row, size_t column, float value) {
    char text[160];
    snprintf(text, sizeof text,
             "{\"row\": %zu, \"column\": %zu, \"value\": \"%.9g\", "
             "\"expected\": \"a magnitude up to 3.3895314e38\"}",
             row, column, (double)value);
    say(error, text);
    return MOBILLM_REFUSED;
}

static MobillmStatus encode(void *instance, const MobillmTensor *rows, MobillmBuffer out,
                            const MobillmWriter *error) {
    (void)instance;
    size_t n = count(rows), hidden = (size_t)rows->shape[1];
    if (out.length != 2 * n) {
        say(error, "the buffer does not hold two bytes a value");
        return MOBILLM_FAILED;
    }
    const float *from = values(rows);
    for (size_t i = 0; i < n; i++) {
        uint16_t half = rounded(from[i]);
        if (!is_finite(half)) {
            return refuse(error, i / hidden, i % hidden, from[i]);
        }
        out.data[2 * i] = (uint8_t)half;
        out.data[2 * i + 1] = (uint8_t)(half >> 8);
    }
    return MOBILLM_OK;
}

static MobillmStatus decode(void *instance, MobillmBytes bytes, const MobillmTensor *rows,
                            const MobillmWriter *error) {
    (void)instance;
    size_t n = count(rows);
    if (bytes.length != 2 * n) {
        say(error, "the payload does not hold two bytes a value");
        return MOBILLM_REFUSED;
    }
    float *to = values(rows);
    for (size_t i = 0; i < n; i++) {
        uint16_t half = (uint16_t)(bytes.data[2 * i] | bytes.data[2 * i + 1] << 8);
        if (!is_finite(half)) {
            say(error, "a value of the payload is not finite; is it damaged?");
            return MOBILLM_REFUSED;
        }
        uint32_t bits = (uint32_t)half << 16;
        memcpy(&to[i], &bits, sizeof bits);
    }
    return MOBILLM_OK;
}

static const MobillmQuantizer QUANTIZER = {
    .size = sizeof(MobillmQuantizer),
    .component = {.check = check, .build = build, .release = release},
    .format = format,
    .row_bytes = row_bytes,
    .error_bound = error_bound,
    .encode = encode,
    .decode = decode,
};

static MobillmStatus start(const MobillmHost *host, const MobillmWriter *error) {
    (void)host, (void)error;
    return MOBILLM_OK;
}

static MobillmStatus components(const MobillmWriter *out, const MobillmWriter *error) {
    (void)error;
    say(out, COMPONENTS);
    return MOBILLM_OK;
}

static const void *table(MobillmSlot slot, uint32_t min_minor) {
    return slot == MOBILLM_SLOT_QUANTIZER && min_minor <= MOBILLM_MINOR ? &QUANTIZER : NULL;
}

static const MobillmPlugin PLUGIN = {
    .magic = MOBILLM_MAGIC,
    .major = MOBILLM_MAJOR,
    .minor = MOBILLM_MINOR,
    .size = sizeof(MobillmPlugin),
    .name = MOBILLM_TEXT("acme-bf16"),
    .version = MOBILLM_TEXT("1.0.0"),
    .built_by = MOBILLM_TEXT("a C compiler"),
    .start = start,
    .components = components,
    .table = table,
};

MOBILLM_EXPORT const MobillmPlugin *mobillm_plugin(void) {
    return &PLUGIN;
}
