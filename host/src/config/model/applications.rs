//! `applications`: what terms match by name.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use nat64_layout::Protocol;
use nat64_xlate::config::Application;

use super::{seconds_of, Builder};
use crate::config::schema::applications::{plain, NO_PROTOCOL, PLAIN};
use crate::config::tree::Node;
use crate::config::value::ports;

/// Name, protocol, destination ports, `application-protocol`.
type Predefined = (&'static str, Option<Protocol>, Option<(u16, u16)>, &'static str);

/// Applications that Junos knows without a definition.
const PREDEFINED: &[Predefined] = &[
    ("any", None, None, "none"),
    ("junos-bgp", Some(Protocol::Tcp), Some((179, 179)), "none"),
    ("junos-dns-tcp", Some(Protocol::Tcp), Some((53, 53)), "none"),
    ("junos-dns-udp", Some(Protocol::Udp), Some((53, 53)), "none"),
    ("junos-http", Some(Protocol::Tcp), Some((80, 80)), "http"),
    ("junos-https", Some(Protocol::Tcp), Some((443, 443)), "https"),
    ("junos-icmp-all", Some(Protocol::Icmp), None, "icmpv6"),
    ("junos-icmp6-all", Some(Protocol::Icmp), None, "icmpv6"),
    ("junos-imap", Some(Protocol::Tcp), Some((143, 143)), "imap"),
    ("junos-imaps", Some(Protocol::Tcp), Some((993, 993)), "imaps"),
    ("junos-ldap", Some(Protocol::Tcp), Some((389, 389)), "none"),
    ("junos-ntp", Some(Protocol::Udp), Some((123, 123)), "none"),
    ("junos-pop3", Some(Protocol::Tcp), Some((110, 110)), "pop3"),
    ("junos-smtp", Some(Protocol::Tcp), Some((25, 25)), "smtp"),
    ("junos-smtps", Some(Protocol::Tcp), Some((465, 465)), "smtps"),
    ("junos-ssh", Some(Protocol::Tcp), Some((22, 22)), "ssh"),
    ("junos-telnet", Some(Protocol::Tcp), Some((23, 23)), "telnet"),
    ("junos-tcp-any", Some(Protocol::Tcp), None, "none"),
    ("junos-udp-any", Some(Protocol::Udp), None, "none"),
];

/// Applications and sets by name.
#[derive(Default)]
pub(super) struct Applications<'t> {
    /// `None`: it has a problem, which has been told.
    one: HashMap<&'t str, Option<Application>>,
    sets: HashMap<&'t str, &'t Node>,
}

impl<'t> Builder<'t> {
    pub(super) fn applications(&mut self) -> Applications<'t> {
        let mut out = Applications::default();
        let Some(top) = self.root.child("applications") else {
            return out;
        };
        for node in top.all("application") {
            let application = self.application(node);
            out.one.insert(node.value(), application);
        }
        out.sets = top.all("application-set").map(|set| (set.value(), set)).collect();
        for set in top.all("application-set") {
            for member in set.all("application") {
                if !out.knows(member.value()) {
                    self.no_application(member, "application");
                }
            }
            for member in set.all("application-set") {
                if !out.sets.contains_key(member.value()) {
                    self.no_application(member, "application-set");
                }
            }
            if out.reaches(set.value(), set) {
                self.problem(format!("the application set `{}` holds itself", set.value()), set);
            }
        }
        out
    }

    fn no_application(&mut self, node: &Node, kind: &str) {
        self.problem(format!("there is no `applications {kind} {}`", node.value()), node);
    }

    fn application(&mut self, node: &'t Node) -> Option<Application> {
        let mut good = true;
        if let Some(leaf) = node.child("application-protocol") {
            if !PLAIN.contains(&leaf.value()) {
                let text = format!("the gateway has no application gateway for `{}`", leaf.value());
                self.problem(text, leaf);
                good = false;
            }
        }
        let named = node.child("application-protocol").map(Node::value);
        let protocol = match (node.child("protocol").map(Node::value), named) {
            (Some("tcp" | "6"), _) => Some(Protocol::Tcp),
            (Some("udp" | "17"), _) => Some(Protocol::Udp),
            (Some(_), _) | (None, Some("icmp" | "icmpv6")) => Some(Protocol::Icmp),
            (None, _) => None,
        };
        for name in ["source-port", "destination-port"] {
            if let Some(leaf) = node.child(name) {
                if !matches!(protocol, Some(Protocol::Tcp | Protocol::Udp)) {
                    self.problem(format!("`{name}` needs `protocol tcp` or `protocol udp`"), leaf);
                    good = false;
                }
            }
        }
        let range = |name: &str| node.child(name).and_then(|leaf| ports(leaf.value()));
        good.then(|| Application {
            protocol,
            destination_ports: range("destination-port"),
            source_ports: range("source-port"),
            inactivity_timeout: seconds_of(Some(node), "inactivity-timeout").filter(|t| *t > Duration::ZERO),
            application_protocol: named.and_then(plain).unwrap_or(NO_PROTOCOL),
        })
    }

    /// The applications of a term.
    pub(super) fn applications_of(&mut self, from: &'t Node, known: &Applications<'t>) -> Vec<Application> {
        let mut out = Vec::new();
        for leaf in from.all("applications") {
            match known.get(leaf.value()) {
                Some(application) => out.extend(application),
                None => self.no_application(leaf, "application"),
            }
        }
        for leaf in from.all("application-sets") {
            match known.sets.get(leaf.value()) {
                Some(set) => {
                    let before = out.len();
                    known.collect(set, &mut HashSet::new(), &mut out);
                    if out.len() == before {
                        self.problem(format!("the application set `{}` is empty", leaf.value()), leaf);
                    }
                }
                None => self.no_application(leaf, "application-set"),
            }
        }
        out
    }
}

impl<'t> Applications<'t> {
    fn knows(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// An application; the inner `None` for one with a problem.
    fn get(&self, name: &str) -> Option<Option<Application>> {
        if let Some(own) = self.one.get(name) {
            return Some(own.clone());
        }
        let known = PREDEFINED.iter().find(|(known, ..)| *known == name);
        known.map(|&(_, protocol, destination_ports, application_protocol)| {
            Some(Application {
                protocol,
                destination_ports,
                source_ports: None,
                inactivity_timeout: None,
                application_protocol,
            })
        })
    }

    /// All applications of a set and the sets in it, each set once.
    fn collect(&self, set: &'t Node, seen: &mut HashSet<&'t str>, out: &mut Vec<Application>) {
        let mut open = vec![set];
        while let Some(set) = open.pop() {
            if seen.insert(set.value()) {
                out.extend(set.all("application").filter_map(|m| self.get(m.value()).flatten()));
                open.extend(
                    set.all("application-set")
                        .filter_map(|m| self.sets.get(m.value()).copied()),
                );
            }
        }
    }

    /// Whether the set called `name` is among those below `from`.
    fn reaches(&self, name: &str, from: &'t Node) -> bool {
        let mut seen = HashSet::new();
        let mut open: Vec<&'t Node> = vec![from];
        while let Some(set) = open.pop() {
            for member in set.all("application-set") {
                if member.value() == name {
                    return true;
                }
                if let (true, Some(next)) = (seen.insert(member.value()), self.sets.get(member.value())) {
                    open.push(next);
                }
            }
        }
        false
    }
}
