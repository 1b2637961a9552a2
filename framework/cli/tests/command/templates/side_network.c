/* The side network: which files it takes, and why it does not take the others. */
#include "acme_side_network.c"
#include "written.h"

#define CONTEXT                                                                                                  \
    "{\"taps\": [1], \"hidden\": 2, \"pooling\": \"mean\", \"bundle\": \"0\", \"objective\": \"regression\", "   \
    "\"supervision\": \"truth\", \"optimizer\": {\"learning_rate\": 0.1, \"weight_decay\": 0, \"beta1\": 0.9, " \
    "\"beta2\": 0.99, \"warmup\": 0, \"clip\": 1}, \"steps\": 8, \"seed\": 1}"

static void *network(const char *options) {
    Written written;
    MobillmWriter error = into(&written);
    void *instance = NULL;
    assert(build(as_text(TAG), as_text(options), as_text(CONTEXT), &instance, &error) == MOBILLM_OK);
    return instance;
}

static void refused(void *instance, const Written *file, const char *why) {
    Written written;
    MobillmWriter error = into(&written);
    MobillmBytes bytes = {(const uint8_t *)file->bytes, file->length};
    assert(restore(instance, bytes, &error) == MOBILLM_REFUSED);
    says(&written, why);
}

static void files_are_taken_or_refused_for_their_own_reason(void) {
    Written kept, adapted, written;
    MobillmWriter to = into(&kept), error = into(&written);
    void *begun = network("{}"), *other = network("{\"rate\": 7.5}"), *loaded = NULL;
    assert(checkpoint(begun, &to, &error) == MOBILLM_OK);
    MobillmBytes bytes = {(const uint8_t *)kept.bytes, kept.length};
    assert(restore(begun, bytes, &error) == MOBILLM_OK);
    refused(other, &kept, "it is of another run: rate: 5, expected 7.5");

    to = into(&adapted);
    assert(adapter(begun, &to, &error) == MOBILLM_OK);
    bytes = (MobillmBytes){(const uint8_t *)adapted.bytes, adapted.length};
    assert(load(as_text(TAG), as_text("{}"), bytes, &loaded, &error) == MOBILLM_OK && written.length == 0);
    refused(loaded, &kept, "it was loaded to predict with");
    assert(load(as_text("acme.other"), as_text("{}"), bytes, &other, &error) == MOBILLM_REFUSED);
    says(&written, "this library has only acme.side-network");

    /* A checkpoint whose numbers are fewer than its network's. */
    Header header;
    memcpy(&header, kept.bytes, sizeof header);
    to = into(&adapted);
    uint64_t sum = put(&to, CHECKSUM_OF_NOTHING, &header, sizeof header);
    sum = put(&to, sum, kept.bytes + sizeof header, header.context);
    put(&to, sum, &sum, sizeof sum);
    refused(begun, &adapted, "the checkpoint has 0 numbers, expected 6");
    release(begun);
    release(other);
    release(loaded);
}

static bool same_run(const char *got, const char *expected, Written *written) {
    MobillmWriter error = into(written);
    return is_same_run(as_text(got), as_text(expected), &error);
}

static void runs_are_compared_by_name(void) {
    const char *run = "{\"a\": 1, \"of\": {\"x\": [1, 2], \"y\": \"b, c\"}, \"b\": null}";
    const char *const same[] = {
        run,
        "{\"of\": {\"y\": \"b, c\", \"x\": [1, 2]}, \"b\": null, \"a\": 1}",
        "{\"a\": 1, \"of\": {\"y\": \"b, c\"}}",
        "{}",
    };
    Written written;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        assert(same_run(same[i], run, &written) && written.length == 0);
    }
    const char *const others[][2] = {
        {"{\"a\": 2}", "\"a\": 2, expected 1"},
        {"{\"b\": 1}", "\"b\": 1, expected null"},
        {"{\"of\": {\"x\": [1, 3]}}", "\"x\": [1, 3], expected [1, 2]"},
        {"{\"of\": 1}", "\"of\": 1, expected {\"x\": [1, 2]"},
        {"{\"new\": 1}", "\"new\": 1, expected nothing"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert(!same_run(others[i][0], run, &written));
        says(&written, others[i][1]);
    }
}

int main(void) {
    assert(PLUGIN.size > 0);
    of_json = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    files_are_taken_or_refused_for_their_own_reason();
    runs_are_compared_by_name();
}
