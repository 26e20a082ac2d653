//! A configuration as JSON, in the shape of `show configuration | display json`, and back.
//!
//! | statement | JSON |
//! |---|---|
//! | container | object |
//! | list | array of objects; the key is `name`, or the words of its parts (`low`, `high`) |
//! | entries of a prefix list, of `interfaces` | `prefix-list-item`, `interface`, arrays of objects with `name` |
//! | leaf | its value, a number where the schema says number, else a string; several values: an object |
//! | word alone | `[null]` |
//!
//! `"@": {"inactive": true, "comment": "..."}` in an object, and `"@name": {...}` beside a leaf `name`, hold what is
//! not a statement: `comment` (a string, or an array of several), `trailing` (comments before the closing brace).
//!
//! Nothing is lost: reading what was written gives the same tree. Statements of one name stand together in it, which
//! is where they stand in every tree that was written by this module.

use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::load::{values_of, Word};
use super::place::{Place, Source};
use super::problem::{ConfigError, Problem, ProblemKind, Problems};
use super::schema::{Field, Kind, Statement, Support, Value};
use super::tree::{Node, Tree, Values};
use super::MAX_TEXT;

/// Names of entries that have no keyword.
const ITEM: &str = "prefix-list-item";
const INTERFACE: &str = "interface";

/// A JSON value whose objects keep their order.
#[derive(Clone, Debug, PartialEq)]
enum Json {
    Null,
    Bool(bool),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Json;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Text(value.to_string()))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Text(value.to_string()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Text(value.to_string()))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_string()))
            }
            fn visit_string<E: de::Error>(self, value: String) -> Result<Json, E> {
                Ok(Json::Text(value))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
                let mut out = Vec::new();
                while let Some(value) = seq.next_element()? {
                    out.push(value);
                }
                Ok(Json::Array(out))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut out = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    out.push(pair);
                }
                Ok(Json::Object(out))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Names of the parts of a key or value, all different.
fn part_names(fields: &'static [Field]) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(fields.len());
    for field in fields {
        let base = if field.word.is_empty() { "name" } else { field.word };
        let same = out
            .iter()
            .filter(|name| name.as_str() == base || name.starts_with(&format!("{base}-")))
            .count();
        out.push(match same {
            0 => base.to_string(),
            n => format!("{base}-{}", n + 1),
        });
    }
    out
}

fn json_name(schema: &Statement) -> &'static str {
    match (schema.name, schema.fields) {
        ("", [field, ..]) if field.value == Value::Interface => INTERFACE,
        ("", _) => ITEM,
        (name, _) => name,
    }
}

/// Writes JSON, indented by two.
#[derive(Default)]
struct Writer {
    out: String,
    depth: usize,
    /// Whether the innermost object or array has something in it.
    filled: Vec<bool>,
}

impl Writer {
    fn line(&mut self) {
        self.out.push('\n');
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
    }

    fn next(&mut self) {
        if let Some(filled) = self.filled.last_mut() {
            if std::mem::replace(filled, true) {
                self.out.push(',');
            }
            self.line();
        }
    }

    fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.depth += 1;
        self.filled.push(false);
    }

    fn close(&mut self, bracket: char) {
        self.depth -= 1;
        if self.filled.pop() == Some(true) {
            self.line();
        }
        self.out.push(bracket);
    }

    fn text(&mut self, text: &str) {
        self.out.push_str(&serde_json::Value::from(text).to_string());
    }

    fn key(&mut self, name: &str) {
        self.next();
        self.text(name);
        self.out.push_str(": ");
    }

    fn value(&mut self, field: &Field, value: &str) {
        match field.value {
            Value::Number(..) => self.out.push_str(value),
            _ => self.text(value),
        }
    }

    fn texts(&mut self, name: &str, texts: &[String]) {
        match texts {
            [] => {}
            [one] => {
                self.key(name);
                self.text(one);
            }
            many => {
                self.key(name);
                self.open('[');
                for text in many {
                    self.next();
                    self.text(text);
                }
                self.close(']');
            }
        }
    }

    fn attributes(&mut self, name: &str, node: &Node) {
        if !node.inactive && node.comments.is_empty() && node.trailing.is_empty() {
            return;
        }
        self.key(name);
        self.open('{');
        if node.inactive {
            self.key("inactive");
            self.out.push_str("true");
        }
        self.texts("comment", &node.comments);
        self.texts("trailing", &node.trailing);
        self.close('}');
    }

    fn parts(&mut self, node: &Node) {
        let names = part_names(node.schema.fields);
        for ((name, field), value) in names.iter().zip(node.schema.fields).zip(&node.values) {
            self.key(name);
            self.value(field, value);
        }
    }

    /// The statements below `node`, grouped by name, inside an open object.
    fn below(&mut self, node: &Node) {
        self.statements(&node.children.iter().map(AsRef::as_ref).collect::<Vec<_>>());
    }

    fn statements(&mut self, nodes: &[&Node]) {
        // Kinds in the order they come first; there are few of them.
        let mut kinds: Vec<&'static Statement> = Vec::new();
        for node in nodes {
            if !kinds.last().is_some_and(|k| std::ptr::eq(*k, node.schema))
                && !kinds.iter().any(|k| std::ptr::eq(*k, node.schema))
            {
                kinds.push(node.schema);
            }
        }
        for schema in kinds {
            let name = json_name(schema);
            let mut same = nodes.iter().copied().filter(|node| std::ptr::eq(node.schema, schema));
            match schema.kind {
                Kind::List => {
                    self.key(name);
                    self.open('[');
                    for node in same {
                        self.next();
                        self.open('{');
                        self.attributes("@", node);
                        self.parts(node);
                        self.below(node);
                        self.close('}');
                    }
                    self.close(']');
                }
                _ => {
                    let Some(node) = same.next() else { continue };
                    if matches!(schema.kind, Kind::Container | Kind::Presence) {
                        self.key(name);
                        self.open('{');
                        self.attributes("@", node);
                        self.below(node);
                        self.close('}');
                        continue;
                    }
                    self.attributes(&format!("@{name}"), node);
                    self.key(name);
                    match (schema.kind, schema.fields) {
                        (Kind::Flag, _) => self.out.push_str("[null]"),
                        (_, [field]) if field.word.is_empty() => self.value(field, node.value()),
                        _ => {
                            self.open('{');
                            self.parts(node);
                            self.close('}');
                        }
                    }
                }
            }
        }
    }
}

/// The statements `nodes` that stand at `path`, inside all that is above them.
pub(super) fn write(tree: &Tree, path: &[Word], nodes: &[&Node]) -> String {
    let mut w = Writer::default();
    w.open('{');
    w.key("configuration");
    w.open('{');
    if path.is_empty() {
        w.attributes("@", tree.root());
        w.below(tree.root());
        w.close('}');
    } else {
        // What is above, without its other statements.
        let mut closers = Vec::new();
        let mut at = tree.root();
        'down: while let Some(target) = nodes.first() {
            for child in &at.children {
                if std::ptr::eq(&**child, *target) {
                    break 'down;
                }
                if holds(child, target) {
                    w.key(json_name(child.schema));
                    if child.schema.kind == Kind::List {
                        w.open('[');
                        w.next();
                        closers.push("}]");
                    } else {
                        closers.push("}");
                    }
                    w.open('{');
                    w.parts(child);
                    at = child;
                    continue 'down;
                }
            }
            break;
        }
        w.statements(nodes);
        for closer in closers.iter().rev() {
            closer.chars().for_each(|c| w.close(c));
        }
        w.close('}');
    }
    w.close('}');
    w.out.push('\n');
    w.out
}

fn holds(node: &Node, target: &Node) -> bool {
    node.children
        .iter()
        .any(|child| std::ptr::eq(&**child, target) || holds(child, target))
}

impl Tree {
    /// The JSON form; see [`super::json`].
    pub fn to_json(&self) -> String {
        write(self, &[], &[self.root()])
    }
}

/// Reads a configuration in JSON, with or without the outer `configuration`.
///
/// # Errors
/// What is no JSON, and every statement or value the schema does not have, up to [`super::MAX_PROBLEMS`].
pub fn parse_json(text: &str, name: &str) -> Result<Tree, ConfigError> {
    if text.len() > MAX_TEXT {
        let kind = ProblemKind::TooLong {
            length: text.len(),
            limit: MAX_TEXT,
        };
        return Err(Problem::new(kind, None).into());
    }
    let source = Arc::new(Source {
        name: name.into(),
        text: text.into(),
    });
    let json: Json = serde_json::from_str(text).map_err(|error| {
        let line_start = text
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum::<usize>();
        let at = line_start + error.column().saturating_sub(1);
        let kind = ProblemKind::Json(error.to_string());
        Problem::new(kind, Place::new(&source, at, at + 1))
    })?;
    let mut reader = Reader {
        problems: Problems::default(),
        trail: Vec::new(),
        source: Arc::clone(&source),
    };
    let mut tree = Tree::new();
    match json {
        Json::Object(mut pairs) => {
            if let [(name, inner @ Json::Object(_))] = pairs.as_mut_slice() {
                if name == "configuration" {
                    let inner = std::mem::replace(inner, Json::Null);
                    if let Json::Object(inner) = inner {
                        pairs = inner;
                    }
                }
            }
            reader.object(tree.root_mut(), pairs);
        }
        _ => reader.bad("the text", "a JSON object"),
    }
    if reader.problems.is_empty() {
        Ok(tree)
    } else {
        Err(ConfigError::new(reader.problems.into_vec()))
    }
}

struct Reader {
    problems: Problems,
    trail: Vec<String>,
    source: Arc<Source>,
}

impl Reader {
    fn bad(&mut self, what: &str, expected: &str) {
        let mut value = self.trail.join(" ");
        if !what.is_empty() {
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str(what);
        }
        let expected = expected.to_string();
        self.problems
            .push(Problem::new(ProblemKind::BadValue { value, expected }, None));
    }

    fn object(&mut self, parent: &mut Node, pairs: Vec<(String, Json)>) {
        let mut later = Vec::new();
        for (name, value) in pairs {
            if self.problems.full() {
                return;
            }
            if name == "@" {
                self.attributes(parent, value);
                continue;
            }
            if let Some(name) = name.strip_prefix('@') {
                later.push((name.to_string(), value));
                continue;
            }
            let key_part = |schema: &Statement| schema.kind == Kind::List && part_names(schema.fields).contains(&name);
            if key_part(parent.schema) {
                continue;
            }
            let unnamed = parent.schema.unnamed().filter(|list| json_name(list) == name);
            let found = unnamed.or_else(|| parent.schema.child(&name));
            let Some(schema) = found else {
                let under = if self.trail.is_empty() {
                    "the top".to_string()
                } else {
                    self.trail.join(" ")
                };
                let source = Arc::clone(&self.source);
                let word = Word::at(name, &source, 0..0);
                let mut problem = super::load::unknown(parent.schema, &[word], vec![under]);
                problem.place = None;
                self.problems.push(problem);
                continue;
            };
            if let Support::Refused(why) = schema.support {
                let kind = ProblemKind::NotImplemented { name, why };
                self.problems.push(Problem::new(kind, None));
                continue;
            }
            self.trail.push(name);
            self.statement(parent, schema, value);
            self.trail.pop();
        }
        for (name, value) in later {
            let at = parent.children.iter().position(|c| c.schema.name == name);
            match at {
                Some(at) => self.attributes(parent.child_mut(at), value),
                None => self.bad(&format!("@{name}"), "beside the statement it is about"),
            }
        }
    }

    fn statement(&mut self, parent: &mut Node, schema: &'static Statement, value: Json) {
        match (schema.kind, value) {
            (Kind::List, Json::Array(entries)) => {
                for entry in entries {
                    let pairs = match entry {
                        Json::Object(pairs) => pairs,
                        // A bare key, for lists of names.
                        Json::Text(text) => vec![("name".to_string(), Json::Text(text))],
                        _ => {
                            self.bad("", "a list of objects");
                            return;
                        }
                    };
                    let Some(values) = self.values(schema, &pairs) else {
                        continue;
                    };
                    if parent.find(schema, &values).is_some() {
                        self.bad(&values.join(" "), "there once");
                        continue;
                    }
                    let mut node = Node::new(schema, values, None);
                    self.trail.push(node.values.join(" "));
                    self.object(&mut node, pairs);
                    self.trail.pop();
                    parent.push(node);
                }
            }
            (Kind::List, _) => self.bad("", "a list of objects"),
            (_, _) if parent.find(schema, &[]).is_some() => self.bad("", "there once"),
            (Kind::Container | Kind::Presence, Json::Object(pairs)) => {
                let mut node = Node::new(schema, Values::new(), None);
                self.object(&mut node, pairs);
                parent.push(node);
            }
            (Kind::Presence, Json::Array(items)) if items == [Json::Null] => {
                parent.push(Node::new(schema, Values::new(), None));
            }
            (Kind::Container | Kind::Presence, _) => self.bad("", "an object"),
            (Kind::Flag, Json::Bool(true)) => {
                parent.push(Node::new(schema, Values::new(), None));
            }
            (Kind::Flag, Json::Array(items)) if items == [Json::Null] => {
                parent.push(Node::new(schema, Values::new(), None));
            }
            (Kind::Flag, _) => self.bad("", "`[null]`"),
            (Kind::Leaf, value) => {
                let pairs = match value {
                    Json::Object(pairs) => pairs,
                    value => vec![("name".to_string(), value)],
                };
                if let Some(values) = self.values(schema, &pairs) {
                    parent.push(Node::new(schema, values, None));
                }
            }
        }
    }

    fn values(&mut self, schema: &'static Statement, pairs: &[(String, Json)]) -> Option<Values> {
        let source = Arc::clone(&self.source);
        let mut words = Vec::new();
        for (name, field) in part_names(schema.fields).iter().zip(schema.fields) {
            let given = pairs.iter().find(|(key, _)| key == name);
            let Some((_, Json::Text(text))) = given else {
                self.bad(name, &field.value.expected());
                return None;
            };
            for word in [field.word, text] {
                if !word.is_empty() || std::ptr::eq(word, text.as_str()) {
                    words.push(Word::at(word, &source, 0..0));
                }
            }
        }
        let keyword = Word::at(json_name(schema), &source, 0..0);
        match values_of(schema, &words, &keyword) {
            Ok(values) => Some(values),
            Err(mut problem) => {
                problem.place = None;
                self.problems.push(problem);
                None
            }
        }
    }

    fn attributes(&mut self, node: &mut Node, value: Json) {
        let Json::Object(pairs) = value else {
            self.bad("@", "an object");
            return;
        };
        for (name, value) in pairs {
            let target = match (name.as_str(), &value) {
                ("inactive", Json::Bool(inactive)) => {
                    node.inactive = *inactive;
                    continue;
                }
                ("comment", _) => &mut node.comments,
                ("trailing", _) => &mut node.trailing,
                _ => {
                    self.bad(&name, "one of `inactive`, `comment`, `trailing`");
                    continue;
                }
            };
            let texts = match value {
                Json::Array(texts) => texts,
                one => vec![one],
            };
            for text in texts {
                match text {
                    Json::Text(text) if super::edit::is_comment(&text) => target.extend([text]),
                    _ => self.bad(&name, "a comment with its marks, `/* ... */` or `# ...`"),
                }
            }
        }
    }
}
