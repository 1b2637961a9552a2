//! What an import makes of the families of Hugging Face, and what it refuses.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

use std::fs;

use mobillm_bundle::fixture::Family;
use mobillm_bundle::network::{Activation, Head, NormKind, Placement, Positions};
use mobillm_bundle::{Bundle, ImportError, ImportOptions, import};
use mobillm_core::backbone::Pooling;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

fn family(name: &str) -> Family {
    Family::all().into_iter().find(|family| family.name == name).unwrap()
}

fn try_bundle(family: &Family) -> Result<Bundle, ImportError> {
    let folder = tempfile::tempdir().unwrap();
    family.bundle(&folder.path().join("bundle"), &ImportOptions::default())
}

/// The error of the import of `name` after `change`, which must say all of `words`.
#[track_caller]
fn refused(name: &str, change: impl FnOnce(&mut Family), words: &[&str]) {
    let mut family = family(name);
    change(&mut family);
    let error = try_bundle(&family).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "{name}: {word:?} is not in: {error}");
    }
}

/// A family whose config has another `value` at `key`.
fn with(name: &str, key: &str, value: Value) -> Family {
    let mut family = family(name);
    family.config[key] = value;
    family
}

#[test]
fn every_family_says_what_it_is() {
    for family in Family::all() {
        let bundle = try_bundle(&family).unwrap_or_else(|error| panic!("{}: {error}", family.name));
        let (info, network) = (bundle.info(), bundle.network().unwrap());
        let is_decoder = network.attention.causal;
        assert_eq!((info.layers, info.vocabulary), (2, 40), "{}", family.name);
        assert_eq!(info.architecture, family.config["model_type"].as_str().unwrap());
        assert_eq!(info.language_head, !family.label_tokens.is_empty(), "{}", family.name);
        let pooling = if is_decoder { Pooling::LastToken } else { Pooling::FirstToken };
        assert_eq!(info.pooling, pooling);
        assert_eq!(info.own_outputs.is_some(), !is_decoder);
        assert_eq!(network.attention.rotary.is_some(), network.norm.kind == NormKind::Rms);
        assert_eq!(network.final_norm, network.placement == Placement::Before);
    }
}

#[test]
fn positions_start_behind_the_rows_that_no_token_gets() {
    for (name, rows, offset, max_tokens) in
        [("bert", 48, 0, 48), ("roberta", 48, 2, 46), ("opt", 50, 2, 48), ("gpt2", 48, 0, 48)]
    {
        let bundle = try_bundle(&family(name)).unwrap();
        let positions = bundle.network().unwrap().embedding.positions;
        assert_eq!(positions, Positions::Learned { rows, offset }, "{name}");
        assert_eq!(bundle.info().max_tokens, max_tokens, "{name}");
    }
}

#[test]
fn a_window_limits_the_tokens() {
    let max_tokens = |family: &Family| try_bundle(family).unwrap().info().max_tokens;
    assert_eq!(max_tokens(&family("mistral")), 24);
    assert_eq!(max_tokens(&with("mistral", "sliding_window", Value::Null)), 48);
    // Left out, it is what `transformers` assumes.
    let mut mistral = with("mistral", "max_position_embeddings", json!(8192));
    assert_eq!(max_tokens(&mistral), 24);
    mistral.config.as_object_mut().unwrap().remove("sliding_window");
    assert_eq!(max_tokens(&mistral), 4096);
    mistral.config["sliding_window"] = Value::Null;
    assert_eq!(max_tokens(&mistral), 8192);
    // Qwen's window is that of the layers behind the first `max_window_layers`, if it is used at all.
    let mut qwen = with("qwen2", "sliding_window", json!(16));
    qwen.config["layer_types"] = Value::Null;
    assert_eq!(max_tokens(&qwen), 48);
    qwen.config["use_sliding_window"] = json!(true);
    assert_eq!(max_tokens(&qwen), 48);
    qwen.config["max_window_layers"] = json!(1);
    assert_eq!(max_tokens(&qwen), 16);
    qwen.config["layer_types"] = json!(["full_attention", "full_attention"]);
    assert_eq!(max_tokens(&qwen), 48);
    qwen.config["layer_types"] = json!(["full_attention", "sliding_attention"]);
    assert_eq!(max_tokens(&qwen), 16);
}

#[test]
fn a_classifier_has_the_activation_of_its_class() {
    for (name, activation, outputs) in [
        ("bert", Activation::Tanh, 3),
        ("roberta", Activation::Tanh, 2),
        ("distilbert", Activation::Relu, 3),
    ] {
        let head = try_bundle(&family(name)).unwrap().network().unwrap().head;
        assert_eq!(head, Some(Head::Classifier { activation, outputs }), "{name}");
    }
}

#[test]
fn a_language_head_is_tied_as_the_weights_say() {
    let head = |family: &Family| try_bundle(family).unwrap().network().unwrap().head;
    assert_eq!(head(&family("llama-tied")), Some(Head::Vocabulary { tied: true }));
    assert_eq!(head(&family("llama")), Some(Head::Vocabulary { tied: false }));
    // Two matrices that differ are two, whatever the config says.
    let claimed = with("llama", "tie_word_embeddings", json!(true));
    assert_eq!(head(&claimed), Some(Head::Vocabulary { tied: false }));
    // No class is named: the tensors say whether there is a head.
    assert_eq!(head(&with("llama", "architectures", Value::Null)), head(&family("llama")));
    assert_eq!(head(&with("gpt2", "architectures", Value::Null)), head(&family("gpt2")));
    assert_eq!(head(&with("gpt2-bare", "architectures", Value::Null)), None);
    // A head of another task is left out.
    assert_eq!(head(&with("llama", "architectures", json!(["LlamaForTokenClassification"]))), None);
    refused(
        "llama-tied",
        |family| family.config["tie_word_embeddings"] = json!(false),
        &["lm_head.weight is missing"],
    );
}

#[test]
fn names_may_come_with_or_without_that_of_the_backbone() {
    for (name, prefix) in [("gpt2", "transformer."), ("opt", "model."), ("llama", "model.")] {
        let mut bare = family(name);
        for (tensor, _) in &mut bare.tensors {
            *tensor = tensor.trim_start_matches(prefix).to_owned();
        }
        let network = |family: &Family| try_bundle(family).unwrap().network().cloned();
        assert_eq!(network(&bare), network(&family(name)), "{name}");
    }
}

#[test]
fn a_padding_token_that_is_none_is_not_taken() {
    for id in [json!(-1), json!(40), Value::Null] {
        assert_eq!(try_bundle(&with("llama", "pad_token_id", id)).unwrap().padding(), 0);
    }
    assert_eq!(try_bundle(&with("llama", "pad_token_id", json!(7))).unwrap().padding(), 7);
    assert_eq!(try_bundle(&with("roberta", "pad_token_id", Value::Null)).unwrap().padding(), 1);
}

#[test]
fn an_unknown_architecture_lists_those_that_are_known() {
    refused(
        "llama",
        |family| family.config["model_type"] = json!("mamba"),
        &["config.json", "\"mamba\"", "\"bert\", \"roberta\"", "\"qwen3\" can be imported"],
    );
}

#[test]
fn a_computation_that_is_not_known() {
    let cases = [
        ("llama", "attn_logit_softcapping", json!(50.0), "expected no such key"),
        ("llama", "partial_rotary_factor", json!(0.5), "expected 1"),
        ("llama", "quantization_config", json!({"bits": 4}), "expected no such key"),
        ("llama", "rope_interleaved", json!(true), "expected false"),
        ("llama", "hidden_act", json!("xielu"), "silu"),
        ("llama", "layer_types", json!(["chunked_attention"]), "chunked_attention"),
        ("qwen3", "layer_types", json!(["sliding_attention"]), "`sliding_window` is null"),
        ("qwen2", "is_causal", json!(false), "see no later ones"),
        ("gpt2", "scale_attn_by_inverse_layer_idx", json!(true), "expected false"),
        ("gpt2", "scale_attn_weights", json!(false), "expected true"),
        ("gpt2", "add_cross_attention", json!(true), "expected false"),
        ("opt", "layer_norm_elementwise_affine", json!(false), "expected true"),
        ("opt", "activation_function", json!("relu6"), "`activation_function` is \"relu6\""),
        ("roberta", "position_embedding_type", json!("relative_key"), "absolute"),
        ("distilbert", "pruned_heads", json!({"0": [1]}), "expected {}"),
    ];
    for (name, key, value, words) in cases {
        refused(name, |family| family.config[key] = value, &["config.json", key, words]);
    }
}

#[test]
fn rotary_parameters_that_are_not_known() {
    let cases = [
        (
            json!({"rope_type": "yarn", "factor": 4.0}),
            "\"yarn\" is not known, only default, linear",
        ),
        (json!({"rope_type": "linear"}), "positive `factor`"),
        (json!({"rope_type": "linear", "factor": 0.0}), "positive `factor`"),
        (json!({"rope_type": "llama3", "factor": 8.0}), "positive `low_freq_factor`"),
        (json!({"rope_type": "default", "partial_rotary_factor": 0.25}), "whole heads"),
        (json!({"full_attention": {"rope_type": "default"}}), "unknown field `full_attention`"),
        (json!({"rope_theta": 0.0}), "`rope_theta` is 0"),
        (json!({"rope_type": "linear", "factor": 1e-40}), "turns by inf"),
        (
            json!({"rope_type": "linear", "factor": 3e38, "rope_theta": 1e30}),
            "turns by 0 a position",
        ),
    ];
    for (parameters, words) in cases {
        let change = |family: &mut Family| family.config["rope_parameters"] = parameters;
        refused("llama", change, &["config.json", words]);
    }
}

#[test]
fn sizes_that_do_not_fit_together() {
    let cases = [
        ("llama", "num_key_value_heads", json!(4), "`num_attention_heads` 6 is not a multiple"),
        ("llama", "num_attention_heads", json!(0), "at least 1"),
        ("mistral", "num_key_value_heads", Value::Null, "is missing"),
        ("qwen3", "head_dim", json!(15), "expected an even number"),
        ("qwen3", "head_dim", json!(1_u64 << 40), "expected at most"),
        ("llama", "hidden_size", json!(1_u64 << 60), "expected at most"),
        ("llama", "rms_norm_eps", json!(-1e-6), "from 0 to 1"),
        ("gpt2", "layer_norm_epsilon", json!(1.0), "from 0 to 1"),
        ("bert", "layer_norm_eps", json!(1e300), "from 0 to 1"),
        ("gpt2", "n_head", json!(5), "not a multiple"),
        ("opt", "hidden_size", json!(33), "not a multiple"),
        ("distilbert", "n_heads", json!(3), "not a multiple"),
        ("roberta", "max_position_embeddings", json!(2), "positions start at 2"),
    ];
    for (name, key, value, words) in cases {
        let change = |family: &mut Family| {
            if name == "llama" {
                family.config["head_dim"] = Value::Null;
            }
            family.config[key] = value;
        };
        refused(name, change, &["config.json", words]);
    }
}

#[test]
fn weights_of_another_shape_than_the_config_says() {
    let cases = [
        ("llama", "num_hidden_layers", json!(3), "layers.2.input_layernorm.weight is missing"),
        (
            "llama",
            "num_hidden_layers",
            json!(1),
            "model.layers.1.input_layernorm.weight has no place",
        ),
        (
            "llama",
            "num_hidden_layers",
            json!(u32::MAX),
            "layers.2.input_layernorm.weight is missing",
        ),
        (
            "llama",
            "head_dim",
            json!(16),
            "q_proj.weight is [48, 48], but config.json makes it [96, 48]",
        ),
        ("llama", "vocab_size", json!(41), "makes it [41, 48]"),
        ("llama", "attention_bias", json!(true), "q_proj.bias is missing"),
        ("llama-biased", "mlp_bias", json!(false), "layers.0.mlp.down_proj.bias has no place"),
        ("qwen3", "model_type", json!("llama"), "self_attn.k_norm.weight has no place"),
        (
            "gpt2",
            "n_inner",
            json!(64),
            "mlp.c_fc.weight is [32, 128], but config.json makes it [32, 64]",
        ),
        ("gpt2", "n_positions", json!(49), "wpe.weight is [48, 32]"),
        ("opt", "enable_bias", json!(false), "bias has no place"),
        ("opt", "do_layer_norm_before", json!(false), "decoder.final_layer_norm.bias has no place"),
        ("opt-projected", "word_embed_proj_dim", Value::Null, "makes it [40, 32]"),
        ("roberta", "type_vocab_size", json!(2), "makes it [2, 32]"),
    ];
    for (name, key, value, words) in cases {
        let change = |family: &mut Family| family.config[key] = value;
        refused(name, change, &[words, "config.json and weights are not of one model"]);
    }
}

#[test]
fn buffers_of_old_checkpoints_are_not_weights() {
    for (name, tensor, shape) in [
        ("bert", "bert.embeddings.position_ids", vec![1, 48]),
        ("gpt2", "transformer.h.0.attn.bias", vec![1, 1, 48, 48]),
        ("gpt2", "transformer.h.1.attn.masked_bias", vec![1]),
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq", vec![4]),
    ] {
        let mut family = family(name);
        family.tensors.push((tensor.to_owned(), shape));
        try_bundle(&family).unwrap();
    }
}

#[test]
fn a_classifier_that_is_not_whole() {
    for (name, tensor) in [
        ("roberta", "classifier.dense.bias"),
        ("roberta", "classifier.out_proj.weight"),
        ("distilbert", "pre_classifier.weight"),
    ] {
        let change = |family: &mut Family| family.tensors.retain(|(name, _)| name != tensor);
        refused(name, change, &["the task head lacks", tensor, "AutoModel"]);
    }
}

#[test]
fn a_shard_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("bundle"));
    family("llama").write(&model).unwrap();
    fs::remove_file(model.join("model-00002-of-00003.safetensors")).unwrap();
    let error = import(&model, &out, &ImportOptions::default()).unwrap_err().to_string();
    assert!(error.contains("model-00002-of-00003.safetensors"), "{error}");
    assert!(!out.exists());
}

#[test]
fn a_source_of_no_known_kind() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("bundle"));
    family("gpt2").write(&model).unwrap();
    let options = ImportOptions::default();
    let file = import(&model.join("model.safetensors"), &out, &options);
    assert!(matches!(file, Err(ImportError::Kind { .. })));
    let error = import(&folder.path().join("nowhere"), &out, &options).unwrap_err().to_string();
    assert!(error.contains("expected the folder of a model"), "{error}");
    let taps = ImportOptions { taps: vec!["sum".to_owned()], ..options };
    assert!(matches!(import(&model, &out, &taps), Err(ImportError::Taps { .. })));
    assert!(!out.exists());
}

/// Imports `family` with `config`: that gives a whole bundle or an error.
fn whole_or_an_error(family: &Family, config: &[u8]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("bundle"));
    family.write(&model).unwrap();
    fs::write(model.join("config.json"), config).unwrap();
    match import(&model, &out, &ImportOptions::default()) {
        Ok(bundle) => bundle.verify().unwrap(),
        Err(_) => prop_assert!(!out.exists()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_value_of_a_config_is_taken_or_refused(
        family in select(Family::all()),
        key in any::<Index>(),
        value in select(vec![
            json!(0), json!(1), json!(-1), json!(3), json!(0.5), json!(u16::MAX), json!(u32::MAX),
            json!(1_u64 << 60), json!(u64::MAX), json!(1e300), json!(true), json!(false),
            json!("x"), json!([]), json!([0]), json!({}), Value::Null,
        ]),
    ) {
        let mut config = family.config.clone();
        let entries = config.as_object_mut().unwrap();
        let key = key.index(entries.len());
        *entries.values_mut().nth(key).unwrap() = value;
        whole_or_an_error(&family, config.to_string().as_bytes())?;
    }

    #[test]
    fn a_damaged_config_is_taken_or_refused(
        family in select(Family::all()),
        at in any::<Index>(),
        byte in any::<u8>(),
    ) {
        let mut config = family.config.to_string().into_bytes();
        let at = at.index(config.len());
        config[at] = byte;
        whole_or_an_error(&family, &config)?;
    }
}
