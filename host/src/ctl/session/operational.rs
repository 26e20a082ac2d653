//! The operational commands: one request each, or a page after the other.

use crate::api::card::{Card, Drop, DropQuery, Neighbour, Register};
use crate::api::configuration::{Commits, Edit, EditClient, EditMode, EditQuery, EditRequest};
use crate::api::monitor::{Event, MonitorQuery};
use crate::api::nat::{
    DeterministicBlock, DeterministicQuery, Drain, DrainRequest, Mapping, MappingFilter, MappingKind, MappingSummary,
    MappingsCleared, NatStatistics, PacketDrops, Pool, PoolQuery, ServiceSet, StatisticsCleared, TestPacket,
    TestResult,
};
use crate::api::routes::RouteId;
use crate::api::sessions::{
    Flow, FlowCount, Session as Entry, SessionCount, SessionDetail, SessionFilter, SessionsCleared, Utilization,
};
use crate::api::system::{LogLine, LogQuery, Severity, System};
use crate::api::{CardQuery, Done, Page, PageQuery, MAX_PAGE};

use super::super::client::Call;
use super::super::error::CtlError;
use super::super::grammar::Action;
use super::super::output::{More, Output};
use super::super::parse::Parsed;
use super::super::render::{self, MappingView, SessionView};
use super::Session;

/// Entries that are fetched at once: few enough that the first are shown at once, enough that a million go quickly.
const PAGE: usize = 2_000;

fn text(given: &Parsed, name: &str) -> Option<String> {
    given.value(name).map(str::to_string)
}

fn port(given: &Parsed, name: &str) -> Option<u16> {
    given.number(name).and_then(|port| u16::try_from(port).ok())
}

fn card(given: &Parsed) -> CardQuery {
    CardQuery {
        card: text(given, "card"),
    }
}

fn session_filter(given: &Parsed) -> SessionFilter {
    SessionFilter {
        card: text(given, "card"),
        service_set: text(given, "service-set"),
        interface: text(given, "interface"),
        source_prefix: text(given, "source-prefix"),
        destination_prefix: text(given, "destination-prefix"),
        source_port: port(given, "source-port"),
        destination_port: port(given, "destination-port"),
        protocol: text(given, "protocol"),
        application_protocol: text(given, "application-protocol"),
        pool: text(given, "pool"),
        offload: given.value("offload").map(|word| word == "yes"),
    }
}

fn mapping_filter(given: &Parsed, kind: MappingKind) -> MappingFilter {
    MappingFilter {
        card: text(given, "card"),
        kind,
        pool: text(given, "pool"),
        service_set: text(given, "service-set"),
        private: text(given, "private").or_else(|| text(given, "subscriber")),
        private_port: port(given, "port"),
        public: text(given, "public"),
        public_port: None,
        protocol: text(given, "protocol"),
    }
}

impl Session {
    /// One command of the operational mode.
    pub(super) fn operational(&self, given: &Parsed, out: &mut Output<'_>) -> Result<(), CtlError> {
        match given.command.action {
            Action::ShowNatPool => {
                let query = PoolQuery {
                    card: None,
                    name: text(given, "pool"),
                };
                let pools: Vec<Pool> = self.get(RouteId::Pools, &query)?;
                let detail = given.value("level") == Some("detail");
                out.answer(&pools, |pools| render::pools(pools, detail))?;
            }
            Action::ShowNatMappings => return self.show_mappings(given, out),
            Action::ShowNatStatistics => {
                let all: Vec<NatStatistics> = self.get(RouteId::Statistics, &card(given))?;
                out.answer(&all, |all| render::statistics(all))?;
            }
            Action::ShowDetNatHost => {
                let query = DeterministicQuery {
                    host: None,
                    address: given.value("address").and_then(|address| address.parse().ok()),
                    port: port(given, "nat-port"),
                };
                let blocks: Vec<DeterministicBlock> = self.get(RouteId::Deterministic, &query)?;
                out.answer(&blocks, |blocks| render::det_host(blocks))?;
            }
            Action::ShowDetNatBlock => {
                let query = DeterministicQuery {
                    host: given.value("host").and_then(|host| host.parse().ok()),
                    ..DeterministicQuery::default()
                };
                let blocks: Vec<DeterministicBlock> = self.get(RouteId::Deterministic, &query)?;
                out.answer(&blocks, |blocks| render::det_block(blocks))?;
            }
            Action::ShowSessions => return self.show_sessions(given, out),
            Action::ShowFlows => return self.show_flows(given, out),
            Action::ShowServiceSets => {
                let sets: Vec<ServiceSet> = self.get(RouteId::ServiceSets, &card(given))?;
                out.answer(&sets, |sets| render::service_sets(sets))?;
            }
            Action::ShowServiceSetDrops => {
                let drops: Vec<PacketDrops> = self.get(RouteId::PacketDrops, &card(given))?;
                out.answer(&drops, |drops| render::packet_drops(drops))?;
            }
            Action::ShowCard => {
                let cards: Vec<Card> = self.get(RouteId::Cards, &card(given))?;
                out.answer(&cards, |cards| render::cards(cards))?;
            }
            Action::ShowDrops => {
                let query = DropQuery {
                    card: text(given, "card"),
                    all: given.has("all"),
                    punts: given.has("punts"),
                };
                let drops: Vec<Drop> = self.get(RouteId::Drops, &query)?;
                out.answer(&drops, |drops| render::drops(drops))?;
            }
            Action::ShowRegisters => return self.show_registers(given, out),
            Action::ShowNeighbours => {
                let json = out.is_json();
                // One table: columns are as wide as the widest of all pages.
                let mut all = Vec::new();
                self.pages(
                    RouteId::Neighbours,
                    &[&card(given)],
                    None,
                    &mut |page: &[Neighbour]| {
                        if json {
                            return out.page(page, |_| String::new());
                        }
                        all.extend_from_slice(page);
                        Ok(More::Wanted)
                    },
                )?;
                if !json {
                    out.text(&render::neighbours(&all))?;
                }
            }
            Action::ShowDrain => {
                let drains: Vec<Drain> = self.get(RouteId::Drains, &CardQuery::default())?;
                out.answer(&drains, |drains| render::drains(drains))?;
            }
            Action::ShowCommitLog => {
                let commits: Commits = self.client.call(&Call::new(RouteId::Commits))?;
                out.answer(&commits, render::commits)?;
            }
            Action::ShowUptime => {
                let system: System = self.client.call(&Call::new(RouteId::System))?;
                if out.is_json() {
                    out.answer(&system, |_| String::new())?;
                } else {
                    let commits: Commits = self.client.call(&Call::new(RouteId::Commits))?;
                    out.text(&render::uptime(&system, &commits))?;
                }
            }
            Action::ShowVersion => {
                let system: System = self.client.call(&Call::new(RouteId::System))?;
                out.answer(&system, render::version)?;
            }
            Action::ShowAlarms => {
                let system: System = self.client.call(&Call::new(RouteId::System))?;
                if out.is_json() {
                    out.answer(&system.alarms, |_| String::new())?;
                } else {
                    out.text(&render::alarms(&system))?;
                }
            }
            Action::ShowLog => {
                let query = LogQuery {
                    severity: given.value("severity").map(|word| match word {
                        "error" => Severity::Error,
                        "warning" => Severity::Warning,
                        "debug" => Severity::Debug,
                        _ => Severity::Info,
                    }),
                    newest: limit(given),
                };
                self.pages(RouteId::Log, &[&query], limit(given), &mut |page: &[LogLine]| {
                    out.page(page, render::log)
                })?;
            }
            Action::MonitorDrops => return self.monitor_drops(given, out),
            Action::MonitorSessions => {
                let call = Call::new(RouteId::MonitorSessions).query(&session_filter(given));
                return self.monitor(&call, given.number("count"), out);
            }
            Action::ClearSessions => {
                let call = Call::new(RouteId::SessionsClear).body(&session_filter(given));
                let cleared: Vec<SessionsCleared> = self.client.call(&call)?;
                out.answer(&cleared, |cleared| render::cleared(cleared))?;
            }
            Action::ClearMappings => {
                let kind = match given.value("kind") {
                    Some("app") => MappingKind::AddressPoolingPaired,
                    Some(_) => MappingKind::EndpointIndependent,
                    None => MappingKind::Port,
                };
                let call = Call::new(RouteId::MappingsClear).body(&mapping_filter(given, kind));
                let cleared: MappingsCleared = self.client.call(&call)?;
                out.answer(&cleared, render::mappings_cleared)?;
            }
            Action::ClearStatistics => {
                let call = Call::new(RouteId::StatisticsClear).body(&card(given));
                let cleared: StatisticsCleared = self.client.call(&call)?;
                out.answer(&cleared, |cleared| {
                    format!("Counters cleared: card {}\n", cleared.cards.join(", card "))
                })?;
            }
            Action::ClearCommit => {
                let done: Done = self.client.call(&Call::new(RouteId::CommitCancel))?;
                out.answer(&done, |_| "Pending commit cleared\n".into())?;
            }
            Action::TestPacket => return self.test_packet(given, out),
            Action::Drain | Action::Undrain => {
                let address = given.value("address").unwrap_or_default();
                let request = DrainRequest {
                    card: text(given, "card"),
                    pool: text(given, "pool").unwrap_or_default(),
                    address: address
                        .parse()
                        .map_err(|_| CtlError::Usage(format!("`{address}` is not an IPv4 address")))?,
                    stop: given.command.action == Action::Undrain,
                };
                let drains: Vec<Drain> = self.client.call(&Call::new(RouteId::Drain).body(&request))?;
                out.answer(&drains, |drains| render::drains(drains))?;
            }
            Action::SupportInformation => {
                let text = self.client.text(&Call::new(RouteId::Support))?;
                out.answer(&text, Clone::clone)?;
            }
            Action::CardList => return super::super::card::list(out),
            Action::CardBind => {
                return super::super::card::bind(given.value("device").unwrap_or_default(), out);
            }
            Action::CardUnbind => {
                return super::super::card::unbind(given.value("device").unwrap_or_default(), out);
            }
            // The others are done before or belong to the configuration mode.
            other => return Err(CtlError::Usage(format!("{other:?} is no command of this mode"))),
        }
        Ok(())
    }

    /// A request with a query.
    fn get<T: serde::de::DeserializeOwned>(
        &self,
        route: RouteId,
        query: &impl serde::Serialize,
    ) -> Result<T, CtlError> {
        self.client.call(&Call::new(route).query(query))
    }

    /// Fetches a listing page after page, until it ends, `limit` entries were seen or no more are wanted.
    fn pages<T: serde::de::DeserializeOwned>(
        &self,
        route: RouteId,
        queries: &[&dyn Query],
        limit: Option<usize>,
        each: &mut dyn FnMut(&[T]) -> Result<More, CtlError>,
    ) -> Result<More, CtlError> {
        let mut cursor = None;
        let mut left = limit.unwrap_or(usize::MAX);
        loop {
            let page = PageQuery {
                cursor,
                limit: Some(left.min(PAGE).min(MAX_PAGE)),
            };
            let mut call = Call::new(route);
            for query in queries {
                call = query.add(call);
            }
            let answer: Page<T> = self.client.call(&call.query(&page))?;
            let items = &answer.items[..answer.items.len().min(left)];
            left -= items.len();
            if each(items)?.is_enough() {
                return Ok(More::Enough);
            }
            cursor = answer.cursor;
            if cursor.is_none() || left == 0 {
                return Ok(More::Wanted);
            }
        }
    }

    fn show_mappings(&self, given: &Parsed, out: &mut Output<'_>) -> Result<(), CtlError> {
        let view = given.value("view");
        if view == Some("summary") {
            let all: Vec<MappingSummary> = self.get(RouteId::MappingSummary, &card(given))?;
            out.answer(&all, |all| render::mapping_summary(all))?;
            return Ok(());
        }
        let kinds: &[MappingKind] = match view {
            Some("endpoint-independent") => &[MappingKind::EndpointIndependent],
            Some("address-pooling-paired") => &[MappingKind::AddressPoolingPaired],
            // What has no ports of its own is asked for once no filter is for ports.
            _ if given.has("protocol") => &[MappingKind::Port],
            _ => &[MappingKind::Port, MappingKind::AddressPoolingPaired],
        };
        let detail = if view == Some("detail") {
            MappingView::Detail
        } else {
            MappingView::Brief
        };
        let several = self.several_cards(given);
        let mut above = None;
        let mut left = limit(given);
        let mut any = false;
        for kind in kinds {
            let filter = mapping_filter(given, *kind);
            let more = self.pages(RouteId::Mappings, &[&filter], left, &mut |page: &[Mapping]| {
                any |= !page.is_empty();
                left = left.map(|left| left.saturating_sub(page.len()));
                out.page(page, |page| render::mappings(page, detail, several, &mut above))
            })?;
            if more.is_enough() || left == Some(0) {
                return Ok(());
            }
        }
        if !any && !out.is_json() {
            out.text("No mapping matches.")?;
        }
        Ok(())
    }

    fn show_sessions(&self, given: &Parsed, out: &mut Output<'_>) -> Result<(), CtlError> {
        let filter = session_filter(given);
        let view = match given.value("view") {
            Some("count") => {
                let counts: Vec<SessionCount> = self.get(RouteId::SessionCount, &filter)?;
                out.answer(&counts, |counts| render::count(counts))?;
                return Ok(());
            }
            Some("utilization") => {
                let all: Vec<Utilization> = self.get(RouteId::Utilization, &card(given))?;
                out.answer(&all, |all| render::utilization(all))?;
                return Ok(());
            }
            Some("extensive") => SessionView::Extensive,
            Some("terse") => SessionView::Terse,
            _ => SessionView::Brief,
        };
        let detail = SessionDetail {
            extensive: view == SessionView::Extensive,
        };
        let several = self.several_cards(given);
        let mut above = None;
        let mut any = false;
        let queries: [&dyn Query; 2] = [&filter, &detail];
        self.pages(RouteId::Sessions, &queries, limit(given), &mut |page: &[Entry]| {
            any |= !page.is_empty();
            out.page(page, |page| render::sessions(page, view, several, &mut above))
        })?;
        if !any && !out.is_json() {
            out.text("No session matches.")?;
        }
        Ok(())
    }

    fn show_flows(&self, given: &Parsed, out: &mut Output<'_>) -> Result<(), CtlError> {
        let filter = session_filter(given);
        if given.value("view") == Some("count") {
            let counts: Vec<SessionCount> = self.get(RouteId::SessionCount, &filter)?;
            let counts: Vec<FlowCount> = counts.into_iter().map(FlowCount::from).collect();
            out.answer(&counts, |counts| render::flow_count(counts))?;
            return Ok(());
        }
        let extensive = given.value("view") == Some("extensive");
        let detail = SessionDetail { extensive };
        let several = self.several_cards(given);
        let mut above = None;
        let mut left = limit(given).unwrap_or(usize::MAX);
        let mut any = false;
        let queries: [&dyn Query; 2] = [&filter, &detail];
        // Each session is two flows, and the last may be wanted with one of them only.
        let sessions = limit(given).map(|flows| flows.div_ceil(2));
        self.pages(RouteId::Sessions, &queries, sessions, &mut |page: &[Entry]| {
            let flows: Vec<Flow> = page.iter().flat_map(Flow::of).take(left).collect();
            left -= flows.len();
            any |= !flows.is_empty();
            out.page(&flows, |flows| render::flows(flows, extensive, several, &mut above))
        })?;
        if !any && !out.is_json() {
            out.text("No flow matches.")?;
        }
        Ok(())
    }

    /// Whether entries of several cards may come, so that each has to say its own.
    fn several_cards(&self, given: &Parsed) -> bool {
        use super::super::grammar::Live;
        use super::super::parse::Names;
        !given.has("card") && self.live().names(Live::Card).len() > 1
    }

    fn show_registers(&self, given: &Parsed, out: &mut Output<'_>) -> Result<(), CtlError> {
        let names = match text(given, "card") {
            Some(name) => vec![name],
            None => {
                let cards: Vec<Card> = self.get(RouteId::Cards, &CardQuery::default())?;
                let hardware = cards.into_iter().filter(|card| card.hardware.is_some());
                hardware.map(|card| card.name).collect()
            }
        };
        if names.is_empty() {
            return Err(CtlError::Usage("no card of the daemon has registers".into()));
        }
        let wanted = given.value("register").unwrap_or_default();
        let mut all = Vec::new();
        for name in names {
            let mut registers: Vec<Register> = self.client.call(&Call::new(RouteId::Registers).part(&name))?;
            let exact = registers.iter().any(|register| register.name == wanted);
            registers.retain(|register| {
                let name = register.name.as_str();
                if exact {
                    name == wanted
                } else {
                    name.starts_with(wanted)
                }
            });
            if registers.is_empty() {
                return Err(CtlError::Usage(format!("card {name} has no register `{wanted}`")));
            }
            all.push((name, registers));
        }
        if out.is_json() {
            let all: serde_json::Map<String, serde_json::Value> = all
                .into_iter()
                .map(|(name, registers)| (name, serde_json::json!(registers)))
                .collect();
            out.answer(&all, |_| String::new())?;
            return Ok(());
        }
        for (i, (name, registers)) in all.iter().enumerate() {
            if i > 0 {
                out.text(" ")?;
            }
            out.text(&render::registers(name, registers))?;
        }
        Ok(())
    }

    fn monitor_drops(&self, given: &Parsed, out: &mut Output<'_>) -> Result<(), CtlError> {
        let interval = given.number("interval").map(|seconds| (seconds * 1000).min(60_000));
        let call = Call::new(RouteId::MonitorDrops).query(&MonitorQuery {
            card: text(given, "card"),
            interval,
        });
        self.monitor(&call, given.number("count"), out)
    }

    fn monitor(&self, call: &Call<'_>, count: Option<u64>, out: &mut Output<'_>) -> Result<(), CtlError> {
        let mut left = count;
        self.client.stream(call, &mut |event| {
            if matches!(event, Event::Idle(_)) {
                return Ok(More::Wanted);
            }
            let more = out.event(&event, render::event)?;
            left = left.map(|left| left.saturating_sub(1));
            Ok(if left == Some(0) { More::Enough } else { more })
        })
    }

    fn test_packet(&self, given: &Parsed, out: &mut Output<'_>) -> Result<(), CtlError> {
        let address = |name: &str| {
            let text = given.value(name).unwrap_or_default();
            let parsed: Result<std::net::IpAddr, _> = text.parse();
            parsed.map_err(|_| CtlError::Usage(format!("`{text}` is not an address")))
        };
        let (source, destination) = (address("source")?, address("destination")?);
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(CtlError::Usage(
                "source and destination of a packet are both IPv6 or both IPv4".into(),
            ));
        }
        let protocol = given.value("protocol").unwrap_or_default();
        let flags = given.value("flags").unwrap_or_default();
        let packet = TestPacket {
            card: text(given, "card"),
            interface: text(given, "interface"),
            protocol: if protocol == "icmp6" {
                "icmp".into()
            } else {
                protocol.into()
            },
            source,
            source_port: port(given, "source-port").unwrap_or_default(),
            destination,
            destination_port: port(given, "destination-port").unwrap_or_default(),
            flags: flags
                .split(',')
                .map(|flag| flag.trim().to_lowercase())
                .filter(|flag| !flag.is_empty())
                .collect(),
            length: port(given, "length").unwrap_or_default(),
            hop_limit: given.number("hop-limit").and_then(|n| u8::try_from(n).ok()),
        };
        let result: TestResult = self.client.call(&Call::new(RouteId::TestPacket).body(&packet))?;
        out.answer(&result, render::test_result)?;
        Ok(())
    }

    /// Begins an edit.
    pub(super) fn begin_edit(&self, mode: EditMode) -> Result<Edit, CtlError> {
        self.client.call(&Call::new(RouteId::EditBegin).body(&EditRequest {
            mode,
            client: EditClient::Cli,
        }))
    }

    /// The query that names an edit.
    pub(super) fn edit_query(&self) -> EditQuery {
        EditQuery {
            edit: self.editing.as_ref().map(|editing| editing.token.clone()),
        }
    }
}

fn limit(given: &Parsed) -> Option<usize> {
    given.number("limit").and_then(|limit| usize::try_from(limit).ok())
}

/// Something that becomes query parameters.
trait Query {
    fn add<'c>(&self, call: Call<'c>) -> Call<'c>;
}

impl<T: serde::Serialize> Query for T {
    fn add<'c>(&self, call: Call<'c>) -> Call<'c> {
        call.query(self)
    }
}
