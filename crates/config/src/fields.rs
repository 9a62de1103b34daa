//! The tables of fields, and reading a section by its table: what a key is called, what it takes,
//! within which bounds. Decoder and JSON Schema both go by these tables. They must not know what a
//! value is used for.

use crate::advice;
use crate::problem::{Position, Report};
use crate::yaml::{Entry, Kind, Node, Scalar, Value, indexed, joined};
use std::time::Duration;

/// A key of a section.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) shape: Shape,
    /// One sentence for people; the default is part of it.
    pub(crate) about: &'static str,
}

impl Field {
    pub(crate) const fn new(key: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { key, shape, about }
    }
}

/// What a key takes.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A DNS label.
    Name,
    /// A text that is not empty.
    Text,
    /// `user[:group]`, by name or number.
    User,
    /// An image reference.
    Image,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer { min: u64, max: u64 },
    /// A TCP port.
    Port,
    /// As in `500ms`, `5s`, `1m30s`.
    Duration { min: Duration, max: Duration },
    /// As in `512m`, `1.5g`.
    Size,
    /// A decimal number of CPUs.
    Cpus,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Variables and values, `${…}` resolved.
    Environment,
    /// Names and texts.
    Labels,
    /// A text or a list of texts.
    Texts,
    /// A command line or its words.
    Command,
    /// `target[:options]`, one or several.
    Tmpfs,
    /// `host:address` lines, or a mapping.
    ExtraHosts,
    /// Limits by name.
    Ulimits,
    /// `src:dst[:ro]` lines.
    Volumes,
    /// `no`, `always`, `on-failure[:n]`, `unless-stopped`.
    Restart,
    /// A status code, a range, or a list of them.
    Statuses,
    /// A host name or `*.example.com`.
    Host,
    /// A path that begins with `/`.
    Path,
    /// `true`, `false`, or the fields of [`crate::tls`].
    Tls,
    /// A path, absolute or from where the app files are.
    FilePath,
    /// `address:port`.
    Address,
    /// Absolute paths.
    Paths,
    /// Addresses or networks.
    Networks,
    /// A mapping with these fields; those of the second list must be there.
    Section(&'static [Field], &'static [&'static str]),
    /// A list of such mappings.
    Sections(&'static [Field]),
}

impl Shape {
    /// The table of the section, or of each section in the list.
    pub(crate) const fn fields(&self) -> Option<&'static [Field]> {
        match self {
            Self::Section(fields, _) | Self::Sections(fields) => Some(fields),
            _ => None,
        }
    }
}

/// A value that is there, with the path that names it and what it should be.
#[derive(Clone, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
    shape: &'static Shape,
    root: &'static [Field],
}

/// A mapping whose keys have been checked against their table.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) at: Position,
    pub(crate) path: String,
    table: &'static [Field],
    root: &'static [Field],
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// The mapping at the root of a file, whose fields are `table`.
    pub(crate) fn root(node: &'a Node, table: &'static [Field], report: &mut Report) -> Option<Self> {
        Self::open(node, String::new(), table, table, report)
    }

    fn open(
        node: &'a Node,
        path: String,
        table: &'static [Field],
        root: &'static [Field],
        report: &mut Report,
    ) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let message = format!("found {}: write a mapping of {}", found(node), keys(table));
            report.add(node.at, &path, message);
            return None;
        };
        for entry in entries {
            if !table.iter().any(|field| field.key == entry.key) {
                let message = advice::unknown_key(&entry.key, table, root);
                report.add(entry.at, &joined(&path, &entry.key), message);
            }
        }
        Some(Self { at: node.at, path, table, root, entries })
    }

    /// The value of `key`, when it is there. `key` is one of the table's.
    pub(crate) fn take(&self, key: &str) -> Option<Item<'a>> {
        debug_assert!(self.table.iter().any(|field| field.key == key), "{key} is in no table");
        let shape = &self.table.iter().find(|field| field.key == key)?.shape;
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Item { node: &entry.value, path: joined(&self.path, key), shape, root: self.root })
    }

    /// The section under `key`, when it is there.
    pub(crate) fn section(&self, key: &str, report: &mut Report) -> Option<Fields<'a>> {
        let item = self.take(key)?;
        let table = item.shape.fields()?;
        Fields::open(item.node, item.path, table, self.root, report)
    }

    /// The sections listed under `key`, when it is there.
    pub(crate) fn sections(&self, key: &str, report: &mut Report) -> Option<Vec<Fields<'a>>> {
        let item = self.take(key)?;
        let table = item.shape.fields()?;
        let items = item.items(report, "a list of mappings, each beginning with `-`")?;
        Some(items.into_iter().filter_map(|item| item.section(table, report)).collect())
    }

    /// Notes that `key`, which is required, is missing.
    pub(crate) fn require(&self, key: &str, example: &str, report: &mut Report) {
        if !self.entries.iter().any(|entry| entry.key == key) {
            report.add(self.at, &joined(&self.path, key), format!("missing: write `{key}: {example}`"));
        }
    }

    /// The value of `key` as [`Item::text`] reads it.
    pub(crate) fn text(&self, key: &str, report: &mut Report) -> Option<String> {
        self.take(key)?.text(report).map(str::to_owned)
    }

    /// The value of `key`: `true` or `false`.
    pub(crate) fn bool(&self, key: &str, report: &mut Report) -> Option<bool> {
        let item = self.take(key)?;
        match item.scalar() {
            Some(scalar) if scalar.kind == Kind::Bool => Some(scalar.text.eq_ignore_ascii_case("true")),
            _ => item.wrong("true or false", report),
        }
    }

    /// The value of `key`: a whole number within the table's bounds.
    pub(crate) fn integer<N: TryFrom<u64>>(&self, key: &str, report: &mut Report) -> Option<N> {
        self.take(key)?.integer(report)
    }

    /// The value of `key`: a duration within the table's bounds.
    pub(crate) fn duration(&self, key: &str, report: &mut Report) -> Option<Duration> {
        let item = self.take(key)?;
        let Shape::Duration { min, max } = *item.shape else { return None };
        let text = item.word("a duration such as 500ms, 5s or 1m30s", report)?;
        let duration = item.parsed(crate::scalar::duration::parse(text), report)?;
        if (min..=max).contains(&duration) {
            return Some(duration);
        }
        let show = crate::scalar::duration::show;
        item.refuse(format!("{text} is out of range: write {} to {}", show(min), show(max)), report)
    }

    /// The value of `key`: one of the table's words.
    pub(crate) fn choice(&self, key: &str, report: &mut Report) -> Option<&'static str> {
        let item = self.take(key)?;
        let Shape::Choice(words) = item.shape else { return None };
        let choice = item.scalar().and_then(|s| words.iter().find(|word| **word == s.text));
        match choice {
            Some(word) => Some(word),
            None => item.wrong(&one_of(words), report),
        }
    }
}

impl<'a> Item<'a> {
    /// Notes a problem with this value.
    pub(crate) fn refuse<T>(&self, message: impl Into<String>, report: &mut Report) -> Option<T> {
        report.add(self.node.at, &self.path, message);
        None
    }

    /// Notes that this value is of the wrong kind.
    pub(crate) fn wrong<T>(&self, expected: &str, report: &mut Report) -> Option<T> {
        self.refuse(format!("found {}: write {expected}", found(self.node)), report)
    }

    /// The value in `result`, or its message noted.
    pub(crate) fn parsed<T>(&self, result: Result<T, String>, report: &mut Report) -> Option<T> {
        result.map_err(|message| report.add(self.node.at, &self.path, message)).ok()
    }

    /// The value when it is a single one.
    pub(crate) fn scalar(&self) -> Option<&'a Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The value as a text that is not empty. A number or `true` must stand in quotes, for how it
    /// would be spelled is not known.
    pub(crate) fn text(&self, report: &mut Report) -> Option<&'a str> {
        match self.scalar() {
            Some(Scalar { text, kind: Kind::Text, .. }) if !text.trim().is_empty() => Some(text),
            Some(Scalar { text, kind: Kind::Bool | Kind::Number, .. }) => {
                self.wrong(&format!("a text, in quotes: \"{text}\""), report)
            }
            _ => self.wrong("a text", report),
        }
    }

    /// The value as its text, whether it looks like a number or not. Not nothing, and not empty.
    pub(crate) fn word(&self, expected: &str, report: &mut Report) -> Option<&'a str> {
        match self.scalar() {
            Some(scalar) if scalar.kind != Kind::Null && !scalar.text.trim().is_empty() => {
                Some(scalar.text.trim())
            }
            _ => self.wrong(expected, report),
        }
    }

    /// The value as its text, which may be empty or look like a number. Not nothing.
    pub(crate) fn value(&self, expected: &str, report: &mut Report) -> Option<&'a str> {
        match self.scalar() {
            Some(scalar) if scalar.kind != Kind::Null => Some(&scalar.text),
            _ => self.wrong(expected, report),
        }
    }

    /// The value as a whole number within the bounds of its shape.
    pub(crate) fn integer<N: TryFrom<u64>>(&self, report: &mut Report) -> Option<N> {
        let (min, max) = match self.shape {
            Shape::Integer { min, max } => (*min, *max),
            Shape::Port => (1, 65_535),
            _ => (0, u64::MAX),
        };
        let expected = format!("a whole number from {min} to {max}");
        let number = self.scalar().filter(|scalar| scalar.kind == Kind::Number).map(|scalar| &scalar.text);
        match number.map(|text| (text, text.parse::<u64>())) {
            Some((text, Ok(number))) => match N::try_from(number) {
                Ok(value) if (min..=max).contains(&number) => Some(value),
                _ => self.refuse(format!("{text} is out of range: write {expected}"), report),
            },
            _ => self.wrong(&expected, report),
        }
    }

    /// The items of a list.
    pub(crate) fn items(&self, report: &mut Report, expected: &str) -> Option<Vec<Self>> {
        let Value::List(nodes) = &self.node.value else { return self.wrong(expected, report) };
        let item = |(index, node)| Item { node, path: indexed(&self.path, index), ..*self };
        Some(nodes.iter().enumerate().map(item).collect())
    }

    /// The items of a list, or the single value as the only one.
    pub(crate) fn one_or_many(&self, report: &mut Report, expected: &str) -> Option<Vec<Self>> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.kind != Kind::Null => Some(vec![self.clone()]),
            _ => self.items(report, expected),
        }
    }

    /// The entries of a mapping: key, position of the key, value.
    pub(crate) fn entries(&self) -> Option<Vec<(&'a str, Position, Self)>> {
        let Value::Map(entries) = &self.node.value else { return None };
        let item = |entry: &'a Entry| {
            let path = joined(&self.path, &entry.key);
            (entry.key.as_str(), entry.at, Item { node: &entry.value, path, ..*self })
        };
        Some(entries.iter().map(item).collect())
    }

    /// This value as a section.
    pub(crate) fn section(&self, table: &'static [Field], report: &mut Report) -> Option<Fields<'a>> {
        Fields::open(self.node, self.path.clone(), table, self.root, report)
    }
}

/// What a node is, in words.
fn found(node: &Node) -> String {
    match &node.value {
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
        Value::Scalar(scalar) => match scalar.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool => scalar.text.clone(),
            Kind::Number => format!("the number {}", scalar.text),
            Kind::Text if scalar.text.trim().is_empty() => "an empty text".to_owned(),
            Kind::Text => format!("the text {}", quoted(&scalar.text)),
        },
    }
}

/// `text` in quotes, cut when it is long.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// `a, b or c`.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The keys of a table, for a message.
pub(crate) fn keys(table: &[Field]) -> String {
    table.iter().map(|field| field.key).collect::<Vec<_>>().join(", ")
}
