//! What is read is written again without loss, and hostile bytes are refused.

use mobillm_onnx::DecodeError;
use mobillm_onnx::messages::*;
use proptest::prelude::*;
use prost::Message;

fn text(text: &str) -> String {
    text.to_owned()
}

fn entries() -> Vec<StringStringEntryProto> {
    vec![StringStringEntryProto { key: text("key"), value: text("value") }]
}

fn tensor() -> TensorProto {
    TensorProto {
        dims: vec![2, 3],
        data_type: FLOAT,
        float_data: vec![1.5, -2.0],
        int32_data: vec![-1, 7],
        string_data: vec!["a".into(), "".into()],
        int64_data: vec![i64::MIN, 3],
        name: text("tensor"),
        raw_data: vec![1, 2, 3].into(),
        double_data: vec![0.1],
        uint64_data: vec![u64::MAX],
        doc_string: text("doc"),
        external_data: entries(),
        data_location: DataLocation::External.into(),
        metadata_props: entries(),
    }
}

fn sparse() -> SparseTensorProto {
    SparseTensorProto { values: Some(tensor()), indices: Some(tensor()), dims: vec![9] }
}

fn types() -> Vec<TypeProto> {
    let shape = TensorShapeProto {
        dim: vec![
            Dimension { value: Some(DimensionValue::Fixed(0)), denotation: text("BATCH") },
            Dimension { value: Some(DimensionValue::Named(text("n"))), denotation: String::new() },
            Dimension::default(),
        ],
    };
    let tensor = TensorTypeProto { elem_type: INT64, shape: Some(shape) };
    let plain = TypeProto {
        tensor_type: Some(tensor.clone()),
        denotation: text("TEXT"),
        ..TypeProto::default()
    };
    let inner = || Some(plain.clone());
    let of = |change: &dyn Fn(&mut TypeProto)| {
        let mut value = TypeProto::default();
        change(&mut value);
        value
    };
    vec![
        plain.clone(),
        of(&|t| t.sequence_type = Some(Box::new(SequenceTypeProto { elem_type: inner() }))),
        of(&|t| t.map_type = Some(Box::new(MapTypeProto { key_type: INT64, value_type: inner() }))),
        of(&|t| t.optional_type = Some(Box::new(OptionalTypeProto { elem_type: inner() }))),
        of(&|t| t.sparse_tensor_type = Some(Box::new(tensor.clone()))),
        of(&|t| {
            let opaque = OpaqueTypeProto { domain: text("domain"), name: text("name") };
            t.opaque_type = Some(Box::new(opaque));
        }),
    ]
}

fn values() -> Vec<ValueInfoProto> {
    let value = |r#type| ValueInfoProto {
        name: text("value"),
        r#type: Some(r#type),
        doc_string: text("doc"),
        metadata_props: entries(),
    };
    types().into_iter().map(value).collect()
}

/// A graph with all its fields, and within it `depth` more.
fn graph(depth: usize) -> GraphProto {
    let within = (depth > 0).then(|| graph(depth - 1));
    GraphProto {
        node: vec![node(within)],
        name: text("graph"),
        initializer: vec![tensor()],
        doc_string: text("doc"),
        input: values(),
        output: values(),
        value_info: values(),
        quantization_annotation: vec![TensorAnnotation {
            tensor_name: text("tensor"),
            quant_parameter_tensor_names: entries(),
        }],
        sparse_initializer: vec![sparse()],
        metadata_props: entries(),
    }
}

fn attribute(graph: Option<GraphProto>) -> AttributeProto {
    AttributeProto {
        name: text("attribute"),
        f: 0.5,
        i: -4,
        s: vec![0xff],
        t: Some(Box::new(tensor())),
        g: graph.clone().map(Box::new),
        floats: vec![1.0, 0.0],
        ints: vec![0, -1],
        strings: vec![vec![], vec![7]],
        tensors: vec![tensor()],
        graphs: graph.into_iter().collect(),
        doc_string: text("doc"),
        tp: types().pop().map(Box::new),
        type_protos: types(),
        r#type: AttributeType::TypeProtos.into(),
        ref_attr_name: text("reference"),
        sparse_tensor: Some(Box::new(sparse())),
        sparse_tensors: vec![sparse()],
    }
}

fn node(graph: Option<GraphProto>) -> NodeProto {
    NodeProto {
        input: vec![text("a"), String::new(), text("b")],
        output: vec![text("c")],
        name: text("node"),
        op_type: text("Add"),
        attribute: vec![attribute(graph)],
        doc_string: text("doc"),
        domain: text("domain"),
        overload: text("overload"),
        metadata_props: entries(),
    }
}

/// A model in which every field of every message is set. That none is forgotten, the compiler sees.
fn model() -> ModelProto {
    let opset = vec![OperatorSetIdProto { domain: text("domain"), version: 21 }];
    ModelProto {
        ir_version: 10,
        producer_name: text("producer"),
        producer_version: text("1"),
        domain: text("domain"),
        model_version: 3,
        doc_string: text("doc"),
        graph: Some(graph(1)),
        opset_import: opset.clone(),
        metadata_props: entries(),
        functions: vec![FunctionProto {
            name: text("function"),
            input: vec![text("x")],
            output: vec![text("y")],
            attribute: vec![text("alpha")],
            node: vec![node(None)],
            doc_string: text("doc"),
            opset_import: opset,
            domain: text("domain"),
            attribute_proto: vec![attribute(None)],
            value_info: values(),
            overload: text("overload"),
            metadata_props: entries(),
        }],
    }
}

#[test]
fn every_field_is_read_and_written() {
    let bytes = model().encode_to_vec();
    assert_eq!(ModelProto::read(bytes.into()).unwrap(), model());
}

#[test]
fn a_model_cut_short_is_refused() {
    let bytes = model().encode_to_vec();
    let mut whole = 0;
    for length in 0..bytes.len() {
        // At the end of one of the model's own fields, nothing shows that more should follow.
        match ModelProto::read(bytes[..length].to_vec().into()) {
            Ok(_) => whole += 1,
            Err(error) => assert!(error.to_string().contains("cut short"), "{error}"),
        }
    }
    assert!(whole < 16, "{whole}");
}

/// The field `number` with `bytes` in it.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [start(number, bytes.len()), bytes.to_vec()].concat()
}

/// The start of the field `number` with `length` bytes in it.
fn start(number: u64, length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for mut value in [number << 3 | 2, length as u64] {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    out
}

#[test]
fn hostile_messages_are_refused() {
    let refused = |bytes: Vec<u8>| ModelProto::read(bytes.into()).unwrap_err();
    // Training, and a field that does not exist.
    for number in [20, 99] {
        let error = refused(field(number, b"x"));
        assert!(matches!(error, DecodeError::Field { field, .. } if field == number), "{error}");
    }
    // Graphs in attributes in nodes in graphs.
    let nested = (0..40).fold(Vec::new(), |graph, _| field(1, &field(5, &field(6, &graph))));
    let error = refused(field(7, &nested));
    assert!(matches!(error, DecodeError::Depth { .. }), "{error}");
    // A node takes two bytes in the file and hundreds in memory.
    let nodes = field(1, &[]).repeat(8 << 20);
    let error = refused(field(7, &nodes));
    assert!(matches!(error, DecodeError::Memory { .. }), "{error}");
    // A number takes one byte in the file and eight in memory.
    let count = (1 << 27) + 1;
    let mut numbers = start(7, count);
    for field in [5, 7] {
        numbers = [start(field, numbers.len() + count), numbers].concat();
    }
    numbers.resize(numbers.len() + count, 0);
    let error = refused(numbers);
    assert!(matches!(error, DecodeError::Memory { .. }), "{error}");
    // A string that claims to be longer than the file, a group, a number where a message belongs.
    for bytes in [vec![0x12, 0xff, 0xff, 0xff, 0xff, 0x0f, b'x'], vec![0x13], vec![0x38, 1]] {
        let error = refused(bytes);
        assert!(matches!(error, DecodeError::Damaged { .. }), "{error}");
    }
    // Text that is none.
    let error = refused(field(2, &[0xff]));
    assert!(matches!(error, DecodeError::Protobuf(_)), "{error}");
}

proptest! {
    /// Damage is refused, or changes what is read; it never panics and loses nothing.
    #[test]
    fn damaged_models_are_refused_or_read_whole(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = model().encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(read) = ModelProto::read(bytes.into()) {
            let again = ModelProto::read(read.encode_to_vec().into()).unwrap();
            // Not a number is unequal to itself.
            prop_assert_eq!(format!("{read:?}"), format!("{again:?}"));
        }
    }
}
