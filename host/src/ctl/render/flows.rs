//! `show services stateful-firewall flows`, and the lines of a flow in `show services sessions`.

use std::fmt::Write;
use std::net::IpAddr;

use crate::api::sessions::{Flow, FlowCount, FlowDirection, FlowRole};

use super::sessions::Above;
use super::{by_set, heading};

/// Address and port as Junos writes them: no brackets.
pub(super) fn end(address: IpAddr, port: u16) -> String {
    format!("{address}:{port}")
}

/// Both ends, state, direction and packets.
pub(super) fn line(out: &mut String, flow: &Flow) {
    let _ = writeln!(
        out,
        "{:<7} {:>24}     ->   {:>26}     {:<8} {} {:>15}",
        flow.protocol,
        end(flow.source_address, flow.source_port),
        end(flow.destination_address, flow.destination_port),
        flow.flow_state,
        match flow.direction {
            FlowDirection::Input => "I",
            FlowDirection::Output => "O",
        },
        flow.traffic.packets
    );
}

/// What becomes of both ends.
pub(super) fn translation(out: &mut String, flow: &Flow) {
    for (label, from, to) in [
        (
            "NAT source",
            end(flow.source_address, flow.source_port),
            end(flow.nat_source_address, flow.nat_source_port),
        ),
        (
            "NAT destination",
            end(flow.destination_address, flow.destination_port),
            end(flow.nat_destination_address, flow.nat_destination_port),
        ),
    ] {
        let _ = writeln!(out, "    {label:<22} {from:<21}  ->     {to}");
    }
}

/// Role and timeout.
pub(super) fn role(out: &mut String, flow: &Flow) {
    let role = match flow.role {
        FlowRole::Initiator => "Initiator",
        FlowRole::Responder => "Responder",
    };
    let _ = writeln!(out, "    Flow role: {role}, Timeout: {}", flow.timeout);
}

/// A page of flows. `above` is what the heading above the last flow said, so that a page goes on where the one before
/// ended.
pub fn flows(page: &[Flow], extensive: bool, show_card: bool, above: &mut Above) -> String {
    let mut out = String::new();
    for flow in page {
        let key = (
            flow.card.clone(),
            flow.interface_name.clone(),
            flow.service_set_name.clone(),
        );
        if above.as_ref() != Some(&key) {
            if above.is_some() {
                out.push('\n');
            }
            let card = show_card.then_some(flow.card.as_str());
            out.push_str(&heading(card, &flow.interface_name, &flow.service_set_name));
            let _ = writeln!(out, "{:<67}{:<8} Dir   Frm count", "Flow", "State");
            *above = Some(key);
        }
        line(&mut out, flow);
        if extensive {
            translation(&mut out, flow);
            let _ = writeln!(
                out,
                "    Byte count: {}, Session: {}, State: {}, Application protocol: {}",
                flow.traffic.bytes, flow.session_id, flow.session_state, flow.application_protocol
            );
            role(&mut out, flow);
        }
    }
    out
}

/// How many flows.
pub fn flow_count(counts: &[FlowCount]) -> String {
    let rows = counts.iter().map(|one| {
        let place = [&one.card, &one.interface_name, &one.service_set_name].map(String::as_str);
        (place, one.flow_count)
    });
    by_set(">Flow count", rows)
}
