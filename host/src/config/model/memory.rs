//! What one check leaves for the next: trees share their nodes, so what was found out about a node that is still there
//! holds still.
//!
//! Only what gave no problem and no warning is kept, and only what depends on the node alone. What a check did not use is
//! forgotten at its end.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::types::Model;
use super::{check, BuildOptions};
use crate::config::problem::{Problem, Warning};
use crate::config::tree::{Node, Tree};

/// Checks configurations, and remembers of the last one what is still true of the next: a small change to a large
/// configuration is checked quickly.
#[derive(Debug, Default)]
pub struct Checker {
    memory: Memory,
}

impl Checker {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`super::model`], and the same result; quicker when much of the tree is that of the last call.
    ///
    /// # Errors
    /// As [`super::model`].
    pub fn model(&mut self, tree: &Tree, options: &BuildOptions) -> Result<(Model, Vec<Warning>), Vec<Problem>> {
        if tree.root().children().is_empty() {
            return Ok((Model::default(), Vec::new()));
        }
        check(tree, options, &mut self.memory)
    }
}

/// Prefixes of a list, host bits cleared.
#[derive(Clone, Debug, Default)]
pub(super) struct Prefixes {
    pub(super) six: Arc<[(Ipv6Addr, u8)]>,
    pub(super) four: Arc<[(Ipv4Addr, u8)]>,
}

/// Something known of a node, which it keeps alive: no other node can have its address meanwhile.
#[derive(Debug)]
struct Known<T> {
    _node: Arc<Node>,
    what: T,
    used: bool,
}

/// By the address of the node.
#[derive(Debug, Default)]
pub(super) struct Memory {
    lists: HashMap<usize, Known<Prefixes>>,
    quiet: HashMap<usize, Known<()>>,
}

fn address(node: &Arc<Node>) -> usize {
    Arc::as_ptr(node) as usize
}

fn recall<T: Clone>(map: &mut HashMap<usize, Known<T>>, node: &Arc<Node>) -> Option<T> {
    let known = map.get_mut(&address(node))?;
    known.used = true;
    Some(known.what.clone())
}

fn keep<T>(map: &mut HashMap<usize, Known<T>>, node: &Arc<Node>, what: T) {
    let known = Known {
        _node: Arc::clone(node),
        what,
        used: true,
    };
    map.insert(address(node), known);
}

fn end<T>(map: &mut HashMap<usize, Known<T>>) {
    map.retain(|_, known| std::mem::take(&mut known.used));
}

impl Memory {
    /// The prefixes of a list.
    pub(super) fn prefixes(&mut self, node: &Arc<Node>) -> Option<Prefixes> {
        recall(&mut self.lists, node)
    }

    /// Remembers the prefixes of a list.
    pub(super) fn keep_prefixes(&mut self, node: &Arc<Node>, prefixes: &Prefixes) {
        keep(&mut self.lists, node, prefixes.clone());
    }

    /// Whether nothing at or below the node is without effect or deprecated.
    pub(super) fn is_quiet(&mut self, node: &Arc<Node>) -> bool {
        recall(&mut self.quiet, node).is_some()
    }

    /// Remembers that it is so.
    pub(super) fn keep_quiet(&mut self, node: &Arc<Node>) {
        keep(&mut self.quiet, node, ());
    }

    /// A check is over: forgets what it did not use.
    pub(super) fn end(&mut self) {
        end(&mut self.lists);
        end(&mut self.quiet);
    }
}
