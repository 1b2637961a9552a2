/*
 * Plugins that do what the kit for Rust authors makes impossible, one fault a tag, for the tests of those who load
 * plugins. Each component does the least that its slot lets it, but for its fault. What is wrong with the header
 * or a table is chosen when this file is compiled:
 *
 *     -DHEADER_MAGIC={0}  -DHEADER_MAJOR=9  -DHEADER_SIZE=24  -DTABLE_SIZE=16   what they say of themselves
 *     -DNO_HEADER=1  -DNO_TABLE=1  -DNO_SYMBOL                                  what is missing
 *     -DSTART_STATUS=2  -DCOMPONENTS="..."                                      what comes before any instance
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mobillm_plugin.h"

#ifndef HEADER_MAGIC
#define HEADER_MAGIC MOBILLM_MAGIC
#endif
#ifndef HEADER_MAJOR
#define HEADER_MAJOR MOBILLM_MAJOR
#endif
#ifndef HEADER_SIZE
#define HEADER_SIZE sizeof(MobillmPlugin)
#endif
#ifndef TABLE_SIZE
#define TABLE_SIZE sizeof(MobillmQuantizer)
#endif
#ifndef NO_HEADER
#define NO_HEADER 0
#endif
#ifndef NO_TABLE
#define NO_TABLE 0
#endif
#ifdef NO_SYMBOL
#define mobillm_plugin something_else
#endif
#ifndef START_STATUS
#define START_STATUS MOBILLM_OK
#endif

/* Those after the empty line end the process that meets them. */
static const char *const FAULTS[][2] = {
    {"quantizer", "hostile.fails-silently"},
    {"quantizer", "hostile.null-instance"},
    {"quantizer", "hostile.diagnostics-are-no-json"},
    {"quantizer", "hostile.error-is-no-text"},
    {"quantizer", "hostile.refuses-without-json"},
    {"quantizer", "hostile.unknown-status"},
    {"quantizer", "hostile.huge-rows"},
    {"selector", "hostile.layers-are-no-json"},
    {"selector", "hostile.layers-descend"},
    {"selector", "hostile.no-rows"},
    {"selector", "hostile.rows-twice"},
    {"selector", "hostile.null-tensor"},
    {"selector", "hostile.null-layout"},
    {"selector", "hostile.wrong-shape"},
    {"selector", "hostile.overflowing-shape"},
    {"selector", "hostile.wrong-strides"},
    {"selector", "hostile.wrong-address"},
    {"selector", "hostile.wrong-device"},
    {"selector", "hostile.wrong-offsets"},
    {"selector", "hostile.selects-padding"},
    {"privacy-policy", "hostile.info-is-no-json"},
    {"privacy-policy", "hostile.another-kind"},
    {"privacy-policy", "hostile.unknown-kind"},
    {"privacy-policy", "hostile.null-numbers"},
    {"privacy-policy", "hostile.endless-numbers"},
    {"privacy-policy", "hostile.tells-twice"},
    {"privacy-policy", "hostile.not-finite"},
    {"backbone", "hostile.info-lies"},
    {"backbone", "hostile.no-tap"},
    {"backbone", "hostile.null-tap"},
    {"backbone", "hostile.wrong-tap"},

    {"quantizer", "hostile.releases-twice"},
    {"quantizer", "hostile.crashes"},
    {"quantizer", "hostile.aborts"},
    {"quantizer", "hostile.exits"},
};
enum { FAULT_COUNT = sizeof FAULTS / sizeof FAULTS[0] };

typedef struct {
    const char *tag;
} Instance;

static void write_bytes(const MobillmWriter *writer, const void *data, size_t length) {
    if (writer != NULL) {
        MobillmBytes bytes = {data, length};
        writer->write(writer->context, bytes);
    }
}

static void say(const MobillmWriter *writer, const char *text) {
    write_bytes(writer, text, strlen(text));
}

/* Whether this instance has the fault `hostile.fault`. */
static bool has(const void *instance, const char *fault) {
    const Instance *self = instance;
    return strcmp(self->tag + strlen("hostile."), fault) == 0;
}

static const char *known(MobillmText tag) {
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        const char *fault = FAULTS[i][1];
        if (tag.length == strlen(fault) && memcmp(tag.data, fault, tag.length) == 0) {
            return fault;
        }
    }
    return NULL;
}

static MobillmStatus check(MobillmText tag, MobillmText options, MobillmText context,
                           const MobillmWriter *diagnostics, const MobillmWriter *error) {
    (void)options, (void)context, (void)error;
    Instance self = {known(tag)};
    say(diagnostics, has(&self, "diagnostics-are-no-json") ? "][" : "[]");
    return MOBILLM_OK;
}

static MobillmStatus build(MobillmText tag, MobillmText options, MobillmText context,
                           void **instance, const MobillmWriter *error) {
    (void)options, (void)context, (void)error;
    Instance self = {known(tag)};
    if (has(&self, "fails-silently")) {
        return MOBILLM_FAILED;
    }
    if (has(&self, "null-instance")) {
        *instance = NULL;
        return MOBILLM_OK;
    }
    Instance *built = malloc(sizeof *built);
    if (built == NULL) {
        return MOBILLM_FAILED;
    }
    *built = self;
    *instance = built;
    return MOBILLM_OK;
}

static void release(void *instance) {
    bool twice = has(instance, "releases-twice");
    /* Volatile, so that the compiler does not see what it would warn of. */
    void *volatile again = instance;
    free(instance);
    if (twice) {
        free(again);
    }
}

/* Quantizers: a byte a value, always 0. */

static MobillmStatus format(void *instance, MobillmPayloadFormat *format) {
    (void)instance;
    *format = (MobillmPayloadFormat){.name = {'z', 'e', 'r', 'o'}, .version = 1};
    return MOBILLM_OK;
}

static MobillmStatus row_bytes(void *instance, size_t hidden, size_t *bytes) {
    *bytes = has(instance, "huge-rows") ? SIZE_MAX / 2 : hidden;
    return MOBILLM_OK;
}

static float *values(const DLTensor *tensor) {
    return (float *)(void *)((char *)tensor->data + tensor->byte_offset);
}

static size_t count(const DLTensor *tensor) {
    size_t product = 1;
    for (int32_t axis = 0; axis < tensor->ndim; axis++) {
        product *= (size_t)tensor->shape[axis];
    }
    return product;
}

static MobillmStatus error_bound(void *instance, const DLTensor *row, const DLTensor *bound) {
    (void)instance;
    for (size_t i = 0; i < count(row); i++) {
        values(bound)[i] = values(row)[i] < 0 ? -values(row)[i] : values(row)[i];
    }
    return MOBILLM_OK;
}

static MobillmStatus encode(void *instance, const DLTensor *rows, MobillmBuffer out,
                            const MobillmWriter *error) {
    (void)rows;
    if (has(instance, "error-is-no-text")) {
        write_bytes(error, "\xff\xfe broken \x80", 11);
        return MOBILLM_FAILED;
    }
    if (has(instance, "refuses-without-json")) {
        say(error, "{\"row\": 1");
        return MOBILLM_REFUSED;
    }
    if (has(instance, "crashes")) {
        volatile int *volatile nothing = NULL;
        *nothing = 1;
    }
    if (has(instance, "aborts")) {
        abort();
    }
    if (has(instance, "exits")) {
        _Exit(0);
    }
    memset(out.data, 0, out.length);
    return has(instance, "unknown-status") ? 77 : MOBILLM_OK;
}

static MobillmStatus decode(void *instance, MobillmBytes bytes, const DLTensor *rows,
                            const MobillmWriter *error) {
    (void)instance, (void)bytes, (void)error;
    memset(values(rows), 0, count(rows) * sizeof(float));
    return MOBILLM_OK;
}

static const MobillmQuantizer QUANTIZER = {
    .size = TABLE_SIZE,
    .component = {.check = check, .build = build, .release = release},
    .format = format,
    .row_bytes = row_bytes,
    .error_bound = error_bound,
    .encode = encode,
    .decode = decode,
};

/* Selectors: the first token of every sample, of layer 1. */

static MobillmStatus layers(void *instance, MobillmText info, const MobillmWriter *out,
                            const MobillmWriter *error) {
    (void)info, (void)error;
    say(out, has(instance, "layers-are-no-json") ? "[1,"
             : has(instance, "layers-descend")   ? "[2, 1]"
                                                 : "[1]");
    return MOBILLM_OK;
}

static MobillmStatus rows(void *instance, size_t tokens, size_t *rows, bool *fixed) {
    (void)instance, (void)tokens;
    *rows = 1;
    *fixed = true;
    return MOBILLM_OK;
}

static MobillmStatus select_rows(void *instance, const MobillmTap *tap,
                                 const MobillmSelection *selection, const MobillmWriter *error) {
    (void)error;
    enum { MOST = 64 };
    size_t samples = (size_t)tap->hidden->shape[0], hidden = (size_t)tap->hidden->shape[2];
    static float zeros[MOST * MOST];
    if (samples > MOST || hidden > MOST) {
        return MOBILLM_REFUSED;
    }
    uint32_t offsets[MOST + 1], positions[MOST];
    for (size_t i = 0; i < samples; i++) {
        offsets[i] = (uint32_t)i;
        positions[i] = has(instance, "selects-padding") ? (uint32_t)tap->lengths[i] : 0;
    }
    offsets[samples] = has(instance, "wrong-offsets") ? UINT32_MAX : (uint32_t)samples;
    int64_t shape[] = {(int64_t)samples, (int64_t)hidden}, strides[] = {1, (int64_t)samples + 1};
    MobillmLayout layout = {offsets, samples, positions};
    DLTensor tensor = {
        .data = zeros,
        .device = {.device_type = DL_CPU},
        .ndim = 2,
        .dtype = {.code = DL_FLOAT, .bits = 32, .lanes = 1},
        .shape = shape,
    };
    if (has(instance, "wrong-shape")) {
        shape[1] += 1;
    } else if (has(instance, "overflowing-shape")) {
        shape[0] = INT64_MAX;
    } else if (has(instance, "wrong-strides")) {
        tensor.strides = strides;
    } else if (has(instance, "wrong-address")) {
        tensor.byte_offset = 1;
    } else if (has(instance, "wrong-device")) {
        tensor.device.device_type = 2;
    } else if (has(instance, "no-rows")) {
        return MOBILLM_OK;
    } else if (has(instance, "rows-twice")) {
        selection->selected(selection->context, &layout, &tensor);
    }
    selection->selected(selection->context, has(instance, "null-layout") ? NULL : &layout,
                        has(instance, "null-tensor") ? NULL : &tensor);
    /* Whatever the host says, this says that all is well. */
    return MOBILLM_OK;
}

static const MobillmSelector SELECTOR = {
    .size = sizeof(MobillmSelector),
    .component = {.check = check, .build = build, .release = release},
    .layers = layers,
    .rows = rows,
    .select = select_rows,
};

/* Privacy policies: labels as they are. */

static MobillmStatus policy_info(void *instance, const MobillmWriter *out,
                                 const MobillmWriter *error) {
    (void)error;
    say(out, has(instance, "info-is-no-json")
                 ? "supervision: everything"
                 : "{\"supervision\": \"truth\", \"answers\": \"raw\", \"guarantee\": \"none\"}");
    return MOBILLM_OK;
}

static MobillmStatus activations(void *instance, size_t layer, const MobillmLayout *layout,
                                 const uint64_t *samples, bool predicts, const DLTensor *rows,
                                 const MobillmWriter *error) {
    (void)layer, (void)layout, (void)samples, (void)predicts, (void)error;
    if (has(instance, "not-finite") && count(rows) > 0) {
        memset(values(rows), 0xff, sizeof(float));
    }
    return MOBILLM_OK;
}

static MobillmStatus supervise(void *instance, uint64_t sample, const MobillmSupervision *truth,
                               const DLTensor *own, const MobillmSupervisionSink *sink,
                               const MobillmWriter *error) {
    (void)sample, (void)error;
    MobillmSupervision told = *truth;
    if (has(instance, "another-kind") || has(instance, "null-numbers") ||
        has(instance, "endless-numbers")) {
        told.kind = MOBILLM_DIFFERENCE;
        told.numbers = has(instance, "null-numbers") ? NULL : values(own);
        told.count = has(instance, "endless-numbers") ? SIZE_MAX : count(own);
    } else if (has(instance, "unknown-kind")) {
        told.kind = 77;
    } else if (has(instance, "tells-twice")) {
        sink->supervision(sink->context, &told);
    }
    sink->supervision(sink->context, &told);
    return MOBILLM_OK;
}

static MobillmStatus combine(void *instance, const DLTensor *own, const DLTensor *side) {
    (void)instance, (void)own, (void)side;
    return MOBILLM_OK;
}

static const MobillmPrivacyPolicy POLICY = {
    .size = sizeof(MobillmPrivacyPolicy),
    .component = {.check = check, .build = build, .release = release},
    .info = policy_info,
    .activations = activations,
    .supervise = supervise,
    .combine = combine,
};

/* Backbones: a layer of 4 zeros a token. */

static MobillmStatus backbone_info(void *instance, const MobillmWriter *out,
                                   const MobillmWriter *error) {
    (void)error;
    char text[512];
    snprintf(text, sizeof text,
             "{\"architecture\": \"zeros\", \"layers\": %d, \"hidden\": 4, \"max_tokens\": 8, "
             "\"vocabulary\": 10, \"pooling\": \"mean\", \"own_outputs\": null, \"bundle\": \"%064d\"}",
             has(instance, "info-lies") ? 0 : 1, 0);
    say(out, text);
    return MOBILLM_OK;
}

static MobillmStatus forward(void *instance, const DLTensor *ids, const DLTensor *segments,
                             const size_t *lengths, const MobillmTapSink *sink,
                             const MobillmWriter *error) {
    (void)segments, (void)error;
    static float zeros[64];
    int64_t shape[] = {ids->shape[0], ids->shape[1], 4};
    DLTensor hidden = {
        .data = zeros,
        .device = {.device_type = DL_CPU},
        .ndim = 3,
        .dtype = {.code = DL_FLOAT, .bits = 32, .lanes = 1},
        .shape = shape,
    };
    MobillmTap tap = {1, &hidden, lengths};
    if (count(&hidden) > sizeof zeros / sizeof zeros[0]) {
        return MOBILLM_REFUSED;
    }
    if (has(instance, "no-tap")) {
        return MOBILLM_OK;
    }
    if (has(instance, "wrong-tap")) {
        shape[2] = 5;
    }
    sink->tap(sink->context, has(instance, "null-tap") ? NULL : &tap);
    return MOBILLM_OK;
}

static const MobillmBackbone BACKBONE = {
    .size = sizeof(MobillmBackbone),
    .component = {.check = check, .build = build, .release = release},
    .info = backbone_info,
    .forward = forward,
};

/* The door. */

static MobillmStatus start(const MobillmHost *host, const MobillmWriter *error) {
    (void)host, (void)error;
    return START_STATUS;
}

static MobillmStatus components(const MobillmWriter *out) {
#ifdef COMPONENTS
    say(out, COMPONENTS);
#else
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "%c{\"slot\": \"%s\", \"tag\": \"%s\", \"schema\": {\"type\": \"object\", "
                 "\"additionalProperties\": false, \"description\": \"One fault.\"}}",
                 i == 0 ? '[' : ',', FAULTS[i][0], FAULTS[i][1]);
        say(out, text);
    }
    say(out, "]");
#endif
    return MOBILLM_OK;
}

static const void *interface(MobillmSlot slot, uint32_t min_minor) {
    (void)min_minor;
    if (NO_TABLE) {
        return NULL;
    }
    switch (slot) {
    case MOBILLM_SLOT_QUANTIZER:
        return &QUANTIZER;
    case MOBILLM_SLOT_SELECTOR:
        return &SELECTOR;
    case MOBILLM_SLOT_PRIVACY_POLICY:
        return &POLICY;
    case MOBILLM_SLOT_BACKBONE:
        return &BACKBONE;
    default:
        return NULL;
    }
}

static const MobillmPlugin PLUGIN = {
    .magic = HEADER_MAGIC,
    .major = HEADER_MAJOR,
    .minor = MOBILLM_MINOR,
    .size = HEADER_SIZE,
    .name = MOBILLM_TEXT("hostile-c"),
    .version = MOBILLM_TEXT("1.0.0"),
    .built_by = MOBILLM_TEXT("a C compiler"),
    .start = start,
    .components = components,
    .interface = interface,
};

MOBILLM_EXPORT const MobillmPlugin *mobillm_plugin(void) {
    return NO_HEADER ? NULL : &PLUGIN;
}
