
static MobillmStatus start(const MobillmHost *host, const MobillmWriter *error) {
    (void)host;
    (void)error;
    return MOBILLM_OK;
}

static MobillmStatus components(const MobillmWriter *out) {
    say(out, COMPONENTS);
    return MOBILLM_OK;
}

static const void *interface(MobillmSlot slot, uint32_t min_minor) {
    return slot == SLOT_CODE && min_minor <= MOBILLM_MINOR ? &TABLE : NULL;
}

static const MobillmPlugin PLUGIN = {
    .magic = MOBILLM_MAGIC,
    .major = MOBILLM_MAJOR,
    .minor = MOBILLM_MINOR,
    .size = sizeof(MobillmPlugin),
    .name = MOBILLM_TEXT("plugin-name"),
    .version = MOBILLM_TEXT("0.1.0"),
    .built_by = MOBILLM_TEXT("a C compiler"),
    .start = start,
    .components = components,
    .interface = interface,
};

MOBILLM_EXPORT const MobillmPlugin *mobillm_plugin(void) {
    return &PLUGIN;
}
