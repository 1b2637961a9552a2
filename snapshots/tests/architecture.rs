//! Which rooms of the house may know which: dependencies point down.
//!
//! Dependencies of tests are free: a test may put together what it likes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of tests fails as a test does"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// What a room may depend on.
enum May {
    /// On these crates of ours.
    Only(&'static [&'static str]),
    /// On every crate of ours, concrete plugins too: it puts programs together.
    All,
}

/// The rule for the crate in `folder`, relative to the root; `None` if there is none yet.
fn rule(folder: &str) -> Option<May> {
    Some(May::Only(match folder {
        "framework/core" | "framework/pull" | "framework/weights" | "framework/gguf"
        | "framework/onnx" | "framework/int8" | "snapshots" => &[],
        "framework/task" | "framework/wire" | "framework/testkit" | "adapters/portable" => {
            &["mobillm-core"]
        }
        "framework/bundle" => &["mobillm-core", "mobillm-weights", "mobillm-gguf", "mobillm-onnx"],
        "framework/store" | "framework/plugin" => &["mobillm-core"],
        "framework/runtime" => &[
            "mobillm-core",
            "mobillm-bundle",
            "mobillm-plugin",
            "mobillm-store",
            "mobillm-task",
            "mobillm-wire",
        ],
        "framework/report" => &["mobillm"],
        // What it wraps if nobody says anything else.
        "plugins/link-emulator" => &["mobillm-core", "mobillm-transport-in-memory"],
        // They have doors: the one of what a plugin must not do, the other of what a third party does.
        "plugins/hostile" | "examples/plugins/rust" => &["mobillm-core", "mobillm-plugin"],
        "xtask" => &["mobillm-pull"],
        "framework/cli" | "framework/plugin/tests/builtins" | "xtask/bench" => {
            return Some(May::All);
        }
        _ => match folder.split_once('/')? {
            ("backbones", _) => {
                &["mobillm-core", "mobillm-bundle", "mobillm-weights", "mobillm-int8"]
            }
            // With `mobillm-plugin`, if it asks for it, its door.
            ("adapters", _) => &["mobillm-core", "mobillm-adapter-portable", "mobillm-plugin"],
            ("transports" | "plugins", _) => &["mobillm-core"],
            _ => return None,
        },
    }))
}

/// What cargo knows, as seen from the root: from elsewhere other members are the default ones.
fn metadata() -> Metadata {
    let found = MetadataCommand::new().manifest_path("../Cargo.toml").exec();
    found.unwrap_or_else(|error| panic!("{error}"))
}

/// The folder of a crate of ours, relative to the root.
fn folder<'a>(metadata: &Metadata, package: &'a Package) -> &'a str {
    let manifest = package.manifest_path.strip_prefix(&metadata.workspace_root).unwrap();
    manifest.parent().unwrap().as_str()
}

/// Every dependency that no rule allows, and every room without a rule.
fn violations(metadata: &Metadata) -> Vec<String> {
    let mut violations = Vec::new();
    for package in metadata.workspace_packages() {
        let folder = folder(metadata, package);
        let allowed = match rule(folder) {
            Some(May::All) => continue,
            Some(May::Only(allowed)) => allowed,
            None => {
                violations.push(format!("{folder} has no rule: say here what it may depend on"));
                continue;
            }
        };
        for dependency in &package.dependencies {
            // Crates of ours are the ones that are found by their path.
            let ours = dependency.path.is_some() && dependency.kind != DependencyKind::Development;
            if ours && !allowed.contains(&dependency.name.as_str()) {
                violations.push(format!("{folder} depends on {}", dependency.name));
            }
        }
    }
    violations.sort();
    violations
}

/// The names of everything that is linked into `package` or helps to build it.
fn tree<'a>(metadata: &'a Metadata, package: &'a PackageId) -> BTreeSet<&'a str> {
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut found = BTreeSet::new();
    let mut open = vec![package];
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        let linked = nodes[id].deps.iter().filter(|dependency| {
            dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
        });
        open.extend(linked.map(|dependency| &dependency.pkg));
    }
    found.into_iter().map(|id| metadata[id].name.as_str()).collect()
}

/// The id of the crate of ours that is named `name`.
fn ours<'a>(metadata: &'a Metadata, name: &str) -> &'a PackageId {
    let packages = metadata.workspace_packages();
    &packages.into_iter().find(|package| package.name.as_str() == name).expect(name).id
}

/// What `tree` has of `names`.
fn among<'a>(tree: &BTreeSet<&'a str>, names: &[&str]) -> Vec<&'a str> {
    tree.iter().copied().filter(|name| names.contains(name)).collect()
}

#[test]
fn dependencies_point_down() {
    assert_eq!(violations(&metadata()), Vec::<String>::new());
}

#[test]
fn a_dependency_that_points_up_or_aside_is_found() {
    let mut metadata = metadata();
    let cli = &metadata[ours(&metadata, "mobillm-cli")];
    let take = |name| cli.dependencies.iter().find(|found| found.name == name).unwrap().clone();
    let (runtime, quantizers) = (take("mobillm"), take("mobillm-quantizers"));
    let mut only_in_tests = quantizers.clone();
    only_in_tests.kind = DependencyKind::Development;
    for package in &mut metadata.packages {
        match package.name.as_str() {
            "mobillm-core" => package.dependencies.push(runtime.clone()),
            "mobillm" | "mobillm-transport-tcp" => package.dependencies.push(quantizers.clone()),
            "mobillm-wire" => package.dependencies.push(only_in_tests.clone()),
            "mobillm-task" => {
                let moved = metadata.workspace_root.join("framework/attic/Cargo.toml");
                package.manifest_path = moved;
            }
            _ => {}
        }
    }
    let expected = [
        "framework/attic has no rule: say here what it may depend on",
        "framework/core depends on mobillm",
        "framework/runtime depends on mobillm-quantizers",
        "transports/tcp depends on mobillm-quantizers",
    ];
    assert_eq!(violations(&metadata), expected);
}

#[test]
fn core_knows_no_engine_and_no_runtime() {
    let engines = ["ort", "ort-sys", "tch", "torch-sys", "candle-core", "tokio"];
    let metadata = metadata();
    let core = tree(&metadata, ours(&metadata, "mobillm-core"));
    assert_eq!(among(&core, &engines), Vec::<&str>::new());
    // The names above are the right ones: what needs them has them, over several crates.
    let all: BTreeSet<&str> =
        metadata.workspace_members.iter().flat_map(|id| tree(&metadata, id)).collect();
    assert_eq!(among(&all, &engines).len(), engines.len(), "{:?}", among(&all, &engines));
}

#[test]
fn what_is_built_by_default_needs_no_libtorch() {
    let metadata = metadata();
    let packages = metadata.workspace_default_packages();
    assert!(packages.iter().any(|package| package.name.as_str() == "mobillm-cli"), "no command");
    for package in packages {
        let found = among(&tree(&metadata, &package.id), &["tch", "torch-sys"]);
        assert!(found.is_empty(), "{} needs {found:?}", package.name);
    }
}

/// Every Rust source below `folder`, but for what is built or hidden.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn only_the_door_of_plugins_takes_rows_for_cleared() {
    // Whatever name the type is imported by, this is how it is called.
    let call = concat!("::", "crossed");
    let root = Path::new("..");
    let calls = |path: &PathBuf| fs::read_to_string(path).unwrap().contains(call);
    let of: BTreeSet<PathBuf> = sources(root).into_iter().filter(calls).collect();
    let of: Vec<&Path> = of.iter().map(|path| path.strip_prefix(root).unwrap()).collect();
    assert_eq!(of, [Path::new("framework/plugin/src/sdk/quantizer.rs")]);
}
