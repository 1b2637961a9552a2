/* Quantizers: a byte a value, always 0. */

static MobillmStatus format(void *instance, MobillmPayloadFormat *format,
                            const MobillmWriter *error) {
    (void)error;
    (void)instance;
    *format = (MobillmPayloadFormat){.name = {'z', 'e', 'r', 'o'}, .version = 1};
    return MOBILLM_OK;
}

static MobillmStatus row_bytes(void *instance, size_t hidden, size_t *bytes,
                               const MobillmWriter *error) {
    (void)error;
    *bytes = has(instance, "huge-rows") ? SIZE_MAX / 2 : hidden;
    return MOBILLM_OK;
}

static MobillmStatus error_bound(void *instance, const MobillmTensor *row, const MobillmTensor *bound,
                                 const MobillmWriter *error) {
    (void)instance, (void)error;
    for (size_t i = 0; i < count(row); i++) {
        values(bound)[i] = values(row)[i] < 0 ? -values(row)[i] : values(row)[i];
    }
    return MOBILLM_OK;
}

static MobillmStatus encode(void *instance, const MobillmTensor *rows, MobillmBuffer out,
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

static MobillmStatus decode(void *instance, MobillmBytes bytes, const MobillmTensor *rows,
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
