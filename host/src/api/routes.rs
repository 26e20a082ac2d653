//! Every route, with the class it needs. The daemon builds its router from this list, so that none can be open by
//! oversight; `nat64ctl` and the tests walk the same list.

use super::Class;

/// HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Asks for something with a body; changes something when [`Route::changes`].
    Post,
    /// Ends something.
    Delete,
}

impl Method {
    /// As in a request line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

macro_rules! routes {
    ($( $(#[doc = $doc:literal])+ $id:ident = $method:ident $path:literal, $class:ident, $changes:literal; )*) => {
        /// Names a route.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RouteId {
            $( $(#[doc = $doc])+ $id, )*
        }

        /// Every route.
        pub const ROUTES: &[Route] = &[ $( Route {
            id: RouteId::$id,
            method: Method::$method,
            path: $path,
            class: Class::$class,
            changes: $changes,
            doc: concat!($($doc),+),
        }, )* ];
    };
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name.
    pub id: RouteId,
    /// Method.
    pub method: Method,
    /// Path; `{x}` stands for one part.
    pub path: &'static str,
    /// Least class that may use it.
    pub class: Class,
    /// Whether it changes anything.
    pub changes: bool,
    /// What it does, with request and answer types.
    pub doc: &'static str,
}

routes! {
    /// Who am I: `system::Whoami`.
    Whoami = Get "/v1/whoami", ReadOnly, false;
    /// The daemon: `system::System`.
    System = Get "/v1/system", ReadOnly, false;
    /// Names for completion: `system::NameQuery` -> `system::Names`.
    Names = Get "/v1/names", ReadOnly, false;
    /// Log of the daemon, newest last: `system::LogQuery`, `PageQuery` -> `Page<system::LogLine>`.
    Log = Get "/v1/log", ReadOnly, false;
    /// Everything a maintainer asks for, one text: `text/plain`.
    Support = Post "/v1/support", Operator, false;
    /// Prometheus metrics (OpenMetrics text).
    Metrics = Get "/metrics", ReadOnly, false;

    /// `configuration::EditRequest` -> `configuration::Edit`.
    EditBegin = Post "/v1/configuration/edit", SuperUser, true;
    /// Keeps an edit alive: `configuration::Edit`.
    EditTouch = Get "/v1/configuration/edit/{edit}", SuperUser, false;
    /// Ends an edit: `Done`.
    EditEnd = Delete "/v1/configuration/edit/{edit}", SuperUser, true;
    /// `configuration::TextQuery` -> `configuration::Text`.
    Active = Get "/v1/configuration/active", ReadOnly, false;
    /// `configuration::TextQuery` -> `configuration::Text`.
    Candidate = Get "/v1/configuration/candidate", ReadOnly, false;
    /// `configuration::TextQuery` -> `configuration::Text`.
    RollbackText = Get "/v1/configuration/rollback/{n}", ReadOnly, false;
    /// `configuration::CompareQuery` -> `configuration::Comparison`.
    Compare = Get "/v1/configuration/candidate/compare", ReadOnly, false;
    /// `configuration::Commands` -> `configuration::Changed`.
    Commands = Post "/v1/configuration/candidate/commands", SuperUser, true;
    /// `configuration::Load` -> `configuration::Changed`.
    Load = Post "/v1/configuration/candidate/load", SuperUser, true;
    /// `configuration::Rollback` -> `configuration::Changed`.
    Rollback = Post "/v1/configuration/candidate/rollback", SuperUser, true;
    /// `update` of a private candidate: `configuration::EditQuery` (body) -> `configuration::Changed`; what others changed
    /// too and is kept as it is here are warnings.
    Update = Post "/v1/configuration/candidate/update", SuperUser, true;
    /// Commit check: `configuration::EditQuery` (body) -> `configuration::Checked`.
    Check = Post "/v1/configuration/candidate/check", SuperUser, false;
    /// `configuration::Commit` -> `configuration::Committed`.
    Commit = Post "/v1/configuration/commit", SuperUser, true;
    /// Drops a `commit at` that waits: `Done`.
    CommitCancel = Delete "/v1/configuration/commit", SuperUser, true;
    /// `show system commit`: `configuration::Commits`.
    Commits = Get "/v1/configuration/commits", ReadOnly, false;

    /// `show chassis card`: `CardQuery` -> `Vec<card::Card>`.
    Cards = Get "/v1/cards", ReadOnly, false;
    /// `show registers`: `Vec<card::Register>`.
    Registers = Get "/v1/cards/{card}/registers", ReadOnly, false;
    /// `show drops`: `card::DropQuery` -> `Vec<card::Drop>`.
    Drops = Get "/v1/drops", ReadOnly, false;
    /// `show neighbours`: `CardQuery`, `PageQuery` -> `Page<card::Neighbour>`.
    Neighbours = Get "/v1/neighbours", ReadOnly, false;

    /// `show services nat pool`: `nat::PoolQuery` -> `Vec<nat::Pool>`.
    Pools = Get "/v1/nat/pools", ReadOnly, false;
    /// `show services nat mappings`: `nat::MappingFilter`, `PageQuery` -> `Page<nat::Mapping>`.
    Mappings = Get "/v1/nat/mappings", ReadOnly, false;
    /// `show services nat mappings summary`: `CardQuery` -> `Vec<nat::MappingSummary>`.
    MappingSummary = Get "/v1/nat/mappings/summary", ReadOnly, false;
    /// `clear services nat mappings`: `nat::MappingFilter` -> `nat::MappingsCleared`.
    MappingsClear = Post "/v1/nat/mappings/clear", Operator, true;
    /// `show services nat statistics`: `CardQuery` -> `Vec<nat::NatStatistics>`.
    Statistics = Get "/v1/nat/statistics", ReadOnly, false;
    /// `clear services nat statistics`: `CardQuery` (body) -> `nat::StatisticsCleared`.
    StatisticsClear = Post "/v1/nat/statistics/clear", Operator, true;
    /// `show services nat deterministic-nat`: `nat::DeterministicQuery` -> `Vec<nat::DeterministicBlock>`.
    Deterministic = Get "/v1/nat/deterministic", ReadOnly, false;
    /// Addresses that are drained: `CardQuery` -> `Vec<nat::Drain>`.
    Drains = Get "/v1/nat/drain", ReadOnly, false;
    /// `request nat64 drain`: `nat::DrainRequest` -> `Vec<nat::Drain>`. Lasts until stopped or the daemon restarts.
    Drain = Post "/v1/nat/drain", Operator, true;

    /// `show services sessions`: `sessions::SessionFilter`, `sessions::SessionDetail`, `PageQuery` ->
    /// `Page<sessions::Session>`.
    Sessions = Get "/v1/sessions", ReadOnly, false;
    /// `sessions::SessionFilter` -> `Vec<sessions::SessionCount>`.
    SessionCount = Get "/v1/sessions/count", ReadOnly, false;
    /// `CardQuery` -> `Vec<sessions::Utilization>`.
    Utilization = Get "/v1/sessions/utilization", ReadOnly, false;
    /// `clear services sessions`: `sessions::SessionFilter` -> `Vec<sessions::SessionsCleared>`.
    SessionsClear = Post "/v1/sessions/clear", Operator, true;

    /// `show services service-sets summary`: `CardQuery` -> `Vec<nat::ServiceSet>`.
    ServiceSets = Get "/v1/service-sets", ReadOnly, false;
    /// `show services service-sets statistics packet-drops`: `CardQuery` -> `Vec<nat::PacketDrops>`.
    PacketDrops = Get "/v1/service-sets/packet-drops", ReadOnly, false;

    /// `test nat64 packet`: `nat::TestPacket` -> `nat::TestResult`.
    TestPacket = Post "/v1/test/nat64", ReadOnly, false;

    /// Stream of `monitor::Event::Drops`: `monitor::MonitorQuery`.
    MonitorDrops = Get "/v1/monitor/drops", ReadOnly, false;
    /// Stream of sessions and port blocks: `sessions::SessionFilter`.
    MonitorSessions = Get "/v1/monitor/sessions", ReadOnly, false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_changes_is_open_to_readers() {
        for route in ROUTES.iter().filter(|route| route.changes) {
            assert!(route.class > Class::ReadOnly, "{route:?}");
            assert_ne!(route.method, Method::Get, "{route:?}");
        }
    }

    #[test]
    fn methods_and_paths_are_unique() {
        for (index, route) in ROUTES.iter().enumerate() {
            let twice = |other: &&Route| other.method == route.method && other.path == route.path;
            assert_eq!(ROUTES[index + 1..].iter().find(twice), None);
        }
    }
}
