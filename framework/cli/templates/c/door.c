
static MobillmStatus start(const MobillmHost *the_host, const MobillmWriter *error) {
    host = the_host;
    of_json = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (of_json == (locale_t)0) {
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    return MOBILLM_OK;
}

static MobillmStatus components(const MobillmWriter *out, const MobillmWriter *error) {
    (void)error;
    say(out, COMPONENTS);
    return MOBILLM_OK;
}

static const void *table(MobillmSlot slot, uint32_t min_minor) {
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
    .table = table,
};

MOBILLM_EXPORT const MobillmPlugin *mobillm_plugin(void) {
    return &PLUGIN;
}
