//! GGUF, the model files of llama.cpp: hyper-parameters, tokenizer and weights in one file.
//!
//! The Llama family is read: `general.architecture` "llama" (which Mistral, SmolLM and TinyLlama come as
//! too), "mistral", "qwen2" and "qwen3". Quantized matrices stay in their blocks.
//!
//! Two things differ from what `transformers` saves. The scaling of rotary positions of Llama 3 is
//! a tensor, `rope_freqs.weight`, whose numbers divide the frequencies. And Llama's queries and keys have
//! the two numbers that turn against each other side by side, where Hugging Face has them half a head
//! apart: rows are put back, which leaves their blocks as they are.

mod merges;
mod split;
mod tensors;
mod tokenizer;

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use mobillm_core::backbone::{BackboneInfo, Pooling};
use mobillm_core::fingerprint::Fingerprint;
use mobillm_gguf::{Gguf, GgufError, GgufFile};
use mobillm_weights::WeightsError;

use super::ImportError;
use super::rope::{Scaling, WIDEST_HEAD, frequencies};
use super::source::{Source, TokenizerSource};
use crate::network::{
    Activation, Attention, Embedding, FeedForward, Head, Network, Norm, NormKind, Placement,
    Positions, Rotary,
};

/// A family as GGUF has it.
#[derive(Clone, Copy)]
struct Family {
    /// Its `general.architecture`.
    name: &'static str,
    /// Whether the pairs of a head that turn against each other are side by side.
    interleaved: bool,
    /// Whether queries and keys are normed.
    normed: bool,
}

const FAMILIES: [Family; 4] = [
    Family { name: "llama", interleaved: true, normed: false },
    Family { name: "mistral", interleaved: true, normed: false },
    Family { name: "qwen2", interleaved: false, normed: false },
    Family { name: "qwen3", interleaved: false, normed: true },
];

/// Keys of a family that change what is computed, unless they are zero.
const FOREIGN: [&str; 8] = [
    "expert_count",
    "attention.scale",
    "attention.clamp_kqv",
    "attention.temperature_scale",
    "attn_logit_softcapping",
    "embedding_scale",
    "logit_scale",
    "residual_scale",
];

/// Reads all of the model in the file at `path` but its weights.
///
/// # Errors
/// If the file cannot be read, is damaged, contradicts itself, or asks for something that is not known.
pub(crate) fn model(path: &Path) -> Result<Source, ImportError> {
    let file = GgufFile::open(path)
        .map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
    let file = Arc::new(file);
    let gguf = file.parse().map_err(|error| damaged(path, error))?;
    let described = Description::of(&gguf).map_err(|error| damaged(path, error))?;
    let Description { family, mut network, info } = described;
    if let Some(rotary) = &mut network.attention.rotary {
        tensors::divide_frequencies(&file, &gguf, rotary).map_err(|error| damaged(path, error))?;
    }
    let tensors = tensors::collect(path, &file, &gguf, family, &network, &info)?;
    let wrong = |error: GgufError| ImportError::Tokenizer {
        path: path.to_owned(),
        problem: error.to_string(),
    };
    let json = tokenizer::json(&gguf, info.vocabulary).map_err(wrong)?;
    let padding = gguf.unsigned("tokenizer.ggml.padding_token_id").map_err(wrong)?;
    Ok(Source {
        path: path.to_owned(),
        info,
        network,
        // One that is too large for a token is refused as what it is: none of the vocabulary.
        padding: padding.map(|id| u32::try_from(id).unwrap_or(u32::MAX)),
        own_labels: None,
        weights: tensors::format(&gguf),
        tokenizer: TokenizerSource { path: path.to_owned(), json },
        tensors,
    })
}

/// The file at `path` is not what it should be.
fn damaged(path: &Path, problem: impl Display) -> ImportError {
    WeightsError::Damaged { path: path.to_owned(), problem: problem.to_string() }.into()
}

/// What the metadata say of the model.
struct Description {
    family: Family,
    network: Network,
    info: BackboneInfo,
}

impl Description {
    fn of(gguf: &Gguf) -> Result<Self, GgufError> {
        let family = family(gguf)?;
        let keys = Keys { gguf, family: family.name };
        keys.check_foreign()?;
        let hidden = keys.size("embedding_length")?;
        let heads = keys.size("attention.head_count")?;
        let key_heads = keys.optional_size("attention.head_count_kv")?.unwrap_or(heads);
        if !heads.is_multiple_of(key_heads) {
            let problem = format!("is {key_heads}, expected a divisor of the {heads} heads");
            return Err(keys.wrong("attention.head_count_kv", problem));
        }
        let head_width = keys.head_width(hidden, heads)?;
        let vocabulary = match gguf.tensor("token_embd.weight").map(|tensor| tensor.shape()) {
            Some(&[vocabulary, _]) => vocabulary,
            Some(shape) => {
                let problem = format!("is {shape:?}, expected a matrix");
                return Err(GgufError::tensor("token_embd.weight", problem));
            }
            None => return Err(GgufError::tensor("token_embd.weight", "is missing")),
        };
        let network = Network {
            embedding: Embedding {
                width: hidden,
                positions: Positions::None,
                segments: 0,
                normed: false,
            },
            attention: Attention {
                heads,
                key_heads,
                head_width,
                causal: true,
                normed: family.normed,
                rotary: Some(Rotary { frequencies: keys.frequencies(head_width)? }),
            },
            feed_forward: FeedForward {
                inner: keys.size("feed_forward_length")?,
                activation: Activation::Silu,
                gated: true,
            },
            norm: Norm { kind: NormKind::Rms, epsilon: keys.epsilon()? },
            placement: Placement::Before,
            final_norm: true,
            head: Some(Head::Vocabulary { tied: gguf.tensor("output.weight").is_none() }),
        };
        let (own_outputs, language_head) = network.answers();
        let info = BackboneInfo {
            architecture: family.name.to_owned(),
            layers: keys.size("block_count")?,
            hidden,
            max_tokens: keys.max_tokens()?,
            vocabulary,
            pooling: keys.pooling()?,
            own_outputs,
            language_head,
            bundle: Fingerprint([0; 32]),
        };
        Ok(Self { family, network, info })
    }
}

/// The family of a file that holds a whole model.
fn family(gguf: &Gguf) -> Result<Family, GgufError> {
    let wrong = |key, problem: String| Err(GgufError::metadata(key, problem));
    if let Some(kind) = gguf.text("general.type")?.filter(|kind| *kind != "model") {
        return wrong("general.type", format!("is {kind:?}, expected \"model\""));
    }
    if let Some(parts) = gguf.unsigned("split.count")?.filter(|parts| *parts > 1) {
        let problem =
            format!("says that this is one file of {parts}; merge them first (gguf-split)");
        return wrong("split.count", problem);
    }
    const KEY: &str = "general.architecture";
    let known = || FAMILIES.map(|family| format!("{:?}", family.name)).join(", ");
    match gguf.text(KEY)? {
        None => wrong(KEY, format!("is missing, expected one of {}", known())),
        Some(name) => match FAMILIES.into_iter().find(|family| family.name == name) {
            Some(family) => Ok(family),
            None => wrong(KEY, format!("is {name:?}, but only {} can be imported", known())),
        },
    }
}

/// The metadata of one family, whose keys start with its name.
struct Keys<'a> {
    gguf: &'a Gguf,
    family: &'static str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.family)
    }

    fn wrong(&self, name: &str, problem: impl Into<String>) -> GgufError {
        GgufError::metadata(self.key(name), problem)
    }

    fn number(&self, name: &str) -> Result<Option<f64>, GgufError> {
        self.gguf.number(&self.key(name))
    }

    /// A size that is not zero and whose products with others of its kind fit a `usize`.
    fn optional_size(&self, name: &str) -> Result<Option<usize>, GgufError> {
        let Some(size) = self.gguf.unsigned(&self.key(name))? else { return Ok(None) };
        match usize::try_from(size).ok().filter(|size| (1..=1 << 31).contains(size)) {
            Some(size) => Ok(Some(size)),
            None => Err(self.wrong(name, format!("is {size}, expected 1 to {}", 1_u32 << 31))),
        }
    }

    fn size(&self, name: &str) -> Result<usize, GgufError> {
        self.optional_size(name)?.ok_or_else(|| self.wrong(name, "is missing"))
    }

    fn check_foreign(&self) -> Result<(), GgufError> {
        for name in FOREIGN {
            if let Some(value) = self.number(name)?.filter(|value| *value != 0.0) {
                return Err(self.wrong(name, format!("is {value}, which cannot be computed")));
            }
        }
        if self.gguf.flag(&self.key("attention.causal"))? == Some(false) {
            let problem = "is false, but only models whose tokens see none behind them are known";
            return Err(self.wrong("attention.causal", problem));
        }
        Ok(())
    }

    fn head_width(&self, hidden: usize, heads: usize) -> Result<usize, GgufError> {
        let width = match self.optional_size("attention.key_length")? {
            Some(width) => width,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                let problem = format!("is {hidden}, expected a multiple of the {heads} heads");
                return Err(self.wrong("embedding_length", problem));
            }
        };
        if !width.is_multiple_of(2) || width > WIDEST_HEAD {
            let problem =
                format!("makes heads {width} wide, expected even and up to {WIDEST_HEAD}");
            return Err(self.wrong("attention.head_count", problem));
        }
        for name in ["attention.value_length", "rope.dimension_count"] {
            if let Some(other) = self.optional_size(name)?.filter(|other| *other != width) {
                let problem = format!("is {other}, expected {width}, the width of a whole head");
                return Err(self.wrong(name, problem));
            }
        }
        Ok(width)
    }

    /// Radians per position for each pair of a head.
    fn frequencies(&self, head_width: usize) -> Result<Vec<f32>, GgufError> {
        let theta = self.number("rope.freq_base")?.unwrap_or(10_000.0);
        if theta <= 1.0 {
            return Err(self.wrong("rope.freq_base", format!("is {theta}, expected more than 1")));
        }
        frequencies(head_width, theta as f32, self.scaling()?).map_err(|problem| {
            let problem = format!("is {theta}, and with the factor of `rope.scaling` {problem}");
            self.wrong("rope.freq_base", problem)
        })
    }

    /// How positions are stretched, as llama.cpp reads it: linearly unless the type says otherwise.
    fn scaling(&self) -> Result<Scaling, GgufError> {
        let positive = |name: &str| match self.number(name)? {
            Some(factor) if factor <= 0.0 => {
                Err(self.wrong(name, format!("is {factor}, expected more than 0")))
            }
            factor => Ok(factor.map(|factor| factor as f32)),
        };
        let attention = positive("rope.scaling.attn_factor")?.filter(|factor| *factor != 1.0);
        if let Some(factor) = attention {
            let problem = format!("is {factor}, but scores of attention cannot be scaled");
            return Err(self.wrong("rope.scaling.attn_factor", problem));
        }
        // The second is the name that it had before there were types.
        let factor = positive("rope.scaling.factor")?.or(positive("rope.scale_linear")?);
        match (self.gguf.text(&self.key("rope.scaling.type"))?, factor) {
            (Some("none"), _) | (None, None) => Ok(Scaling::None),
            (Some("linear") | None, Some(factor)) => Ok(Scaling::Linear { factor }),
            (Some("linear"), None) => Err(self.wrong("rope.scaling.factor", "is missing")),
            (Some(other), _) => {
                let problem = format!("is {other:?}, but only \"none\" and \"linear\" are known");
                Err(self.wrong("rope.scaling.type", problem))
            }
        }
    }

    fn epsilon(&self) -> Result<f32, GgufError> {
        const NAME: &str = "attention.layer_norm_rms_epsilon";
        match self.number(NAME)? {
            Some(epsilon) if (0.0..1.0).contains(&epsilon) => Ok(epsilon as f32),
            Some(epsilon) => Err(self.wrong(NAME, format!("is {epsilon}, expected 0 to 1"))),
            None => Err(self.wrong(NAME, "is missing")),
        }
    }

    /// As long as a text is no longer than the window that a token sees, it sees all tokens before it.
    fn max_tokens(&self) -> Result<usize, GgufError> {
        let context = self.size("context_length")?;
        let window = self.optional_size("attention.sliding_window")?;
        Ok(window.map_or(context, |window| window.min(context)))
    }

    fn pooling(&self) -> Result<Pooling, GgufError> {
        const NAME: &str = "pooling_type";
        match self.gguf.unsigned(&self.key(NAME))? {
            None | Some(0 | 3) => Ok(Pooling::LastToken),
            Some(1) => Ok(Pooling::Mean),
            Some(2) => Ok(Pooling::FirstToken),
            Some(other) => Err(self.wrong(NAME, format!("is {other}, expected 0 to 3"))),
        }
    }
}
