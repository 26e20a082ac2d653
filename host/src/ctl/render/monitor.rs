//! `monitor drops`, `monitor sessions`: one event, one line or a few.

use std::fmt::Write;

use chrono::{Local, TimeZone};

use crate::api::monitor::{Event, SessionEvent};
use crate::api::sessions::Traffic;

use super::{plural, rate};

/// `22:34:06.123`, in the time zone of this machine.
fn clock(milliseconds: u64) -> String {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    match Local.timestamp_millis_opt(milliseconds).single() {
        Some(time) => time.format("%H:%M:%S%.3f").to_string(),
        None => milliseconds.to_string(),
    }
}

fn session(what: &str, event: &SessionEvent, traffic: bool) -> String {
    let icmp = event.protocol.starts_with("ICMP");
    let far = if icmp { event.client_port } else { event.server_port };
    let server = if icmp { event.nat_port } else { event.server_port };
    let mut out = format!(
        "{} {what:<5} {:<6} {}, {} {}:{} -> {}:{far}  nat {}:{} -> {}:{server}",
        clock(event.time),
        event.protocol,
        event.service_set_name,
        event.inside_interface,
        event.client_address,
        event.client_port,
        event.destination_address,
        event.nat_address,
        event.nat_port,
        event.server_address,
    );
    if traffic {
        let of = |traffic: Traffic| format!("{}/{} bytes", plural(traffic.packets, "packet"), traffic.bytes);
        let _ = write!(out, "  out {}, back {}", of(event.six_to_four), of(event.four_to_six));
    }
    out
}

/// An event as text; empty for signs of life.
pub fn event(event: &Event) -> String {
    match event {
        Event::SessionOpen(one) => session("open", one, false),
        Event::SessionClose(one) => session("close", one, true),
        Event::PortBlockAlloc(one) => format!(
            "{} block {} -> {}:{}-{} given",
            clock(one.time),
            one.subscriber,
            one.address,
            one.low,
            one.high
        ),
        Event::PortBlockRelease(one) => format!(
            "{} block {} -> {}:{}-{} given back",
            clock(one.time),
            one.subscriber,
            one.address,
            one.low,
            one.high
        ),
        Event::Drops(drops) => {
            let mut out = String::new();
            for moved in &drops.reasons {
                let _ = writeln!(
                    out,
                    "{} {:<24} +{} ({} per second, {} in all)  {}",
                    clock(drops.time),
                    moved.reason,
                    moved.packets,
                    rate(moved.rate),
                    moved.count,
                    moved.explanation
                );
            }
            out
        }
        Event::Lost(lost) => format!("({} not shown: too many at once)", plural(lost.events, "event")),
        Event::Idle(_) => String::new(),
    }
}
