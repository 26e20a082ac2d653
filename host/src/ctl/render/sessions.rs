//! `show services sessions`.

use std::fmt::Write;

use crate::api::sessions::{Flow, Session, SessionCount, SessionsCleared, Utilization};

use super::flows::{end, line, role, translation};
use super::{by_set, percent, plural, rate, several};

/// How much of each session is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionView {
    /// Both flows.
    Brief,
    /// Everything.
    Extensive,
    /// One line.
    Terse,
}

/// What the heading above the last session said, so that a page goes on where the one before ended.
pub type Above = Option<(String, String, String)>;

/// A page of sessions.
pub fn sessions(page: &[Session], view: SessionView, show_card: bool, above: &mut Above) -> String {
    let mut out = String::new();
    for session in page {
        // Extensive names the service set in the line of each session.
        let set = match view {
            SessionView::Extensive => String::new(),
            _ => session.service_set_name.clone(),
        };
        let key = (session.card.clone(), session.interface_name.clone(), set);
        if above.as_ref() != Some(&key) {
            if above.is_some() {
                out.push('\n');
            }
            let card = if show_card {
                format!("Card: {}, ", session.card)
            } else {
                String::new()
            };
            match view {
                SessionView::Extensive => {
                    let _ = writeln!(out, "{card}{}", session.interface_name);
                }
                _ => {
                    let _ = writeln!(
                        out,
                        "{card}{}, Service Set: {}",
                        session.interface_name, session.service_set_name
                    );
                }
            }
            *above = Some(key);
        }
        match view {
            SessionView::Terse => terse(&mut out, session),
            _ => one(&mut out, session, view == SessionView::Extensive),
        }
    }
    out
}

fn terse(out: &mut String, session: &Session) {
    let arrow = if session.inbound { "<-" } else { "->" };
    let [initiator, responder] = Flow::of(session);
    let flow = if session.inbound { responder } else { initiator };
    let _ = writeln!(
        out,
        "{:<7} {} {arrow} {}  nat {} {arrow} {}  {}{}, {}s",
        flow.protocol,
        end(flow.source_address, flow.source_port),
        end(flow.destination_address, flow.destination_port),
        end(flow.nat_source_address, flow.nat_source_port),
        end(flow.nat_destination_address, flow.nat_destination_port),
        session.state,
        if session.offload { ", card" } else { "" },
        session.timeout,
    );
}

fn one(out: &mut String, session: &Session, extensive: bool) {
    let flows = Flow::of(session);
    if extensive {
        let _ = writeln!(
            out,
            "Service Set: {}, Session: {}, ALG: none, Flags: 0x0000, IP Action: no, Offload: {}, Asymmetric: no",
            session.service_set_name,
            session.session_id,
            if session.offload { "yes" } else { "no" },
        );
        let _ = writeln!(out, "NAT PLugin Data:");
        let _ = writeln!(out, "  NAT Action:   Translation Type - NAT64");
        translation(out, &flows[usize::from(session.inbound)]);
        let _ = writeln!(
            out,
            "    NAT rule               {}, Term: {}, Pool: {}",
            session.rule, session.term, session.pool_name
        );
        let hairpin = if session.hairpin { ", Hairpin: yes" } else { "" };
        let _ = writeln!(
            out,
            "  State: {}, Application protocol: {}, Input interface: {}{hairpin}",
            session.state, session.application_protocol, session.inside_interface
        );
    }
    for flow in &flows {
        line(out, flow);
        if extensive {
            let _ = writeln!(out, "    Byte count: {}", flow.traffic.bytes);
            role(out, flow);
        }
    }
}

/// How many sessions.
pub fn count(counts: &[SessionCount]) -> String {
    let rows = counts.iter().map(|one| {
        let place = [&one.card, &one.interface_name, &one.service_set_name].map(String::as_str);
        (place, one.sess_count)
    });
    by_set(">Sessions count", rows)
}

/// How full and how busy.
pub fn utilization(cards: &[Utilization]) -> String {
    let show_card = several(cards.iter().map(|one| one.card.as_str()));
    let mut out = String::new();
    for one in cards {
        if !out.is_empty() {
            out.push('\n');
        }
        if show_card {
            let _ = writeln!(out, "Card: {}", one.card);
        }
        let _ = writeln!(out, "Interface: {}", one.interface_name);
        let mut line = |label: &str, value: String| {
            let _ = writeln!(out, "  {label:<24}: {value}");
        };
        line(
            "Sessions",
            format!(
                "{} of {} ({})",
                one.session_count,
                one.session_limit,
                percent(one.session_percent)
            ),
        );
        line(
            "Sessions in the card",
            format!("{} of {}", one.card_sessions, one.card_capacity),
        );
        line("Session setup rate", format!("{} per second", rate(one.setup_rate)));
        line(
            "Session teardown rate",
            format!("{} per second", rate(one.teardown_rate)),
        );
        line("Packet drop rate", format!("{} per second", rate(one.drop_rate)));
        line("CPU load of slow path", percent(one.cpu_load));
        line("Memory of the daemon", format!("{} MiB", one.memory_bytes >> 20));
    }
    out
}

/// How many sessions went.
pub fn cleared(counts: &[SessionsCleared]) -> String {
    let rows = counts.iter().map(|one| {
        let place = [&one.card, &one.interface_name, &one.service_set_name].map(String::as_str);
        (place, one.sess_marked_for_deletion)
    });
    let mut out = by_set(">Sessions marked for deletion", rows);
    if counts.len() > 1 {
        let total = counts.iter().map(|one| one.sess_marked_for_deletion).sum();
        let _ = writeln!(out, "{} in all", plural(total, "session"));
    }
    out
}
