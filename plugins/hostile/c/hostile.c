/*
 * Plugins that do what the kit for Rust authors makes impossible, one fault a tag, for the tests of those who load
 * plugins. Each component does the least that its slot lets it, but for its fault. What is wrong with the header
 * or a table is chosen when this file is compiled:
 *
 *     -DHEADER_MAGIC={0}  -DHEADER_MAJOR=9  -DHEADER_MINOR=7  -DHEADER_SIZE=24  -DTABLE_SIZE=16   what they say
 *     -DNO_HEADER=1  -DNO_TABLE=1  -DNO_SYMBOL  -DSTART=NULL                    what is missing
 *     -DSTART_STATUS=2  -DCOMPONENTS="..."                                      what comes before any instance
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mobillm_plugin.h"

#ifndef HEADER_MAGIC
#define HEADER_MAGIC MOBILLM_MAGIC
#endif
#ifndef HEADER_MAJOR
#define HEADER_MAJOR MOBILLM_MAJOR
#endif
#ifndef HEADER_MINOR
#define HEADER_MINOR MOBILLM_MINOR
#endif
#ifndef HEADER_SIZE
#define HEADER_SIZE sizeof(MobillmPlugin)
#endif
#ifndef TABLE_SIZE
#define TABLE_SIZE sizeof(MobillmQuantizer)
#endif
#ifndef NO_HEADER
#define NO_HEADER 0
#endif
#ifndef NO_TABLE
#define NO_TABLE 0
#endif
#ifdef NO_SYMBOL
#define mobillm_plugin something_else
#endif
#ifndef START
#define START start
#endif
#ifndef START_STATUS
#define START_STATUS MOBILLM_OK
#endif

#include "faults.h"

#include "backbones.h"
#include "policies.h"
#include "quantizers.h"
#include "selectors.h"
#include "side_networks.h"
#include "transports.h"

static int starts;

MobillmStatus start(const MobillmHost *host, const MobillmWriter *error);

MobillmStatus start(const MobillmHost *host, const MobillmWriter *error) {
    (void)host, (void)error;
    starts++;
    if (starts > 1) {
        say(error, "started again");
    }
    return START_STATUS;
}

static MobillmStatus components(const MobillmWriter *out, const MobillmWriter *error) {
    (void)error;
#ifdef COMPONENTS
    say(out, COMPONENTS);
#else
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "%c{\"slot\": \"%s\", \"tag\": \"%s\", \"schema\": {\"type\": \"object\", "
                 "\"additionalProperties\": false, \"description\": \"One fault.\"}}",
                 i == 0 ? '[' : ',', FAULTS[i][0], FAULTS[i][1]);
        say(out, text);
    }
    say(out, "]");
#endif
    return MOBILLM_OK;
}

static const void *table(MobillmSlot slot, uint32_t min_minor) {
    (void)min_minor;
    if (NO_TABLE) {
        return NULL;
    }
    switch (slot) {
    case MOBILLM_SLOT_QUANTIZER:
        return &QUANTIZER;
    case MOBILLM_SLOT_SELECTOR:
        return &SELECTOR;
    case MOBILLM_SLOT_PRIVACY_POLICY:
        return &POLICY;
    case MOBILLM_SLOT_BACKBONE:
        return &BACKBONE;
    case MOBILLM_SLOT_TRANSPORT:
        return &TRANSPORT;
    case MOBILLM_SLOT_SIDE_NETWORK:
        return &SIDE_NETWORK;
    default:
        return NULL;
    }
}

static const MobillmPlugin PLUGIN = {
    .magic = HEADER_MAGIC,
    .major = HEADER_MAJOR,
    .minor = HEADER_MINOR,
    .size = HEADER_SIZE,
    .name = MOBILLM_TEXT("hostile-c"),
    .version = MOBILLM_TEXT("1.0.0"),
    .built_by = MOBILLM_TEXT("a C compiler"),
    .start = START,
    .components = components,
    .table = table,
};

MOBILLM_EXPORT const MobillmPlugin *mobillm_plugin(void) {
    return NO_HEADER ? NULL : &PLUGIN;
}
