/*
 * What crosses the door: plain C data, and nothing that a compiler lays out as it likes.
 *
 * A library exports one symbol, `MOBILLM_SYMBOL`, a function that returns a pointer to its `MobillmPlugin`, the same at every
 * call. The host reads it in this order, and goes no further than what fits: magic, major version, size, the
 * rest; then it calls `start`, once, then `components`, and asks for the table of a slot when a config names a component of it.
 *
 * ## What grows
 * * The header, `MobillmHost` and the tables of the slots grow at their end only, and `size` says how much of one there
 *   is. What is in version 1.0 is always there; what came later is there if `size` covers it, and may be null.
 * * Every other struct stays as it is for ever. What needs more comes as another function of a table.
 * * Constants are added. Who is given one that it does not know refuses; a status that is not known is a failure.
 * * JSON objects get more members, and who reads one passes over those that it does not know.
 *
 * ## Memory
 * * Who allocates frees. What a plugin has to say it writes to a `MobillmWriter` of the host's, in any number of parts; an
 *   instance goes back to its table's `release`. So no memory changes hands.
 * * What a call is given is lent: pointers to texts, tensors, writers and sinks are void when it returns. None is null but where
 *   that is said. What is lent to a callback must not change before that returns.
 * * Of tensors only these may be written, the others are read: `bound` of `error_bound`, `rows` of `decode` and of `activations`,
 *   `side` of `combine`, `scores` of `predict`.
 * * Tensors (`MobillmTensor`) are on the CPU, contiguous, and stay where they are. Text is UTF-8 with a length.
 *
 * ## Calls
 * * A call that can fail returns a `MobillmStatus`, and writes why to `error`, its last parameter, as a sentence for people.
 *   Unless it is `MOBILLM_OK`, the host looks at nothing else that the call gave and releases nothing; what was to be
 *   changed in place is void; the instance goes on being used.
 * * After `MOBILLM_PANICKED` only `release` is called. A plugin never unwinds out of a call: the kit for Rust authors
 *   catches panics.
 * * Calls on one instance come one at a time, from any thread; those on quantizers and transports, from several threads
 *   at once. Listeners, sinks and sources are instances of their own: the halves of a link may be called and released at
 *   the same time. `check`, `build`, `load`, `crosses_processes` and the functions of the header but `start` come from any thread, too.
 * * Writers and sinks are called by the thread that was called, one call at a time, and only before it returns. What
 *   breaks that is refused.
 * * An instance is built, asked for its `info` and released also when a config is only looked at: none of this has an effect
 *   outside. What it says of itself (`info`, `format`, `row_bytes`, `layers`, `rows`) is the same at every call and for equal options.
 * * `release` comes last, when no call is out, from any thread, and does not wait. When the process ends, calls may be
 *   out and instances not released. A library is never unloaded.
 *
 * ## JSON
 * Numbers of steps and seeds need all 64 bits. A path is a string; a `bundle` in an info is 64 hexadecimal digits.
 * * info of a model: `architecture` (text), `layers`, `hidden`, `max_tokens`, `vocabulary` (numbers), `pooling` (`"first-token"`, `"mean"`
 *   or `"last-token"`), `own_outputs` (a number, or null if it makes no prediction), `language_head` (true, or not there), `bundle`.
 * * objective: `"regression"`, or an object whose one member names it: `{"classification": {"classes": 2}}`.
 * * diagnostics: a list, `[]` if all is well, of objects with `path` (of the option; empty for the whole), `message`, and, or null, `expected`
 *   and `help`.
 *
 * Made by cbindgen of framework/plugin/src/abi; a test holds it up to date.
 */

#ifndef MOBILLM_PLUGIN_H
#define MOBILLM_PLUGIN_H

#if defined(__SIZEOF_POINTER__) && __SIZEOF_POINTER__ != 8
#error "plugins of mobillm are for systems of 64 bits"
#endif

#include <stddef.h>
#include <stdint.h>

// DLPack's `kDLCPU`.
#define MOBILLM_CPU 1

// DLPack's `kDLInt`.
#define MOBILLM_INT 0

// DLPack's `kDLUInt`.
#define MOBILLM_UINT 1

// DLPack's `kDLFloat`.
#define MOBILLM_FLOAT 2

// The version of the layout up to which nothing that is here moves. Another major version is another ABI.
#define MOBILLM_MAJOR 1

// How often something was appended.
#define MOBILLM_MINOR 0

// `MobillmHost::log`: something does not work.
#define MOBILLM_LOG_ERROR 0

// `MobillmHost::log`: something may not be what the user wants.
#define MOBILLM_LOG_WARNING 1

// `MobillmHost::log`: something that the user may want to know.
#define MOBILLM_LOG_NOTE 2

// `MobillmSupervision`: the class.
#define MOBILLM_LABEL 0

// `MobillmSupervision`: the scaled target of a regression, in `numbers[0]`.
#define MOBILLM_VALUE 1

// `MobillmSupervision`: for each output the truth less the device's own prediction, in `numbers`.
#define MOBILLM_DIFFERENCE 2

// `MobillmSupervision`: the class, and the device's own logits in `numbers`.
#define MOBILLM_LABEL_AND_OWN 3

// Rows that the server trains on.
#define MOBILLM_TRAIN 0

// Rows for an answer only, which spends no privacy budget.
#define MOBILLM_PREDICT 1

// A frame that steers a run.
#define MOBILLM_CONTROL 0

// A frame of activations.
#define MOBILLM_BULK 1

// How a call ended: one of the constants `MOBILLM_*`. Any other value counts as `MOBILLM_FAILED`.
typedef uint32_t MobillmStatus;

// The slot of a table: one of the constants `MOBILLM_SLOT_*`.
typedef uint32_t MobillmSlot;

// UTF-8, lent for the call; no zero at its end.
typedef struct {
    // Its first byte; may be null if it is empty.
    const uint8_t *data;
    // Bytes.
    size_t length;
} MobillmText;

// Bytes, lent for the call.
typedef struct {
    // The first one; may be null if there are none.
    const uint8_t *data;
    // How many.
    size_t length;
} MobillmBytes;

// Bytes to be written, all of them, lent for the call.
typedef struct {
    // The first one; may be null if there are none.
    uint8_t *data;
    // How many.
    size_t length;
} MobillmBuffer;

// Where a plugin writes text or bytes. It is the host's, lent for the call.
typedef struct {
    // The host's own; to be given back to `write`.
    void *context;
    // Appends bytes. If it does not return `MOBILLM_OK`, there is no room for more, and the call ends as failed.
    MobillmStatus (*write)(void *context, MobillmBytes bytes);
} MobillmWriter;

// What a plugin may ask of the host, from any thread, as long as the process lives. Each library is given its own.
typedef struct {
    // Bytes of this table that there are.
    size_t size;
    // The host's own; to be given back to its functions.
    void *context;
    // Says a line to the user, at a level `MOBILLM_LOG_*`.
    void (*log)(void *context, uint32_t level, MobillmText line);
} MobillmHost;

// The header of a library, which lives as long as the process. Magic, major, minor and size never change.
typedef struct {
    // `MOBILLM_MAGIC`.
    uint8_t magic[8];
    // `MOBILLM_MAJOR` of the ABI that it was built for.
    uint32_t major;
    // `MOBILLM_MINOR` of it.
    uint32_t minor;
    // Bytes of this header.
    size_t size;
    // The library's name, such as `acme-codes`.
    MobillmText name;
    // The library's own version.
    MobillmText version;
    // The compiler that built it, for people.
    MobillmText built_by;
    // Called once, before the functions below; the host outlives everything.
    MobillmStatus (*start)(const MobillmHost *host, const MobillmWriter *error);
    // Writes what the library has as JSON: a list of objects with `slot` (`"backbone"`, `"selector"`, `"privacy-policy"`, `"quantizer"`,
    // `"transport"` or `"side-network"`; those of another one are passed over), `tag` (`"acme.q8"`) and `schema`, the JSON schema of its
    // options, whose `description` is a line of help.
    MobillmStatus (*components)(const MobillmWriter *out, const MobillmWriter *error);
    // The table of a slot, which lives as long as the process; null if there is none that has all that `min_minor` has. Pure.
    const void *(*table)(MobillmSlot slot, uint32_t min_minor);
} MobillmPlugin;

// How the components of a slot are made: the same for every slot, from any thread, also at the same time.
//
// `tag` says which component, `options` is a JSON object without its `type`, and `context` what the host knows,
// as JSON; each slot's table says what.
typedef struct {
    // Everything that is wrong with the options, to `diagnostics`. That there is something is no failure. Pure.
    MobillmStatus (*check)(MobillmText tag,
                           MobillmText options,
                           MobillmText context,
                           const MobillmWriter *diagnostics,
                           const MobillmWriter *error);
    // An instance, not null, to be released once.
    MobillmStatus (*build)(MobillmText tag,
                           MobillmText options,
                           MobillmText context,
                           void **instance,
                           const MobillmWriter *error);
    // Takes an instance back. It cannot fail.
    void (*release)(void *instance);
} MobillmComponent;

// Where a tensor lies: DLPack's `DLDevice`.
typedef struct {
    // `MOBILLM_CPU`; nothing else crosses.
    int32_t device_type;
    // 0.
    int32_t device_id;
} MobillmDevice;

// What its elements are: DLPack's `DLDataType`.
typedef struct {
    // `MOBILLM_FLOAT`, `MOBILLM_INT` or `MOBILLM_UINT`.
    uint8_t code;
    // Bits of an element.
    uint8_t bits;
    // 1.
    uint16_t lanes;
} MobillmElement;

// A tensor, lent for the call: DLPack's `DLTensor`.
typedef struct {
    // Its memory, aligned to its elements.
    void *data;
    // On the CPU.
    MobillmDevice device;
    // Axes.
    int32_t ndim;
    // What its elements are.
    MobillmElement dtype;
    // Elements along each axis, `[ndim]`.
    const int64_t *shape;
    // Elements from one to the next along each axis, `[ndim]`; null if it is contiguous, rows first.
    const int64_t *strides;
    // Bytes from `data` to its first element.
    uint64_t byte_offset;
} MobillmTensor;

// What the bytes of a quantizer are: the first eight bytes of a payload's header.
typedef struct {
    // A name of up to four letters, zeros after it.
    uint8_t name[4];
    // Version of the code.
    uint8_t version;
    // Bits of its own.
    uint8_t flags;
    // Values of a block, if there are blocks.
    uint16_t block;
} MobillmPayloadFormat;

// Quantizers: rows of f32 to bytes and back, each row by itself.
//
// Context of `check`: `{"hidden": 576}`; of `build`: `{}`.
typedef struct {
    // Bytes of this table that there are.
    size_t size;
    // How quantizers are made.
    MobillmComponent component;
    // What the bytes are.
    MobillmStatus (*format)(void *instance, MobillmPayloadFormat *format, const MobillmWriter *error);
    // Bytes of an encoded row of `hidden` values.
    MobillmStatus (*row_bytes)(void *instance,
                               size_t hidden,
                               size_t *bytes,
                               const MobillmWriter *error);
    // For each value of `row`, f32 `[hidden]`, the most that decoding may differ from it, to `bound`.
    MobillmStatus (*error_bound)(void *instance,
                                 const MobillmTensor *row,
                                 const MobillmTensor *bound,
                                 const MobillmWriter *error);
    // Encodes `rows`, f32 `[rows, hidden]`, all finite, to `out`, which holds just their bytes. A value that the code
    // cannot hold is refused (`MOBILLM_REFUSED`): the error is then a JSON object with `row`, `column`, `value` (as text) and
    // `expected` (a text).
    MobillmStatus (*encode)(void *instance,
                            const MobillmTensor *rows,
                            MobillmBuffer out,
                            const MobillmWriter *error);
    // Decodes what `encode` wrote to `rows`, f32 `[rows, hidden]`. The bytes are as many as `row_bytes` says, and may be
    // damaged.
    MobillmStatus (*decode)(void *instance,
                            MobillmBytes bytes,
                            const MobillmTensor *rows,
                            const MobillmWriter *error);
} MobillmQuantizer;

// Which rows belong to which sample, and the token that each came from.
typedef struct {
    // Where each sample's rows begin, and where the last one's end: `[samples + 1]`, from 0, ascending.
    const uint32_t *offsets;
    // Samples.
    size_t samples;
    // For each row the token that it came from, `[offsets[samples]]`.
    const uint32_t *positions;
} MobillmLayout;

// A layer's hidden state, as the backbone hands it out.
typedef struct {
    // 0 is the embedding, i the output of layer i.
    size_t layer;
    // f32 `[batch, tokens, hidden]`.
    const MobillmTensor *hidden;
    // Tokens of each sample that are no padding, `[batch]`.
    const size_t *lengths;
} MobillmTap;

// Where a backbone puts what it computed. It is the host's, lent for the call. If one of its functions does not return
// `MOBILLM_OK`, the forward pass ends as failed.
typedef struct {
    // The host's own; to be given back to its functions.
    void *context;
    // Takes a tap, before the next layer runs: each of those that `build` named, once, in ascending order, with the `lengths` of the batch.
    MobillmStatus (*tap)(void *context, const MobillmTap *tap);
    // Takes the own prediction, f32 `[batch, own_outputs]`, once; not to be called if `info` has none.
    MobillmStatus (*own_prediction)(void *context, const MobillmTensor *scores);
} MobillmTapSink;

// Backbones: forward passes of the frozen model, hidden states handed out layer by layer.
//
// Context of `check`: the model's info; of `build`: an object with `bundle` (the path of a folder), `taps` (layers, ascending), `label_tokens`
// (token ids: if there are any, the own prediction is their scores) and `libraries` (an object: paths of native libraries by name).
typedef struct {
    // Bytes of this table that there are.
    size_t size;
    // How backbones are made.
    MobillmComponent component;
    // Writes the model's info as JSON.
    MobillmStatus (*info)(void *instance, const MobillmWriter *out, const MobillmWriter *error);
    // Runs the model on `ids` and `segments`, i64 `[batch, tokens]`; of each sample `lengths`, `[batch]`, are tokens, and what is right of
    // them is padding.
    MobillmStatus (*forward)(void *instance,
                             const MobillmTensor *ids,
                             const MobillmTensor *segments,
                             const size_t *lengths,
                             const MobillmTapSink *sink,
                             const MobillmWriter *error);
} MobillmBackbone;

// Where a selector puts its rows. It is the host's, lent for the call.
typedef struct {
    // The host's own; to be given back to `select`.
    void *context;
    // Takes `rows`, f32 `[rows, hidden]`, laid out as `layout` says. To be called once. If it does not return `MOBILLM_OK`, `select`
    // ends as failed.
    MobillmStatus (*selected)(void *context, const MobillmLayout *layout, const MobillmTensor *rows);
} MobillmSelection;

// Selectors: which layers and tokens go on.
//
// Context of `check` and of `build`: the model's info.
typedef struct {
    // Bytes of this table that there are.
    size_t size;
    // How selectors are made.
    MobillmComponent component;
    // Writes the layers to tap of the model of `info` (JSON) as a JSON list, ascending.
    MobillmStatus (*layers)(void *instance,
                            MobillmText info,
                            const MobillmWriter *out,
                            const MobillmWriter *error);
    // Rows of a sample of `tokens` tokens, at most as many. `fixed` is 1 if it has always so many, 0 if that is the most.
    MobillmStatus (*rows)(void *instance,
                          size_t tokens,
                          size_t *rows,
                          uint32_t *fixed,
                          const MobillmWriter *error);
    // Selects rows of a tap.
    MobillmStatus (*select)(void *instance,
                            const MobillmTap *tap,
                            const MobillmSelection *selection,
                            const MobillmWriter *error);
} MobillmSelector;

// What the server trains on, for one sample.
typedef struct {
    // One of `MOBILLM_LABEL`, `MOBILLM_VALUE`, `MOBILLM_DIFFERENCE` and `MOBILLM_LABEL_AND_OWN`.
    uint32_t kind;
    // The class, if there is one.
    uint32_t label;
    // What else there is, `[count]`; may be null if there are none.
    const float *numbers;
    // How many numbers: 0 for a label, 1 for a value, else one an output.
    size_t count;
} MobillmSupervision;

// Where a policy puts the supervision of a sample. It is the host's, lent for the call.
typedef struct {
    // The host's own; to be given back to `supervision`.
    void *context;
    // Takes it. To be called once, or not at all if nothing is released.
    MobillmStatus (*supervision)(void *context, const MobillmSupervision *supervision);
} MobillmSupervisionSink;

// Privacy policies: what the server may see.
//
// Context of `check` and of `build`: the objective.
typedef struct {
    // Bytes of this table that there are.
    size_t size;
    // How policies are made.
    MobillmComponent component;
    // Writes a JSON object: `supervision` (`"truth"`, `"difference"`, `"truth-and-own"` or null), `answers` (`"raw"` or
    // `"probability"`), `guarantee` (a sentence).
    MobillmStatus (*info)(void *instance, const MobillmWriter *out, const MobillmWriter *error);
    // Changes `rows`, f32 `[rows, hidden]` of layer `layer`, in place. `samples` are their names, `[layout.samples]`;
    // `purpose` is `MOBILLM_TRAIN` or `MOBILLM_PREDICT`.
    MobillmStatus (*activations)(void *instance,
                                 size_t layer,
                                 const MobillmLayout *layout,
                                 const uint64_t *samples,
                                 uint32_t purpose,
                                 const MobillmTensor *rows,
                                 const MobillmWriter *error);
    // What the server is told of `sample`, whose truth (`MOBILLM_LABEL` or `MOBILLM_VALUE`) and own prediction, f32 `[outputs]`, these are.
    MobillmStatus (*supervise)(void *instance,
                               uint64_t sample,
                               const MobillmSupervision *truth,
                               const MobillmTensor *own,
                               const MobillmSupervisionSink *sink,
                               const MobillmWriter *error);
    // Combines the own prediction with what the side network says, in place of the latter; both f32 `[outputs]`.
    MobillmStatus (*combine)(void *instance,
                             const MobillmTensor *own,
                             const MobillmTensor *side,
                             const MobillmWriter *error);
} MobillmPrivacyPolicy;

// A link's two halves, each an instance of its own. They are released one by one, by `release_sink` and `release_source`.
typedef struct {
    // What frames are sent by.
    void *sink;
    // What they come from.
    void *source;
} MobillmLink;

// Transports: frames between two ends. Calls block; the host gives them threads of their own. `close` of a sink, and its
// release without that, end a `receive` of the other end with `MOBILLM_CLOSED`. An instance outlives its listeners and
// links; a listener may go before the links that it accepted.
//
// `accept`, `send`, `close` and `receive` may wait for ever, so each can be stopped. After `stop_listener`, `stop_sink` or
// `stop_source` such a call returns `MOBILLM_CLOSED` at once, whether it began before or begins later. They come at
// most once, from any thread, before, during or after a call, do not wait and cannot fail. `connect` must give up by itself.
//
// Some errors have numbers that the host looks at. The error is then a JSON object, whether refused or failed: of `connect` and
// `listen`, where an address is the reason, `address` and `problem` (texts); of a frame over the limit, `bytes` and `limit`; of
// `receive`, if the link ends within a frame, `expected` and `got`, in bytes.
//
// Context of `check` and of `build`: `{}`.
typedef struct {
    // Bytes of this table that there are.
    size_t size;
    // How transports are made.
    MobillmComponent component;
    // Whether the two ends may be of different processes, 1 or 0; `options` as for `build`.
    MobillmStatus (*crosses_processes)(MobillmText tag,
                                       MobillmText options,
                                       uint32_t *crosses,
                                       const MobillmWriter *error);
    // Writes a JSON object: `overhead`, the bytes that are added to a frame, the same at every call, and `emulated`: null, or of a network
    // that is only imitated what it has cost so far, the numbers `up_seconds`, `down_seconds` and `lost_packets`, which never fall.
    MobillmStatus (*info)(void *instance, const MobillmWriter *out, const MobillmWriter *error);
    // Connects to the other end.
    MobillmStatus (*connect)(void *instance, MobillmLink *link, const MobillmWriter *error);
    // Listens, and writes the address to connect to.
    MobillmStatus (*listen)(void *instance,
                            void **listener,
                            const MobillmWriter *address,
                            const MobillmWriter *error);
    // Waits for the next link.
    MobillmStatus (*accept)(void *listener, MobillmLink *link, const MobillmWriter *error);
    // Sends a frame; `lane` is `MOBILLM_CONTROL` or `MOBILLM_BULK`. Waits while the other end is behind, and gives
    // `MOBILLM_CLOSED` if the link is closed.
    MobillmStatus (*send)(void *sink, MobillmBytes frame, uint32_t lane, const MobillmWriter *error);
    // Sends what is left and closes the link in order. To close again does nothing.
    MobillmStatus (*close)(void *sink, const MobillmWriter *error);
    // Waits for the next frame and writes it.
    MobillmStatus (*receive)(void *source, const MobillmWriter *frame, const MobillmWriter *error);
    // Ends `accept`.
    void (*stop_listener)(void *listener);
    // Ends `send` and `close`.
    void (*stop_sink)(void *sink);
    // Ends `receive`.
    void (*stop_source)(void *source);
    // Takes a listener back; nobody waits for it any more.
    void (*release_listener)(void *listener);
    // Takes a sink back, and with it what is open of the link: the other end's `receive` ends.
    void (*release_sink)(void *sink);
    // Takes a source back: the other end's `send` fails.
    void (*release_source)(void *source);
} MobillmTransport;

// Side networks: what is trained, and what the device later predicts with.
//
// What `train_step` and `predict` refuse is the batch, what the others refuse is the file. If the loss is no
// longer finite, `train_step` refuses with a JSON object, `step` and `loss` (text), and has changed nothing.
//
// Context of `check` and of `build`: an object with `taps` (layers, ascending), `hidden`, `pooling` and `bundle` (as in a model's info), `objective`,
// `supervision` (`"truth"`, `"difference"` or `"truth-and-own"`), `optimizer` (an object of numbers: `learning_rate`, `weight_decay`, `beta1`, `beta2`,
// `warmup`, `clip`), `steps` and `seed`.
typedef struct {
    // Bytes of this table that there are.
    size_t size;
    // How side networks are made.
    MobillmComponent component;
    // A side network from an adapter file, to predict with.
    MobillmStatus (*load)(MobillmText tag,
                          MobillmText options,
                          MobillmBytes adapter,
                          void **instance,
                          const MobillmWriter *error);
    // Writes a JSON object: `engine` and `architecture` (texts), `parameters` (a number), `taps`, `hidden`, `objective` and `bundle` (as in the
    // context), `additive` (whether the device adds the scores to its own prediction).
    MobillmStatus (*info)(void *instance, const MobillmWriter *out, const MobillmWriter *error);
    // Trains on the `count` tensors `taps`, f32 `[rows, hidden]` each, laid out as `layout`, and one supervision a sample. Writes a JSON object
    // with the numbers `step` (from 0), `loss` and `learning_rate`.
    MobillmStatus (*train_step)(void *instance,
                                const MobillmLayout *layout,
                                const MobillmTensor *taps,
                                size_t count,
                                const MobillmSupervision *supervision,
                                const MobillmWriter *report,
                                const MobillmWriter *error);
    // Writes each sample's scores to `scores`, f32 `[samples, outputs]`.
    MobillmStatus (*predict)(void *instance,
                             const MobillmLayout *layout,
                             const MobillmTensor *taps,
                             size_t count,
                             const MobillmTensor *scores,
                             const MobillmWriter *error);
    // Writes the adapter file.
    MobillmStatus (*adapter)(void *instance, const MobillmWriter *out, const MobillmWriter *error);
    // Writes all that training goes on from.
    MobillmStatus (*checkpoint)(void *instance, const MobillmWriter *out, const MobillmWriter *error);
    // Goes back to a checkpoint.
    MobillmStatus (*restore)(void *instance, MobillmBytes checkpoint, const MobillmWriter *error);
} MobillmSideNetwork;

// The function that a library exports as `MOBILLM_SYMBOL`.
typedef const MobillmPlugin *(*MobillmEntry)(void);

// It did what was asked.
#define MOBILLM_OK 0

// What it was given is wrong: a config, a value, a payload. The instance goes on.
#define MOBILLM_REFUSED 1

// It could not do it. The instance goes on.
#define MOBILLM_FAILED 2

// It panicked: the host does not use the instance again but for `release`.
#define MOBILLM_PANICKED 3

// Of transports: the link was closed by the other end, in order, or the call was stopped.
#define MOBILLM_CLOSED 4

// A table of the type `MobillmBackbone`.
#define MOBILLM_SLOT_BACKBONE 0

// A table of the type `MobillmSelector`.
#define MOBILLM_SLOT_SELECTOR 1

// A table of the type `MobillmPrivacyPolicy`.
#define MOBILLM_SLOT_PRIVACY_POLICY 2

// A table of the type `MobillmQuantizer`.
#define MOBILLM_SLOT_QUANTIZER 3

// A table of the type `MobillmTransport`.
#define MOBILLM_SLOT_TRANSPORT 4

// A table of the type `MobillmSideNetwork`.
#define MOBILLM_SLOT_SIDE_NETWORK 5

// Elements of a tensor.
#define MOBILLM_F32 {MOBILLM_FLOAT, 32, 1}
#define MOBILLM_I64 {MOBILLM_INT, 64, 1}

// What a header starts with.
#define MOBILLM_MAGIC {'m', 'o', 'b', 'i', 'l', 'l', 'm', 0}

// The exported function, of the type `MobillmEntry`.
#define MOBILLM_SYMBOL "mobillm_plugin"

// A `MobillmText` of a literal.
#define MOBILLM_TEXT(literal) {(const uint8_t *)(literal), sizeof(literal) - 1}

#if defined(_WIN32)
#define MOBILLM_EXPORT __declspec(dllexport)
#else
#define MOBILLM_EXPORT __attribute__((visibility("default")))
#endif

#if defined(__cplusplus)
extern "C"
#endif
// What every plugin defines.
MOBILLM_EXPORT const MobillmPlugin *mobillm_plugin(void);

#endif
