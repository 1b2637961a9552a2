/* Transports: links to nowhere. */

static MobillmStatus crosses_processes(MobillmText tag, MobillmText options, uint32_t *crosses,
                                       const MobillmWriter *error) {
    (void)options, (void)error;
    Instance self = {known(tag)};
    *crosses = has(&self, "crosses-is-no-flag") ? 2 : 0;
    return MOBILLM_OK;
}

static MobillmStatus transport_info(void *instance, const MobillmWriter *out,
                                    const MobillmWriter *error) {
    (void)error;
    static int told;
    if (has(instance, "cost-falls")) {
        told++;
        say(out, told > 2 ? "{\"overhead\": 8, \"emulated\": {\"up_seconds\": -1, \"down_seconds\": 0, \"lost_packets\": 0}}"
                          : "{\"overhead\": 8, \"emulated\": {\"up_seconds\": 5, \"down_seconds\": 4, \"lost_packets\": 3}}");
        return MOBILLM_OK;
    }
    say(out, has(instance, "no-overhead") ? "{}" : "{\"overhead\": 8, \"emulated\": null}");
    return MOBILLM_OK;
}

static MobillmStatus connect_link(void *instance, MobillmLink *link, const MobillmWriter *error) {
    (void)error;
    link->sink = has(instance, "half-a-link") ? NULL : instance;
    link->source = instance;
    return MOBILLM_OK;
}

static MobillmStatus listen_somewhere(void *instance, void **listener, const MobillmWriter *address,
                                      const MobillmWriter *error) {
    (void)error;
    *listener = instance;
    write_bytes(address, "\xff\xfe", has(instance, "address-is-no-text") ? 2 : 0);
    return MOBILLM_OK;
}

static MobillmStatus accept_link(void *listener, MobillmLink *link, const MobillmWriter *error) {
    return connect_link(listener, link, error);
}

static MobillmStatus send_frame(void *sink, MobillmBytes frame, uint32_t lane,
                                const MobillmWriter *error) {
    (void)frame, (void)lane;
    if (has(sink, "writes-later")) {
        /* Kept beyond the call, which the host does not let pass. */
        kept = *error;
    }
    return MOBILLM_OK;
}

static MobillmStatus close_link(void *sink, const MobillmWriter *error) {
    (void)error;
    if (has(sink, "writes-later")) {
        MobillmBytes late = {(const uint8_t *)"late", 4};
        return kept.write(kept.context, late);
    }
    return MOBILLM_OK;
}

static MobillmStatus receive_frame(void *source, const MobillmWriter *frame,
                                   const MobillmWriter *error) {
    (void)error;
    if (has(source, "endless-frame")) {
        MobillmBytes endless = {(const uint8_t *)"x", SIZE_MAX / 4};
        frame->write(frame->context, endless);
    }
    return MOBILLM_OK;
}

/* Instance, listener and halves are one thing here: only the instance is given back. */
static void nothing(void *half) {
    (void)half;
}

static const MobillmTransport TRANSPORT = {
    .size = sizeof(MobillmTransport),
    .component = {.check = check, .build = build, .release = release},
    .crosses_processes = crosses_processes,
    .info = transport_info,
    .connect = connect_link,
    .listen = listen_somewhere,
    .accept = accept_link,
    .send = send_frame,
    .close = close_link,
    .receive = receive_frame,
    .stop_listener = nothing,
    .stop_sink = nothing,
    .stop_source = nothing,
    .release_listener = nothing,
    .release_sink = nothing,
    .release_source = nothing,
};
