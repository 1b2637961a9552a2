/*
 * A side network for mobillm, `plugin.tag` in a config: a linear head, trained by gradient steps with momentum.
 *
 * For a sample, x is the sum of its pooled rows, tap by tap, each scaled to a mean square of 1, and then a 1; the outputs
 * are W x. W starts at zero, so there is nothing to draw from the run's seed: it is kept in the files with all else that
 * a network is built from.
 *
 * `head.h` has the mathematics, `file.h` what adapter and checkpoint look like.
 */
#include "file.h"
#include "head.h"
#include "kit.h"

static const char TAG[] = "plugin.tag";

/* What the library has. `description` is the line of help that `mobillm plugins list` shows. */
static const char COMPONENTS[] =
    "[{\"slot\": \"side-network\", \"tag\": \"plugin.tag\", \"schema\": {"
    "\"type\": \"object\", \"additionalProperties\": false, "
    "\"description\": \"A linear head, trained by gradient steps with momentum.\", "
    "\"properties\": {\"rate\": {\"type\": \"number\", \"minimum\": 0.01, \"maximum\": 1000, \"default\": 5, "
    "\"description\": \"A step is this many times `training.optimizer.learning_rate`, which is meant for AdamW.\"}}}}]";

/* The most numbers of a network. */
#define MOST ((uint64_t)1 << 26)

/* Options and context. A problem is an object of JSON, as diagnostics are, or NULL if there is none. */

static const char *read_options(MobillmText options, Network *network) {
    network->rate = 5;
    bool is_number = json_option(options, "rate", &network->rate);
    return is_number && network->rate >= 0.01 && network->rate <= 1000
               ? NULL
               : "{\"path\": \"rate\", \"message\": \"it is out of range\", \"expected\": \"0.01 to 1000\"}";
}

static const char *read_context(MobillmText context, Network *network) {
    MobillmText taps = json_at(context, "taps"), pooling = json_at(context, "pooling");
    MobillmText objective = json_at(context, "objective"), optimizer = json_at(context, "optimizer");
    network->context = context;
    if (!is(json_at(context, "supervision"), "\"truth\"")) {
        return "{\"path\": \"\", \"message\": \"it is trained on the truth alone\", "
               "\"help\": \"take the privacy policy `labels`\"}";
    }
    network->classifies = !is(objective, "\"regression\"");
    network->outputs = 1;
    network->pooling = is(pooling, "\"mean\"") ? MEAN : is(pooling, "\"first-token\"") ? FIRST_TOKEN : LAST_TOKEN;
    network->taps = 0;
    for (size_t at = 0; json_next(taps, &at).length > 0;) {
        network->taps++;
    }
    bool known = json_whole(json_at(context, "hidden"), &network->hidden)
                 && json_whole(json_at(context, "steps"), &network->steps)
                 && json_number(json_at(optimizer, "learning_rate"), &network->learning_rate)
                 && json_number(json_at(optimizer, "weight_decay"), &network->weight_decay)
                 && json_number(json_at(optimizer, "beta1"), &network->momentum)
                 && json_number(json_at(optimizer, "warmup"), &network->warmup)
                 && json_number(json_at(optimizer, "clip"), &network->clip)
                 && (network->pooling != LAST_TOKEN || is(pooling, "\"last-token\""))
                 && (!network->classifies
                     || json_whole(json_at(json_at(objective, "classification"), "classes"), &network->outputs));
    if (!known) {
        return "{\"path\": \"\", \"message\": \"it does not understand what it is to be built from\"}";
    }
    bool fits = network->taps > 0 && network->hidden > 0 && network->outputs > 0
                && network->hidden < MOST / network->taps
                && network->outputs <= MOST / (network->taps * network->hidden + 1);
    network->width = (size_t)(network->taps * network->hidden + 1);
    return fits ? NULL : "{\"path\": \"\", \"message\": \"the network would be empty or too large\"}";
}

static MobillmStatus check(MobillmText tag, MobillmText options, MobillmText context,
                           const MobillmWriter *diagnostics, const MobillmWriter *error) {
    if (!is(tag, TAG)) {
        say(error, "this library has only plugin.tag");
        return MOBILLM_REFUSED;
    }
    Network network = {0};
    const char *wrong = read_options(options, &network), *unfit = read_context(context, &network);
    sayf(diagnostics, "[%s%s%s]", wrong ? wrong : "", wrong && unfit ? ", " : "", unfit ? unfit : "");
    return MOBILLM_OK;
}

/* Life. */

static void release(void *instance) {
    Network *network = instance;
    free((void *)network->context.data);
    free(network->weights);
    free(network->velocity);
    free(network);
}

/* A network of zeros, which shares nothing with `begun`. */
static MobillmStatus make(const Network *begun, bool trains, void **instance, const MobillmWriter *error) {
    Network *network = calloc(1, sizeof *network);
    uint8_t *context = malloc(begun->context.length);
    float *weights = calloc(numbers(begun), sizeof *weights);
    float *velocity = trains ? calloc(numbers(begun), sizeof *velocity) : NULL;
    if (network == NULL || context == NULL || weights == NULL || (trains && velocity == NULL)) {
        free(network);
        free(context);
        free(weights);
        free(velocity);
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    memcpy(context, begun->context.data, begun->context.length);
    *network = *begun;
    network->context.data = context;
    network->weights = weights;
    network->velocity = velocity;
    *instance = network;
    return MOBILLM_OK;
}

static MobillmStatus build(MobillmText tag, MobillmText options, MobillmText context, void **instance,
                           const MobillmWriter *error) {
    Network begun = {0};
    if (!is(tag, TAG) || read_options(options, &begun) != NULL || read_context(context, &begun) != NULL) {
        say(error, "plugin.tag is not built of this; `check` tells why");
        return MOBILLM_REFUSED;
    }
    return make(&begun, true, instance, error);
}

static MobillmStatus info(void *instance, const MobillmWriter *out, const MobillmWriter *error) {
    (void)error;
    const Network *network = instance;
    sayf(out, "{\"engine\": \"plugin-name\", \"architecture\": \"linear-head\", \"parameters\": %zu, \"hidden\": %zu",
         numbers(network), (size_t)network->hidden);
    static const char *const AS_BUILT[] = {"taps", "objective", "bundle"};
    for (size_t i = 0; i < sizeof AS_BUILT / sizeof *AS_BUILT; i++) {
        sayf(out, ", \"%s\": ", AS_BUILT[i]);
        say_text(out, json_at(network->context, AS_BUILT[i]));
    }
    say(out, ", \"additive\": false}");
    return MOBILLM_OK;
}

/* Training and prediction. */

static bool fits(const Network *network, const MobillmLayout *layout, const MobillmTensor *taps, size_t given,
                 const MobillmWriter *error) {
    if (given != network->taps || layout->samples == 0) {
        sayf(error, "%zu taps of %zu samples, expected %zu taps of one sample or more", given, layout->samples,
             (size_t)network->taps);
        return false;
    }
    for (size_t tap = 0; tap < given; tap++) {
        if ((uint64_t)taps[tap].shape[1] != network->hidden) {
            sayf(error, "rows of %lld values, expected %zu", (long long)taps[tap].shape[1], (size_t)network->hidden);
            return false;
        }
    }
    for (size_t sample = 0; sample < layout->samples; sample++) {
        if (layout->offsets[sample] == layout->offsets[sample + 1]) {
            sayf(error, "sample %zu has no rows, expected at least one", sample);
            return false;
        }
    }
    return true;
}

static bool has_truth(const Network *network, size_t samples, const MobillmSupervision *given,
                      const MobillmWriter *error) {
    for (size_t sample = 0; sample < samples; sample++) {
        const MobillmSupervision *truth = &given[sample];
        bool is_one = network->classifies
                          ? truth->kind == MOBILLM_LABEL && truth->label < network->outputs
                          : truth->kind == MOBILLM_VALUE && truth->count == 1 && isfinite(truth->numbers[0]);
        if (!is_one) {
            sayf(error, "sample %zu: this is no truth of the task", sample);
            return false;
        }
    }
    return true;
}

static MobillmStatus train_step(void *instance, const MobillmLayout *layout, const MobillmTensor *taps, size_t given,
                                const MobillmSupervision *supervision, const MobillmWriter *report,
                                const MobillmWriter *error) {
    Network *network = instance;
    if (network->velocity == NULL) {
        say(error, "it was loaded to predict with; to train, build a network and restore a checkpoint");
        return MOBILLM_REFUSED;
    }
    if (!fits(network, layout, taps, given, error) || !has_truth(network, layout->samples, supervision, error)) {
        return MOBILLM_REFUSED;
    }
    size_t width = network->width, outputs = (size_t)network->outputs;
    double *x = calloc(width + outputs + outputs * width, sizeof *x);
    if (x == NULL) {
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    double *by_output = x + width, *gradient = by_output + outputs, total = 0, squares = 0;
    for (size_t sample = 0; sample < layout->samples; sample++) {
        pool(network, layout, taps, sample, x);
        apply(network, x, by_output);
        total += loss_of(network, &supervision[sample], by_output);
        for (size_t i = 0; i < outputs * width; i++) {
            gradient[i] += by_output[i / width] * x[i % width] / (double)layout->samples;
        }
    }
    for (size_t i = 0; i < outputs * width; i++) {
        squares += gradient[i] * gradient[i];
    }
    float loss = (float)(total / (double)layout->samples);
    unsigned long long step = network->step;
    MobillmStatus status = MOBILLM_FAILED;
    if (!isfinite(loss) || !isfinite(squares)) {
        status = MOBILLM_REFUSED;
        sayf(error, "{\"step\": %llu, \"loss\": \"%g\"}", step, loss);
    } else if (sayf(report, "{\"step\": %llu, \"loss\": %.9g, \"learning_rate\": %.17g}", step, loss,
                    learning_rate(network))) {
        status = MOBILLM_OK;
        move(network, gradient, sqrt(squares));
    }
    free(x);
    return status;
}

static MobillmStatus predict(void *instance, const MobillmLayout *layout, const MobillmTensor *taps, size_t given,
                             const MobillmTensor *scores, const MobillmWriter *error) {
    const Network *network = instance;
    if (!fits(network, layout, taps, given, error)) {
        return MOBILLM_REFUSED;
    }
    size_t outputs = (size_t)network->outputs;
    double *x = calloc(network->width + outputs, sizeof *x), *output = x + network->width;
    if (x == NULL) {
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    for (size_t sample = 0; sample < layout->samples; sample++) {
        pool(network, layout, taps, sample, x);
        apply(network, x, output);
        for (size_t i = 0; i < outputs; i++) {
            values(scores)[sample * outputs + i] = (float)output[i];
        }
    }
    free(x);
    return MOBILLM_OK;
}

/* Files. */

static const char ADAPTER[] = "QUAD" "adap", CHECKPOINT[] = "QUAD" "chck";

static void write_file(const Network *network, const char *magic, bool moves, const MobillmWriter *out) {
    Header header = {.version = FILE_VERSION, .step = network->step, .rate = network->rate};
    header.context = network->context.length;
    memcpy(header.magic, magic, sizeof header.magic);
    size_t bytes = numbers(network) * sizeof *network->weights;
    uint64_t sum = put(out, CHECKSUM_OF_NOTHING, &header, sizeof header);
    sum = put(out, sum, network->context.data, network->context.length);
    sum = put(out, sum, network->weights, bytes);
    sum = moves ? put(out, sum, network->velocity, bytes) : sum;
    put(out, sum, &sum, sizeof sum);
}

static MobillmStatus adapter(void *instance, const MobillmWriter *out, const MobillmWriter *error) {
    (void)error;
    write_file(instance, ADAPTER, false, out);
    return MOBILLM_OK;
}

static MobillmStatus checkpoint(void *instance, const MobillmWriter *out, const MobillmWriter *error) {
    const Network *network = instance;
    if (network->velocity == NULL) {
        say(error, "it was loaded to predict with: there is nothing to go on from");
        return MOBILLM_REFUSED;
    }
    write_file(network, CHECKPOINT, true, out);
    return MOBILLM_OK;
}

static MobillmStatus load(MobillmText tag, MobillmText options, MobillmBytes bytes, void **instance,
                          const MobillmWriter *error) {
    (void)options; /* the file has them */
    File file;
    Network begun = {0};
    if (!is(tag, TAG)) {
        say(error, "this library has only plugin.tag");
        return MOBILLM_REFUSED;
    }
    if (!read_file(bytes, ADAPTER, "adapter", &file, error)) {
        return MOBILLM_REFUSED;
    }
    if (read_context(file.context, &begun) != NULL) {
        say(error, "the adapter tells of no network that plugin.tag has");
        return MOBILLM_REFUSED;
    }
    if (file.count != numbers(&begun)) {
        sayf(error, "the adapter has %zu numbers, expected the %zu of its network", file.count, numbers(&begun));
        return MOBILLM_REFUSED;
    }
    begun.rate = file.header.rate;
    begun.step = file.header.step;
    MobillmStatus status = make(&begun, false, instance, error);
    if (status == MOBILLM_OK) {
        Network *network = *instance;
        memcpy(network->weights, file.numbers, file.count * sizeof *network->weights);
    }
    return status;
}

static MobillmStatus restore(void *instance, MobillmBytes bytes, const MobillmWriter *error) {
    Network *network = instance;
    File file;
    if (!read_file(bytes, CHECKPOINT, "checkpoint", &file, error)
        || !is_same_run(file.context, network->context, error)) {
        return MOBILLM_REFUSED;
    }
    if (network->velocity == NULL) {
        say(error, "it was loaded to predict with; to train, build a network and restore the checkpoint");
        return MOBILLM_REFUSED;
    }
    if (file.header.rate != network->rate) {
        sayf(error, "it is of another run: rate: %.17g, expected %.17g", file.header.rate, network->rate);
        return MOBILLM_REFUSED;
    }
    if (file.count != 2 * numbers(network)) {
        sayf(error, "the checkpoint has %zu numbers, expected %zu", file.count, 2 * numbers(network));
        return MOBILLM_REFUSED;
    }
    size_t half = numbers(network) * sizeof *network->weights;
    memcpy(network->weights, file.numbers, half);
    memcpy(network->velocity, file.numbers + half, half);
    network->step = file.header.step;
    return MOBILLM_OK;
}

static const MobillmSideNetwork SIDE_NETWORK = {
    .size = sizeof(MobillmSideNetwork),
    .component = {.check = check, .build = build, .release = release},
    .load = load,
    .info = info,
    .train_step = train_step,
    .predict = predict,
    .adapter = adapter,
    .checkpoint = checkpoint,
    .restore = restore,
};
