/* Side networks: every score is 0. */

static MobillmStatus load_network(MobillmText tag, MobillmText options, MobillmBytes adapter,
                                  void **instance, const MobillmWriter *error) {
    (void)adapter;
    MobillmText none = {NULL, 0};
    return build(tag, options, none, instance, error);
}

static MobillmStatus network_info(void *instance, const MobillmWriter *out,
                                  const MobillmWriter *error) {
    (void)error;
    char text[1024];
    char engine[400];
    memset(engine, 'e', sizeof engine);
    engine[has(instance, "endless-engine") ? sizeof engine - 1 : 4] = 0;
    snprintf(text, sizeof text,
             "{\"engine\": \"%s\", \"architecture\": \"zeros\", \"parameters\": 0, \"taps\": [1], \"hidden\": 2, "
             "\"objective\": {\"classification\": {\"classes\": %s}}, \"bundle\": \"%064d\", \"additive\": false}",
             engine, has(instance, "endless-classes") ? "18446744073709551615" : "3", 0);
    say(out, text);
    return MOBILLM_OK;
}

static MobillmStatus train_step(void *instance, const MobillmLayout *layout, const MobillmTensor *taps,
                                size_t taps_count, const MobillmSupervision *supervision,
                                const MobillmWriter *report, const MobillmWriter *error) {
    (void)layout, (void)taps, (void)taps_count, (void)supervision, (void)error;
    say(report, has(instance, "no-report") ? "{\"step\": 0}"
                                           : "{\"step\": 0, \"loss\": 0, \"learning_rate\": 0}");
    return MOBILLM_OK;
}

static MobillmStatus predict(void *instance, const MobillmLayout *layout, const MobillmTensor *taps,
                             size_t taps_count, const MobillmTensor *scores,
                             const MobillmWriter *error) {
    (void)instance, (void)layout, (void)taps, (void)taps_count, (void)error;
    memset(values(scores), 0, count(scores) * sizeof(float));
    return MOBILLM_OK;
}

static MobillmStatus save(void *instance, const MobillmWriter *out, const MobillmWriter *error) {
    (void)instance, (void)error;
    say(out, "zeros");
    return MOBILLM_OK;
}

static MobillmStatus restore(void *instance, MobillmBytes checkpoint, const MobillmWriter *error) {
    (void)instance, (void)checkpoint, (void)error;
    return MOBILLM_OK;
}

static const MobillmSideNetwork SIDE_NETWORK = {
    .size = sizeof(MobillmSideNetwork),
    .component = {.check = check, .build = build, .release = release},
    .load = load_network,
    .info = network_info,
    .train_step = train_step,
    .predict = predict,
    .adapter = save,
    .checkpoint = save,
    .restore = restore,
};
