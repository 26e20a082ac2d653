//! Prometheus metrics: counters are read from the cards at each scrape, and given as they are. Nothing is kept here.

use std::fmt;
use std::sync::Arc;

use nat64_driver::card::{counted, PortCounters};
use nat64_driver::GatewayConfig;
use nat64_layout::{Direction, Protocol, Reason, ReasonKind};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::dataplane::{Counters, Identity};
use super::samples::{By, Tally};
use super::server::Failure;
use super::worker::{Load, Status};
use super::Daemon;
use crate::api::card::CardState;
use crate::api::ErrorCode;

/// Media type of the answer.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One of a port's counters.
type PortNumber = fn(&PortCounters) -> u64;

/// One card at the time of a scrape.
struct Look {
    card: String,
    status: Status,
    load: Load,
    found: Option<(Counters, Identity, Arc<GatewayConfig>)>,
}

struct Looks {
    cards: Vec<Look>,
    resident: Option<u64>,
    commit: Option<u64>,
    syslog: super::syslog::Totals,
}

impl fmt::Debug for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looks").finish_non_exhaustive()
    }
}

/// One family of metrics on its way out: every card's values under one name.
struct Family<'a>(MetricEncoder<'a>);

impl Family<'_> {
    fn counter<L: EncodeLabelSet>(&mut self, labels: &L, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.0.encode_family(labels)?)
    }

    fn gauge<L: EncodeLabelSet>(&mut self, labels: &L, value: f64) -> fmt::Result {
        ConstGauge::new(value).encode(self.0.encode_family(labels)?)
    }
}

const fn direction_name(direction: usize) -> &'static str {
    if direction == Direction::SixToFour as usize {
        "six-to-four"
    } else {
        "four-to-six"
    }
}

impl Looks {
    fn open(&self) -> impl Iterator<Item = (&str, &Counters, &Identity, &GatewayConfig)> {
        self.cards.iter().filter_map(|look| {
            let (counters, identity, config) = look.found.as_ref()?;
            Some((look.card.as_str(), counters, identity, &**config))
        })
    }

    fn cards(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut up = family(encoder, "card_up", "Whether the card works.", None, MetricType::Gauge)?;
        for look in &self.cards {
            let online = f64::from(u8::from(look.status.state == CardState::Online));
            up.gauge(&[("card", look.card.as_str())], online)?;
        }
        let mut opened = family(
            encoder,
            "card_opens",
            "Times the card was taken.",
            None,
            MetricType::Counter,
        )?;
        for look in &self.cards {
            opened.counter(&[("card", look.card.as_str())], look.status.opened)?;
        }
        let text = "Part of the last second the slow path was busy.";
        let mut busy = family(encoder, "slow_path_busy", text, Some(&Unit::Ratios), MetricType::Gauge)?;
        for look in &self.cards {
            busy.gauge(&[("card", look.card.as_str())], look.load.busy)?;
        }
        let text = "Longest time one question of the control plane held up packet work.";
        let mut hold = family(
            encoder,
            "slow_path_longest_hold",
            text,
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for look in &self.cards {
            hold.gauge(&[("card", look.card.as_str())], look.load.longest_hold.as_secs_f64())?;
        }
        Ok(())
    }

    fn traffic(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let text = "Packets translated, by who did it.";
        let mut translated = family(encoder, "translated_packets", text, None, MetricType::Counter)?;
        for (card, counters, ..) in self.open() {
            let by_card = counters.card.as_ref().map(|card| card.translated());
            for direction in 0..2 {
                let labels = |by| [("card", card), ("direction", direction_name(direction)), ("by", by)];
                translated.counter(&labels("host"), counters.host.translated[direction])?;
                if let Some(by_card) = by_card {
                    translated.counter(&labels("card"), by_card[direction])?;
                }
            }
        }
        self.books(encoder)?;
        let mut reasons = family(
            encoder,
            "reason_packets",
            "Packets by the reason they were dropped, answered or handed to the host.",
            None,
            MetricType::Counter,
        )?;
        for (card, counters, ..) in self.open() {
            let tally = Tally::new(counters);
            for &reason in Reason::ALL {
                for by in [By::Card, By::Host] {
                    let count = tally.of(by, reason);
                    if count > 0 {
                        let kind = match by.kind(reason) {
                            ReasonKind::Punt => "punt",
                            ReasonKind::Drop => "drop",
                            ReasonKind::Answer => "answer",
                        };
                        let labels = [
                            ("card", card),
                            ("reason", reason.name()),
                            ("kind", kind),
                            ("by", by.name()),
                        ];
                        reasons.counter(&labels, count)?;
                    }
                }
            }
        }
        let numbers: [(&str, &str, PortNumber); 4] = [
            ("port_receive_packets", "Frames the card received.", |p| p.packets_in),
            ("port_receive_bytes", "Bytes the card received.", |p| p.bytes_in),
            ("port_transmit_packets", "Frames the card sent.", |p| p.packets_out),
            ("port_transmit_bytes", "Bytes the card sent.", |p| p.bytes_out),
        ];
        for (name, text, value) in numbers {
            let mut ports = family(encoder, name, text, None, MetricType::Counter)?;
            for (card, counters, ..) in self.open() {
                for (number, port) in counters.card.iter().flat_map(|card| &card.ports).enumerate() {
                    ports.counter(&[("card", card), ("port", &number.to_string())], value(port))?;
                }
            }
        }
        let text = "Frames a port's MAC counted, by what became of them.";
        let mut frames = family(encoder, "port_mac_frames", text, None, MetricType::Counter)?;
        for (card, counters, ..) in self.open() {
            let macs = counters.card.iter().flat_map(|card| card.macs.iter().enumerate());
            for (port, mac) in macs.filter_map(|(port, mac)| Some((port.to_string(), mac.as_ref()?))) {
                for (outcome, &count) in counted().iter().zip(&mac.frames) {
                    let labels = [("card", card), ("port", port.as_str()), ("outcome", outcome)];
                    frames.counter(&labels, count.into())?;
                }
            }
        }
        Ok(())
    }

    /// Packets that were neither forwarded nor ended for a reason, and those that did not come in.
    fn books(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let text =
            "Packets made here: ICMP errors and resets, TCP probes, ARP and discovery, fragments beyond the first.";
        let mut made = family(encoder, "originated_packets", text, None, MetricType::Counter)?;
        for (card, counters, ..) in self.open() {
            let (translator, discovery) = (&counters.translator, &counters.host.discovery);
            for (kind, count) in [
                ("answer", translator.answers),
                ("probe", translator.probes),
                ("discovery-request", discovery.requests),
                ("discovery-answer", discovery.answers),
                ("fragment", translator.split),
            ] {
                made.counter(&[("card", card), ("kind", kind)], count)?;
            }
        }
        let text = "Packets that ended here as they should: within another packet, or taken as ARP and discovery.";
        let mut consumed = family(encoder, "consumed_packets", text, None, MetricType::Counter)?;
        for (card, counters, ..) in self.open() {
            for (kind, count) in [
                ("fragment", counters.translator.joined),
                ("stored-syn", counters.translator.stored_syns_met),
                ("discovery", counters.host.discovery.taken),
            ] {
                consumed.counter(&[("card", card), ("kind", kind)], count)?;
            }
        }
        let text = "Packets that wait here now, and for what.";
        let mut waiting = family(encoder, "waiting_packets", text, None, MetricType::Gauge)?;
        for (card, counters, ..) in self.open() {
            for (what, count) in [
                ("translator", counters.translator.holding),
                ("next-hop", counters.host.waiting as u64),
            ] {
                waiting.gauge(&[("card", card), ("for", what)], count as f64)?;
            }
        }
        Ok(())
    }

    fn state(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut sessions = family(encoder, "sessions", "Sessions now.", None, MetricType::Gauge)?;
        for (card, counters, _, config) in self.open() {
            for (set, stats) in config.xlate.service_sets.iter().zip(&counters.translator.service_sets) {
                sessions.gauge(
                    &[("card", card), ("service_set", set.name.as_str())],
                    stats.sessions.into(),
                )?;
            }
        }
        for (name, text, opened) in [
            ("sessions_opened", "Sessions opened.", true),
            ("sessions_closed", "Sessions closed.", false),
        ] {
            let mut moved = family(encoder, name, text, None, MetricType::Counter)?;
            for (card, counters, _, config) in self.open() {
                for (set, stats) in config.xlate.service_sets.iter().zip(&counters.translator.service_sets) {
                    let labels = [("card", card), ("service_set", set.name.as_str())];
                    moved.counter(&labels, if opened { stats.opened } else { stats.closed })?;
                }
            }
        }
        let mut mappings = family(
            encoder,
            "mappings",
            "Mappings (BIB entries) now.",
            None,
            MetricType::Gauge,
        )?;
        for (card, counters, ..) in self.open() {
            for (protocol, count) in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp]
                .iter()
                .zip(counters.mappings)
            {
                let name = match protocol {
                    Protocol::Tcp => "tcp",
                    Protocol::Udp => "udp",
                    Protocol::Icmp => "icmp",
                };
                mappings.gauge(&[("card", card), ("protocol", name)], count as f64)?;
            }
        }
        let mut tables = family(encoder, "table_used", "Entries in use.", None, MetricType::Gauge)?;
        for (card, counters, identity, _) in self.open() {
            let host = &counters.host;
            tables.gauge(&[("card", card), ("table", "neighbours")], host.neighbours as f64)?;
            if identity.hardware.is_some() {
                for (table, used) in [
                    ("card-sessions", host.installed),
                    ("card-tags", host.tags),
                    ("card-stash", host.stash),
                    ("card-next-hops", host.next_hops),
                ] {
                    tables.gauge(&[("card", card), ("table", table)], used as f64)?;
                }
            }
        }
        let mut ports = family(
            encoder,
            "pool_ports_in_use",
            "Pool ports in use.",
            None,
            MetricType::Gauge,
        )?;
        for (card, counters, _, config) in self.open() {
            for (pool, usage) in config.xlate.pools.iter().zip(&counters.translator.pools) {
                for (protocol, count) in ["tcp", "udp", "icmp"].into_iter().zip(usage.in_use) {
                    let labels = [("card", card), ("pool", pool.name.as_str()), ("protocol", protocol)];
                    ports.gauge(&labels, count as f64)?;
                }
            }
        }
        let text = "Requests for a port that were refused: none was free.";
        let mut refused = family(encoder, "pool_out_of_ports", text, None, MetricType::Counter)?;
        for (card, counters, _, config) in self.open() {
            for (pool, usage) in config.xlate.pools.iter().zip(&counters.translator.pools) {
                refused.counter(&[("card", card), ("pool", pool.name.as_str())], usage.out_of_ports)?;
            }
        }
        Ok(())
    }

    fn daemon(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let none: [(&str, &str); 0] = [];
        if let Some(resident) = self.resident {
            let text = "Resident memory of the daemon.";
            family(encoder, "resident_memory", text, Some(&Unit::Bytes), MetricType::Gauge)?
                .gauge(&none, resident as f64)?;
        }
        if let Some(commit) = self.commit {
            let text = "Number of the active commit.";
            family(encoder, "commit", text, None, MetricType::Gauge)?.gauge(&none, commit as f64)?;
        }
        let text = "Syslog messages, by what became of them.";
        let mut syslog = family(encoder, "syslog_messages", text, None, MetricType::Counter)?;
        for (fate, count) in self.syslog.by_fate() {
            syslog.counter(&[("fate", fate)], count)?;
        }
        Ok(())
    }
}

fn family<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    unit: Option<&'a Unit>,
    kind: MetricType,
) -> Result<Family<'a>, fmt::Error> {
    Ok(Family(encoder.encode_descriptor(name, help, unit, kind)?))
}

impl Collector for Looks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.cards(&mut encoder)?;
        self.traffic(&mut encoder)?;
        self.state(&mut encoder)?;
        self.daemon(&mut encoder)
    }
}

/// Looks at every card and writes it all down.
pub async fn scrape(daemon: &Daemon) -> Result<String, Failure> {
    let mut cards = Vec::new();
    let asked = daemon.cards().into_iter().map(|card| {
        let looking = card.clone();
        let found = tokio::spawn(async move {
            let looked = looking.look(|dataplane| {
                let (identity, counters) = (dataplane.identity()?, dataplane.counters()?);
                let config = dataplane.config();
                Ok(config.map(|config| (counters, identity, config)))
            });
            looked.await
        });
        (card, found)
    });
    for (card, found) in asked.collect::<Vec<_>>() {
        let found = found
            .await
            .map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
        cards.push(Look {
            card: card.name.to_string(),
            status: card.status(),
            load: card.load(),
            // A card that does not answer is down, and has no numbers.
            found: found.ok().flatten(),
        });
    }
    let looks = Looks {
        cards,
        resident: super::resident_bytes(),
        commit: daemon.configuration.active_commit(),
        syslog: daemon.syslog.totals(),
    };
    let mut registry = Registry::with_prefix("nat64");
    registry.register_collector(Box::new(looks));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
    Ok(text)
}
