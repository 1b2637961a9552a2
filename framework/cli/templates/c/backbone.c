/*
 * A backbone for mobillm, `plugin.tag` in a config: the frozen model, forward only.
 *
 * It reads the model's dimensions from the bundle and computes hidden states that are a hash of the tokens, mixed layer
 * by layer: put your engine where `embed` and `run_layer` are.
 */
#include <errno.h>
#include <math.h>

#include "kit.h"

static const char TAG[] = "plugin.tag";

/* What the library has. `description` is the line of help that `mobillm plugins list` shows. */
static const char COMPONENTS[] =
    "[{\"slot\": \"backbone\", \"tag\": \"plugin.tag\", \"schema\": {"
    "\"type\": \"object\", \"additionalProperties\": false, "
    "\"description\": \"Hidden states that are a hash of the tokens.\", "
    "\"properties\": {\"mixing\": {\"type\": \"number\", \"minimum\": 0, \"maximum\": 1, \"default\": 0.2, "
    "\"description\": \"How much of its sample's mean a token takes over in a layer.\"}}}}]";

/* The most bytes of a manifest that are read, and values of a tap that are computed. */
enum { MOST_OF_MANIFEST = 1 << 24, MOST_VALUES = 1 << 30 };

/* An instance. */
typedef struct {
    double mixing;
    /* A bundle's manifest, which names the model. */
    char *manifest;
    MobillmText model;
    uint64_t layers, hidden;
    /* The layers to hand out, ascending. */
    size_t *taps, tapped;
    /* Whether the user knows what this is. */
    bool told;
} Backbone;

/* The options; false if one is no number or out of range. */
static bool read_options(MobillmText options, Backbone *backbone) {
    backbone->mixing = 0.2;
    return json_option(options, "mixing", &backbone->mixing) && backbone->mixing >= 0 && backbone->mixing <= 1;
}

static MobillmStatus check(MobillmText tag, MobillmText options, MobillmText info, const MobillmWriter *diagnostics,
                           const MobillmWriter *error) {
    (void)info;
    if (!is(tag, TAG)) {
        say(error, "this library has only plugin.tag");
        return MOBILLM_REFUSED;
    }
    Backbone backbone;
    bool fits = read_options(options, &backbone);
    say(diagnostics, fits ? "[]"
                          : "[{\"path\": \"mixing\", \"message\": \"it is out of range\", "
                            "\"expected\": \"a number from 0 to 1\"}]");
    return MOBILLM_OK;
}

/* All of a file, with a zero after it. */
static MobillmStatus read_all(FILE *file, const char *path, char **text, const MobillmWriter *error) {
    long bytes = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (bytes > MOST_OF_MANIFEST) {
        sayf(error, "%s has %ld bytes, expected %d at most", path, bytes, MOST_OF_MANIFEST);
        return MOBILLM_REFUSED;
    }
    if (bytes >= 0) {
        *text = calloc((size_t)bytes + 1, 1);
        if (*text == NULL) {
            say(error, "no memory is left");
            return MOBILLM_FAILED;
        }
        rewind(file);
        if (fread(*text, 1, (size_t)bytes, file) == (size_t)bytes) {
            return MOBILLM_OK;
        }
    }
    sayf(error, "%s cannot be read: %s", path, feof(file) ? "it ends before its end" : strerror(errno));
    return MOBILLM_REFUSED;
}

/* The manifest of the bundle in a folder. The weights, `weights.safetensors`, and the graph, `model.onnx`, lie beside it. */
static MobillmStatus read_manifest(MobillmText folder, Backbone *backbone, const MobillmWriter *error) {
    char path[4096];
    size_t length = json_string(folder, path, sizeof path - sizeof "/manifest.json");
    if (length == 0) {
        say(error, "the bundle's path is no text, is too long, or has control characters");
        return MOBILLM_REFUSED;
    }
    memcpy(path + length, "/manifest.json", sizeof "/manifest.json");
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        sayf(error, "%s cannot be opened: %s", path, strerror(errno));
        return MOBILLM_REFUSED;
    }
    MobillmStatus status = read_all(file, path, &backbone->manifest, error);
    fclose(file);
    if (status != MOBILLM_OK) {
        return status;
    }
    backbone->model = json_at(as_text(backbone->manifest), "model");
    if (!json_whole(json_at(backbone->model, "layers"), &backbone->layers)
        || !json_whole(json_at(backbone->model, "hidden"), &backbone->hidden) || backbone->hidden == 0) {
        sayf(error, "%s is no manifest of a bundle: there is no `model` with `layers` and `hidden`", path);
        return MOBILLM_REFUSED;
    }
    return MOBILLM_OK;
}

/* The layers to hand out, of a model that is known. */
static MobillmStatus read_taps(MobillmText taps, Backbone *backbone, const MobillmWriter *error) {
    /* Each takes a byte of the text, at least. */
    backbone->taps = malloc((taps.length + 1) * sizeof *backbone->taps);
    if (backbone->taps == NULL) {
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    MobillmText tap;
    for (size_t at = 0; (tap = json_next(taps, &at)).length > 0;) {
        uint64_t layer, least = backbone->tapped > 0 ? backbone->taps[backbone->tapped - 1] + 1 : 0;
        if (!json_whole(tap, &layer) || layer < least || layer > backbone->layers) {
            MobillmText some = begin_of(tap, 200);
            sayf(error, "a tap is %.*s, expected ascending layers up to %llu", (int)some.length,
                 (const char *)some.data, (unsigned long long)backbone->layers);
            return MOBILLM_REFUSED;
        }
        backbone->taps[backbone->tapped++] = (size_t)layer;
    }
    return MOBILLM_OK;
}

static void release(void *instance) {
    Backbone *backbone = instance;
    free(backbone->manifest);
    free(backbone->taps);
    free(backbone);
}

static MobillmStatus build(MobillmText tag, MobillmText options, MobillmText context, void **instance,
                           const MobillmWriter *error) {
    Backbone *backbone = calloc(1, sizeof *backbone);
    if (backbone == NULL) {
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    MobillmStatus status = MOBILLM_REFUSED;
    if (!is(tag, TAG) || !read_options(options, backbone)) {
        say(error, "these are no options of plugin.tag");
    } else if (!is(json_at(context, "label_tokens"), "[]")) {
        say(error, "this backbone scores no words; take another for a language model's task");
    } else if ((status = read_manifest(json_at(context, "bundle"), backbone, error)) == MOBILLM_OK) {
        status = read_taps(json_at(context, "taps"), backbone, error);
    }
    if (status != MOBILLM_OK) {
        release(backbone);
        return status;
    }
    *instance = backbone;
    return MOBILLM_OK;
}

/* As the bundle has it. A task head's prediction would be the model's own; here is none. */
static MobillmStatus info(void *instance, const MobillmWriter *out, const MobillmWriter *error) {
    (void)error;
    const Backbone *backbone = instance;
    static const char *const AS_BUNDLED[] = {"architecture", "layers",  "hidden", "max_tokens",
                                             "vocabulary",   "pooling", "bundle"};
    say(out, "{");
    for (size_t i = 0; i < sizeof AS_BUNDLED / sizeof *AS_BUNDLED; i++) {
        sayf(out, "\"%s\": ", AS_BUNDLED[i]);
        say_text(out, json_at(backbone->model, AS_BUNDLED[i]));
        say(out, ", ");
    }
    say(out, "\"own_outputs\": null}");
    return MOBILLM_OK;
}

/* A number in -1..1 that is a hash of two numbers (splitmix64). */
static float unit(uint64_t a, uint64_t b) {
    uint64_t x = (a * 0x9e3779b97f4a7c15) ^ (b * 0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return (float)((x ^ (x >> 31)) >> 40) / (float)(1 << 23) - 1;
}

/* Layer 0 of a sample, [length, hidden]. */
static void embed(const int64_t *ids, size_t length, size_t hidden, float *rows) {
    for (size_t i = 0; i < length * hidden; i++) {
        rows[i] = unit((uint64_t)ids[i / hidden], i % hidden);
    }
}

/* The next layer of a sample, in place. */
static void run_layer(double mixing, size_t length, size_t hidden, float *rows) {
    for (size_t column = 0; column < hidden; column++) {
        float mean = 0;
        for (size_t token = 0; token < length; token++) {
            mean += rows[token * hidden + column] / (float)length;
        }
        for (size_t token = 0; token < length; token++) {
            float *value = &rows[token * hidden + column];
            *value = tanhf(1.2f * *value + (float)mixing * mean);
        }
    }
}

/* The layers one after the other. `rows` has room for a tap; what stands in padding stays 0. */
static MobillmStatus run(const Backbone *backbone, const MobillmTensor *ids, const size_t *lengths,
                         const MobillmTapSink *sink, float *rows) {
    size_t samples = (size_t)ids->shape[0], tokens = (size_t)ids->shape[1], hidden = (size_t)backbone->hidden;
    int64_t shape[3] = {ids->shape[0], ids->shape[1], (int64_t)hidden};
    MobillmTensor tensor = {.data = rows,
                            .device = {.device_type = MOBILLM_CPU},
                            .ndim = 3,
                            .dtype = {.code = MOBILLM_FLOAT, .bits = 32, .lanes = 1},
                            .shape = shape};
    const int64_t *first_id = (const int64_t *)(const void *)((const char *)ids->data + ids->byte_offset);
    for (size_t layer = 0, handed_out = 0; layer <= backbone->layers; layer++) {
        for (size_t sample = 0; sample < samples; sample++) {
            float *of_sample = rows + sample * tokens * hidden;
            if (layer == 0) {
                embed(first_id + sample * tokens, lengths[sample], hidden, of_sample);
            } else {
                run_layer(backbone->mixing, lengths[sample], hidden, of_sample);
            }
        }
        /* A tap leaves before the next layer runs: the device never holds them all. */
        if (handed_out < backbone->tapped && backbone->taps[handed_out] == layer) {
            MobillmTap tap = {.layer = layer, .hidden = &tensor, .lengths = lengths};
            MobillmStatus status = sink->tap(sink->context, &tap);
            if (status != MOBILLM_OK) {
                return status;
            }
            handed_out++;
        }
    }
    return MOBILLM_OK;
}

static MobillmStatus forward(void *instance, const MobillmTensor *ids, const MobillmTensor *segments,
                             const size_t *lengths, const MobillmTapSink *sink, const MobillmWriter *error) {
    (void)segments;
    Backbone *backbone = instance;
    if (count(ids) > MOST_VALUES / backbone->hidden) {
        say(error, "the batch is too large");
        return MOBILLM_REFUSED;
    }
    float *rows = calloc(count(ids) * (size_t)backbone->hidden + 1, sizeof *rows);
    if (rows == NULL) {
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    if (!backbone->told) {
        tell(MOBILLM_LOG_WARNING, "the hidden states of plugin.tag are a hash of the tokens, and no model's");
        backbone->told = true;
    }
    MobillmStatus status = run(backbone, ids, lengths, sink, rows);
    free(rows);
    return status;
}

static const MobillmBackbone BACKBONE = {
    .size = sizeof(MobillmBackbone),
    .component = {.check = check, .build = build, .release = release},
    .info = info,
    .forward = forward,
};
