/*
 * A transport for mobillm, `plugin.tag` in a config: frames between two threads of one process.
 *
 * Both ends are given the same instance: what one connects, the other accepts. To reach another process, put a
 * socket where the pipes are, and let `crosses_processes` say so.
 */
#include <math.h>
#include <pthread.h>

#include "kit.h"

static const char TAG[] = "plugin.tag";

/* What the library has. `description` is the line of help that `mobillm plugins list` shows. */
static const char COMPONENTS[] =
    "[{\"slot\": \"transport\", \"tag\": \"plugin.tag\", \"schema\": {"
    "\"type\": \"object\", \"additionalProperties\": false, "
    "\"description\": \"Frames between two threads of one process.\", "
    "\"properties\": {\"capacity\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 1024, \"default\": 8, "
    "\"description\": \"Frames that are under way in each direction before the writer waits.\"}}}}]";

typedef struct Frame {
    struct Frame *next;
    size_t length;
    uint8_t data[];
} Frame;

/* One direction of a link: its sink and its source are both this. */
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    Frame *first, *last;
    size_t frames, capacity;
    /* Nothing more is sent; nobody receives; a half is to wait no more. */
    bool closed, deserted, sink_stopped, source_stopped;
    /* Halves that are not released. */
    int held;
} Pipe;

/* A link that waits to be accepted. */
typedef struct Waiting {
    struct Waiting *next;
    MobillmLink link;
} Waiting;

/* An instance, and its listener, of which there is one at a time. Calls on it may come from several threads at once. */
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t arrived;
    Waiting *first, *last;
    size_t capacity;
    bool listens, stopped;
} Door;

static Pipe *new_pipe(size_t capacity) {
    Pipe *pipe = calloc(1, sizeof *pipe);
    if (pipe != NULL) {
        pthread_mutex_init(&pipe->mutex, NULL);
        pthread_cond_init(&pipe->moved, NULL);
        pipe->capacity = capacity;
        pipe->held = 2;
    }
    return pipe;
}

/* Says on a pipe, once and for all, what one of its flags means; who waits there looks again. */
static void set(Pipe *pipe, bool *flag) {
    pthread_mutex_lock(&pipe->mutex);
    *flag = true;
    pthread_cond_broadcast(&pipe->moved);
    pthread_mutex_unlock(&pipe->mutex);
}

/* Gives one half back; with the last one goes the pipe. */
static void let_go(Pipe *pipe, bool *by) {
    pthread_mutex_lock(&pipe->mutex);
    *by = true;
    bool last = --pipe->held == 0;
    pthread_cond_broadcast(&pipe->moved);
    pthread_mutex_unlock(&pipe->mutex);
    if (!last) {
        return;
    }
    for (Frame *frame = pipe->first; frame != NULL;) {
        Frame *next = frame->next;
        free(frame);
        frame = next;
    }
    pthread_cond_destroy(&pipe->moved);
    pthread_mutex_destroy(&pipe->mutex);
    free(pipe);
}

static void release_sink(void *sink) {
    Pipe *pipe = sink;
    let_go(pipe, &pipe->closed);
}

static void release_source(void *source) {
    Pipe *pipe = source;
    let_go(pipe, &pipe->deserted);
}

static void stop_sink(void *sink) {
    Pipe *pipe = sink;
    set(pipe, &pipe->sink_stopped);
}

static void stop_source(void *source) {
    Pipe *pipe = source;
    set(pipe, &pipe->source_stopped);
}

static MobillmStatus send_frame(void *sink, MobillmBytes bytes, uint32_t lane, const MobillmWriter *error) {
    (void)lane;
    Pipe *pipe = sink;
    Frame *frame = malloc(sizeof *frame + bytes.length);
    if (frame == NULL) {
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    frame->next = NULL;
    frame->length = bytes.length;
    if (bytes.length > 0) {
        memcpy(frame->data, bytes.data, bytes.length);
    }
    pthread_mutex_lock(&pipe->mutex);
    bool open;
    while ((open = !pipe->closed && !pipe->deserted && !pipe->sink_stopped) && pipe->frames == pipe->capacity) {
        pthread_cond_wait(&pipe->moved, &pipe->mutex);
    }
    if (open) {
        *(pipe->first == NULL ? &pipe->first : &pipe->last->next) = frame;
        pipe->last = frame;
        pipe->frames++;
        pthread_cond_broadcast(&pipe->moved);
    }
    pthread_mutex_unlock(&pipe->mutex);
    if (!open) {
        free(frame);
    }
    return open ? MOBILLM_OK : MOBILLM_CLOSED;
}

static MobillmStatus close_sink(void *sink, const MobillmWriter *error) {
    (void)error;
    Pipe *pipe = sink;
    set(pipe, &pipe->closed);
    return MOBILLM_OK;
}

static MobillmStatus receive(void *source, const MobillmWriter *to, const MobillmWriter *error) {
    (void)error;
    Pipe *pipe = source;
    pthread_mutex_lock(&pipe->mutex);
    while (pipe->first == NULL && !pipe->closed && !pipe->source_stopped) {
        pthread_cond_wait(&pipe->moved, &pipe->mutex);
    }
    Frame *frame = pipe->source_stopped ? NULL : pipe->first;
    if (frame != NULL) {
        pipe->first = frame->next;
        pipe->frames--;
        pthread_cond_broadcast(&pipe->moved);
    }
    pthread_mutex_unlock(&pipe->mutex);
    if (frame == NULL) {
        return MOBILLM_CLOSED;
    }
    MobillmText bytes = {frame->data, frame->length};
    bool kept = say_text(to, bytes);
    free(frame);
    return kept ? MOBILLM_OK : MOBILLM_FAILED;
}

/* The options; false if one is no number or out of range. */
static bool read_options(MobillmText options, double *capacity) {
    *capacity = 8;
    return json_option(options, "capacity", capacity) && *capacity >= 1 && *capacity <= 1024
           && *capacity == floor(*capacity);
}

static MobillmStatus check(MobillmText tag, MobillmText options, MobillmText context,
                           const MobillmWriter *diagnostics, const MobillmWriter *error) {
    (void)context;
    if (!is(tag, TAG)) {
        say(error, "this library has only plugin.tag");
        return MOBILLM_REFUSED;
    }
    double capacity;
    say(diagnostics, read_options(options, &capacity)
                         ? "[]"
                         : "[{\"path\": \"capacity\", \"message\": \"it is out of range\", "
                           "\"expected\": \"a whole number from 1 to 1024\"}]");
    return MOBILLM_OK;
}

static MobillmStatus build(MobillmText tag, MobillmText options, MobillmText context,
                           void **instance, const MobillmWriter *error) {
    (void)context;
    double capacity;
    if (!is(tag, TAG) || !read_options(options, &capacity)) {
        say(error, "these are no options of plugin.tag");
        return MOBILLM_REFUSED;
    }
    Door *door = calloc(1, sizeof *door);
    if (door == NULL) {
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    pthread_mutex_init(&door->mutex, NULL);
    pthread_cond_init(&door->arrived, NULL);
    door->capacity = (size_t)capacity;
    *instance = door;
    return MOBILLM_OK;
}

/* Takes the links that nobody will accept: who waits on one of them learns that it is closed. */
static void drain(Door *door) {
    pthread_mutex_lock(&door->mutex);
    Waiting *waiting = door->first;
    door->first = NULL;
    pthread_mutex_unlock(&door->mutex);
    while (waiting != NULL) {
        Waiting *next = waiting->next;
        release_sink(waiting->link.sink);
        release_source(waiting->link.source);
        free(waiting);
        waiting = next;
    }
}

/* Listeners and links are gone by now. */
static void release(void *instance) {
    Door *door = instance;
    drain(door);
    pthread_cond_destroy(&door->arrived);
    pthread_mutex_destroy(&door->mutex);
    free(door);
}

static MobillmStatus crosses_processes(MobillmText tag, MobillmText options, uint32_t *crosses,
                                       const MobillmWriter *error) {
    (void)tag, (void)options, (void)error;
    *crosses = 0;
    return MOBILLM_OK;
}

static MobillmStatus info(void *instance, const MobillmWriter *out, const MobillmWriter *error) {
    (void)instance, (void)error;
    say(out, "{\"overhead\": 0, \"emulated\": null}");
    return MOBILLM_OK;
}

static MobillmStatus connect_link(void *instance, MobillmLink *link, const MobillmWriter *error) {
    Door *door = instance;
    Pipe *up = new_pipe(door->capacity), *down = new_pipe(door->capacity);
    Waiting *waiting = malloc(sizeof *waiting);
    if (up == NULL || down == NULL || waiting == NULL) {
        free(up);
        free(down);
        free(waiting);
        say(error, "no memory is left");
        return MOBILLM_FAILED;
    }
    *link = (MobillmLink){.sink = up, .source = down};
    *waiting = (Waiting){.next = NULL, .link = {.sink = down, .source = up}};
    pthread_mutex_lock(&door->mutex);
    *(door->first == NULL ? &door->first : &door->last->next) = waiting;
    door->last = waiting;
    pthread_cond_broadcast(&door->arrived);
    pthread_mutex_unlock(&door->mutex);
    return MOBILLM_OK;
}

static MobillmStatus listen_here(void *instance, void **listener, const MobillmWriter *address,
                                 const MobillmWriter *error) {
    Door *door = instance;
    if (!say(address, TAG)) {
        return MOBILLM_FAILED;
    }
    pthread_mutex_lock(&door->mutex);
    bool is_free = !door->listens;
    if (is_free) {
        door->listens = true;
        door->stopped = false;
    }
    pthread_mutex_unlock(&door->mutex);
    if (!is_free) {
        say(error, "{\"address\": \"plugin.tag\", \"problem\": \"it has a listener; one is enough\"}");
        return MOBILLM_REFUSED;
    }
    *listener = door;
    return MOBILLM_OK;
}

static MobillmStatus accept_link(void *listener, MobillmLink *link, const MobillmWriter *error) {
    (void)error;
    Door *door = listener;
    pthread_mutex_lock(&door->mutex);
    while (door->first == NULL && !door->stopped) {
        pthread_cond_wait(&door->arrived, &door->mutex);
    }
    Waiting *waiting = door->stopped ? NULL : door->first;
    if (waiting != NULL) {
        door->first = waiting->next;
        *link = waiting->link;
    }
    pthread_mutex_unlock(&door->mutex);
    free(waiting);
    return waiting != NULL ? MOBILLM_OK : MOBILLM_CLOSED;
}

static void stop_listener(void *listener) {
    Door *door = listener;
    pthread_mutex_lock(&door->mutex);
    door->stopped = true;
    pthread_cond_broadcast(&door->arrived);
    pthread_mutex_unlock(&door->mutex);
}

static void release_listener(void *listener) {
    Door *door = listener;
    drain(door);
    pthread_mutex_lock(&door->mutex);
    door->listens = false;
    pthread_mutex_unlock(&door->mutex);
}

static const MobillmTransport TRANSPORT = {
    .size = sizeof(MobillmTransport),
    .component = {.check = check, .build = build, .release = release},
    .crosses_processes = crosses_processes,
    .info = info,
    .connect = connect_link,
    .listen = listen_here,
    .accept = accept_link,
    .send = send_frame,
    .close = close_sink,
    .receive = receive,
    .stop_listener = stop_listener,
    .stop_sink = stop_sink,
    .stop_source = stop_source,
    .release_listener = release_listener,
    .release_sink = release_sink,
    .release_source = release_source,
};
