//! The layers of a config: a file, the bases that it `extends`, and `--set`s over them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mobillm_core::diagnostic::Diagnostic;
use serde_json::Value;
use toml::de::DeValue;

use super::errors::Mistake;
use super::source::{Place, Source};
use super::tree::{Content, Node, Reader, TOO_DEEP, Table, too_deep};
use super::{KNOWN_SCHEMAS, SCHEMA};

/// Files over this are no configs; a model that is given by mistake is not read to its end.
const LARGEST_FILE: u64 = 1 << 20;

/// A file laid over its bases.
pub(super) struct Layers {
    pub tree: Node,
    /// Whether a base is not among them, for it cannot be used: what is missing may stand there.
    pub lacks_base: bool,
}

/// The file `path` laid over its bases, if it can be read and is of a known layout.
pub(super) fn read(path: &Path, mistakes: &mut Vec<Mistake>) -> Option<Layers> {
    let name = path.display().to_string();
    match load(path, 0) {
        Ok(source) => read_source(source, fs::canonicalize(path).ok(), mistakes),
        Err(problem) => {
            let source = Source { name, folder: PathBuf::new(), text: None, order: 0 };
            let diagnostic = Diagnostic::new("cannot read this file", problem);
            mistakes.push(Mistake::new(Place::whole(&Arc::new(source)), diagnostic));
            None
        }
    }
}

/// `source` laid over its bases; `identity` is the file it came from.
pub(super) fn read_source(
    source: Arc<Source>,
    identity: Option<PathBuf>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Layers> {
    let mut chain = vec![(source.name.clone(), identity)];
    let mut layers = Vec::new();
    let mut next = Some(source);
    let mut lacks_base = false;
    while let Some(source) = next.take() {
        let text = source.text.as_deref().unwrap_or_default();
        let mut layer = match Reader::new(&source).document(text) {
            Ok(layer) => layer,
            Err(mut in_text) => {
                mistakes.append(&mut in_text);
                lacks_base = true;
                break;
            }
        };
        if !take_schema(&mut layer, mistakes) {
            lacks_base = true;
            break;
        }
        if let Some(extends) = layer.take("extends") {
            match base(&extends, &mut chain) {
                Ok(base) => next = Some(base),
                Err(diagnostic) => {
                    mistakes.push(Mistake::new(extends.at, diagnostic));
                    lacks_base = true;
                }
            }
        }
        layers.push(layer);
    }
    let tree = layers.into_iter().rev().reduce(Node::overlaid)?;
    Some(Layers { tree, lacks_base })
}

/// Takes `schema` out of a file's tree, for it belongs to the file alone. Whether the rest is of a layout that is
/// known: a file that says nothing is taken to be.
fn take_schema(layer: &mut Node, mistakes: &mut Vec<Mistake>) -> bool {
    let Some(node) = layer.take("schema") else {
        let missing = Diagnostic::new("schema", "missing").expected(format!("`schema = {SCHEMA}`"));
        mistakes.push(Mistake::new(layer.key.clone(), missing));
        return true;
    };
    let written = node.to_json();
    if KNOWN_SCHEMAS.iter().any(|known| written == *known) {
        return true;
    }
    let message = match node.content {
        Content::Unusable(why) => why.to_owned(),
        _ => format!("{written} is not a schema that this program knows"),
    };
    let known = KNOWN_SCHEMAS.map(|known| known.to_string()).join(", ");
    mistakes.push(Mistake::new(node.at, Diagnostic::new("schema", message).expected(known)));
    false
}

/// The file that `extends` names.
fn base(
    extends: &Node,
    chain: &mut Vec<(String, Option<PathBuf>)>,
) -> Result<Arc<Source>, Diagnostic> {
    let Some(written) = extends.as_str() else {
        return Err(Diagnostic::new("extends", "this is no file").expected("a path as a string"));
    };
    let path = extends.at.folder().join(written);
    let shown = |chain: &[(String, _)]| {
        let names: Vec<&str> = chain.iter().map(|(name, _)| name.as_str()).collect();
        format!("the chain is {} -> {}", names.join(" -> "), path.display())
    };
    let identity = fs::canonicalize(&path).ok();
    if identity.is_some() && chain.iter().any(|(_, seen)| *seen == identity) {
        let diagnostic = Diagnostic::new("extends", "a config cannot extend itself");
        return Err(diagnostic.help(shown(chain)));
    }
    let source = load(&path, chain.len()).map_err(|problem| {
        let message = format!("cannot read {}: {problem}", path.display());
        Diagnostic::new("extends", message).help(shown(chain))
    })?;
    chain.push((source.name.clone(), identity));
    Ok(source)
}

fn load(path: &Path, order: usize) -> Result<Arc<Source>, String> {
    let text = text_of(path)?;
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let name = path.display().to_string();
    Ok(Arc::new(Source { name, folder, text: Some(text), order }))
}

fn text_of(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = |error: io::Error| error.to_string();
    fs::File::open(path)
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(read)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(format!("it is over {LARGEST_FILE} bytes and so no config"));
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("byte {} is not UTF-8; a config is UTF-8 text", error.utf8_error().valid_up_to())
    })
}

/// The tree of all `sets` (`a.b=c`); a later one wins. `None` if there are none.
pub(super) fn sets(sets: &[String], mistakes: &mut Vec<Mistake>) -> Option<Node> {
    // After every file: no chain of files is this long.
    let order = usize::MAX - sets.len();
    let trees = sets.iter().enumerate().filter_map(|(index, set)| {
        let name = format!("--set {set}");
        let folder = PathBuf::new();
        let source = Arc::new(Source { name, folder, text: None, order: order + index });
        let tree = one_set(set, &source);
        tree.map_err(|diagnostic| {
            mistakes.push(Mistake::new(Place::whole(&source), diagnostic));
        })
        .ok()
    });
    trees.collect::<Vec<_>>().into_iter().reduce(Node::overlaid)
}

fn one_set(set: &str, source: &Arc<Source>) -> Result<Node, Diagnostic> {
    let shape = |problem| Diagnostic::new(set, problem).expected("KEY.PATH=VALUE");
    if too_deep(set).is_some() {
        return Err(Diagnostic::new("not a config", TOO_DEEP));
    }
    let (path, written) = set.split_once('=').ok_or_else(|| shape("there is no `=`"))?;
    let path = path.trim();
    let keys: Vec<&str> = path.split('.').map(str::trim).collect();
    if keys.iter().any(|key| key.is_empty()) {
        return Err(shape("a key is empty"));
    }
    if matches!(keys[0], "schema" | "extends") {
        return Err(Diagnostic::new(path, "this key can stand in a file only"));
    }
    let place = Place::whole(source);
    let mut node = match DeValue::parse(written.trim()) {
        Ok(value) => Reader::new(source).value(&value, place.clone()),
        // Not TOML: a string that the shell has taken the quotes from.
        Err(_) => Node::implied(&Value::from(written), &place),
    };
    for key in keys.iter().rev() {
        let content = Content::Table(Table::from([((*key).to_owned(), node)]));
        node = Node { key: place.clone(), at: place.clone(), content };
    }
    Ok(node)
}
