//! A config as a tree in which every key and value knows where it stands.
//!
//! Files, their bases and every `--set` are laid over each other as such trees; messages about the
//! result then still point at the line that each part came from.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use mobillm_core::diagnostic::Diagnostic;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::lexer::TokenKind;

use super::errors::Mistake;
use super::source::{Place, Source};

/// A value with the places of its key and of itself.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub key: Place,
    pub at: Place,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A value that a config cannot hold, and why not.
    Unusable(&'static str),
    Leaf(Value),
    List(Vec<Node>),
    Table(Table),
}

pub(super) type Table = BTreeMap<String, Node>;

impl Node {
    /// A value that nobody wrote, placed at what implies it.
    pub fn implied(value: &Value, place: &Place) -> Self {
        let content = match value {
            Value::Object(members) => Content::Table(
                members
                    .iter()
                    .map(|(key, value)| (key.clone(), Self::implied(value, place)))
                    .collect(),
            ),
            Value::Array(items) => {
                Content::List(items.iter().map(|item| Self::implied(item, place)).collect())
            }
            leaf => Content::Leaf(leaf.clone()),
        };
        Self { key: place.clone(), at: place.clone(), content }
    }

    /// The value as JSON; `type` comes first, so that typetag can dispatch on it while it streams.
    pub fn to_json(&self) -> Value {
        match &self.content {
            Content::Unusable(_) => Value::Null,
            Content::Leaf(value) => value.clone(),
            Content::List(items) => items.iter().map(Self::to_json).collect(),
            Content::Table(table) => {
                let (tag, rest): (Vec<_>, Vec<_>) =
                    table.iter().partition(|(key, _)| *key == "type");
                tag.into_iter()
                    .chain(rest)
                    .map(|(key, node)| (key.clone(), node.to_json()))
                    .collect()
            }
        }
    }

    pub fn table(&self) -> Option<&Table> {
        match &self.content {
            Content::Table(table) => Some(table),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.content {
            Content::Leaf(value) => value.as_str(),
            _ => None,
        }
    }

    /// The member `key` of a table or the item `key` of a list.
    pub fn child(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Unusable(_) | Content::Leaf(_) => None,
            Content::List(items) => items.get(key.parse::<usize>().ok()?),
            Content::Table(table) => table.get(key),
        }
    }

    /// Takes the member `key` out of a table.
    pub fn take(&mut self, key: &str) -> Option<Self> {
        match &mut self.content {
            Content::Table(table) => table.remove(key),
            _ => None,
        }
    }

    /// What stands at `path`, or else the innermost table that would hold it.
    pub fn nearest(&self, path: &str) -> &Self {
        let mut node = self;
        for key in keys(path) {
            match node.child(key) {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }

    /// What stands at `path`.
    pub fn find(&self, path: &str) -> Option<&Self> {
        keys(path).try_fold(self, Self::child)
    }

    /// `self` with `over` laid over it: tables are merged, everything else is replaced. A component
    /// of another `type` replaces the whole table, for its options mean nothing to the new one.
    pub fn overlaid(self, over: Self) -> Self {
        match (self.content, over.content) {
            (Content::Table(mut table), Content::Table(members)) if same_type(&table, &members) => {
                for (name, member) in members {
                    let merged = match table.remove(&name) {
                        Some(base) => base.overlaid(member),
                        None => member,
                    };
                    table.insert(name, merged);
                }
                let content = Content::Table(table);
                // What is missing from a table is missing from the file, not from the `--set`.
                match over.key.is_set() {
                    true => Self { key: self.key, at: self.at, content },
                    false => Self { key: over.key, at: over.at, content },
                }
            }
            (_, content) => Self { key: over.key, at: over.at, content },
        }
    }
}

fn same_type(base: &Table, over: &Table) -> bool {
    match (base.get("type"), over.get("type")) {
        (Some(base), Some(over)) => base.as_str() == over.as_str(),
        _ => true,
    }
}

/// The keys of a path, those of lists as numbers.
pub(super) fn keys(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[', ']']).filter(|key| !key.is_empty())
}

/// `path` with one more key; keys that are not bare are quoted.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    let key = match !key.is_empty() && key.chars().all(bare) {
        true => key.to_owned(),
        false => format!("{key:?}"),
    };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// TOML asks no more of a reader, and a resolved config must be able to say what it read.
const TOO_LARGE: &str =
    "a config holds no whole number below -9223372036854775808 or above 9223372036854775807";

/// More tables in each other than a config has, and less than a stack holds.
const DEEPEST: usize = 32;

/// Reads TOML values into nodes.
pub(super) struct Reader<'a> {
    source: &'a Arc<Source>,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a Arc<Source>) -> Self {
        Self { source, depth: 0 }
    }

    /// The tree of a document.
    ///
    /// # Errors
    /// With every syntax error in it.
    pub fn document(&mut self, text: &str) -> Result<Node, Vec<Mistake>> {
        if let Some(span) = too_deep(text) {
            let diagnostic = Diagnostic::new("not a config", TOO_DEEP);
            return Err(vec![Mistake::new(Place::at(self.source, span), diagnostic)]);
        }
        let (document, errors) = DeTable::parse_recoverable(text);
        let whole = Place::whole(self.source);
        if errors.is_empty() {
            let content = Content::Table(self.members(document.get_ref()));
            return Ok(Node { key: whole.clone(), at: whole, content });
        }
        let mistake = |error: &toml::de::Error| {
            let place = error.span().map_or(whole.clone(), |span| Place::at(self.source, span));
            let message = error.message().trim_end().replace('\n', ", ");
            Mistake::new(place, Diagnostic::new("not TOML", message))
        };
        Err(errors.iter().map(mistake).collect())
    }

    /// One value, written at `key`.
    pub fn value(&mut self, value: &Spanned<DeValue<'_>>, key: Place) -> Node {
        let at = self.place(value);
        self.depth += 1;
        let content = match value.get_ref() {
            DeValue::Table(_) | DeValue::Array(_) if self.depth > DEEPEST => {
                Content::Unusable("a config has at most 32 tables or lists in each other")
            }
            DeValue::Table(table) => Content::Table(self.members(table)),
            DeValue::Array(items) => {
                let items = items.iter().map(|item| self.value(item, self.place(item)));
                Content::List(items.collect())
            }
            leaf => leaf_value(leaf).map_or_else(Content::Unusable, Content::Leaf),
        };
        self.depth -= 1;
        Node { key, at, content }
    }

    fn members(&mut self, table: &DeTable<'_>) -> Table {
        let mut members = Table::new();
        for (key, value) in table {
            let place = self.place(key);
            members.insert(key.get_ref().as_ref().to_owned(), self.value(value, place));
        }
        members
    }

    fn place<T>(&self, spanned: &Spanned<T>) -> Place {
        match self.source.text {
            Some(_) => Place::at(self.source, spanned.span()),
            None => Place::whole(self.source),
        }
    }
}

/// What [`too_deep`] is about.
pub(super) const TOO_DEEP: &str = "this key has more than 16 parts";

/// Where a dotted key has so many parts that whoever walks down it might run out of stack: the parser
/// does not count them, as it does brackets.
pub(super) fn too_deep(text: &str) -> Option<Range<usize>> {
    let mut dots = 0;
    for token in toml_parser::Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot if dots == 16 => return Some(token.span().start()..token.span().end()),
            TokenKind::Dot => dots += 1,
            TokenKind::Atom | TokenKind::Whitespace => {}
            TokenKind::BasicString | TokenKind::LiteralString => {}
            _ => dots = 0,
        }
    }
    None
}

/// A value that is neither list nor table, or else why a config cannot hold it.
fn leaf_value(leaf: &DeValue<'_>) -> Result<Value, &'static str> {
    match leaf {
        DeValue::String(text) => Ok(Value::from(text.as_ref())),
        DeValue::Boolean(boolean) => Ok(Value::from(*boolean)),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map(Value::from)
            .map_err(|_| TOO_LARGE),
        DeValue::Float(float) => match float.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::from(number)),
            _ => Err("a config holds finite numbers only"),
        },
        _ => Err("a config holds no date or time"),
    }
}
