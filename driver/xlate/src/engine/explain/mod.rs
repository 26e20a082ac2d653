//! What would become of a packet: a walk through policy and tables that changes nothing (`test nat64 packet`).
//!
//! The walk asks the same questions in the same order as [`Nat64::step`]; a test walks random packets through random
//! states and compares its verdict with what `step` then does. What it cannot know it says ([`Explanation::exact`]):
//! the port a pool would choose, the other pieces of a fragment, and what follows from either.

mod four;
mod six;

use std::fmt;
use std::net::Ipv4Addr;

use nat64_layout::{Direction, Protocol, Reason};

use super::state::Outbound;
use super::{BibInfo, Nat64, SessionInfo};
use crate::config::OnConflict;
use crate::effect::Time;
use crate::icmp_error::{may_answer4, may_answer6};
use crate::packet::{Packet4, Packet6, Transport};
use crate::pool::Request;
use crate::tcp;

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StageName {
    /// Reading the headers.
    Parse,
    /// Unit and service set.
    Unit,
    /// Addresses: Pref64 and embedded address, or pool address.
    Address,
    /// Hop limit, routing header, source route.
    Header,
    /// Fragments.
    Fragment,
    /// Session table.
    Session,
    /// Rules and their terms.
    Rule,
    /// Limits.
    Limit,
    /// Binding (BIB entry).
    Binding,
    /// Address and port pool.
    Pool,
    /// Filter of the binding, and what a first TCP segment may do.
    Filter,
    /// Making the packet of the other family.
    Translation,
    /// A second translation, to another client.
    Hairpin,
    /// An error of ours.
    Answer,
}

impl StageName {
    /// The name used in listings and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Unit => "unit",
            Self::Address => "address",
            Self::Header => "header",
            Self::Fragment => "fragment",
            Self::Session => "session",
            Self::Rule => "rule",
            Self::Limit => "limit",
            Self::Binding => "binding",
            Self::Pool => "pool",
            Self::Filter => "filter",
            Self::Translation => "translation",
            Self::Hairpin => "hairpin",
            Self::Answer => "answer",
        }
    }
}

/// What one stage decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Stage.
    pub name: StageName,
    /// One line, with the facts it decided by.
    pub says: String,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12}{}", self.name.name(), self.says)
    }
}

/// How a packet would end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, translated.
    Sent {
        /// Unit it leaves by.
        unit: usize,
        /// Direction of its last translation.
        direction: Direction,
        /// A session is opened for it.
        opens: bool,
    },
    /// It waits: for other fragments, or for the client's SYN.
    Held,
    /// It ends here.
    Dropped {
        /// Why.
        reason: Reason,
        /// An ICMP error or a RST is sent about it.
        answered: bool,
    },
}

/// What would become of a packet, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What each stage said, in order.
    pub stages: Vec<Stage>,
    /// How it ends.
    pub verdict: Verdict,
    /// Service set of its unit.
    pub service_set: Option<usize>,
    /// Rule term that matched, of a packet without a session.
    pub term: Option<usize>,
    /// Session it belongs to.
    pub session: Option<SessionInfo>,
    /// Binding it goes through.
    pub binding: Option<BibInfo>,
    /// What would be sent on: more than one if it is cut to fragments, none if it is not translated or its pool port is
    /// not chosen yet. The IPv4 Identification of packets that come whole is only an example.
    pub packets: Vec<Vec<u8>>,
    /// Nothing had to be guessed.
    pub exact: bool,
}

/// How a walk ends early.
type Walked = Result<Verdict, Verdict>;

struct Walk<'a> {
    nat: &'a Nat64,
    now: Time,
    told: Explanation,
}

const fn dropped(reason: Reason) -> Verdict {
    Verdict::Dropped {
        reason,
        answered: false,
    }
}

impl Nat64 {
    /// Tells what [`Nat64::step`] would do with a packet at `now`, and why; nothing changes, no counter either.
    pub fn explain(&self, now: Time, unit: usize, packet: &[u8]) -> Explanation {
        let mut walk = Walk {
            nat: self,
            now,
            told: Explanation {
                stages: Vec::new(),
                verdict: Verdict::Held,
                service_set: None,
                term: None,
                session: None,
                binding: None,
                packets: Vec::new(),
                exact: true,
            },
        };
        let end = match packet.first().map(|byte| byte >> 4) {
            Some(6) => walk.six(unit, packet),
            Some(4) => walk.four(unit, packet),
            Some(version) => Err(walk.refuse(StageName::Parse, Reason::BadHeader, format!("IP version {version}"))),
            None => Err(walk.refuse(StageName::Parse, Reason::Truncated, "an empty packet".into())),
        };
        walk.told.verdict = end.unwrap_or_else(|end| end);
        walk.told
    }
}

impl Walk<'_> {
    fn say(&mut self, name: StageName, says: impl Into<String>) {
        let says = says.into();
        self.told.stages.push(Stage { name, says });
    }

    /// The packet ends here, without an answer.
    fn refuse(&mut self, name: StageName, reason: Reason, facts: String) -> Verdict {
        self.say(
            name,
            format!("{facts}: dropped, {} ({})", reason.name(), reason.explanation()),
        );
        dropped(reason)
    }

    /// As the translator's `answer6`.
    fn answer6(&mut self, way: &super::six::Way6, packet: &Packet6<'_>, reason: Reason, error: &str) -> Verdict {
        let why = if !may_answer6(packet) || self.nat.source6(way.unit, way.prefix).is_none() {
            Some(Reason::NotAnswered)
        } else if !self.nat.errors.would_take(self.now) {
            Some(Reason::ErrorRateLimited)
        } else {
            None
        };
        self.answered(reason, why, error)
    }

    /// As the translator's `answer4`.
    fn answer4(&mut self, packet: &Packet4<'_>, reason: Reason, error: &str) -> Verdict {
        let why = if !may_answer4(packet) {
            Some(Reason::NotAnswered)
        } else if !self.nat.errors.would_take(self.now) {
            Some(Reason::ErrorRateLimited)
        } else {
            None
        };
        self.answered(reason, why, error)
    }

    fn answered(&mut self, reason: Reason, why: Option<Reason>, error: &str) -> Verdict {
        match why {
            None => {
                self.say(
                    StageName::Answer,
                    format!("dropped, {}; {error} is sent", reason.name()),
                );
                Verdict::Dropped { reason, answered: true }
            }
            Some(why) => {
                let ends = Nat64::unanswered(reason, why);
                self.say(
                    StageName::Answer,
                    format!("dropped, {}; no {error} is sent: {}", ends.name(), why.explanation()),
                );
                dropped(ends)
            }
        }
    }

    /// The unit's service set, if the unit takes this family.
    fn unit(&mut self, unit: usize, six: bool) -> Result<u16, Verdict> {
        let Some(set) = self.nat.policy.set_of_unit(unit) else {
            return Err(self.refuse(
                StageName::Unit,
                Reason::NoUnit,
                format!("unit {unit} has no service set"),
            ));
        };
        self.told.service_set = Some(usize::from(set));
        let config = &self.nat.policy.config;
        let (name, family) = (&config.units[unit].name, if six { "IPv6" } else { "IPv4" });
        let takes = if six {
            config.units[unit].inside
        } else {
            config.units[unit].outside
        };
        if !takes {
            return Err(self.refuse(
                StageName::Unit,
                Reason::NoRule,
                format!("{family} is not translated on unit {name}"),
            ));
        }
        let set_name = &config.service_sets[usize::from(set)].name;
        self.say(StageName::Unit, format!("unit {name}, service set {set_name}"));
        Ok(set)
    }

    /// Notes and tells the session a packet belongs to.
    fn found(&mut self, slot: u32, direction: Direction, flags: Option<u8>) {
        let Some(session) = self.nat.sessions.get(slot) else {
            return;
        };
        let before = session.state;
        let (after, life) = tcp::segment(before, direction, flags.unwrap_or(0));
        let restarts = match life {
            tcp::Life::Keep => false,
            tcp::Life::Restart => true,
            tcp::Life::Refresh => self.nat.refreshes(slot, direction),
        };
        let begins = if restarts {
            "its lifetime begins anew"
        } else {
            "its lifetime goes on"
        };
        let becomes = if before == after {
            String::new()
        } else {
            format!(" becomes {}", after.name())
        };
        let carried = if session.installed() {
            ", carried by the card"
        } else {
            ""
        };
        self.say(
            StageName::Session,
            format!("session {slot}, {}{becomes}, {begins}{carried}", before.name()),
        );
        self.through(slot);
    }

    /// Notes a session and its binding.
    fn through(&mut self, slot: u32) {
        if let Some(session) = self.nat.sessions.get(slot) {
            self.told.session = self.nat.info(slot, session);
            self.binding(session.bib);
        }
    }

    /// Notes a binding.
    fn binding(&mut self, slot: u32) {
        self.told.binding = self.nat.bibs.get(slot).map(|bib| self.nat.bib_info(slot, bib));
    }

    fn term_name(&self, set: u16, term: u16) -> String {
        let term = &self.nat.policy.set(set).terms[usize::from(term)];
        format!("rule {} term {}", term.rule, term.name)
    }

    /// The limits on new sessions.
    fn limits(&mut self, set: u16, client: std::net::Ipv6Addr, protocol: Protocol) -> Result<(), Verdict> {
        let rate = self.nat.setup_rates.get(usize::from(set)).and_then(Option::as_ref);
        let allowed = self.nat.check_limits(set, client, protocol);
        let allowed = allowed.and_then(|()| match rate {
            Some(rate) if !rate.would_take(self.now) => Err(Reason::SetupRate),
            _ => Ok(()),
        });
        match allowed {
            Ok(()) => Ok(()),
            Err(reason) => Err(self.refuse(StageName::Limit, reason, "a new session".into())),
        }
    }

    /// As `open_outbound`: the pool address and port the client leaves by, if they are chosen already.
    fn open_outbound(&mut self, packet: &Outbound) -> Result<Option<(Ipv4Addr, u16)>, Reason> {
        let nat = self.nat;
        let (set, remote) = (packet.service_set, packet.remote);
        let matched = self.rule(packet)?;
        self.limits(set, packet.client.0, packet.protocol).map_err(reason_of)?;
        let mut key = nat.bib_key(packet, matched);
        let mut slot = nat.find_bib(&key);
        if let Some(found) = slot.filter(|&found| nat.sessions.find_remote(&nat.bibs, found, remote).is_some()) {
            let is_static = nat.bibs.get(found).is_some_and(crate::bib::Bib::is_static);
            self.say(
                StageName::Binding,
                "another rule or unit maps this client to the same server through its binding",
            );
            if is_static || nat.policy.set(set).on_conflict == OnConflict::Drop {
                self.refuse(
                    StageName::Binding,
                    Reason::EimConflict,
                    "the session would clash".into(),
                );
                return Err(Reason::EimConflict);
            }
            key.scope = crate::bib::Scope::Term;
            slot = nat.bibs.find6(&key);
        }
        let Some(slot) = slot else {
            self.lease(packet, matched)?;
            return Ok(None);
        };
        self.binding(slot);
        let pool = nat.bibs.get(slot).map(|bib| bib.pool);
        if let Some((address, port)) = pool {
            self.say(
                StageName::Binding,
                format!("the client is bound to {address} port {port}"),
            );
        }
        if let Err(reason) = nat.check_land_attack(set, slot, remote) {
            self.refuse(StageName::Limit, reason, "source and destination are the same".into());
            return Err(reason);
        }
        Ok(pool)
    }

    /// The first term that matches.
    fn rule(&mut self, packet: &Outbound) -> Result<u16, Reason> {
        let set = packet.service_set;
        let matched = self.nat.policy.find_term(
            set,
            Some(packet.prefix),
            packet.protocol,
            packet.client,
            packet.destination,
        );
        match matched {
            Ok(matched) => {
                self.told.term = Some(usize::from(matched.term));
                self.say(StageName::Rule, self.term_name(set, matched.term));
                Ok(matched.term)
            }
            Err(unmatched) => {
                let facts = match unmatched {
                    crate::policy::Unmatched::Excepted(term) => {
                        self.told.term = Some(usize::from(term));
                        format!("{} says no-translation", self.term_name(set, term))
                    }
                    crate::policy::Unmatched::NoTerm => "no term matches".into(),
                };
                self.refuse(StageName::Rule, unmatched.reason(), facts);
                Err(unmatched.reason())
            }
        }
    }

    /// Whether the pools would give a new binding a port.
    fn lease(&mut self, packet: &Outbound, term: u16) -> Result<(), Reason> {
        let nat = self.nat;
        let set = packet.service_set;
        if nat.bibs.len() >= nat.policy.config.limits.bibs as usize {
            self.refuse(StageName::Limit, Reason::BibLimit, "a new binding".into());
            return Err(Reason::BibLimit);
        }
        let translate = nat.policy.translate(set, term).ok_or(Reason::NoRule)?;
        let fixed = match &nat.policy.sets[usize::from(set)].terms[usize::from(term)].deterministic {
            Some(map) => match map.forward(packet.client.0) {
                Some(fixed) => Some(fixed),
                None => {
                    let facts = "deterministic NAT numbers no such client".into();
                    self.refuse(StageName::Pool, Reason::NoRule, facts);
                    return Err(Reason::NoRule);
                }
            },
            None => None,
        };
        let request = Request {
            subscriber: nat.policy.subscriber(set, packet.client.0),
            protocol: packet.protocol,
            source_port: packet.client.1,
            paired: translate.paired,
            fixed,
        };
        let mut pool = translate.pool;
        let mut answer = nat.pools[pool].check(self.now, &request);
        if let (Err(error), Some(overload)) = (answer, translate.overload_pool) {
            let (from, to) = (
                &nat.policy.config.pools[pool].name,
                &nat.policy.config.pools[overload].name,
            );
            self.say(StageName::Pool, format!("pool {from}: {error}; overload pool {to}"));
            pool = overload;
            answer = nat.pools[pool].check(self.now, &Request { fixed: None, ..request });
        }
        let name = &nat.policy.config.pools[pool].name;
        match answer {
            Ok(()) => {
                self.say(StageName::Pool, format!("pool {name} gives a port to a new binding"));
                Ok(())
            }
            Err(error) => {
                self.refuse(StageName::Pool, error.reason(), format!("pool {name}: {error}"));
                Err(error.reason())
            }
        }
    }
}

fn reason_of(verdict: Verdict) -> Reason {
    match verdict {
        Verdict::Dropped { reason, .. } => reason,
        Verdict::Sent { .. } | Verdict::Held => Reason::NoMapping,
    }
}

/// One line about a packet.
fn describe(transport: Transport) -> String {
    match transport {
        Transport::Tcp {
            src_port,
            dst_port,
            flags,
        } => {
            let letters = ["F", "S", "R", "P", "A", "U", "E", "C"];
            let set: String = (0..8)
                .filter(|bit| flags >> bit & 1 != 0)
                .map(|bit| letters[bit])
                .collect();
            format!("TCP {src_port} -> {dst_port} [{set}]")
        }
        Transport::Udp { src_port, dst_port, .. } => format!("UDP {src_port} -> {dst_port}"),
        Transport::Echo { request, id } => {
            format!("ICMP echo {} {id}", if request { "request" } else { "reply" })
        }
        Transport::IcmpError { kind, code } => format!("ICMP error type {kind} code {code}"),
        Transport::IcmpOther { kind, code } => format!("ICMP type {kind} code {code}"),
        Transport::Fragment => "a later fragment".into(),
        Transport::Other(protocol) => format!("protocol {protocol}"),
    }
}

/// The IP packets that were appended one behind the other.
fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut start = 0;
    let cut = |length: usize| {
        let packet = bytes[start..start + length].to_vec();
        start += length;
        packet
    };
    crate::packet::lengths(bytes).map(cut).collect()
}
