//! The commands, as data: words, arguments, who may give them, help.
//!
//! Parsing, `?`, completion in the shell and in bash, the manual page and `host/docs/commands.md` are made from the
//! tables of this module; a command that is not in them does not exist, and one that is has a handler, since handlers
//! match on [`Action`].

use crate::api::routes::RouteId;
use crate::api::Class;

mod configuration;
mod groups;
mod operational;
mod pipes;

pub use configuration::CONFIGURATION;
pub use groups::GROUPS;
pub use operational::OPERATIONAL;
pub use pipes::PIPES;

/// One command.
#[derive(Debug)]
pub struct Command {
    /// Its words, separated by one space: `show services nat pool`.
    pub words: &'static str,
    /// What runs it.
    pub action: Action,
    /// Route of the daemon it needs most; it decides who may give the command. None: it asks nothing of the daemon.
    pub route: Option<RouteId>,
    /// One line for people.
    pub help: &'static str,
    /// Arguments, in any order unless they are positional.
    pub args: &'static [Arg],
    /// Paragraphs of the manual; may be empty.
    pub about: &'static str,
}

/// One argument.
#[derive(Debug)]
pub struct Arg {
    /// Its keyword, or for values that stand alone the name in the manual.
    pub name: &'static str,
    /// How it is written.
    pub form: Form,
    /// Whether the command is incomplete without it.
    pub required: bool,
    /// One line for people.
    pub help: &'static str,
}

/// How an argument is written.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// The keyword alone.
    Word,
    /// One of these keywords, each with its help.
    Choice(&'static [(&'static str, &'static str)]),
    /// The keyword and a value.
    Keyed(Value),
    /// The keyword, and a value that may be left out.
    KeyedOptional(Value),
    /// A value alone.
    Alone(Value),
    /// The rest of the line, a statement of the configuration.
    Statement(Purpose),
    /// The rest of the line, an operational command.
    Command,
    /// The rest of the line, a configuration command.
    ConfigurationCommand,
    /// The rest of the line as it stands.
    Rest,
}

/// What a statement on a command line is for; decides what completes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A whole statement that may not be there yet (`set`).
    Whole,
    /// A place statements stand in (`edit`).
    Place,
    /// Something that is there (`delete`, `show`).
    Existing,
}

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A name out of those the daemon knows.
    Live(Live),
    /// A whole number in this range, both ends included.
    Number(u64, u64),
    /// An address or prefix, IPv4 or IPv6.
    Prefix,
    /// An address, IPv4 or IPv6.
    Address,
    /// An IPv4 address.
    Address4,
    /// An IPv6 address.
    Address6,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A regular expression.
    Pattern,
    /// A file's path.
    File,
    /// `HH:MM`, `HH:MM:SS` or `YYYY-MM-DD HH:MM[:SS]`.
    Time,
    /// Any one word; more than one stand in quotes.
    Text,
}

impl Value {
    /// What is expected, for messages.
    pub fn expected(self) -> String {
        match self {
            Self::Live(live) => live.expected().into(),
            Self::Number(low, high) => format!("a number from {low} to {high}"),
            Self::Prefix => "an address or a prefix".into(),
            Self::Address => "an address".into(),
            Self::Address4 => "an IPv4 address".into(),
            Self::Address6 => "an IPv6 address".into(),
            Self::Words(words) => format!("one of {}", words.join(", ")),
            Self::Pattern => "a regular expression".into(),
            Self::File => "a file name".into(),
            Self::Time => "a time (HH:MM, HH:MM:SS or \"YYYY-MM-DD HH:MM\")".into(),
            Self::Text => "a text".into(),
        }
    }

    /// Whether `text` is such a value; names are not looked up here.
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Live(_) | Self::File | Self::Text => !text.is_empty(),
            Self::Number(low, high) => text.parse().is_ok_and(|n: u64| (low..=high).contains(&n)),
            Self::Prefix => text.parse::<ipnet::IpNet>().is_ok() || text.parse::<std::net::IpAddr>().is_ok(),
            Self::Address => text.parse::<std::net::IpAddr>().is_ok(),
            Self::Address4 => text.parse::<std::net::Ipv4Addr>().is_ok(),
            Self::Address6 => text.parse::<std::net::Ipv6Addr>().is_ok(),
            Self::Words(words) => words.contains(&text),
            Self::Pattern => regex::Regex::new(text).is_ok(),
            Self::Time => time_is_well_formed(text),
        }
    }
}

/// Whether this looks as [`Value::Time`] wants it; whether such a time exists the daemon says.
fn time_is_well_formed(text: &str) -> bool {
    let clock = |text: &str| {
        let parts: Vec<&str> = text.split(':').collect();
        let limits = [23, 59, 59];
        (2..=3).contains(&parts.len())
            && parts
                .iter()
                .zip(limits)
                .all(|(part, limit)| part.len() == 2 && part.parse::<u8>().is_ok_and(|n| n <= limit))
    };
    let date = |text: &str| {
        let parts: Vec<&str> = text.split('-').collect();
        parts.len() == 3
            && parts
                .iter()
                .zip([4, 2, 2])
                .all(|(part, digits)| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))
    };
    match text.split_once([' ', 'T']) {
        Some((day, time)) => date(day) && clock(time.trim_end_matches('Z')),
        None => clock(text),
    }
}

/// Names that are looked up in the daemon, of the active configuration and its cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Live {
    /// NAT pools.
    Pool,
    /// NAT rules.
    Rule,
    /// Service sets.
    ServiceSet,
    /// Cards of the daemon.
    Card,
    /// Service interfaces and units.
    Interface,
    /// Pool addresses that are drained.
    Draining,
    /// Reasons of drops and punts.
    Reason,
    /// Registers of the card.
    Register,
    /// PCI devices of the machine.
    Device,
}

impl Live {
    /// What is expected, for messages.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Pool => "the name of a pool",
            Self::Rule => "the name of a rule",
            Self::ServiceSet => "the name of a service set",
            Self::Card => "the name of a card",
            Self::Interface => "the name of an interface",
            Self::Draining => "an address that is drained",
            Self::Reason => "the name of a reason",
            Self::Register => "the name of a register",
            Self::Device => "a PCI address (DDDD:BB:DD.F)",
        }
    }
}

/// What runs a command. One for each that differs in more than its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Action {
    // Operational: what is.
    ShowNatPool,
    ShowNatMappings,
    ShowNatStatistics,
    ShowDetNatHost,
    ShowDetNatBlock,
    ShowSessions,
    ShowFlows,
    ShowServiceSets,
    ShowServiceSetDrops,
    ShowCard,
    ShowDrops,
    ShowRegisters,
    ShowNeighbours,
    ShowActiveConfiguration,
    ShowCommitLog,
    ShowRollback,
    ShowUptime,
    ShowVersion,
    ShowDrain,
    ShowAlarms,
    ShowLog,
    MonitorDrops,
    MonitorSessions,
    // Operational: what changes something.
    ClearSessions,
    ClearMappings,
    ClearStatistics,
    ClearCommit,
    TestPacket,
    Drain,
    Undrain,
    SupportInformation,
    CardList,
    CardBind,
    CardUnbind,
    Configure,
    SetCli,
    ShowCli,
    // Configuration.
    Edit,
    Up,
    Top,
    Change,
    Annotate,
    Rename,
    Copy,
    Insert,
    ShowCandidate,
    Commit,
    Rollback,
    Load,
    Save,
    Status,
    /// `update`.
    Update,
    Run,
    // Both.
    Help,
    Exit,
    Quit,
    // What output goes through.
    PipeMatch,
    PipeExcept,
    PipeFind,
    PipeCount,
    PipeLast,
    PipeNoMore,
    PipeSave,
    PipeAppend,
    PipeTrim,
    PipeDisplayJson,
    PipeDisplaySet,
    PipeCompare,
}

impl Command {
    const fn new(words: &'static str, action: Action, help: &'static str) -> Self {
        Self {
            words,
            action,
            route: None,
            help,
            args: &[],
            about: "",
        }
    }

    const fn args(mut self, args: &'static [Arg]) -> Self {
        self.args = args;
        self
    }

    const fn about(mut self, text: &'static str) -> Self {
        self.about = text;
        self
    }

    const fn route(mut self, route: RouteId) -> Self {
        self.route = Some(route);
        self
    }

    /// Least class of user that may give it; the daemon enforces this.
    pub fn class(&self) -> Class {
        self.route.map_or(Class::ReadOnly, |id| super::client::route(id).class)
    }

    /// Who may give it, for people.
    pub fn who(&self) -> &'static str {
        match self.action {
            Action::CardBind | Action::CardUnbind => "root of this machine",
            _ => self.class().name(),
        }
    }

    /// How it is written, for usage lines and the manual: `show services nat pool [POOL] [brief | detail]`.
    pub fn usage(&self) -> String {
        let mut out = self.words.to_string();
        for arg in self.args {
            out.push(' ');
            let text = arg.usage();
            if arg.required {
                out.push_str(&text);
            } else {
                out.push_str(&format!("[{text}]"));
            }
        }
        out
    }
}

impl Arg {
    /// How it is written, without the brackets of what may be left out.
    pub fn usage(&self) -> String {
        let value = |value: Value| match value {
            Value::Live(_) | Value::Text | Value::Pattern | Value::File | Value::Time => self.name.to_uppercase(),
            Value::Number(..) => "N".into(),
            Value::Prefix => "PREFIX".into(),
            Value::Address | Value::Address4 | Value::Address6 => "ADDRESS".into(),
            Value::Words(words) => format!("({})", words.join(" | ")),
        };
        match self.form {
            Form::Word => self.name.into(),
            Form::Choice(words) => {
                let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let words = words.join(" | ");
                if self.required {
                    format!("({words})")
                } else {
                    words
                }
            }
            Form::Keyed(of) => format!("{} {}", self.name, value(of)),
            Form::KeyedOptional(of) => format!("{} [{}]", self.name, value(of)),
            Form::Alone(of) => value(of),
            Form::Statement(_) => "STATEMENT".into(),
            Form::Command | Form::ConfigurationCommand => "COMMAND".into(),
            Form::Rest => self.name.to_uppercase(),
        }
    }

    const fn new(name: &'static str, form: Form, help: &'static str) -> Self {
        Self {
            name,
            form,
            required: false,
            help,
        }
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

const fn word(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name, Form::Word, help)
}

const fn choice(name: &'static str, words: &'static [(&'static str, &'static str)]) -> Arg {
    Arg::new(name, Form::Choice(words), "")
}

const fn keyed(name: &'static str, value: Value, help: &'static str) -> Arg {
    Arg::new(name, Form::Keyed(value), help)
}

const fn alone(name: &'static str, value: Value, help: &'static str) -> Arg {
    Arg::new(name, Form::Alone(value), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables hold what the parser relies on.
    #[test]
    fn tables_are_well_formed() {
        for table in [OPERATIONAL, CONFIGURATION, PIPES] {
            for (at, command) in table.iter().enumerate() {
                let name = command.words;
                assert!(!command.help.is_empty() && !command.help.ends_with('.'), "{name}");
                assert_eq!(name.split(' ').collect::<Vec<_>>().join(" "), name);
                for other in &table[at + 1..] {
                    let (a, b) = (format!("{name} "), format!("{} ", other.words));
                    assert!(!a.starts_with(&b) && !b.starts_with(&a), "{name} hides {}", other.words);
                }
                let mut names = std::collections::HashSet::new();
                for (i, arg) in command.args.iter().enumerate() {
                    assert!(names.insert(arg.name), "{name}: {} twice", arg.name);
                    let rest = matches!(
                        arg.form,
                        Form::Statement(_) | Form::Command | Form::ConfigurationCommand | Form::Rest
                    );
                    assert!(!rest || i + 1 == command.args.len(), "{name}: {} is not last", arg.name);
                    match arg.form {
                        Form::Choice(words) => assert!(words.iter().all(|(_, help)| !help.is_empty()), "{name}"),
                        _ => assert!(!arg.help.is_empty(), "{name}: {}", arg.name),
                    }
                }
            }
        }
    }

    #[test]
    fn usage_shows_what_may_be_left_out() {
        let pool = OPERATIONAL
            .iter()
            .find(|c| c.words == "show services nat pool")
            .unwrap();
        assert_eq!(pool.usage(), "show services nat pool [POOL] [brief | detail]");
    }

    #[test]
    fn times() {
        for good in ["23:59", "00:00:01", "2026-12-31 04:00", "2026-12-31T04:00:00Z"] {
            assert!(Value::Time.accepts(good), "{good}");
        }
        for bad in [
            "24:00",
            "1:00",
            "noon",
            "2026-12-31",
            "12",
            "12:00:00:00",
            "26-12-31 04:00",
        ] {
            assert!(!Value::Time.accepts(bad), "{bad}");
        }
    }
}
