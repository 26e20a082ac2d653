//! `services service-set NAME syslog`.

use std::net::IpAddr;

use super::types::{Syslog, SyslogClasses, SyslogHost, SyslogTarget};
use super::{has, u16_of, u32_of, Builder};
use crate::config::tree::Node;

/// Most hosts of a service set (Junos).
const MAX_HOSTS: usize = 10;
/// UDP port of syslog (RFC 5426 section 3.3).
const PORT: u16 = 514;
/// Severity of `any`: debug (RFC 5424 section 6.2.1).
const ANY: u8 = 7;
/// local0.
const FACILITY: u8 = 16;

/// Severity of a level (RFC 5424 section 6.2.1); `None` for `none`.
fn severity(level: &str) -> Option<u8> {
    let levels = ["emergency", "alert", "critical", "error", "warning", "notice", "info"];
    match level {
        "none" => None,
        level => Some(levels.iter().position(|l| *l == level).map_or(ANY, |at| at as u8)),
    }
}

/// Number of a facility (RFC 5424 section 6.2.1).
fn facility(name: &str) -> u8 {
    match name {
        "kernel" => 0,
        "user" => 1,
        "daemon" => 3,
        "authorization" => 4,
        "ftp" => 11,
        local => 16 + local.bytes().last().map_or(0, |digit| digit.wrapping_sub(b'0')).min(7),
    }
}

impl<'t> Builder<'t> {
    pub(super) fn syslog(&mut self, set: &'t Node) -> Syslog {
        let options = set.child("service-set-options");
        let mut out = Syslog {
            descriptive: has(options, "enable-descriptive-session-syslog"),
            ..Syslog::default()
        };
        let Some(syslog) = set.child("syslog") else {
            return out;
        };
        out.message_rate_limit = u32_of(Some(syslog), "message-rate-limit");
        for (index, host) in syslog.all("host").enumerate() {
            if index == MAX_HOSTS {
                self.problem(format!("a service set has at most {MAX_HOSTS} syslog hosts"), host);
            }
            out.hosts.push(self.syslog_host(host));
        }
        out
    }

    fn syslog_host(&mut self, host: &'t Node) -> SyslogHost {
        let mut levels: Vec<&'t Node> = host.all("services").collect();
        if let Some(contents) = host.child("contents") {
            levels.extend(
                contents
                    .children()
                    .iter()
                    .map(AsRef::as_ref)
                    .filter(|n| !n.is_inactive()),
            );
        }
        let name = |node: &'t Node| {
            if node.name() == "services" {
                node.value()
            } else {
                node.name()
            }
        };
        let none = levels.iter().find(|node| name(node) == "none");
        if let (Some(none), true) = (none, levels.len() > 1) {
            self.problem("`none` and other levels exclude each other", none);
        }
        let level = match levels.as_slice() {
            [] => Some(ANY),
            all => all.iter().filter_map(|node| severity(name(node))).max(),
        };
        let classes = host.child("class").map_or(SyslogClasses::ALL, |class| {
            let sessions = class.child("session-logs");
            let both = sessions.is_some_and(|s| s.child("open").is_none() && s.child("close").is_none());
            SyslogClasses {
                session_open: both || has(sessions, "open"),
                session_close: both || has(sessions, "close"),
                nat: has(Some(class), "nat-logs"),
                packet: has(Some(class), "packet-logs"),
            }
        });
        let leaf = |name: &str| host.child(name).map(Node::value);
        SyslogHost {
            host: match host.value() {
                "local" => SyslogTarget::Local,
                text => text
                    .parse::<IpAddr>()
                    .map_or_else(|_| SyslogTarget::Name(text.to_string()), SyslogTarget::Address),
            },
            port: u16_of(Some(host), "port").unwrap_or(PORT),
            source: leaf("source-address").and_then(|text| text.parse().ok()),
            level,
            facility: leaf("facility-override").map_or(FACILITY, facility),
            log_prefix: leaf("log-prefix").map(str::to_string),
            classes,
        }
    }
}
