/*
 * A privacy policy for mobillm, `plugin.tag` in a config: rows of bounded norm, and the truth.
 *
 * It bounds what a row can say at all, which is where noise could begin; by itself it guarantees nothing.
 */
#include <math.h>

#include "kit.h"

static const char TAG[] = "plugin.tag";

/* What the library has. `description` is the line of help that `mobillm plugins list` shows. */
static const char COMPONENTS[] =
    "[{\"slot\": \"privacy-policy\", \"tag\": \"plugin.tag\", \"schema\": {"
    "\"type\": \"object\", \"additionalProperties\": false, "
    "\"description\": \"Scales rows down to a largest norm, and tells the truth.\", "
    "\"properties\": {\"norm\": {\"type\": \"number\", \"minimum\": 0.001, \"maximum\": 1000000, \"default\": 50, "
    "\"description\": \"Largest Euclidean norm of a row.\"}}}}]";

/* An instance. */
typedef struct {
    double norm;
    /* Of a classification; 0 for a regression. */
    double classes;
} Policy;

/* The options; false if one is no number or out of range. */
static bool read_options(MobillmText options, Policy *policy) {
    policy->norm = 50;
    return json_option(options, "norm", &policy->norm) && policy->norm >= 0.001 && policy->norm <= 1e6;
}

static MobillmStatus check(MobillmText tag, MobillmText options, MobillmText objective,
                           const MobillmWriter *diagnostics, const MobillmWriter *error) {
    (void)objective;
    if (!is(tag, TAG)) {
        say(error, "this library has only plugin.tag");
        return MOBILLM_REFUSED;
    }
    Policy policy;
    bool fits = read_options(options, &policy);
    say(diagnostics, fits ? "[]"
                          : "[{\"path\": \"norm\", \"message\": \"it is out of range\", "
                            "\"expected\": \"a number from 0.001 to 1000000\"}]");
    return MOBILLM_OK;
}

static MobillmStatus build(MobillmText tag, MobillmText options, MobillmText objective,
                           void **instance, const MobillmWriter *error) {
    Policy options_read;
    if (!is(tag, TAG) || !read_options(options, &options_read)) {
        say(error, "these are no options of plugin.tag");
        return MOBILLM_REFUSED;
    }
    Policy *policy = malloc(sizeof *policy);
    if (policy == NULL) {
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    *policy = options_read;
    policy->classes = 0;
    json_number(json_at(json_at(objective, "classification"), "classes"), &policy->classes);
    *instance = policy;
    return MOBILLM_OK;
}

static void release(void *instance) {
    free(instance);
}

static MobillmStatus info(void *instance, const MobillmWriter *out, const MobillmWriter *error) {
    (void)instance;
    (void)error;
    say(out, "{\"supervision\": \"truth\", \"answers\": \"raw\", "
             "\"guarantee\": \"none: rows are scaled down, and the server learns every label\"}");
    return MOBILLM_OK;
}

static MobillmStatus activations(void *instance, size_t layer, const MobillmLayout *layout,
                                 const uint64_t *samples, uint32_t purpose, const MobillmTensor *tensor,
                                 const MobillmWriter *error) {
    (void)layer, (void)layout, (void)samples, (void)purpose, (void)error;
    const Policy *policy = instance;
    size_t rows = (size_t)tensor->shape[0], hidden = (size_t)tensor->shape[1];
    for (size_t row = 0; row < rows; row++) {
        float *of_row = values(tensor) + row * hidden;
        /* In double the squares of no float overflow. */
        double squares = 0;
        for (size_t i = 0; i < hidden; i++) {
            squares += (double)of_row[i] * of_row[i];
        }
        double norm = sqrt(squares);
        if (norm > policy->norm) {
            for (size_t i = 0; i < hidden; i++) {
                of_row[i] = (float)(of_row[i] * (policy->norm / norm));
            }
        }
    }
    return MOBILLM_OK;
}

static MobillmStatus supervise(void *instance, uint64_t sample, const MobillmSupervision *truth,
                               const MobillmTensor *own, const MobillmSupervisionSink *sink,
                               const MobillmWriter *error) {
    (void)sample, (void)own;
    const Policy *policy = instance;
    bool fits = policy->classes > 0
                    ? truth->kind == MOBILLM_LABEL && truth->label < policy->classes
                    : truth->kind == MOBILLM_VALUE && truth->count == 1 && isfinite(truth->numbers[0]);
    if (!fits) {
        say(error, "the truth is none of this task");
        return MOBILLM_REFUSED;
    }
    return sink->supervision(sink->context, truth);
}

/* The side network was trained on the truth: its word stands. */
static MobillmStatus combine(void *instance, const MobillmTensor *own, const MobillmTensor *side,
                             const MobillmWriter *error) {
    (void)instance, (void)own, (void)side, (void)error;
    return MOBILLM_OK;
}

static const MobillmPrivacyPolicy POLICY = {
    .size = sizeof(MobillmPrivacyPolicy),
    .component = {.check = check, .build = build, .release = release},
    .info = info,
    .activations = activations,
    .supervise = supervise,
    .combine = combine,
};
