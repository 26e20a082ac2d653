//! Messages to syslog hosts: RFC 5424 over UDP (RFC 5426), in the words of Junos (`JSERVICES_SESSION_OPEN`, ...).
//!
//! What goes where is `services service-set NAME syslog`: hosts, severity, facility, classes, prefix. A service set with
//! `message-rate-limit` sends no more than that; what is held back is counted, and told in a message of its own when
//! there is room again. Nothing here waits: a datagram that the system does not take at once is lost and counted.

use std::collections::hash_map::Entry;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nat64_driver::GatewayConfig;
use nat64_layout::Protocol;
use nat64_xlate::{Event, Flow};
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, watch};

use super::server::server6;
use super::stopped;
use super::worker::EventBatch;
use crate::config::{Model, Syslog as SetSyslog, SyslogHost, SyslogTarget};

/// Severity of all messages: informational (RFC 5424 section 6.2.1).
const SEVERITY: u8 = 6;
/// Time between two look-ups of a host's name.
const LOOK_UP: Duration = Duration::from_secs(60);

/// How many messages met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Given to the system to send.
    pub sent: u64,
    /// Held back by `message-rate-limit`.
    pub limited: u64,
    /// Not sent: no route, full buffers, a name nobody knows.
    pub failed: u64,
    /// Events that were lost before a message was made of them.
    pub lost: u64,
}

impl Totals {
    /// With the names used in metrics.
    pub const fn by_fate(&self) -> [(&'static str, u64); 4] {
        [
            ("sent", self.sent),
            ("rate-limited", self.limited),
            ("failed", self.failed),
            ("lost", self.lost),
        ]
    }
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    limited: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
}

/// The sender of messages, to be asked about them. Clones are handles of the same.
#[derive(Clone, Debug, Default)]
pub struct Syslog(Arc<Counts>);

impl Syslog {
    /// What became of the messages so far.
    pub fn totals(&self) -> Totals {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals {
            sent: get(&self.0.sent),
            limited: get(&self.0.limited),
            failed: get(&self.0.failed),
            lost: get(&self.0.lost),
        }
    }
}

/// Which `class` statement lets a message through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageClass {
    Open,
    Close,
    Nat,
}

const fn admits(host: &SyslogHost, class: MessageClass) -> bool {
    let severe = match host.level {
        Some(level) => SEVERITY <= level,
        None => false,
    };
    severe
        && match class {
            MessageClass::Open => host.classes.session_open,
            MessageClass::Close => host.classes.session_close,
            MessageClass::Nat => host.classes.nat,
        }
}

const fn application(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Icmp => "icmpv6",
    }
}

const fn protocol(protocol: Protocol) -> (u8, &'static str) {
    match protocol {
        Protocol::Tcp => (6, "TCP"),
        Protocol::Udp => (17, "UDP"),
        Protocol::Icmp => (58, "ICMPV6"),
    }
}

/// One message: its name (MSGID) and text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    class: MessageClass,
    name: &'static str,
    text: String,
}

/// `JSERVICES_SESSION_OPEN` and `_CLOSE`: both ends with the addresses they have on the other side.
fn ends(config: &GatewayConfig, flow: &Flow) -> String {
    let unit = config.xlate.units.get(flow.unit).map_or("?", |unit| unit.name.as_str());
    let what = match flow.protocol {
        Protocol::Icmp => "ICMPV6 ECHO REQUEST",
        other => protocol(other).1,
    };
    format!(
        "application:{}, {unit} {}:{} [{}:{}] -> [{}] {}:{} ({what})",
        application(flow.protocol),
        flow.client.0,
        flow.client.1,
        flow.pool.0,
        flow.pool.1,
        flow.remote.0,
        server6(flow),
        flow.remote.1,
    )
}

fn rule_match(config: &GatewayConfig, flow: &Flow) -> String {
    let unit = config.xlate.units.get(flow.unit).map_or("?", |unit| unit.name.as_str());
    let set = config.xlate.service_sets.get(flow.service_set);
    let term = set.and_then(|set| set.terms.get(flow.term));
    let (number, name) = protocol(flow.protocol);
    format!(
        "proto {number} ({name}) application: {}, {unit}:{}:{} -> {}:{}, Match NAT rule-set: (null), rule: {}, term: {}",
        application(flow.protocol),
        flow.client.0,
        flow.client.1,
        server6(flow),
        flow.remote.1,
        term.map_or("?", |term| term.rule.as_str()),
        term.map_or("?", |term| term.name.as_str()),
    )
}

/// The messages of an event; `descriptive`: closes have counts.
fn messages(config: &GatewayConfig, event: &Event, descriptive: bool) -> Vec<Message> {
    let message = |class, name, text| Message { class, name, text };
    let block = |subscriber: &Ipv6Addr, address: &Ipv4Addr, ports: &(u16, u16)| {
        format!("{subscriber} -> {address}:{}-{}", ports.0, ports.1)
    };
    match event {
        Event::SessionOpen(flow) => vec![
            message(MessageClass::Open, "JSERVICES_SESSION_OPEN", ends(config, flow)),
            message(MessageClass::Nat, "JSERVICES_NAT_RULE_MATCH", rule_match(config, flow)),
        ],
        Event::SessionClose { flow, packets, bytes } => {
            let mut text = ends(config, flow);
            if descriptive {
                let _ = write!(
                    text,
                    ", forward packets: {}, forward bytes: {}, reverse packets: {}, reverse bytes: {}",
                    packets[0], bytes[0], packets[1], bytes[1]
                );
            }
            vec![message(MessageClass::Close, "JSERVICES_SESSION_CLOSE", text)]
        }
        Event::PortBlockAllocated {
            subscriber,
            address,
            ports,
        } => vec![message(
            MessageClass::Nat,
            "JSERVICES_NAT_PORT_BLOCK_ALLOC",
            block(subscriber, address, ports),
        )],
        Event::PortBlockReleased {
            subscriber,
            address,
            ports,
        } => vec![message(
            MessageClass::Nat,
            "JSERVICES_NAT_PORT_BLOCK_RELEASE",
            block(subscriber, address, ports),
        )],
    }
}

/// A header field may hold printable ASCII only (RFC 5424 section 6).
fn field(text: &str, longest: usize) -> String {
    let clean: String = text.chars().filter(char::is_ascii_graphic).take(longest).collect();
    if clean.is_empty() {
        "-".into()
    } else {
        clean
    }
}

/// The datagram: RFC 5424 section 6.
///
/// There are no structured data: their names need a private enterprise number, which this project has not.
fn datagram(host: &SyslogHost, from: &str, time: SystemTime, name: &str, text: &str) -> String {
    let priority = host.facility * 8 + SEVERITY;
    let prefix = host
        .log_prefix
        .as_ref()
        .map_or(String::new(), |prefix| format!("{prefix}: "));
    format!(
        "<{priority}>1 {} {} nat64d {} {name} - {prefix}{name}: {text}",
        humantime::format_rfc3339_millis(time),
        field(from, 255),
        std::process::id(),
    )
}

/// Messages a second, with a burst of one second's.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    tokens: f64,
    at: Instant,
    held_back: u64,
}

impl Bucket {
    fn new(rate: u32, now: Instant) -> Self {
        Self {
            rate: rate.into(),
            tokens: rate.into(),
            at: now,
            held_back: 0,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let fresh = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        self.at = now;
        self.tokens = (self.tokens + fresh).min(self.rate.max(1.0));
        if self.tokens < 1.0 {
            self.held_back += 1;
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

/// One service set's part of the configuration.
struct Set {
    syslog: SetSyslog,
    bucket: Option<Bucket>,
}

/// Sends what happens until `stop`. `models` tells of new configurations.
pub async fn run(
    syslog: Syslog,
    mut events: broadcast::Receiver<EventBatch>,
    mut models: watch::Receiver<Arc<Model>>,
    host_name: String,
    mut stop: watch::Receiver<bool>,
) {
    let mut sender = Sender {
        counts: syslog.0,
        sets: HashMap::new(),
        sockets: HashMap::new(),
        looked_up: HashMap::new(),
        host_name,
    };
    sender.configure(&models.borrow_and_update().clone());
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            changed = models.changed() => match changed {
                Ok(()) => {
                    let model = models.borrow_and_update().clone();
                    sender.configure(&model);
                }
                Err(_) => return,
            },
            batch = events.recv() => match batch {
                Ok(batch) => sender.batch(&batch).await,
                Err(broadcast::error::RecvError::Lagged(batches)) => {
                    sender.counts.lost.fetch_add(batches, Ordering::Relaxed);
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
        }
    }
}

struct Sender {
    counts: Arc<Counts>,
    /// By card and service set.
    sets: HashMap<(String, String), Set>,
    /// By source address and family.
    sockets: HashMap<(Option<Ipv4Addr>, bool), Option<UdpSocket>>,
    looked_up: HashMap<String, (Instant, Option<IpAddr>)>,
    host_name: String,
}

impl Sender {
    fn configure(&mut self, model: &Model) {
        let now = Instant::now();
        let mut before = std::mem::take(&mut self.sets);
        for card in &model.cards {
            for (set, extra) in card.gateway.xlate.service_sets.iter().zip(&card.service_sets) {
                let key = (card.name.clone(), set.name.clone());
                let rate = extra.syslog.message_rate_limit;
                let old = before.remove(&key).and_then(|set| set.bucket);
                let bucket = match (rate, old) {
                    (Some(rate), Some(old)) if old.rate == f64::from(rate) => Some(old),
                    (Some(rate), _) => Some(Bucket::new(rate, now)),
                    (None, _) => None,
                };
                let syslog = extra.syslog.clone();
                self.sets.insert(key, Set { syslog, bucket });
            }
        }
        self.sockets.clear();
        self.looked_up.clear();
    }

    async fn batch(&mut self, batch: &EventBatch) {
        self.counts.lost.fetch_add(batch.lost, Ordering::Relaxed);
        for event in batch.events.iter() {
            let set = match event {
                Event::SessionOpen(flow) | Event::SessionClose { flow, .. } => {
                    batch.config.xlate.service_sets.get(flow.service_set)
                }
                Event::PortBlockAllocated { address, .. } | Event::PortBlockReleased { address, .. } => {
                    set_of(&batch.config, *address)
                }
            };
            let Some(name) = set.map(|set| set.name.clone()) else {
                continue;
            };
            let key = (batch.card.to_string(), name);
            let Some(set) = self.sets.get(&key).filter(|set| !set.syslog.hosts.is_empty()) else {
                continue;
            };
            for message in messages(&batch.config, event, set.syslog.descriptive) {
                self.send(&key, &message, batch.time).await;
            }
        }
    }

    async fn send(&mut self, key: &(String, String), message: &Message, time: SystemTime) {
        let Some(set) = self.sets.get_mut(key) else { return };
        if !set.syslog.hosts.iter().any(|host| admits(host, message.class)) {
            return;
        }
        let mut held_back = 0;
        if let Some(bucket) = &mut set.bucket {
            if !bucket.take(Instant::now()) {
                self.counts.limited.fetch_add(1, Ordering::Relaxed);
                return;
            }
            held_back = std::mem::take(&mut bucket.held_back);
        }
        let hosts: Vec<SyslogHost> = set.syslog.hosts.clone();
        for host in hosts.iter().filter(|host| admits(host, message.class)) {
            if held_back > 0 {
                let text = format!("{held_back} messages held back by message-rate-limit");
                self.send_to(host, &key.1, time, "JSERVICES_SYSLOG_SUPPRESSED", &text)
                    .await;
            }
            self.send_to(host, &key.1, time, message.name, &message.text).await;
        }
    }

    async fn send_to(&mut self, host: &SyslogHost, set: &str, time: SystemTime, name: &str, text: &str) {
        let address = match &host.host {
            SyslogTarget::Local => {
                tracing::info!(target: "nat64d::services", service_set = set, "{name}: {text}");
                self.counts.sent.fetch_add(1, Ordering::Relaxed);
                return;
            }
            SyslogTarget::Address(address) => Some(*address),
            SyslogTarget::Name(name) => self.look_up(name).await,
        };
        let sent = match address {
            Some(address) => {
                let datagram = datagram(host, &self.host_name, time, name, text);
                let socket = self.socket(host.source, address.is_ipv4()).await;
                let to = SocketAddr::new(address, host.port);
                socket.is_some_and(|socket| socket.try_send_to(datagram.as_bytes(), to).is_ok())
            }
            None => false,
        };
        let count = if sent { &self.counts.sent } else { &self.counts.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    async fn look_up(&mut self, name: &str) -> Option<IpAddr> {
        if let Some((at, address)) = self.looked_up.get(name) {
            if at.elapsed() < LOOK_UP {
                return *address;
            }
        }
        let found = tokio::time::timeout(Duration::from_secs(2), tokio::net::lookup_host((name, 514))).await;
        let address = found.ok().and_then(Result::ok).and_then(|mut found| found.next());
        if address.is_none() {
            tracing::warn!(host = name, "syslog host cannot be looked up");
        }
        let address = address.map(|address| address.ip());
        self.looked_up.insert(name.to_owned(), (Instant::now(), address));
        address
    }

    async fn socket(&mut self, source: Option<Ipv4Addr>, four: bool) -> Option<&UdpSocket> {
        let key = (source, four);
        if let Entry::Vacant(place) = self.sockets.entry(key) {
            let from: IpAddr = match (source, four) {
                (Some(source), true) => source.into(),
                (None, true) => Ipv4Addr::UNSPECIFIED.into(),
                (_, false) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind((from, 0)).await;
            if let Err(error) = &socket {
                tracing::warn!(%from, %error, "no socket for syslog");
            }
            place.insert(socket.ok());
        }
        let socket = self.sockets.get(&key)?.as_ref()?;
        // A new socket is writable when it has been asked.
        tokio::time::timeout(Duration::from_millis(10), socket.writable())
            .await
            .ok()?
            .ok()?;
        Some(socket)
    }
}

/// The first service set that has a pool address.
fn set_of(config: &GatewayConfig, address: Ipv4Addr) -> Option<&nat64_xlate::config::ServiceSet> {
    use nat64_xlate::config::Action;
    let xlate = &config.xlate;
    let has = |pool: usize| {
        let pool = xlate.pools.get(pool);
        pool.is_some_and(|pool| pool.ranges.iter().any(|&(low, high)| (low..=high).contains(&address)))
    };
    xlate.service_sets.iter().find(|set| {
        set.terms.iter().any(|term| match &term.then {
            Action::Translate(translate) => has(translate.pool) || translate.overload_pool.is_some_and(has),
            Action::NoTranslation => false,
        })
    })
}
