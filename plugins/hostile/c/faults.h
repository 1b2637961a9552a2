/* Part of hostile.c: the faults, and what every slot is made by. */
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
    {"selector", "hostile.fixed-is-no-flag"},
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
    {"privacy-policy", "hostile.answers-nothing"},
    {"backbone", "hostile.info-lies"},
    {"backbone", "hostile.no-tap"},
    {"backbone", "hostile.null-tap"},
    {"backbone", "hostile.wrong-tap"},
    {"transport", "hostile.crosses-is-no-flag"},
    {"transport", "hostile.no-overhead"},
    {"transport", "hostile.cost-falls"},
    {"transport", "hostile.half-a-link"},
    {"transport", "hostile.address-is-no-text"},
    {"transport", "hostile.writes-later"},
    {"transport", "hostile.endless-frame"},
    {"side-network", "hostile.endless-engine"},
    {"side-network", "hostile.endless-classes"},
    {"side-network", "hostile.no-report"},

    {"quantizer", "hostile.releases-twice"},
    {"quantizer", "hostile.crashes"},
    {"quantizer", "hostile.aborts"},
    {"quantizer", "hostile.exits"},
};
enum { FAULT_COUNT = sizeof FAULTS / sizeof FAULTS[0] };

typedef struct {
    const char *tag;
} Instance;

/* A writer that is kept beyond its call. */
static MobillmWriter kept;

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
static int has(const void *instance, const char *fault) {
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
    /* One that was named when this file was compiled: it has no fault. */
    return "hostile.none";
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
    int twice = has(instance, "releases-twice");
    /* Volatile, so that the compiler does not see what it would warn of. */
    void *volatile again = instance;
    free(instance);
    if (twice) {
        free(again);
    }
}

static float *values(const MobillmTensor *tensor) {
    return (float *)(void *)((char *)tensor->data + tensor->byte_offset);
}

static size_t count(const MobillmTensor *tensor) {
    size_t product = 1;
    for (int32_t axis = 0; axis < tensor->ndim; axis++) {
        product *= (size_t)tensor->shape[axis];
    }
    return product;
}
