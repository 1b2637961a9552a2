/* The kit: numbers are those of JSON in any locale, and what is cut is still text. May be given a locale with a comma. */
#include "kit.h"
#include "written.h"

static bool reads(const char *text, double expected) {
    double number = -1;
    return json_number(as_text(text), &number) && number == expected;
}

static bool refuses(const char *text) {
    double number = -1;
    return !json_number(as_text(text), &number) && number == -1;
}

static void numbers_are_those_of_json(void) {
    assert(reads("0.5", 0.5) && reads("-1.5e-3", -0.0015) && reads("1E2", 100) && reads("0.1", 0.1));
    const char *const none[] = {"", "\"1\"", "true", "nan", "inf", "1e999", "0x10", " 1", "1 ", "0,5", "1.5.2", "[1]"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert(refuses(none[i]));
    }
    Written written;
    MobillmWriter writer = into(&written);
    assert(sayf(&writer, "%.17g", 0.5) && strcmp(written.bytes, "0.5") == 0);
}

static void an_option_that_is_there_is_a_number(void) {
    double number = 3;
    MobillmText options = as_text("{\"a\": \"2\", \"b\": 2}");
    assert(json_option(options, "c", &number) && number == 3);
    assert(!json_option(options, "a", &number) && number == 3);
    assert(json_option(options, "b", &number) && number == 2);
}

/* Long texts of characters of 1 to 4 bytes, each begun at several places. */
static void no_character_is_cut(void) {
    const char *const characters[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\xa6"};
    for (size_t i = 0; i < 4; i++) {
        for (size_t before = 0; before < 4; before++) {
            char text[4096] = "";
            memset(text, 'x', before);
            while (strlen(text) < 2000) {
                strcat(text, characters[i]);
            }
            Written written;
            MobillmWriter writer = into(&written);
            assert(sayf(&writer, "%s", text) && written.length > 1000 && written.length < 1024);
            assert((written.length - before) % (i + 1) == 0 && memcmp(written.bytes, text, written.length) == 0);
        }
    }
    Written written;
    MobillmWriter writer = into(&written);
    assert(sayf(&writer, "%s", "caf\xc3\xa9") && strcmp(written.bytes, "caf\xc3\xa9") == 0);
}

int main(int count, char **arguments) {
    of_json = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    (void)host;
    if (count == 2) {
        assert(setlocale(LC_ALL, arguments[1]) != NULL && strcmp(localeconv()->decimal_point, ",") == 0);
    }
    numbers_are_those_of_json();
    an_option_that_is_there_is_a_number();
    no_character_is_cut();
}
