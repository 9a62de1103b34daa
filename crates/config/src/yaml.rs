//! YAML as text, and as a tree of nodes with positions: the one module that knows the format.
//!
//! The parser's events carry positions; what a plain scalar is (`8080`, `true`, `1.0`) is
//! `serde_yaml`'s word. A text that could exhaust memory or time is refused here: by size, depth,
//! and number of nodes with aliases followed. It must not know what the keys mean.

use crate::problem::{Position, Report};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use std::collections::BTreeMap;

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 20_000;

/// A value, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) value: Node,
}

/// A single value: the text as written (quotes and escapes undone), and what it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) kind: Kind,
    quotes: Quotes,
    /// Where it begins, in characters from the beginning of the text.
    start: usize,
}

/// What a scalar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    None,
    Single,
    Double,
    Block,
    /// Not written here: an alias stands in the text.
    Alias,
}

impl Node {
    /// The value of `key`, when this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// The item at `index`, when this is a list that has it.
    pub(crate) fn item(&self, index: usize) -> Option<&Self> {
        match &self.value {
            Value::List(items) => items.get(index),
            Value::Scalar(_) | Value::Map(_) => None,
        }
    }

    /// A scalar that stands in no file, such as the value of an environment variable.
    pub(crate) fn plain(text: &str) -> Self {
        let scalar = Scalar { text: text.to_owned(), kind: kind_of(text), quotes: Quotes::None, start: 0 };
        Self { at: Position::START, value: Value::Scalar(scalar) }
    }

    /// A mapping with one entry that stands in no file.
    pub(crate) fn wrap(key: &str, value: Self) -> Self {
        let entry = Entry { key: key.to_owned(), at: Position::START, value };
        Self { at: Position::START, value: Value::Map(vec![entry]) }
    }

    fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.kind == Kind::Null && scalar.text.is_empty())
    }

    /// How many nodes this one is, itself included.
    fn weight(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Self::weight).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.value.weight()).sum(),
        }
    }

    fn into_alias(mut self) -> Self {
        if let Value::Scalar(scalar) = &mut self.value {
            scalar.quotes = Quotes::Alias;
        }
        self
    }
}

/// Reads a file of one YAML document. `None`: it is not one, and `report` says why. Duplicate keys
/// and merge keys are noted, and the reading goes on.
pub(crate) fn parse(bytes: &[u8], report: &mut Report) -> Option<Node> {
    let text = decode(bytes, report)?;
    let mut builder = Builder::new(report);
    for event in Parser::new(StrInput::new(text)) {
        let proceed = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => {
                // What is missing at the end is missing on the last line, not on one that is not there.
                let at = position(*error.marker()).min(end_of(text));
                builder.refuse_at(at, format!("not valid YAML: {}", error.info()))
            }
        };
        proceed?;
    }
    if builder.root.is_none() {
        builder.report.add(
            Position::START,
            "",
            "the file is empty: describe one app, see deploy.yaml.example",
        );
    }
    builder.root
}

/// The text of a file, without a byte order mark.
fn decode<'a>(bytes: &'a [u8], report: &mut Report) -> Option<&'a str> {
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has {} bytes: write at most {MAX_BYTES} (1 MiB)", bytes.len());
        report.add(Position::START, "", message);
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let message =
                format!("the byte {:#04x} is not UTF-8: save the file as UTF-8", bytes[error.valid_up_to()]);
            report.add(end_of(&good), "", message);
            return None;
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    if let Some((index, found)) = text.char_indices().find(|&(_, c)| control(c)) {
        let message =
            format!("the control character {:#04x} cannot stand in a file: remove it", u32::from(found));
        report.add(end_of(&text[..index]), "", message);
        return None;
    }
    Some(text)
}

/// Where the character after `text` stands.
fn end_of(text: &str) -> Position {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Position { line, column }
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

/// What a plain scalar is. It is asked as a list item, for alone `---` would be a marker.
fn kind_of(text: &str) -> Kind {
    if text.contains('\n') {
        return Kind::Text;
    }
    match serde_yaml::from_str::<[serde_yaml::Value; 1]>(&format!("- {text}")) {
        Ok([serde_yaml::Value::Null]) => Kind::Null,
        Ok([serde_yaml::Value::Bool(_)]) => Kind::Bool,
        Ok([serde_yaml::Value::Number(_)]) => Kind::Number,
        _ => Kind::Text,
    }
}

/// A list or mapping that is not complete.
enum Open {
    List { at: Position, anchor: usize, items: Vec<Node> },
    Map { at: Position, anchor: usize, entries: Vec<Entry>, seen: BTreeMap<String, usize>, key: Option<Key> },
}

/// A key whose value comes next.
struct Key {
    text: String,
    at: Position,
    /// Whether the value counts: not after a key that was refused.
    keep: bool,
}

/// Makes a tree out of events, without recursion.
struct Builder<'r> {
    report: &'r mut Report,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
}

impl<'r> Builder<'r> {
    fn new(report: &'r mut Report) -> Self {
        Self { report, open: Vec::new(), anchors: BTreeMap::new(), nodes: 0, documents: 0, root: None }
    }

    /// Notes what makes it pointless to read on.
    fn refuse(&mut self, at: Marker, message: impl Into<String>) -> Option<()> {
        self.refuse_at(position(at), message)
    }

    fn refuse_at(&mut self, at: Position, message: impl Into<String>) -> Option<()> {
        let path = self.path();
        self.report.add(at, &path, message);
        None
    }

    /// `None`: the text is refused.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let at = position(span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Some(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return self.refuse(span.start, "a second document begins here: write one app a file");
                }
                Some(())
            }
            Event::Alias(id) => {
                let Some(target) = self.anchors.get(&id) else {
                    return self.refuse(span.start, "an alias inside of its own anchor: write the value out");
                };
                let node = Node { at, ..target.clone().into_alias() };
                self.count(node.weight(), span.start)?;
                self.complete(node, 0);
                Some(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, span.start)?;
                let scalar = self.scalar(text.into_owned(), style, tag.as_deref(), span)?;
                self.complete(Node { at, value: Value::Scalar(scalar) }, anchor);
                Some(())
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span.start)?;
                self.begin(Open::List { at, anchor, items: Vec::new() }, span.start)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span.start)?;
                let (entries, seen) = (Vec::new(), BTreeMap::new());
                self.begin(Open::Map { at, anchor, entries, seen, key: None }, span.start)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                match self.open.pop() {
                    Some(Open::List { at, anchor, items }) => {
                        self.complete(Node { at, value: Value::List(items) }, anchor);
                    }
                    Some(Open::Map { at, anchor, entries, .. }) => {
                        self.complete(Node { at, value: Value::Map(entries) }, anchor);
                    }
                    None => {}
                }
                Some(())
            }
        }
    }

    fn count(&mut self, nodes: usize, at: Marker) -> Option<()> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return self.refuse(at, format!("more than {MAX_NODES} values, aliases followed: write fewer"));
        }
        Some(())
    }

    fn begin(&mut self, open: Open, at: Marker) -> Option<()> {
        self.count(1, at)?;
        if self.open.len() >= MAX_DEPTH {
            return self.refuse(at, format!("nested more than {MAX_DEPTH} levels deep: write it flatter"));
        }
        self.open.push(open);
        Some(())
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Option<Scalar> {
        let as_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        if !as_text {
            self.refuse_tag(tag, span.start)?;
        }
        let quotes = match style {
            ScalarStyle::Plain => Quotes::None,
            ScalarStyle::SingleQuoted => Quotes::Single,
            ScalarStyle::DoubleQuoted => Quotes::Double,
            ScalarStyle::Literal | ScalarStyle::Folded => Quotes::Block,
        };
        let kind = if as_text || quotes != Quotes::None { Kind::Text } else { kind_of(&text) };
        Some(Scalar { text, kind, quotes, start: span.start.index() })
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, at: Marker) -> Option<()> {
        match tag {
            Some(tag) => self.refuse(at, format!("the tag {tag} has no meaning here: leave it out")),
            None => Some(()),
        }
    }

    /// Puts a complete node where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, seen, key: pending, .. }) => match pending.take() {
                None => self.key(node),
                Some(Key { text, at, keep: true }) => {
                    seen.insert(text.clone(), at.line);
                    // Nothing stands nowhere: it is shown where its key is.
                    let value = if node.is_nothing() { Node { at, ..node } } else { node };
                    entries.push(Entry { key: text, at, value });
                }
                Some(Key { keep: false, .. }) => {}
            },
        }
    }

    /// Takes `node` as the next key of the innermost mapping.
    fn key(&mut self, node: Node) {
        let mut path = self.path();
        let Some(Open::Map { seen, key, .. }) = self.open.last_mut() else { return };
        let at = node.at;
        let (text, trouble) = match node.value {
            Value::Scalar(scalar) if scalar.text == "<<" && scalar.quotes == Quotes::None => {
                let trouble = "merge keys (<<) are not part of YAML 1.2: repeat the entries, or alias the whole mapping";
                (scalar.text, Some(trouble.to_owned()))
            }
            Value::Scalar(scalar) => {
                let first = seen.get(&scalar.text);
                let trouble = first.map(|line| {
                    format!("the key {:?} stands already on line {line}: keep one of them", scalar.text)
                });
                (scalar.text, trouble)
            }
            Value::List(_) | Value::Map(_) => {
                (String::new(), Some("a key must be a plain text: write `key: value`".to_owned()))
            }
        };
        let keep = trouble.is_none();
        *key = Some(Key { text, at, keep });
        if let Some(message) = trouble {
            if let Some(key) = key.as_ref().filter(|key| !key.text.is_empty()) {
                path = joined(&path, &key.text);
            }
            self.report.add(at, &path, message);
        }
    }

    /// The path of what is being read.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match open {
                Open::List { items, .. } => path = indexed(&path, items.len()),
                Open::Map { key: Some(key), .. } => path = joined(&path, &key.text),
                Open::Map { key: None, .. } => {}
            }
        }
        path
    }
}

/// The path of `key` below `path`.
pub(crate) fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The path of the item at `index` below `path`.
pub(crate) fn indexed(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// Puts `new` in the place of `scalar` in `text`, in the same quotes. `new` must be a text that
/// needs no escape in any of them. `None`: the scalar does not stand in the text on one line.
pub(crate) fn replaced(text: &str, scalar: &Scalar, new: &str) -> Option<String> {
    let mark = text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len();
    let (offset, _) = text[mark..].char_indices().nth(scalar.start)?;
    let (before, old) = text.split_at(mark + offset);
    let (old_len, new) = match scalar.quotes {
        Quotes::None if !old.starts_with(&scalar.text) => return None,
        Quotes::None if kind_of(new) == Kind::Text => (scalar.text.len(), new.to_owned()),
        Quotes::None => (scalar.text.len(), format!("\"{new}\"")),
        Quotes::Single => (quoted_len(old, '\'')?, format!("'{new}'")),
        Quotes::Double => (quoted_len(old, '"')?, format!("\"{new}\"")),
        Quotes::Block | Quotes::Alias => return None,
    };
    Some(format!("{before}{new}{}", &old[old_len..]))
}

/// The length of the quoted text that `text` begins with, its quotes counted in. `None`: it holds
/// an escape, and where it ends is not so simple.
fn quoted_len(text: &str, quote: char) -> Option<usize> {
    let inner = text.strip_prefix(quote)?;
    let end = inner.find(quote)?;
    let escaped = inner[..end].contains('\\') || inner[end + 1..].starts_with(quote);
    (!escaped).then_some(end + 2)
}
