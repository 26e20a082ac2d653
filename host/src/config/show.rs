//! Showing a configuration, or a part of it: curly, `| display set`, `| display json`.

use std::fmt::Write;

use super::edit::{line_source, words_of, EditPath};
use super::load::{descends, named, resolve, Purpose, TOP};
use super::problem::ConfigError;
use super::schema::{Kind, Layout};
use super::tree::{Node, SetLines, Tree};

/// How a configuration is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `show configuration`: what stands below, in curly form.
    #[default]
    Curly,
    /// `| display set`: commands with the whole path.
    Set,
    /// `| display set relative`: commands with the path from where one stands.
    SetRelative,
    /// `| display json`: the whole path, in the shape Junos uses (see [`super::json`]).
    Json,
}

/// Shows what stands at `words` below `path`; nothing there gives an empty text, as in Junos.
///
/// # Errors
/// `words` name nothing the language has.
pub fn show(tree: &Tree, path: &EditPath, words: &str, format: Format) -> Result<String, ConfigError> {
    let source = line_source(words)?;
    let words = words_of(&source)?;
    let full = path.absolute(&words, &source);
    let (prefix, nodes) = if full.is_empty() {
        (String::new(), vec![tree.root()])
    } else {
        let route = resolve(TOP, &full, &[], Purpose::Name)?;
        let mut above = String::new();
        if let Some((_, steps)) = route.steps().split_last() {
            for step in steps.iter().filter(|step| descends(step.schema)) {
                let _ = write!(
                    above,
                    " {}",
                    Node::new(step.schema, step.values.clone(), None).words().trim_start()
                );
            }
        }
        (above, named(tree.root(), route.steps()))
    };
    Ok(match format {
        Format::Curly => curly(&nodes),
        Format::Set => set(&prefix, &nodes, full.is_empty()),
        Format::SetRelative => {
            let own: String = path
                .words()
                .map(|word| format!(" {}", super::tree::quoted(word)))
                .collect();
            // Commands of what stands at the path itself begin below it.
            let text = set(&prefix, &nodes, full.is_empty());
            relative(&text, &own)
        }
        Format::Json => super::json::write(tree, &full, &nodes),
    })
}

fn curly(nodes: &[&Node]) -> String {
    let mut out = String::new();
    match nodes {
        [one] if shows_inside(one) => one.write_curly(&mut out, 0),
        many => {
            for node in many {
                let mut words = String::new();
                if node.schema.layout == Layout::Grouped {
                    node.write_values(&mut words);
                } else {
                    words = node.words();
                }
                node.write_statement(&mut out, 0, &words);
            }
        }
    }
    out
}

/// Whether what stands inside is shown, not the statement itself.
fn shows_inside(node: &Node) -> bool {
    match node.schema.kind {
        Kind::Container => true,
        Kind::Presence | Kind::List => !node.children.is_empty() || !node.trailing.is_empty(),
        Kind::Flag | Kind::Leaf => false,
    }
}

fn set(prefix: &str, nodes: &[&Node], whole: bool) -> String {
    let mut out = SetLines::default();
    let mut prefix = prefix.to_string();
    for node in nodes {
        if whole {
            node.write_set(&mut prefix, &mut out);
        } else {
            node.write_set_whole(&mut prefix, &mut out);
        }
    }
    out.into_text()
}

fn relative(text: &str, own: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = format!(" {rest}");
        match rest.strip_prefix(own) {
            // The statement one stands at has no command from there.
            Some("") => {}
            Some(below) => {
                let _ = writeln!(out, "{verb}{below}");
            }
            None => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    out
}
