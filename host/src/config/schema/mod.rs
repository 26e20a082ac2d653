//! The statements we know, as tables: name, place, values, range, default, and what is not implemented.
//!
//! Parsing, printing, completion and the manual read the same tables. Names and ranges of Junos statements follow the
//! `services nat` and `services service-set` hierarchies of Junos; everything of our own stands under `nat64-nic`,
//! a statement no Junos version has.

pub(crate) mod applications;
mod interfaces;
mod nat;
mod own;
mod service_set;

pub use super::value::Value;

/// One statement of the language.
#[derive(Debug)]
pub struct Statement {
    /// Keyword; empty for list entries that begin with their key (`prefix-list NAME { PREFIX; }`).
    pub name: &'static str,
    /// What follows the keyword.
    pub kind: Kind,
    /// Values of a leaf, key of a list entry.
    pub fields: &'static [Field],
    /// Statements below.
    pub children: &'static [Statement],
    /// How it is written in curly form.
    pub layout: Layout,
    /// What we do with it.
    pub support: Support,
    /// One line for people.
    pub help: &'static str,
    /// What holds without it, for people; empty: nothing.
    pub default: &'static str,
}

/// What a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Holds other statements.
    Container,
    /// Holds other statements and means something when empty.
    Presence,
    /// A word alone.
    Flag,
    /// A word and its values.
    Leaf,
    /// May stand several times, told apart by its key.
    List,
}

/// One value, possibly after a word of its own: `low ADDRESS`.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Word before the value; empty: none.
    pub word: &'static str,
    /// Kind of the value.
    pub value: Value,
    /// What the value names, for completion.
    pub names: Names,
}

/// What a value names: entries of the configuration itself, or things of the running system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Names {
    /// Nothing.
    Nothing,
    /// Entries of the list at this path, whose name is the last word: `["services", "nat", "pool"]`.
    Entries(&'static [&'static str]),
    /// Something the running system knows.
    Live(Live),
}

/// Names that only the running system knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Live {
    /// Network interfaces of the host.
    Interface,
    /// PCI functions with one of our cards, such as `0000:03:00.0`.
    PciDevice,
    /// Groups of the host.
    Group,
    /// Users of the host.
    User,
}

/// How a statement is written in curly form. All forms are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Statements below stand in braces.
    Block,
    /// Statements below stand on the same line.
    Inline,
    /// List: the entries stand together in braces after one keyword, each on a line.
    Grouped,
}

/// What we do with a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It acts.
    Full,
    /// It cannot change what happens to a packet; accepted, with a warning that says so.
    NoEffect(&'static str),
    /// It acts; another statement says the same. Accepted, with a warning that says so.
    Deprecated(&'static str),
    /// It would change what happens to a packet and is not implemented: an error.
    Refused(&'static str),
}

impl Statement {
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            name,
            kind,
            fields: &[],
            children: &[],
            layout: Layout::Block,
            support: Support::Full,
            help,
            default: "",
        }
    }

    const fn default(mut self, text: &'static str) -> Self {
        self.default = text;
        self
    }

    const fn inline(mut self) -> Self {
        self.layout = Layout::Inline;
        self
    }

    const fn grouped(mut self) -> Self {
        self.layout = Layout::Grouped;
        self
    }

    const fn deprecated(mut self, new: &'static str) -> Self {
        self.support = Support::Deprecated(new);
        self
    }

    const fn no_effect(mut self, why: &'static str) -> Self {
        self.support = Support::NoEffect(why);
        self
    }

    /// Whether statements can stand below it.
    pub fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    /// The statement a word begins below this one.
    pub(crate) fn child(&self, word: &str) -> Option<&'static Statement> {
        self.children.iter().find(|c| !c.name.is_empty() && c.name == word)
    }

    /// The list whose entries begin with their key.
    pub(crate) fn unnamed(&self) -> Option<&'static Statement> {
        self.children.iter().find(|c| c.name.is_empty())
    }
}

const fn container(name: &'static str, children: &'static [Statement], help: &'static str) -> Statement {
    let mut statement = Statement::new(name, Kind::Container, help);
    statement.children = children;
    statement
}

const fn presence(name: &'static str, children: &'static [Statement], help: &'static str) -> Statement {
    let mut statement = Statement::new(name, Kind::Presence, help);
    statement.children = children;
    statement
}

const fn flag(name: &'static str, help: &'static str) -> Statement {
    Statement::new(name, Kind::Flag, help)
}

const fn leaf(name: &'static str, fields: &'static [Field], help: &'static str) -> Statement {
    let mut statement = Statement::new(name, Kind::Leaf, help);
    statement.fields = fields;
    statement
}

const fn list(
    name: &'static str,
    fields: &'static [Field],
    children: &'static [Statement],
    help: &'static str,
) -> Statement {
    let mut statement = Statement::new(name, Kind::List, help);
    statement.fields = fields;
    statement.children = children;
    statement
}

const fn refused(name: &'static str, why: &'static str) -> Statement {
    let mut statement = Statement::new(name, Kind::Presence, why);
    statement.support = Support::Refused(why);
    statement
}

const fn field(value: Value) -> Field {
    named("", value)
}

const fn named(word: &'static str, value: Value) -> Field {
    Field {
        word,
        value,
        names: Names::Nothing,
    }
}

const fn naming(value: Value, names: Names) -> Field {
    let mut field = field(value);
    field.names = names;
    field
}

const fn entries(path: &'static [&'static str]) -> Field {
    naming(Value::Name, Names::Entries(path))
}

const NAME: &[Field] = &[field(Value::Name)];
const POOL_NAME: &[Field] = &[entries(&["services", "nat", "pool"])];
const RULE_NAME: &[Field] = &[entries(&["services", "nat", "rule"])];
const RULE_SET_NAME: &[Field] = &[entries(&["services", "nat", "rule-set"])];
const SERVICE_SET_NAME: &[Field] = &[entries(&["services", "service-set"])];
const PREFIX_LIST_NAME: &[Field] = &[entries(&["policy-options", "prefix-list"])];
const PREFIX4: &[Field] = &[field(Value::Prefix4)];
const PREFIX6: &[Field] = &[field(Value::Prefix6)];
const ADDRESS4: &[Field] = &[field(Value::Address4)];
const ADDRESS6: &[Field] = &[field(Value::Address6)];
const PORT: &[Field] = &[field(Value::Number(1, 65_535))];
const PERCENT: &[Field] = &[field(Value::Number(0, 100))];

/// The top of the language.
pub static ROOT: Statement = container("", TOP, "The whole configuration");

static TOP: &[Statement] = &[
    leaf("version", &[field(Value::Text)], "Junos release the text comes from")
        .no_effect("the language does not depend on it"),
    container("policy-options", POLICY_OPTIONS, "Named prefix lists"),
    container("services", SERVICES, "Address translation"),
    container(
        "nat64-nic",
        own::STATEMENTS,
        "What Junos has no statement for: ports, units, timers, limits",
    ),
    refused("groups", "statements are not inherited from groups"),
    refused("apply-groups", "statements are not inherited from groups"),
    interfaces::TOP,
    applications::TOP,
    refused(
        "routing-options",
        "the gateway has next hops per unit, `nat64-nic port`",
    ),
    refused(
        "routing-instances",
        "the gateway has next hops per unit, `nat64-nic port`",
    ),
    container(
        "protocols",
        &[
            refused(
                "router-advertisement",
                "router advertisements stand under `nat64-nic port N unit M router-advertisement`",
            ),
            refused("bgp", "the gateway runs no routing protocol"),
            refused("ospf", "the gateway runs no routing protocol"),
            refused("ospf3", "the gateway runs no routing protocol"),
            refused("isis", "the gateway runs no routing protocol"),
            refused("lldp", "the gateway runs no LLDP"),
        ],
        "Protocols of a router",
    ),
    refused("firewall", "the gateway has no packet filters"),
    refused("forwarding-options", "the gateway has no forwarding options"),
    refused("chassis", "the gateway is no chassis"),
    refused("system", "the host's own system is not configured here"),
    refused("security", "the gateway has no security zones"),
    refused("snmp", "the gateway has no SNMP agent"),
    refused("class-of-service", "the gateway has no queues"),
    refused("event-options", "the gateway runs no event policies"),
    refused("access", "the gateway has no subscriber access"),
];

static POLICY_OPTIONS: &[Statement] = &[
    list("prefix-list", NAME, PREFIX_LIST, "Prefixes under one name"),
    refused("policy-statement", "the gateway runs no routing policy"),
    refused("community", "the gateway runs no routing policy"),
    refused("as-path", "the gateway runs no routing policy"),
];

static PREFIX_LIST: &[Statement] = &[
    refused("apply-path", "prefixes are not collected from other statements"),
    list("", &[field(Value::Prefix)], &[], "A prefix of the list"),
];

static SERVICES: &[Statement] = &[
    container("nat", nat::STATEMENTS, "Pools and rules"),
    list(
        "service-set",
        NAME,
        service_set::STATEMENTS,
        "What is applied to the traffic of some units",
    ),
    refused("jflow-log", "flow export is not implemented"),
    refused("stateful-firewall", "the gateway has no firewall rules"),
    refused("pcp", "the gateway has no PCP server"),
    refused("ids", "the gateway has no intrusion detection"),
    refused("ip-reassembly", "fragments are handled by the translator itself"),
    refused("softwire", "the gateway has no softwires"),
    refused("ipsec-vpn", "the gateway has no tunnels"),
    refused("service-interface-pools", "the gateway has one card"),
    refused("ssl", "the gateway has no TLS"),
];

/// Calls `visit` with each statement and the path of those above it, in the order of the tables.
pub fn walk(visit: &mut dyn FnMut(&[&'static Statement], &'static Statement)) {
    fn down(
        path: &mut Vec<&'static Statement>,
        at: &'static Statement,
        visit: &mut dyn FnMut(&[&'static Statement], &'static Statement),
    ) {
        for child in at.children {
            visit(path, child);
            path.push(child);
            down(path, child, visit);
            path.pop();
        }
    }
    down(&mut Vec::new(), &ROOT, visit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_well_formed() {
        let mut count = 0;
        walk(&mut |path, s| {
            count += 1;
            let at = format!("{:?} {}", path.iter().map(|p| p.name).collect::<Vec<_>>(), s.name);
            assert!(!s.help.is_empty(), "{at}: no help");
            assert!(path.len() < 16, "{at}: deep");
            match s.kind {
                Kind::Flag => assert!(s.fields.is_empty() && s.children.is_empty(), "{at}"),
                Kind::Leaf => assert!(!s.fields.is_empty() && s.children.is_empty(), "{at}"),
                Kind::List => assert!(!s.fields.is_empty(), "{at}"),
                Kind::Container => assert!(s.fields.is_empty() && !s.children.is_empty(), "{at}"),
                Kind::Presence => assert!(s.fields.is_empty(), "{at}"),
            }
            if s.layout == Layout::Grouped {
                assert_eq!(s.kind, Kind::List, "{at}");
            }
            for (i, a) in s.children.iter().enumerate() {
                for b in &s.children[i + 1..] {
                    assert_ne!(a.name, b.name, "{at}: two statements of one name");
                }
            }
        });
        assert!(count > 150, "{count}");
    }
}
