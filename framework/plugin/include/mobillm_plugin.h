/*
 * What crosses the door: plain C data, and nothing that a compiler lays out as it likes.
 *
 * A library exports one symbol, `MOBILLM_SYMBOL`, a function that returns a pointer to its `MobillmPlugin`.
 * The host reads it in this order, and goes no further than what fits: magic, major version, size,
 * then the table of each slot by `MobillmPlugin::interface`. Tables grow at their end only; `size` says how
 * much of one there is.
 *
 * * Text is UTF-8 with a length. Configs, infos and diagnostics are JSON: they are read once.
 * * Activations are tensors (`DLTensor`) on the CPU, contiguous, and stay where they are.
 * * Who allocates frees. What a plugin has to say it writes to a `MobillmWriter` of the host's; an
 *   instance goes back to its table's `release`. So no memory changes hands.
 * * Every call returns a `MobillmStatus`. A plugin does not unwind out of a call: the kit for Rust authors
 *   catches panics.
 * * Calls on one instance come one at a time, from any thread; those of quantizers and transports,
 *   from several threads at once.
 *
 * Made by cbindgen of framework/plugin/src/abi; a test holds it up to date.
 */

#ifndef MOBILLM_PLUGIN_H
#define MOBILLM_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// `kDLCPU`.
#define DL_CPU 1

// `kDLInt`.
#define DL_INT 0

// `kDLUInt`.
#define DL_UINT 1

// `kDLFloat`.
#define DL_FLOAT 2

// The version of the layout up to which nothing that is here moves. Another major version is another ABI.
#define MOBILLM_MAJOR 1

// How often something was appended.
#define MOBILLM_MINOR 0

// `MobillmSupervision`: the class.
#define MOBILLM_LABEL 0

// `MobillmSupervision`: the scaled target of a regression, in `numbers[0]`.
#define MOBILLM_VALUE 1

// `MobillmSupervision`: for each output the truth less the device's own prediction, in `numbers`.
#define MOBILLM_DIFFERENCE 2

// `MobillmSupervision`: the class, and the device's own logits in `numbers`.
#define MOBILLM_LABEL_AND_OWN 3

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

// Where a plugin writes text or bytes, in any number of parts. It is the host's, lent for the call.
typedef struct {
    // The host's own; to be given back to `write`.
    void *context;
    // Appends bytes.
    void (*write)(void *context, MobillmBytes bytes);
} MobillmWriter;

// What a plugin may ask of the host, as long as the process lives.
typedef struct {
    // Bytes of this table that there are.
    size_t size;
    // The host's own; to be given back to its functions.
    void *context;
    // Says a line to the user. Levels: 0 error, 1 warning, 2 note.
    void (*log)(void *context, uint32_t level, MobillmText line);
} MobillmHost;

// The header of a library, which lives as long as the process. Its first two fields never change.
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
    // Called once before anything else; the host outlives everything.
    MobillmStatus (*start)(const MobillmHost *host, const MobillmWriter *error);
    // Writes what the library has as JSON: a list of objects with `slot` (`"quantizer"`), `tag`
    // (`"acme.q8"`) and `schema`, the JSON schema of its options, whose `description` is a line of help.
    MobillmStatus (*components)(const MobillmWriter *out);
    // The table of a slot, or null if there is none that has everything up to `min_minor`.
    const void *(*interface)(MobillmSlot slot, uint32_t min_minor);
} MobillmPlugin;

// How the components of a slot are made: the same for every slot.
//
// `tag` says which component, `options` is a JSON object without its `type`, and `context` what the host knows,
// as JSON; each slot's table says what. What went wrong is written to `error`, as a sentence for people.
typedef struct {
    // Everything that is wrong with the options, to `diagnostics` as a JSON list of objects with `path`, `message`
    // and, if there is something to say, `expected` and `help`. Pure.
    MobillmStatus (*check)(MobillmText tag,
                           MobillmText options,
                           MobillmText context,
                           const MobillmWriter *diagnostics,
                           const MobillmWriter *error);
    // An instance, to be released once.
    MobillmStatus (*build)(MobillmText tag,
                           MobillmText options,
                           MobillmText context,
                           void **instance,
                           const MobillmWriter *error);
    // Takes an instance back.
    void (*release)(void *instance);
} MobillmComponent;

// Where a tensor lies.
typedef struct {
    // `DL_CPU`; nothing else crosses.
    int32_t device_type;
    // 0.
    int32_t device_id;
} DLDevice;

// What its elements are.
typedef struct {
    // `DL_FLOAT`, `DL_INT` or `DL_UINT`.
    uint8_t code;
    // Bits of an element.
    uint8_t bits;
    // 1.
    uint16_t lanes;
} DLDataType;
// f32.
#define DLDataType_F32 (DLDataType){ .code = DL_FLOAT, .bits = 32, .lanes = 1 }
// i64.
#define DLDataType_I64 (DLDataType){ .code = DL_INT, .bits = 64, .lanes = 1 }
// u64.
#define DLDataType_U64 (DLDataType){ .code = DL_UINT, .bits = 64, .lanes = 1 }
// u32.
#define DLDataType_U32 (DLDataType){ .code = DL_UINT, .bits = 32, .lanes = 1 }

// A tensor, lent for the call.
typedef struct {
    // Its memory, aligned to its elements.
    void *data;
    // On the CPU.
    DLDevice device;
    // Axes.
    int32_t ndim;
    // What its elements are.
    DLDataType dtype;
    // Elements along each axis, `[ndim]`.
    const int64_t *shape;
    // Elements from one to the next along each axis, `[ndim]`; null if it is contiguous, rows first.
    const int64_t *strides;
    // Bytes from `data` to its first element.
    uint64_t byte_offset;
} DLTensor;

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
    MobillmStatus (*format)(void *instance, MobillmPayloadFormat *format);
    // Bytes of an encoded row of `hidden` values.
    MobillmStatus (*row_bytes)(void *instance, size_t hidden, size_t *bytes);
    // For each value of `row`, f32 `[hidden]`, the most that decoding may differ from it, to `bound`.
    MobillmStatus (*error_bound)(void *instance, const DLTensor *row, const DLTensor *bound);
    // Encodes `rows`, f32 `[rows, hidden]`, all finite, to `out`, which holds just their bytes. A value that the code
    // cannot hold is refused: the error is then a JSON object with `row`, `column`, `value` and `expected`.
    MobillmStatus (*encode)(void *instance,
                            const DLTensor *rows,
                            MobillmBuffer out,
                            const MobillmWriter *error);
    // Decodes what `encode` wrote to `rows`, f32 `[rows, hidden]`.
    MobillmStatus (*decode)(void *instance,
                            MobillmBytes bytes,
                            const DLTensor *rows,
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
    const DLTensor *hidden;
    // Tokens of each sample that are no padding, `[batch]`.
    const size_t *lengths;
} MobillmTap;

// Where a backbone puts what it computed. It is the host's, lent for the call.
typedef struct {
    // The host's own; to be given back to its functions.
    void *context;
    // Takes a tap, before the next layer runs. If it does not return `MOBILLM_OK`, the forward pass ends with that.
    MobillmStatus (*tap)(void *context, const MobillmTap *tap);
    // Takes the own prediction, f32 `[batch, outputs]`.
    MobillmStatus (*own_prediction)(void *context, const DLTensor *scores);
} MobillmTapSink;

// Backbones: forward passes of the frozen model, hidden states handed out layer by layer.
//
// Context of `check`: the model's info; of `build`: `bundle` (a folder), `taps` (layers, ascending), `label_tokens`,
// `libraries` (paths of native libraries by name).
typedef struct {
    // Bytes of this table that there are.
    size_t size;
    // How backbones are made.
    MobillmComponent component;
    // Writes the model's info as JSON.
    MobillmStatus (*info)(void *instance, const MobillmWriter *out, const MobillmWriter *error);
    // Runs the model on `ids` and `segments`, i64 `[batch, tokens]`, padding on the right of `lengths`.
    MobillmStatus (*forward)(void *instance,
                             const DLTensor *ids,
                             const DLTensor *segments,
                             const size_t *lengths,
                             const MobillmTapSink *sink,
                             const MobillmWriter *error);
} MobillmBackbone;

// Where a selector puts its rows. It is the host's, lent for the call.
typedef struct {
    // The host's own; to be given back to `select`.
    void *context;
    // Takes `rows`, f32 `[rows, hidden]`, laid out as `layout` says. To be called once.
    MobillmStatus (*selected)(void *context, const MobillmLayout *layout, const DLTensor *rows);
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
    // Rows of a sample of `tokens` tokens; the most of them if that is not `fixed`.
    MobillmStatus (*rows)(void *instance, size_t tokens, size_t *rows, bool *fixed);
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
    // What else there is, `[count]`.
    const float *numbers;
    // How many numbers.
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
// Context of `check` and of `build`: the objective, `"regression"` or `{"classification": {"classes": 2}}`.
typedef struct {
    // Bytes of this table that there are.
    size_t size;
    // How policies are made.
    MobillmComponent component;
    // Writes a JSON object: `supervision` (`"truth"`, `"difference"`, `"truth-and-own"` or null), `answers` (`"raw"` or
    // `"probability"`), `guarantee` (a sentence).
    MobillmStatus (*info)(void *instance, const MobillmWriter *out, const MobillmWriter *error);
    // Changes `rows`, f32 `[rows, hidden]` of layer `layer`, in place. `samples` are their names, `[layout.samples]`;
    // `predicts` is true if they are for an answer only, which spends no privacy budget.
    MobillmStatus (*activations)(void *instance,
                                 size_t layer,
                                 const MobillmLayout *layout,
                                 const uint64_t *samples,
                                 bool predicts,
                                 const DLTensor *rows,
                                 const MobillmWriter *error);
    // What the server is told of `sample`, whose truth (`MOBILLM_LABEL` or `MOBILLM_VALUE`) and own prediction, f32 `[outputs]`, these are.
    MobillmStatus (*supervise)(void *instance,
                               uint64_t sample,
                               const MobillmSupervision *truth,
                               const DLTensor *own,
                               const MobillmSupervisionSink *sink,
                               const MobillmWriter *error);
    // Combines the own prediction with what the side network says, in place of the latter; both f32 `[outputs]`.
    MobillmStatus (*combine)(void *instance, const DLTensor *own, const DLTensor *side);
} MobillmPrivacyPolicy;

// A link's two halves. They are released one by one, by `release_sink` and `release_source`.
typedef struct {
    // What frames are sent by.
    void *sink;
    // What they come from.
    void *source;
} MobillmLink;

// Transports: frames between two ends. Calls block; the host gives them threads of their own. `close` of a sink
// must end a `receive` of the other end, with `MOBILLM_CLOSED`.
//
// Some refusals have numbers that the host looks at. The error is then a JSON object: of `connect` and `listen`, where
// an address is the reason, `address` and `problem`; of a frame over the limit, `bytes` and `limit`; of `receive`, if
// the link ends within a frame, `expected` and `got`, in bytes.
//
// Context of `check` and of `build`: `{}`.
typedef struct {
    // Bytes of this table that there are.
    size_t size;
    // How transports are made.
    MobillmComponent component;
    // Whether the two ends may be of different processes; `options` as for `build`.
    MobillmStatus (*crosses_processes)(MobillmText tag, MobillmText options, bool *crosses);
    // Bytes that the transport adds to a frame.
    MobillmStatus (*overhead)(void *instance, size_t *bytes);
    // Connects to the other end.
    MobillmStatus (*connect)(void *instance, MobillmLink *link, const MobillmWriter *error);
    // Listens, and writes the address to connect to.
    MobillmStatus (*listen)(void *instance,
                            void **listener,
                            const MobillmWriter *address,
                            const MobillmWriter *error);
    // Waits for the next link.
    MobillmStatus (*accept)(void *listener, MobillmLink *link, const MobillmWriter *error);
    // Sends a frame; `bulk` is true for activations, false for control. Waits while the other end is behind, and gives
    // `MOBILLM_CLOSED` if the link is closed.
    MobillmStatus (*send)(void *sink, MobillmBytes frame, bool bulk, const MobillmWriter *error);
    // Sends what is left and closes the link in order. To close again does nothing.
    MobillmStatus (*close)(void *sink, const MobillmWriter *error);
    // Waits for the next frame and writes it.
    MobillmStatus (*receive)(void *source, const MobillmWriter *frame, const MobillmWriter *error);
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
// Context of `check` and of `build`: `taps`, `hidden`, `pooling`, `objective`, `supervision`, `optimizer`, `steps`, `seed`, `bundle`.
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
    // Writes a JSON object: `engine`, `architecture`, `parameters`, `taps`, `hidden`, `objective`, `bundle`, `additive`.
    MobillmStatus (*info)(void *instance, const MobillmWriter *out, const MobillmWriter *error);
    // Trains on `taps` tensors, f32 `[rows, hidden]` each, laid out as `layout`, and one supervision a sample. Writes a JSON object
    // with `step`, `loss` and `learning_rate`.
    MobillmStatus (*train_step)(void *instance,
                                const MobillmLayout *layout,
                                const DLTensor *taps,
                                size_t count,
                                const MobillmSupervision *supervision,
                                const MobillmWriter *report,
                                const MobillmWriter *error);
    // Writes each sample's scores to `scores`, f32 `[samples, outputs]`.
    MobillmStatus (*predict)(void *instance,
                             const MobillmLayout *layout,
                             const DLTensor *taps,
                             size_t count,
                             const DLTensor *scores,
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

// It panicked: the instance must not be used again but for `release`.
#define MOBILLM_PANICKED 3

// A link was closed by the other end, in order.
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
