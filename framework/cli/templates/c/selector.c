/*
 * A selector for mobillm, `plugin.tag` in a config: every token of every n-th layer.
 */
#include <math.h>

#include "kit.h"

static const char TAG[] = "plugin.tag";

/* What the library has. `description` is the line of help that `mobillm plugins list` shows. */
static const char COMPONENTS[] =
    "[{\"slot\": \"selector\", \"tag\": \"plugin.tag\", \"schema\": {"
    "\"type\": \"object\", \"additionalProperties\": false, "
    "\"description\": \"Every token of every n-th layer.\", "
    "\"properties\": {\"every\": {\"type\": \"integer\", \"minimum\": 1, \"default\": 2, "
    "\"description\": \"From one tapped layer to the next, counted back from the last.\"}}}}]";

/* An instance. */
typedef struct {
    size_t every;
} Selector;

/* The options; false if one is no number or out of range. */
static bool read_options(MobillmText options, Selector *selector) {
    double every = 2;
    bool fits = json_option(options, "every", &every) && every >= 1 && every <= 1e6 && every == floor(every);
    selector->every = fits ? (size_t)every : 1;
    return fits;
}

static MobillmStatus check(MobillmText tag, MobillmText options, MobillmText info,
                           const MobillmWriter *diagnostics, const MobillmWriter *error) {
    if (!is(tag, TAG)) {
        say(error, "this library has only plugin.tag");
        return MOBILLM_REFUSED;
    }
    Selector selector;
    double layers = 0;
    bool fits = read_options(options, &selector) && json_number(json_at(info, "layers"), &layers)
                && (double)selector.every <= layers;
    say(diagnostics, fits ? "[]"
                          : "[{\"path\": \"every\", \"message\": \"it is out of range\", "
                            "\"expected\": \"a whole number from 1 to the layers of the model\"}]");
    return MOBILLM_OK;
}

static MobillmStatus build(MobillmText tag, MobillmText options, MobillmText info, void **instance,
                           const MobillmWriter *error) {
    (void)info;
    Selector options_read;
    if (!is(tag, TAG) || !read_options(options, &options_read)) {
        say(error, "these are no options of plugin.tag");
        return MOBILLM_REFUSED;
    }
    Selector *selector = malloc(sizeof *selector);
    if (selector == NULL) {
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    *selector = options_read;
    *instance = selector;
    return MOBILLM_OK;
}

static void release(void *instance) {
    free(instance);
}

static MobillmStatus layers(void *instance, MobillmText info, const MobillmWriter *out,
                            const MobillmWriter *error) {
    const Selector *selector = instance;
    double last = 0;
    if (!json_number(json_at(info, "layers"), &last)) {
        say(error, "the model's info has no `layers`");
        return MOBILLM_REFUSED;
    }
    const char *separator = "[";
    for (size_t layer = 1; layer <= (size_t)last; layer++) {
        if (((size_t)last - layer) % selector->every == 0) {
            sayf(out, "%s%zu", separator, layer);
            separator = ", ";
        }
    }
    say(out, "]");
    return MOBILLM_OK;
}

static MobillmStatus rows(void *instance, size_t tokens, size_t *rows, uint32_t *fixed,
                          const MobillmWriter *error) {
    (void)instance, (void)error;
    *rows = tokens;
    *fixed = 1;
    return MOBILLM_OK;
}

/* Gives the host the tokens of every sample, padding left out. The three arrays have room for all tokens. */
static MobillmStatus give(const MobillmTap *tap, const MobillmSelection *selection, uint32_t *offsets,
                          uint32_t *positions, float *to) {
    size_t samples = (size_t)tap->hidden->shape[0], tokens = (size_t)tap->hidden->shape[1];
    size_t hidden = (size_t)tap->hidden->shape[2], taken = 0;
    offsets[0] = 0;
    for (size_t sample = 0; sample < samples; sample++) {
        size_t length = tap->lengths[sample];
        for (size_t token = 0; token < length; token++) {
            positions[taken + token] = (uint32_t)token;
        }
        const float *from = values(tap->hidden) + sample * tokens * hidden;
        memcpy(to + taken * hidden, from, length * hidden * sizeof *to);
        taken += length;
        offsets[sample + 1] = (uint32_t)taken;
    }
    int64_t shape[2] = {(int64_t)taken, (int64_t)hidden};
    MobillmTensor rows = *tap->hidden;
    rows.data = to;
    rows.ndim = 2;
    rows.shape = shape;
    rows.strides = NULL;
    rows.byte_offset = 0;
    MobillmLayout layout = {.offsets = offsets, .samples = samples, .positions = positions};
    return selection->selected(selection->context, &layout, &rows);
}

static MobillmStatus select_rows(void *instance, const MobillmTap *tap, const MobillmSelection *selection,
                                 const MobillmWriter *error) {
    (void)instance;
    size_t samples = (size_t)tap->hidden->shape[0], tokens = (size_t)tap->hidden->shape[1];
    for (size_t sample = 0; sample < samples; sample++) {
        if (tap->lengths[sample] > tokens) {
            say(error, "a sample is longer than its tap");
            return MOBILLM_REFUSED;
        }
    }
    /* One more of each, so that nothing is asked for 0 bytes. */
    uint32_t *offsets = malloc((samples + 1) * sizeof *offsets);
    uint32_t *positions = malloc((samples * tokens + 1) * sizeof *positions);
    float *to = malloc((count(tap->hidden) + 1) * sizeof *to);
    MobillmStatus status = MOBILLM_FAILED;
    if (offsets != NULL && positions != NULL && to != NULL) {
        status = give(tap, selection, offsets, positions, to);
    } else {
        say(error, "no memory is left");
    }
    free(offsets);
    free(positions);
    free(to);
    return status;
}

static const MobillmSelector SELECTOR = {
    .size = sizeof(MobillmSelector),
    .component = {.check = check, .build = build, .release = release},
    .layers = layers,
    .rows = rows,
    .select = select_rows,
};
