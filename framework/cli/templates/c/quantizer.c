/*
 * A quantizer for mobillm, `plugin.tag` in a config: one byte a value, and a scale for each row.
 *
 * A row is its scale, an f32, and then a signed byte for each value: how many steps of the scale it is. The scale
 * is such that the largest value of the row is `steps` steps. Bytes are as a little-endian machine has them.
 */
#include <float.h>
#include <math.h>

#include "kit.h"

static const char TAG[] = "plugin.tag";

/* What the library has. `description` is the line of help that `mobillm plugins list` shows. */
static const char COMPONENTS[] =
    "[{\"slot\": \"quantizer\", \"tag\": \"plugin.tag\", \"schema\": {"
    "\"type\": \"object\", \"additionalProperties\": false, "
    "\"description\": \"One byte a value, and a scale for each row.\", "
    "\"properties\": {\"steps\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 127, \"default\": 127, "
    "\"description\": \"Steps from zero to the largest value of a row.\"}}}}]";

/* An instance. Calls on it may come from several threads at once, and none of them changes it. */
typedef struct {
    float steps;
} Quantizer;

/* The options; false if one is no number or out of range. */
static bool read_options(MobillmText options, Quantizer *quantizer) {
    double steps = 127;
    bool fits = json_option(options, "steps", &steps) && steps >= 1 && steps <= 127 && steps == floor(steps);
    quantizer->steps = (float)steps;
    return fits;
}

static MobillmStatus check(MobillmText tag, MobillmText options, MobillmText context,
                           const MobillmWriter *diagnostics, const MobillmWriter *error) {
    (void)context;
    if (!is(tag, TAG)) {
        say(error, "this library has only plugin.tag");
        return MOBILLM_REFUSED;
    }
    Quantizer quantizer;
    bool fits = read_options(options, &quantizer);
    say(diagnostics, fits ? "[]"
                          : "[{\"path\": \"steps\", \"message\": \"it is out of range\", "
                            "\"expected\": \"a whole number from 1 to 127\"}]");
    return MOBILLM_OK;
}

static MobillmStatus build(MobillmText tag, MobillmText options, MobillmText context,
                           void **instance, const MobillmWriter *error) {
    (void)context;
    Quantizer options_read;
    if (!is(tag, TAG) || !read_options(options, &options_read)) {
        say(error, "these are no options of plugin.tag");
        return MOBILLM_REFUSED;
    }
    Quantizer *quantizer = malloc(sizeof *quantizer);
    if (quantizer == NULL) {
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    *quantizer = options_read;
    *instance = quantizer;
    return MOBILLM_OK;
}

static void release(void *instance) {
    free(instance);
}

static MobillmStatus format(void *instance, MobillmPayloadFormat *format, const MobillmWriter *error) {
    (void)instance, (void)error;
    /* Four letters of its own: what another code wrote is refused by them. */
    *format = (MobillmPayloadFormat){.version = 1};
    memcpy(format->name, "QUAD", 4);
    return MOBILLM_OK;
}

static MobillmStatus row_bytes(void *instance, size_t hidden, size_t *bytes, const MobillmWriter *error) {
    (void)instance, (void)error;
    *bytes = sizeof(float) + hidden;
    return MOBILLM_OK;
}

static float scale_of(const Quantizer *quantizer, const float *row, size_t hidden) {
    float largest = 0;
    for (size_t i = 0; i < hidden; i++) {
        largest = fmaxf(largest, fabsf(row[i]));
    }
    return largest / quantizer->steps;
}

static MobillmStatus error_bound(void *instance, const MobillmTensor *row, const MobillmTensor *bound,
                                 const MobillmWriter *error) {
    (void)error;
    size_t hidden = count(row);
    /* Half a step, and what rounding adds: next to nothing, but for scales near the smallest number. */
    float most = 0.5001f * scale_of(instance, values(row), hidden) + FLT_MIN;
    for (size_t i = 0; i < hidden; i++) {
        values(bound)[i] = most;
    }
    return MOBILLM_OK;
}

static MobillmStatus encode(void *instance, const MobillmTensor *tensor, MobillmBuffer out,
                            const MobillmWriter *error) {
    const Quantizer *quantizer = instance;
    size_t rows = (size_t)tensor->shape[0], hidden = (size_t)tensor->shape[1];
    if (out.length != rows * (sizeof(float) + hidden)) {
        say(error, "the buffer does not hold the rows");
        return MOBILLM_FAILED;
    }
    for (size_t row = 0; row < rows; row++) {
        const float *from = values(tensor) + row * hidden;
        uint8_t *to = out.data + row * (sizeof(float) + hidden);
        float scale = scale_of(quantizer, from, hidden);
        memcpy(to, &scale, sizeof scale);
        for (size_t i = 0; i < hidden; i++) {
            float steps = scale > 0 ? roundf(from[i] / scale) : 0;
            steps = fminf(fmaxf(steps, -quantizer->steps), quantizer->steps);
            to[sizeof scale + i] = (uint8_t)(int8_t)steps;
        }
    }
    return MOBILLM_OK;
}

static MobillmStatus decode(void *instance, MobillmBytes bytes, const MobillmTensor *tensor,
                            const MobillmWriter *error) {
    (void)instance;
    size_t rows = (size_t)tensor->shape[0], hidden = (size_t)tensor->shape[1];
    if (bytes.length != rows * (sizeof(float) + hidden)) {
        say(error, "the payload does not hold the rows");
        return MOBILLM_REFUSED;
    }
    for (size_t row = 0; row < rows; row++) {
        const uint8_t *from = bytes.data + row * (sizeof(float) + hidden);
        float *to = values(tensor) + row * hidden;
        float scale;
        memcpy(&scale, from, sizeof scale);
        /* Bytes come from another machine: whatever they are, the values must be finite. */
        if (!isfinite(scale) || scale < 0) {
            say(error, "a row's scale is no finite number; is the payload damaged?");
            return MOBILLM_REFUSED;
        }
        for (size_t i = 0; i < hidden; i++) {
            float value = (float)(int8_t)from[sizeof scale + i] * scale;
            to[i] = fminf(fmaxf(value, -FLT_MAX), FLT_MAX);
        }
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
