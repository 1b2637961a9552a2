/* The backbone: what it is not built of, and why. */
#include "acme_backbone.c"
#include "written.h"

/* Builds it of the manifest in this folder, and of `taps`; why not, if it refuses. */
static MobillmStatus built(const char *bundle, const char *taps, const char *options, Written *written) {
    char context[8192];
    snprintf(context, sizeof context, "{\"bundle\": \"%s\", \"taps\": %s, \"label_tokens\": []}", bundle, taps);
    MobillmWriter error = into(written);
    void *instance = NULL;
    MobillmStatus status = build(as_text(TAG), as_text(options), as_text(context), &instance, &error);
    if (status == MOBILLM_OK) {
        release(instance);
    }
    return status;
}

static void refused(const char *bundle, const char *taps, const char *options, const char *why) {
    Written written;
    assert(built(bundle, taps, options, &written) == MOBILLM_REFUSED);
    says(&written, why);
}

static void write_manifest(const char *text, long bytes) {
    FILE *file = fopen("manifest.json", "wb");
    assert(file != NULL && fputs(text, file) >= 0 && fseek(file, bytes - 1, SEEK_SET) == 0 && fputc(' ', file) == ' ');
    assert(fclose(file) == 0);
}

int main(void) {
    assert(PLUGIN.size > 0);
    of_json = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    write_manifest("{\"model\": {\"layers\": 3, \"hidden\": 4}}", 100);
    const char *const sound[] = {"[]", "[0]", "[3]", "[0, 1, 2, 3]", "[1,3]"};
    for (size_t i = 0; i < sizeof sound / sizeof *sound; i++) {
        Written written;
        assert(built(".", sound[i], "{\"mixing\": 0.5}", &written) == MOBILLM_OK && written.length == 0);
    }
    refused(".", "[4]", "{}", "a tap is 4, expected ascending layers up to 3");
    refused(".", "[2, 1]", "{}", "a tap is 1, ");
    refused(".", "[2, 2]", "{}", "a tap is 2, ");
    refused(".", "[-1]", "{}", "a tap is -1, ");
    refused(".", "[\"1\"]", "{}", "a tap is \"1\", ");
    refused(".", "[18446744073709551616]", "{}", "a tap is 18446744073709551616, ");
    refused(".", "[1]", "{\"mixing\": \"0.5\"}", "these are no options");
    refused("nowhere", "[1]", "{}", "nowhere/manifest.json cannot be opened: No such file");
    refused("a\\u0000b", "[1]", "{}", "the bundle's path is no text");
    write_manifest("{}", (1 << 24) + 1);
    refused(".", "[1]", "{}", "./manifest.json has 16777217 bytes, expected 16777216 at most");
    write_manifest("{}", 3);
    refused(".", "[1]", "{}", "./manifest.json is no manifest of a bundle");
}
