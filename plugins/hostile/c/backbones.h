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

static MobillmStatus forward(void *instance, const MobillmTensor *ids, const MobillmTensor *segments,
                             const size_t *lengths, const MobillmTapSink *sink,
                             const MobillmWriter *error) {
    (void)segments, (void)error;
    static float zeros[64];
    int64_t shape[] = {ids->shape[0], ids->shape[1], 4};
    MobillmTensor hidden = {
        .data = zeros,
        .device = {.device_type = MOBILLM_CPU},
        .ndim = 3,
        .dtype = {.code = MOBILLM_FLOAT, .bits = 32, .lanes = 1},
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
