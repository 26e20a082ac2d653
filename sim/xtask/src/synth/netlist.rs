//! Netlists as Yosys writes them, as far as paths are concerned.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::de::IgnoredAny;
use serde::Deserialize;

use super::facts::read;
use crate::run::Error;

/// What is on a pin.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Bit {
    /// A net, by its number.
    Net(u32),
    /// A constant.
    Fixed(IgnoredAny),
}

impl Bit {
    /// The net, if it is none.
    pub fn net(&self) -> Option<u32> {
        match self {
            Self::Net(net) => Some(*net),
            Self::Fixed(_) => None,
        }
    }
}

/// A cell.
#[derive(Deserialize)]
pub struct Cell {
    /// Kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// `input` or `output`, by port; none for what is no cell of the technology.
    #[serde(default)]
    pub port_directions: BTreeMap<String, String>,
    /// Bits by port, lowest first.
    pub connections: BTreeMap<String, Vec<Bit>>,
}

/// A name of nets.
#[derive(Deserialize)]
pub struct NetName {
    /// 1 for a name that Yosys made.
    #[serde(default)]
    pub hide_name: u8,
    /// The nets.
    pub bits: Vec<Bit>,
}

/// A module.
#[derive(Deserialize)]
pub struct Module {
    /// By name.
    pub cells: BTreeMap<String, Cell>,
    /// By name.
    pub netnames: BTreeMap<String, NetName>,
}

/// A netlist.
#[derive(Deserialize)]
pub struct Netlist {
    modules: HashMap<String, Module>,
}

impl Netlist {
    /// Reads one.
    pub fn read(path: &Path) -> Result<Self, Error> {
        read(path)
    }

    /// The module of this name; `path` is for the error.
    pub fn module(&self, name: &str, path: &Path) -> Result<&Module, Error> {
        self.modules.get(name).ok_or_else(|| Error::Missing {
            what: format!("module {name} in {}", path.display()),
        })
    }
}
