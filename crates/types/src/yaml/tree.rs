//! Parser events → a tree of nodes that know their place in the text.
//!
//! The tree is bounded in depth, in nodes and in bytes, aliases counted each time they are used, so that a small file
//! cannot grow into a large one.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    ops::Range,
};

use granit_parser::{Event, Parser, ScalarStyle, StrInput};

use super::report::Fault;
use crate::limits::{YAML_DEPTH, YAML_EXPANDED_BYTES, YAML_FAULTS, YAML_NODES};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// What a node holds. Scalars stay text; `plain` ones were written without quotes.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar { text: String, plain: bool },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// One `key: value` of a mapping.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value: Node,
}

impl Node {
    /// Whether it says "nothing": empty, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Levels below this one. Bounded by [`YAML_DEPTH`], so the recursion is too.
    fn height(&self) -> usize {
        match &self.value {
            Value::Scalar { .. } => 0,
            Value::Sequence(nodes) => nodes.iter().map(|node| node.height() + 1).max().unwrap_or(0),
            Value::Mapping(entries) => {
                entries.iter().map(|entry| entry.value.height() + 1).max().unwrap_or(0)
            }
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }
}

/// One step from a node to one inside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The value under a key.
    Key(String),
    /// An element of a list, counted from 0.
    Index(usize),
}

/// The way from the root to a value. Shown as `processes.web.command[0]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// The value under `key` of this one.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    /// The element `index` of this one.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => write!(f, "{}", key.escape_debug())?,
                Step::Key(key) => write!(f, ".{}", key.escape_debug())?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A parsed text, and what was found to be wrong with it so far.
#[derive(Debug)]
pub struct Document {
    pub(super) root: Node,
    /// Values that were reported and taken out; nothing is to be said about their absence.
    pub(super) lost: BTreeSet<Path>,
    faults: Vec<Fault>,
}

impl Document {
    /// Parses `text`. The tree is empty when the text is not YAML; the fault says why.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let empty = Node { span: 0..0, value: Value::Scalar { text: String::new(), plain: true } };
        let mut builder = Builder::new(text);
        let root = builder.document();
        let mut document = Self { root: empty, lost: BTreeSet::new(), faults: builder.faults };
        match root {
            Ok(Some(root)) => document.root = root,
            Ok(None) => {}
            Err(fault) => {
                document.lost.insert(Path::default());
                document.faults.push(*fault);
            }
        }
        document
    }

    /// Reports `message` about the value at `path`, or about the nearest value around it. A value that was reported
    /// as unreadable before is not reported again.
    pub fn fault(&mut self, path: &Path, message: impl Into<String>, help: Option<String>) {
        if !self.is_lost(path) {
            let fault =
                Fault { span: self.locate(path), field: path.to_string(), message: message.into(), help };
            self.push(fault);
        }
    }

    /// Reports `message` about the key at the end of `path` rather than its value.
    pub fn fault_at_key(&mut self, path: &Path, message: impl Into<String>, help: Option<String>) {
        if !self.is_lost(path) {
            let span = self.key_span(path).unwrap_or_else(|| self.locate(path));
            let fault = Fault { span, field: path.to_string(), message: message.into(), help };
            self.push(fault);
        }
    }

    pub(super) fn push(&mut self, fault: Fault) {
        if self.faults.len() < YAML_FAULTS {
            self.faults.push(fault);
        }
    }

    /// Whether there is room for more faults.
    pub(super) fn may_report(&self) -> bool {
        self.faults.len() < YAML_FAULTS
    }

    /// Whether nothing was found to be wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// Everything found, in the order of the text.
    #[must_use]
    pub fn into_faults(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|fault| (fault.span.start, fault.span.end));
        self.faults.dedup();
        self.faults
    }

    /// Whether the value at `path`, or one that it is in, was reported as unreadable.
    #[must_use]
    pub fn is_lost(&self, path: &Path) -> bool {
        (0..=path.0.len()).any(|length| self.lost.contains(&Path(path.0[..length].to_vec())))
    }

    /// Takes out the keys of the root that `ignore` accepts.
    pub fn ignore_root_keys(&mut self, ignore: impl Fn(&str) -> bool) {
        if let Value::Mapping(entries) = &mut self.root.value {
            entries.retain(|entry| !ignore(&entry.key));
        }
    }

    /// Takes the value at `path` out of the tree. False when there is none, or it is the root.
    pub(super) fn remove(&mut self, path: &Path) -> bool {
        let Some((last, parents)) = path.0.split_last() else { return false };
        let mut node = &mut self.root;
        for step in parents {
            let next = match (step, &mut node.value) {
                (Step::Key(key), Value::Mapping(entries)) => {
                    entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
                }
                (Step::Index(index), Value::Sequence(nodes)) => nodes.get_mut(*index),
                _ => None,
            };
            let Some(next) = next else { return false };
            node = next;
        }
        let removed = match (last, &mut node.value) {
            (Step::Key(key), Value::Mapping(entries)) => {
                let before = entries.len();
                entries.retain(|entry| entry.key != *key);
                entries.len() < before
            }
            (Step::Index(index), Value::Sequence(nodes)) if *index < nodes.len() => {
                nodes.remove(*index);
                true
            }
            _ => false,
        };
        if removed && matches!(last, Step::Key(_)) {
            self.lost.insert(path.clone());
        }
        removed
    }

    /// Where the value at `path` stands. Lists and mappings are shown by their key, since they go on for lines.
    pub(super) fn locate(&self, path: &Path) -> Range<usize> {
        let mut node = &self.root;
        let mut span = 0..0;
        for step in &path.0 {
            let next = match (step, &node.value) {
                (Step::Key(key), _) => node.entry(key).map(|entry| (&entry.value, &entry.key_span)),
                (Step::Index(index), Value::Sequence(nodes)) => {
                    nodes.get(*index).map(|node| (node, &node.span))
                }
                _ => None,
            };
            let Some((next, introduced)) = next else { return span };
            node = next;
            span = match &node.value {
                Value::Scalar { .. } if !node.span.is_empty() => node.span.clone(),
                _ => introduced.clone(),
            };
        }
        span
    }

    /// Where the key at the end of `path` stands; `None` when there is none.
    #[must_use]
    pub fn key_span(&self, path: &Path) -> Option<Range<usize>> {
        let (Step::Key(key), parents) = path.0.split_last()? else { return None };
        let mut node = &self.root;
        for step in parents {
            node = match (step, &node.value) {
                (Step::Key(key), _) => &node.entry(key)?.value,
                (Step::Index(index), Value::Sequence(nodes)) => nodes.get(*index)?,
                _ => return None,
            };
        }
        node.entry(key).map(|entry| entry.key_span.clone())
    }
}

/// A node with an anchor, and what using it again costs.
struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
}

/// A fault that ends the parse. Boxed: the good case should not pay for it.
type Stop = Box<Fault>;

struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    length: usize,
    anchors: BTreeMap<usize, Anchored>,
    nodes: usize,
    bytes: usize,
    /// Where in the tree the next node will be, for the faults.
    path: Path,
    faults: Vec<Fault>,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        let options = granit_parser::options! { emit_comments: false };
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            length: text.len(),
            anchors: BTreeMap::new(),
            nodes: 0,
            bytes: 0,
            path: Path::default(),
            faults: Vec::new(),
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Range<usize>), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let start = span.start.byte_offset().unwrap_or(0).min(self.length);
                let end = span.end.byte_offset().unwrap_or(start).clamp(start, self.length);
                Ok((event, start..end))
            }
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(self.length).min(self.length);
                Err(stop(at..at, format!("this is not valid YAML: {}", error.info()), None))
            }
            None => Ok((Event::StreamEnd, self.length..self.length)),
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    return Err(stop(
                        span,
                        "a second document in one file".to_owned(),
                        Some("remove the line `---` and what follows it".to_owned()),
                    ));
                }
                event => root = Some(self.node(event, span, 0)?),
            }
        }
    }

    fn charge(&mut self, nodes: usize, bytes: usize, span: &Range<usize>) -> Result<(), Stop> {
        self.nodes += nodes;
        self.bytes += bytes;
        if self.nodes > YAML_NODES || self.bytes > YAML_EXPANDED_BYTES {
            let message = format!(
                "too much: at most {YAML_NODES} values and {YAML_EXPANDED_BYTES} bytes, aliases counted at each use"
            );
            return Err(stop(span.clone(), message, None));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'t>, span: Range<usize>, depth: usize) -> Result<Node, Stop> {
        if depth > YAML_DEPTH {
            return Err(stop(span, format!("nested more than {YAML_DEPTH} levels deep"), None));
        }
        let (nodes, bytes) = (self.nodes, self.bytes);
        self.charge(1, 0, &span)?;
        let (anchor, value) = match event {
            Event::Alias(id) => return self.alias(id, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                self.charge(0, text.len(), &span)?;
                let mut plain = style == ScalarStyle::Plain;
                if let Some(tag) = tag {
                    plain &= !tag.is_yaml_core_schema_tag("str");
                    self.refuse_tag(&tag, &span);
                }
                (anchor, Value::Scalar { text: text.into_owned(), plain })
            }
            Event::SequenceStart(_, anchor, tag) => {
                if let Some(tag) = tag {
                    self.refuse_tag(&tag, &span);
                }
                (anchor, Value::Sequence(self.sequence(depth)?))
            }
            Event::MappingStart(_, anchor, tag) => {
                if let Some(tag) = tag {
                    self.refuse_tag(&tag, &span);
                }
                (anchor, Value::Mapping(self.mapping(depth)?))
            }
            _ => return Err(stop(span, "this is not valid YAML here".to_owned(), None)),
        };
        let node = Node { span, value };
        if anchor != 0 {
            let (nodes, bytes) = (self.nodes - nodes, self.bytes - bytes);
            self.charge(nodes, bytes, &node.span)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, bytes });
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: Range<usize>, depth: usize) -> Result<Node, Stop> {
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(stop(span, "this alias stands inside the value that it names".to_owned(), None));
        };
        if depth + anchored.node.height() > YAML_DEPTH {
            return Err(stop(span, format!("nested more than {YAML_DEPTH} levels deep"), None));
        }
        let (nodes, bytes) = (anchored.nodes, anchored.bytes);
        self.charge(nodes, bytes, &span)?;
        let anchored = self.anchors.get(&id).map(|anchored| anchored.node.value.clone());
        let value = anchored.unwrap_or_else(|| Value::Sequence(Vec::new()));
        Ok(Node { span, value })
    }

    fn refuse_tag(&mut self, tag: &granit_parser::Tag, span: &Range<usize>) {
        if !tag.is_yaml_core_schema() {
            self.report(span.clone(), format!("the tag `{}` means nothing here", tag.original()), None);
        }
    }

    fn report(&mut self, span: Range<usize>, message: String, help: Option<String>) {
        if self.faults.len() < YAML_FAULTS {
            self.faults.push(Fault { span, field: self.path.to_string(), message, help });
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Node>, Stop> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(nodes),
                (event, span) => {
                    self.path.0.push(Step::Index(nodes.len()));
                    nodes.push(self.node(event, span, depth + 1)?);
                    self.path.0.pop();
                }
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut known: HashSet<String> = HashSet::new();
        let mut merges = Vec::new();
        loop {
            let (event, key_span) = match self.next()? {
                (Event::MappingEnd, _) => break,
                next => next,
            };
            let plain_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = match self.node(event, key_span.clone(), depth + 1)?.value {
                Value::Scalar { text, .. } => Some(text),
                _ => None,
            };
            let parents = self.path.0.len();
            self.path.0.extend(key.clone().map(Step::Key));
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            match key {
                _ if plain_merge => merges.push(value),
                Some(key) if known.insert(key.clone()) => entries.push(Entry { key, key_span, value }),
                Some(_) => {
                    let help = "remove one of the two".to_owned();
                    self.report(key_span, "this key is here twice".to_owned(), Some(help));
                }
                None => self.report(key_span, "a key has to be a single word or text".to_owned(), None),
            }
            self.path.0.truncate(parents);
        }
        for merge in merges {
            self.merge(merge, &mut entries, &mut known);
        }
        Ok(entries)
    }

    /// `<<: *base` and `<<: [*one, *two]`: what is written beside it wins, then the earlier ones.
    fn merge(&mut self, source: Node, entries: &mut Vec<Entry>, known: &mut HashSet<String>) {
        match source.value {
            Value::Mapping(merged) => {
                entries.extend(merged.into_iter().filter(|entry| known.insert(entry.key.clone())));
            }
            Value::Sequence(nodes) if nodes.iter().all(|node| matches!(node.value, Value::Mapping(_))) => {
                for node in nodes {
                    self.merge(node, entries, known);
                }
            }
            _ => self.report(source.span, "`<<` takes a mapping, or a list of them".to_owned(), None),
        }
    }
}

fn stop(span: Range<usize>, message: String, help: Option<String>) -> Stop {
    Box::new(Fault { span, field: String::new(), message, help })
}
