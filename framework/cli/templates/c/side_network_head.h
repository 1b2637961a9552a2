/* A linear head: outputs W x, cross-entropy or squared error, and steps down their gradient. */
#ifndef HEAD_H
#define HEAD_H

#include <math.h>

#include "kit.h"

typedef enum { MEAN, FIRST_TOKEN, LAST_TOKEN } Pooling;

/* An instance. */
typedef struct {
    double rate;
    /* What it is built from: JSON, a copy of its own. What follows is read from there. */
    MobillmText context;
    uint64_t taps, hidden, outputs, steps;
    bool classifies;
    Pooling pooling;
    double learning_rate, weight_decay, momentum, warmup, clip;
    /* Numbers of x. */
    size_t width;
    /* W, [outputs, width], and how it moves; NULL in a network that was loaded to predict with. */
    float *weights, *velocity;
    uint64_t step;
} Network;

static size_t numbers(const Network *network) {
    return (size_t)network->outputs * network->width;
}

/* x of a sample. */
static void pool(const Network *network, const MobillmLayout *layout, const MobillmTensor *taps, size_t sample,
                 double *x) {
    size_t first = layout->offsets[sample], end = layout->offsets[sample + 1], hidden = (size_t)network->hidden;
    end = network->pooling == FIRST_TOKEN ? first + 1 : end;
    first = network->pooling == LAST_TOKEN ? end - 1 : first;
    x[network->width - 1] = 1;
    for (size_t tap = 0; tap < network->taps; tap++, x += hidden) {
        double squares = 0;
        for (size_t i = 0; i < hidden; i++) {
            x[i] = 0;
            for (size_t row = first; row < end; row++) {
                x[i] += values(&taps[tap])[row * hidden + i];
            }
            squares += x[i] * x[i];
        }
        double scale = fmax(sqrt(squares / (double)hidden), 1e-6);
        for (size_t i = 0; i < hidden; i++) {
            x[i] /= scale;
        }
    }
}

static void apply(const Network *network, const double *x, double *outputs) {
    for (size_t output = 0; output < network->outputs; output++) {
        const float *row = network->weights + output * network->width;
        outputs[output] = 0;
        for (size_t i = 0; i < network->width; i++) {
            outputs[output] += row[i] * x[i];
        }
    }
}

/* The loss of a sample, cross-entropy or squared error; of `outputs` it makes the gradient by them. */
static double loss_of(const Network *network, const MobillmSupervision *truth, double *outputs) {
    if (!network->classifies) {
        double off = outputs[0] - truth->numbers[0];
        outputs[0] = 2 * off;
        return off * off;
    }
    double most = outputs[0], sum = 0, of_label = outputs[truth->label];
    for (size_t i = 1; i < network->outputs; i++) {
        most = fmax(most, outputs[i]);
    }
    for (size_t i = 0; i < network->outputs; i++) {
        outputs[i] = exp(outputs[i] - most);
        sum += outputs[i];
    }
    for (size_t i = 0; i < network->outputs; i++) {
        outputs[i] /= sum;
    }
    outputs[truth->label] -= 1;
    return log(sum) + most - of_label;
}

/* As the host has it, to the last bit: a linear rise, then a cosine to zero. */
static double learning_rate(const Network *network) {
    const double pi = 3.14159265358979323846;
    double steps = fmax((double)network->steps, 1), at = (double)network->step;
    double warmup = round(network->warmup * steps);
    if (at < warmup) {
        return network->learning_rate * (at + 1) / warmup;
    }
    double progress = fmin((at - warmup) / fmax(steps - warmup, 1), 1);
    return network->learning_rate * 0.5 * (1 + cos(pi * progress));
}

static void move(Network *network, const double *gradient, double norm) {
    double clip = network->clip > 0 && norm > network->clip ? network->clip / norm : 1;
    double by = network->rate * learning_rate(network);
    for (size_t i = 0; i < numbers(network); i++) {
        bool is_bias = i % network->width == network->width - 1;
        double decay = is_bias ? 0 : network->weight_decay * network->weights[i];
        network->velocity[i] = (float)(network->momentum * network->velocity[i] + clip * gradient[i]);
        network->weights[i] = (float)(network->weights[i] - by * (network->velocity[i] + decay));
    }
    network->step++;
}

#endif
