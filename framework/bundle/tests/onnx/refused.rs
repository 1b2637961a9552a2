//! Graphs and configs that do not fit together, or that no engine could run.

use std::fs;
use std::path::Path;

use mobillm_bundle::onnx::{
    AttributeProto, Axis, FLOAT, FLOAT16, FunctionProto, INT64, NodeProto, TensorProto,
    ValueInfoProto,
};
use mobillm_bundle::{ImportOptions, WeightFormat};
use mobillm_core::backbone::Pooling;
use serde_json::json;

use crate::{Place, externalize};

/// A chain that is not all of the model's layers is none to adapt.
#[test]
fn graph_and_config_must_agree() {
    let options = ImportOptions::default();
    let refused = |family: &str, key: &str, value: usize, words: &[&str]| {
        let place = Place::new(family);
        place.change_config(|config| {
            assert!(config.get(key).is_some());
            config[key] = json!(value);
        });
        place.refused(&options, words);
        place
    };
    let words = ["2 layers were found", "says 3", " (LayerNormalization)", "--tap VALUE`, once"];
    refused("bert", "num_hidden_layers", 3, &words);
    refused("gpt2-bare", "n_layer", 1, &["2 layers were found", "says 1"]);
    refused("bert", "hidden_size", 64, &["config.json", "`hidden_size` is 64", "have 32"]);
    refused("gpt2-bare", "n_embd", 33, &["config.json", "`n_embd` is 33", "not of one model"]);
    refused("bert", "vocab_size", 41, &["config.json", "`vocab_size` is 41", "embeds 40"]);

    // The rows of a table are often rounded up.
    let place = Place::new("bert");
    place.change_config(|config| config["vocab_size"] = json!(39));
    assert_eq!(place.import().info().vocabulary, 40);
    // GPT-2's own config calls its positions by two names.
    let place = Place::new("gpt2-bare");
    place.change_config(|config| config["n_ctx"] = config["n_positions"].clone());
    place.import();
}

#[test]
fn whether_it_is_a_decoder_is_known_or_asked_for() {
    let unknown = |family: &str| {
        let place = Place::new(family);
        place.change_config(|config| {
            config["model_type"] = json!("nobody");
            drop(config.as_object_mut().unwrap().remove("architectures"));
        });
        place
    };
    let place = unknown("bert");
    let words = ["config.json", "\"nobody\"", "..ForCausalLM", "1_Pooling/config.json"];
    place.refused(&ImportOptions::default(), &words);
    place.change_config(|config| config["architectures"] = json!(["NobodyForMaskedLM"]));
    assert_eq!(place.import().info().pooling, Pooling::FirstToken);

    let place = unknown("bert");
    let module = json!([{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]);
    fs::write(place.model("modules.json"), module.to_string()).unwrap();
    fs::create_dir(place.model("1_Pooling")).unwrap();
    let modes = json!({"pooling_mode_mean_tokens": true}).to_string();
    fs::write(place.model("1_Pooling/config.json"), modes).unwrap();
    assert_eq!(place.import().info().pooling, Pooling::Mean);

    // Only decoders go on from earlier tokens.
    let place = unknown("llama-biased");
    place.refused(&ImportOptions::default(), &["\"nobody\""]);
    place.change_graph(|graph| {
        let axes = [Axis::Named("batch"), Axis::Fixed(6), Axis::Named("past"), Axis::Fixed(16)];
        graph.input.push(ValueInfoProto::tensor("past_key_values.0.key", FLOAT, &axes));
    });
    assert_eq!(place.import().info().pooling, Pooling::LastToken);
}

#[test]
fn graphs_that_no_engine_could_load_are_refused() {
    let options = ImportOptions::default();
    let place = Place::new("bert");
    place.change_graph(|graph| {
        let logits = &mut graph.output[0];
        *logits =
            ValueInfoProto::tensor(&logits.name, FLOAT16, &[Axis::Named("batch"), Axis::Fixed(3)]);
    });
    place.refused(&options, &["model.onnx", "\"logits\"", "element type 10", "float32"]);

    let place = Place::new("bert");
    place.change_graph(|graph| graph.input[0].r#type = None);
    place.refused(&options, &["model.onnx", "element type 0", "export it with a type"]);

    let place = Place::new("bert");
    place.change_model(|model| {
        let axes = [Axis::Named("batch"), Axis::Named("tokens")];
        let graph = model.graph.as_mut().unwrap();
        graph.input.push(ValueInfoProto::tensor("position_ids", INT64, &axes));
        model.opset_import.iter_mut().for_each(|set| set.version = 10);
    });
    place.refused(&options, &["model.onnx", "version 10", "\"position_ids\"", "Range"]);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let options = ImportOptions::default();
    for (file, remedy) in
        [("config.json", "beside the graph"), ("tokenizer.json", "save_pretrained")]
    {
        let place = Place::new("bert");
        fs::remove_file(place.model(file)).unwrap();
        place.refused(&options, &[file, remedy]);
    }
    let place = Place::new("bert");
    place.change_config(|config| config["id2label"] = json!({"0": "no", "1": "yes"}));
    place.refused(&options, &["config.json", "2 labels", "3 outputs"]);
    let place = Place::new("bert");
    place.change_config(|config| {
        drop(config.as_object_mut().unwrap().remove("max_position_embeddings"))
    });
    place.refused(&options, &["config.json", "max_position_embeddings"]);
    let place = Place::new("bert");
    place.change_graph(|graph| graph.output[0] = graph.input[0].clone());
    place.refused(&options, &["model.onnx", "classifier's", "[?, ?]"]);
    let place = Place::new("llama-biased");
    place.change_config(|config| config["vocab_size"] = json!(3));
    place.change_graph(|graph| {
        let table = graph.initializer.iter_mut().find(|tensor| tensor.dims == [40, 48]).unwrap();
        table.dims[0] = 3;
        table.raw_data.truncate(3 * 48 * 4);
    });
    place.refused(&options, &["tokenizer.json", "ids up to 3", "embeds 3 tokens"]);

    let place = Place::new("bert");
    let weights = ImportOptions { weights: Some(WeightFormat::Q4), ..ImportOptions::default() };
    place.refused(&weights, &["model.onnx", "q4", "stay as they are"]);
}

#[test]
fn activations_quantized_over_a_batch_are_refused() {
    let place = Place::new("bert");
    place.change_graph(|graph| {
        let at = graph.node.iter().position(|node| node.op_type == "Gather").unwrap();
        let made = std::mem::replace(&mut graph.node[at].output[0], "float".to_owned());
        let outputs = ["quantized", "scale", "zero"];
        graph.node.insert(at + 1, NodeProto::new("DynamicQuantizeLinear", &["float"], &outputs));
        graph.node.insert(at + 2, NodeProto::new("DequantizeLinear", &outputs, &[&made]));
    });
    place.refused(&ImportOptions::default(), &["DynamicQuantizeLinear", "batch mates"]);

    let place = Place::new("bert");
    place.change_model(|model| {
        model.functions.push(FunctionProto {
            name: "quantized".to_owned(),
            node: vec![NodeProto::new("DynamicQuantizeMatMul", &["x", "w"], &["y"])],
            ..FunctionProto::default()
        });
    });
    place.refused(&ImportOptions::default(), &["DynamicQuantizeMatMul", "batch mates"]);
}

/// Padding that nobody masks would change what is computed: there is no mask, or nobody takes it.
#[test]
fn an_encoder_without_a_mask_is_refused() {
    let place = Place::new("bert");
    place.change_graph(|graph| {
        for node in &mut graph.node {
            for input in node.input.iter_mut().filter(|input| *input == "attention_mask") {
                *input = "input_ids".to_owned();
            }
        }
    });
    place.refused(&ImportOptions::default(), &["model.onnx", "no attention_mask"]);
    place.change_graph(|graph| graph.input.retain(|input| input.name != "attention_mask"));
    place.refused(&ImportOptions::default(), &["model.onnx", "no attention_mask"]);
}

/// A mask of the pooled answer alone leaves the hidden states to the padding.
#[test]
fn a_mask_without_effect_on_the_taps_is_refused() {
    let place = Place::new("bert");
    place.change_graph(|graph| {
        for node in &mut graph.node {
            for input in node.input.iter_mut().filter(|input| *input == "attention_mask") {
                *input = "input_ids".to_owned();
            }
        }
        let answer = graph.output[0].name.clone();
        let maker = graph.node.iter_mut().find(|node| node.output.contains(&answer)).unwrap();
        maker.output[0] = "unmasked".to_owned();
        let mut cast = NodeProto::new("Cast", &["attention_mask"], &["numbers"]);
        cast.attribute.push(AttributeProto::int("to", FLOAT.into()));
        graph.node.extend([
            cast,
            NodeProto::new("ReduceMax", &["numbers"], &["largest"]),
            NodeProto::new("Mul", &["unmasked", "largest"], &[&answer]),
        ]);
    });
    let words = ["model.onnx", "attention_mask has no effect on the taps", "padding"];
    place.refused(&ImportOptions::default(), &words);
    // Nor does its shape tell tokens from padding.
    place.change_graph(|graph| {
        let last = graph.node.iter_mut().rfind(|node| node.op_type == "LayerNormalization");
        last.unwrap().input.push("shape".to_owned());
        graph.node.insert(0, NodeProto::new("Shape", &["attention_mask"], &["shape"]));
    });
    place.refused(&ImportOptions::default(), &words);
}

#[test]
fn damaged_files_are_refused() {
    let options = ImportOptions::default();
    let damage = |change: &dyn Fn(&Path, &mut TensorProto), words: &[&str]| {
        let place = Place::new("bert");
        place.change_graph(|graph| {
            change(
                &place.model(""),
                graph.initializer.iter_mut().find(|tensor| tensor.dims.len() == 2).unwrap(),
            );
        });
        place.refused(&options, words);
    };
    damage(&|_, tensor| tensor.raw_data.truncate(9), &["model.onnx", "has 9 bytes", "makes it"]);
    damage(&|_, tensor| tensor.dims = vec![i64::MAX, 8], &["impossible shape"]);
    damage(&|_, tensor| tensor.dims[0] = -1, &["impossible shape"]);
    damage(&|_, tensor| tensor.data_type = 99, &["unknown type 99"]);
    damage(
        &|_, tensor| externalize(tensor, "../secret", 0, 64),
        &["../secret", "not in the model's folder"],
    );
    damage(&|_, tensor| externalize(tensor, "/etc/passwd", 0, 64), &["not in the model's folder"]);
    damage(&|_, tensor| externalize(tensor, "gone.bin", 0, 64), &["gone.bin", "No such file"]);
    let short = |folder: &Path, tensor: &mut TensorProto| {
        fs::write(folder.join("short.bin"), [0; 100]).unwrap();
        externalize(tensor, "short.bin", 96, usize::MAX - 8);
    };
    damage(&short, &["short.bin", "offset \"96\"", "has 100 bytes"]);

    let place = Place::new("bert");
    let bytes = fs::read(place.model("model.onnx")).unwrap();
    fs::write(place.model("model.onnx"), &bytes[..bytes.len() / 2]).unwrap();
    place.refused(&options, &["model.onnx", "cut short"]);
    fs::write(place.model("model.onnx"), b"").unwrap();
    place.refused(&options, &["model.onnx", "no graph"]);
    fs::remove_file(place.model("model.onnx")).unwrap();
    place.refused(&options, &["model.onnx", "No such file"]);
}
