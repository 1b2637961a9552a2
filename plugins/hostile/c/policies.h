/* Privacy policies: labels as they are. */

static MobillmStatus policy_info(void *instance, const MobillmWriter *out,
                                 const MobillmWriter *error) {
    (void)error;
    say(out, has(instance, "info-is-no-json")
                 ? "supervision: everything"
                 : "{\"supervision\": \"truth\", \"answers\": \"raw\", \"guarantee\": \"none\"}");
    return MOBILLM_OK;
}

static MobillmStatus activations(void *instance, size_t layer, const MobillmLayout *layout,
                                 const uint64_t *samples, uint32_t purpose, const MobillmTensor *rows,
                                 const MobillmWriter *error) {
    (void)layer, (void)layout, (void)samples, (void)purpose, (void)error;
    if (has(instance, "not-finite") && count(rows) > 0) {
        memset(values(rows), 0xff, sizeof(float));
    }
    return MOBILLM_OK;
}

static MobillmStatus supervise(void *instance, uint64_t sample, const MobillmSupervision *truth,
                               const MobillmTensor *own, const MobillmSupervisionSink *sink,
                               const MobillmWriter *error) {
    (void)sample, (void)error;
    MobillmSupervision told = *truth;
    if (has(instance, "another-kind") || has(instance, "null-numbers") ||
        has(instance, "endless-numbers")) {
        told.kind = MOBILLM_DIFFERENCE;
        told.numbers = has(instance, "null-numbers") ? NULL : values(own);
        told.count = has(instance, "endless-numbers") ? SIZE_MAX : count(own);
    } else if (has(instance, "unknown-kind")) {
        told.kind = 77;
    } else if (has(instance, "tells-twice")) {
        sink->supervision(sink->context, &told);
    }
    sink->supervision(sink->context, &told);
    return MOBILLM_OK;
}

static MobillmStatus combine(void *instance, const MobillmTensor *own, const MobillmTensor *side,
                             const MobillmWriter *error) {
    (void)own, (void)error;
    if (has(instance, "answers-nothing")) {
        memset(values(side), 0xff, count(side) * sizeof(float));
    }
    return MOBILLM_OK;
}

static const MobillmPrivacyPolicy POLICY = {
    .size = sizeof(MobillmPrivacyPolicy),
    .component = {.check = check, .build = build, .release = release},
    .info = policy_info,
    .activations = activations,
    .supervise = supervise,
    .combine = combine,
};
