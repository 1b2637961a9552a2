/* Selectors: the first token of every sample, of layer 1. */

static MobillmStatus layers(void *instance, MobillmText info, const MobillmWriter *out,
                            const MobillmWriter *error) {
    (void)info, (void)error;
    say(out, has(instance, "layers-are-no-json") ? "[1,"
             : has(instance, "layers-descend")   ? "[2, 1]"
                                                 : "[1]");
    return MOBILLM_OK;
}

static MobillmStatus rows(void *instance, size_t tokens, size_t *rows, uint32_t *fixed,
                          const MobillmWriter *error) {
    (void)tokens, (void)error;
    *rows = 1;
    *fixed = has(instance, "fixed-is-no-flag") ? 2 : 1;
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
    MobillmTensor tensor = {
        .data = zeros,
        .device = {.device_type = MOBILLM_CPU},
        .ndim = 2,
        .dtype = {.code = MOBILLM_FLOAT, .bits = 32, .lanes = 1},
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
