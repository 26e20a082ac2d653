//! Filters of listings and clears, read once and evaluated entry by entry where the tables are.
//!
//! A filter is made from the request's strings ([`SessionMatch::new`]), bound to the numbers of a configuration
//! ([`SessionMatch::bind`], once per slice, cheap), and then asked about each entry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nat64_driver::GatewayConfig;
use nat64_layout::Protocol;
use nat64_xlate::rfc6052::Pref64;
use nat64_xlate::{BibInfo, Flow, SessionInfo};

use crate::api::nat::{MappingFilter, MappingKind};
use crate::api::sessions::SessionFilter;
use crate::api::{ErrorBody, ErrorCode};
use crate::config::schema::applications::{plain, ICMP_PROTOCOL, NO_PROTOCOL, PROTOCOLS};

/// An address prefix of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// IPv4.
    V4(Ipv4Addr, u8),
    /// IPv6.
    V6(Ipv6Addr, u8),
}

impl Prefix {
    /// `address`, or `address/length`.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`], naming `what` and the text.
    pub fn read(what: &str, text: &str) -> Result<Self, ErrorBody> {
        let bad = || {
            ErrorBody::new(
                ErrorCode::BadRequest,
                format!("{what}: `{text}` is no address or prefix"),
            )
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        match address.parse().map_err(|_| bad())? {
            IpAddr::V4(address) if length.unwrap_or(32) <= 32 => Ok(Self::V4(address, length.unwrap_or(32))),
            IpAddr::V6(address) if length.unwrap_or(128) <= 128 => Ok(Self::V6(address, length.unwrap_or(128))),
            _ => Err(bad()),
        }
    }

    fn has4(&self, address: Ipv4Addr) -> bool {
        match *self {
            Self::V4(network, length) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                (u32::from(network) ^ u32::from(address)) & mask == 0
            }
            Self::V6(..) => false,
        }
    }

    fn has6(&self, address: Ipv6Addr) -> bool {
        match *self {
            Self::V6(network, length) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                (u128::from(network) ^ u128::from(address)) & mask == 0
            }
            Self::V4(..) => false,
        }
    }
}

/// `tcp`, `udp`, `icmp`, `icmp6` or the number of one of them, in either case.
///
/// # Errors
/// [`ErrorCode::BadRequest`].
pub fn protocol(text: &str) -> Result<Protocol, ErrorBody> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" | "6" => Ok(Protocol::Tcp),
        "udp" | "17" => Ok(Protocol::Udp),
        "icmp" | "icmp6" | "icmpv6" | "1" | "58" => Ok(Protocol::Icmp),
        _ => Err(ErrorBody::new(
            ErrorCode::BadRequest,
            format!("`{text}` is no protocol that is translated: tcp, udp or icmp"),
        )),
    }
}

/// An `application-protocol` as listings have it.
///
/// # Errors
/// [`ErrorCode::BadRequest`]: there is none of this name, or Junos has an application gateway for it.
pub fn application_protocol(text: &str) -> Result<&'static str, ErrorBody> {
    let text = text.to_ascii_lowercase();
    plain(&text).ok_or_else(|| {
        let message = if PROTOCOLS.contains(&text.as_str()) {
            format!("the gateway has no application gateway for `{text}`, so no session is of it")
        } else {
            format!("`{text}` is no application protocol")
        };
        ErrorBody::new(ErrorCode::BadRequest, message)
    })
}

/// The `application-protocol` of a session: that of the application its term matched it by; of ICMP it is always the same.
/// Told by the configuration in force, as rule and term are.
pub fn application_of(config: &GatewayConfig, flow: &Flow) -> &'static str {
    if flow.protocol == Protocol::Icmp {
        return ICMP_PROTOCOL;
    }
    let set = config.xlate.service_sets.get(flow.service_set);
    let term = set.and_then(|set| set.terms.get(flow.term));
    let application = term.and_then(|term| term.from.application(flow.protocol, flow.client.1, flow.remote.1));
    application.map_or(NO_PROTOCOL, |application| application.application_protocol)
}

/// Numbers of the names a filter has, in one configuration; `None`: the filter does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bound {
    sets: Option<Vec<usize>>,
    units: Option<Vec<usize>>,
    pool: Option<Vec<(u32, u32)>>,
}

impl Bound {
    fn new(config: &GatewayConfig, sets: Option<&[String]>, units: Option<&[String]>, pool: Option<&str>) -> Self {
        let of = |names: &[String], all: &mut dyn Iterator<Item = &String>| -> Vec<usize> {
            all.enumerate()
                .filter(|(_, name)| names.contains(name))
                .map(|(index, _)| index)
                .collect()
        };
        let xlate = &config.xlate;
        Self {
            sets: sets.map(|names| of(names, &mut xlate.service_sets.iter().map(|set| &set.name))),
            units: units.map(|names| of(names, &mut xlate.units.iter().map(|unit| &unit.name))),
            pool: pool.map(|name| {
                let pools = xlate.pools.iter().filter(|pool| pool.name == name);
                pools
                    .flat_map(|pool| &pool.ranges)
                    .map(|&(low, high)| (low.into(), high.into()))
                    .collect()
            }),
        }
    }

    fn set(&self, set: usize) -> bool {
        self.sets.as_ref().is_none_or(|sets| sets.contains(&set))
    }

    fn pool(&self, address: Ipv4Addr) -> bool {
        let address = u32::from(address);
        self.pool
            .as_ref()
            .is_none_or(|ranges| ranges.iter().any(|&(low, high)| (low..=high).contains(&address)))
    }
}

/// Selects sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionMatch {
    /// Service sets, by name.
    pub service_sets: Option<Vec<String>>,
    /// Units the client is behind, or that the service sets of a service interface serve, by name.
    pub units: Option<Vec<String>>,
    /// Pool, by name.
    pub pool: Option<String>,
    source: Option<Prefix>,
    destination: Option<Prefix>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    protocol: Option<Protocol>,
    application: Option<&'static str>,
    offload: Option<bool>,
    /// Read the card's share of each session that matches.
    pub extensive: bool,
}

impl SessionMatch {
    /// Reads a filter; `interface` is left to the caller, who knows service interfaces.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for what cannot be read.
    pub fn new(filter: &SessionFilter) -> Result<Self, ErrorBody> {
        let prefix = |what, text: &Option<String>| text.as_deref().map(|text| Prefix::read(what, text)).transpose();
        Ok(Self {
            service_sets: filter.service_set.clone().map(|name| vec![name]),
            units: None,
            pool: filter.pool.clone(),
            source: prefix("source-prefix", &filter.source_prefix)?,
            destination: prefix("destination-prefix", &filter.destination_prefix)?,
            source_port: filter.source_port,
            destination_port: filter.destination_port,
            protocol: filter.protocol.as_deref().map(protocol).transpose()?,
            application: filter
                .application_protocol
                .as_deref()
                .map(application_protocol)
                .transpose()?,
            offload: filter.offload,
            extensive: false,
        })
    }

    /// The filter with the numbers of a configuration.
    pub fn bind<'f>(&'f self, config: &'f GatewayConfig) -> BoundSessionMatch<'f> {
        BoundSessionMatch {
            filter: self,
            config,
            bound: Bound::new(
                config,
                self.service_sets.as_deref(),
                self.units.as_deref(),
                self.pool.as_deref(),
            ),
        }
    }
}

/// See [`SessionMatch::bind`].
#[derive(Clone, Debug)]
pub struct BoundSessionMatch<'f> {
    filter: &'f SessionMatch,
    config: &'f GatewayConfig,
    bound: Bound,
}

impl BoundSessionMatch<'_> {
    /// Whether a session matches; `in_card` is whether it is in the card.
    pub fn matches(&self, info: &SessionInfo, in_card: bool) -> bool {
        let Self { filter, config, bound } = self;
        let flow = &info.flow;
        let (source_port, destination_port) = if info.inbound {
            (flow.remote.1, flow.pool.1)
        } else {
            (flow.client.1, flow.remote.1)
        };
        let server6 = || Pref64::new(flow.pref64, flow.pref64_length).map(|prefix| prefix.embed(flow.remote.0));
        filter.protocol.is_none_or(|protocol| protocol == flow.protocol)
            && filter.offload.is_none_or(|offload| offload == in_card)
            && filter.source_port.is_none_or(|port| port == source_port)
            && filter.destination_port.is_none_or(|port| port == destination_port)
            && bound.set(flow.service_set)
            && bound.units.as_ref().is_none_or(|units| units.contains(&flow.unit))
            && bound.pool(flow.pool.0)
            && filter
                .application
                .is_none_or(|wanted| wanted == application_of(config, flow))
            && filter
                .source
                .is_none_or(|prefix| prefix.has6(flow.client.0) || prefix.has4(flow.remote.0))
            && filter
                .destination
                .is_none_or(|prefix| prefix.has4(flow.pool.0) || server6().is_ok_and(|server| prefix.has6(server)))
    }
}

/// Selects mappings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingMatch {
    /// Service sets, by name.
    pub service_sets: Option<Vec<String>>,
    /// Pool, by name.
    pub pool: Option<String>,
    endpoint_independent: bool,
    private: Option<Prefix>,
    private_port: Option<u16>,
    public: Option<Prefix>,
    public_port: Option<u16>,
    protocol: Option<Protocol>,
}

impl MappingMatch {
    /// Reads a filter. [`MappingKind::AddressPoolingPaired`] selects as [`MappingKind::Port`] does: address pairs are
    /// made of the ports' mappings.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for what cannot be read.
    pub fn new(filter: &MappingFilter) -> Result<Self, ErrorBody> {
        let prefix = |what, text: &Option<String>| text.as_deref().map(|text| Prefix::read(what, text)).transpose();
        Ok(Self {
            service_sets: filter.service_set.clone().map(|name| vec![name]),
            pool: filter.pool.clone(),
            endpoint_independent: filter.kind == MappingKind::EndpointIndependent,
            private: prefix("private", &filter.private)?,
            private_port: filter.private_port,
            public: prefix("public", &filter.public)?,
            public_port: filter.public_port,
            protocol: filter.protocol.as_deref().map(protocol).transpose()?,
        })
    }

    /// The filter with the numbers of a configuration.
    pub fn bind<'f>(&'f self, config: &GatewayConfig) -> BoundMappingMatch<'f> {
        BoundMappingMatch {
            filter: self,
            bound: Bound::new(config, self.service_sets.as_deref(), None, self.pool.as_deref()),
        }
    }
}

/// See [`MappingMatch::bind`].
#[derive(Clone, Debug)]
pub struct BoundMappingMatch<'f> {
    filter: &'f MappingMatch,
    bound: Bound,
}

impl BoundMappingMatch<'_> {
    /// Whether a mapping matches.
    pub fn matches(&self, info: &BibInfo) -> bool {
        let Self { filter, bound } = self;
        filter.protocol.is_none_or(|protocol| protocol == info.protocol)
            && filter.private_port.is_none_or(|port| port == info.client.1)
            && filter.public_port.is_none_or(|port| port == info.pool.1)
            && !(filter.endpoint_independent && info.destination.is_some())
            && bound.set(info.service_set)
            && bound.pool(info.pool.0)
            && filter.private.is_none_or(|prefix| prefix.has6(info.client.0))
            && filter.public.is_none_or(|prefix| prefix.has4(info.pool.0))
    }
}
