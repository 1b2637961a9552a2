/* What a library's `check` finds: LIBRARY SLOT TAG OPTIONS, and diagnostics on stdout. */
#include <dlfcn.h>
#include <stdlib.h>

#include "written.h"

static MobillmText text(const char *string) {
    return (MobillmText){(const uint8_t *)string, strlen(string)};
}

static void ignore(void *context, uint32_t level, MobillmText line) {
    (void)context, (void)level, (void)line;
}

int main(int count, char **arguments) {
    assert(count == 5);
    void *library = dlopen(arguments[1], RTLD_NOW);
    assert(library != NULL);
    MobillmEntry entry;
    *(void **)&entry = dlsym(library, MOBILLM_SYMBOL);
    const MobillmPlugin *plugin = entry();
    static Written found, said;
    MobillmWriter diagnostics = into(&found), error = into(&said);
    static const MobillmHost host = {.size = sizeof host, .log = ignore};
    assert(plugin->start(&host, &error) == MOBILLM_OK);
    /* All tables begin alike. */
    const MobillmQuantizer *table = plugin->table((MobillmSlot)atoi(arguments[2]), 0);
    MobillmText tag = text(arguments[3]), options = text(arguments[4]);
    MobillmStatus status = table->component.check(tag, options, text("{\"layers\": 6}"), &diagnostics, &error);
    assert(status == MOBILLM_OK);
    puts(found.bytes);
}
