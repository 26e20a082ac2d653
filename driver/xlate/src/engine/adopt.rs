//! Sessions that a card still carries after the translator that made them is gone.

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::{Protocol, Reason};

use super::state::Outbound;
use super::Nat64;
use crate::bib::{Bib, Key4, Key6, Scope, NONE};
use crate::config::OnConflict;
use crate::effect::{Effects, Flow, Time};
use crate::pool::{ClaimError, Lease, Request};
use crate::session::Flags;
use crate::tcp::State;

/// What a card's record tells of a session (`nat64_layout::Record`, its prefix looked up in the card's table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardSession {
    /// Protocol.
    pub protocol: Protocol,
    /// Unit the client is behind.
    pub unit: usize,
    /// Prefix that embeds the server's address.
    pub pref64: Ipv6Addr,
    /// Its length.
    pub pref64_length: u8,
    /// Client.
    pub client: (Ipv6Addr, u16),
    /// Pool address and port.
    pub pool: (Ipv4Addr, u16),
    /// Server; the port is 0 for ICMP.
    pub remote: (Ipv4Addr, u16),
    /// When the card last saw a packet of it (the later of its two stamps); `None`: not known, it counts as seen now.
    pub last: Option<Time>,
}

/// Why a session of a card is not adopted; the card must not carry it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    /// There is no such unit, it has no service set, or IPv6 packets are not translated there.
    #[error("unit {0} has no clients")]
    Unit(usize),
    /// The unit's service set has no such prefix.
    #[error("{0}/{1} is no prefix of the unit's service set")]
    Prefix(Ipv6Addr, u8),
    /// The rules translate no such packets of the client now.
    #[error("no rule translates it now ({})", .0.name())]
    Rule(Reason),
    /// It runs between two clients of ours; no card carries such a session.
    #[error("its server {0} is an address of a pool")]
    Hairpin(Ipv4Addr),
    /// The pools of the rule term do not have its address and port, or not for this client.
    #[error("pool address {0} port {1}: {2}")]
    Pool(Ipv4Addr, u16, ClaimError),
    /// Another client has its pool address and port.
    #[error("another client has pool address {0} port {1}")]
    Taken(Ipv4Addr, u16),
    /// The client has another binding now.
    #[error("the client is bound to {0} port {1} now")]
    Bound(Ipv4Addr, u16),
    /// There is a session with its tuples.
    #[error("the session exists")]
    Exists,
    /// A limit is reached.
    #[error("a limit is reached ({})", .0.name())]
    Limit(Reason),
}

impl Nat64 {
    /// Takes on a session that a card still carries, with its binding: TCP as ESTABLISHED (a card carries nothing else),
    /// with the pool address and port it has. It counts as installed: no `Install` comes out, the caller knows in which
    /// place of the card it lies, and packets for it need no translator. The setup rate does not matter. `effects` gets
    /// what there is to log.
    ///
    /// The term is the first one that matches a packet of the client to the server. A session that an IPv4 host opened
    /// is no different from one the client opened.
    ///
    /// # Errors
    /// [`AdoptError`]; nothing has changed then, and the card's record must go.
    pub fn adopt(&mut self, now: Time, session: &CardSession, effects: &mut Effects) -> Result<Flow, AdoptError> {
        let CardSession {
            protocol,
            unit,
            client,
            pool,
            remote,
            ..
        } = *session;
        let bad_unit = AdoptError::Unit(unit);
        let inside = self.policy.config.units.get(unit).is_some_and(|unit| unit.inside);
        let set = self.policy.set_of_unit(unit).filter(|_| inside).ok_or(bad_unit)?;
        let prefix = self.prefix_of(set, session.pref64, session.pref64_length);
        let prefix = prefix.ok_or(AdoptError::Prefix(session.pref64, session.pref64_length))?;
        if self.policy.pool_owner(set, remote.0).is_some() {
            return Err(AdoptError::Hairpin(remote.0));
        }
        if !self.policy.may_embed(set, prefix, remote.0) {
            return Err(AdoptError::Rule(Reason::NotGlobal));
        }
        let destination = (self.policy.prefixes[usize::from(prefix)].embed(remote.0), remote.1);
        let matched = self.policy.find_term(set, Some(prefix), protocol, client, destination);
        let matched = matched.map_err(|unmatched| AdoptError::Rule(unmatched.reason()))?;
        let limits = self.policy.config.limits;
        if self.sessions.len() >= limits.sessions as usize {
            return Err(AdoptError::Limit(Reason::SessionLimit));
        }
        let packet = Outbound {
            unit: unit as u16,
            service_set: set,
            prefix,
            protocol,
            client,
            destination,
            remote,
        };
        let key = self.bib_key(&packet, matched.term);
        let four = Key4 {
            protocol,
            service_set: set,
            pool,
        };
        let bib = match self.bibs.find4(&four) {
            Some(slot) => {
                let mine = self.bibs.get(slot).is_some_and(|bib| {
                    bib.six.client == client && (bib.six.scope != Scope::Term || usize::from(bib.six.unit) == unit)
                });
                if !mine {
                    return Err(AdoptError::Taken(pool.0, pool.1));
                }
                if self.sessions.find_remote(&self.bibs, slot, remote).is_some() {
                    return Err(AdoptError::Exists);
                }
                slot
            }
            None => self.rebind(now, key, pool)?,
        };
        let mut adopted = self.new_session(
            session.last.unwrap_or(now).min(now),
            bib,
            remote,
            unit as u16,
            prefix,
            matched,
        );
        adopted.state = match protocol {
            Protocol::Tcp => State::Established,
            Protocol::Udp | Protocol::Icmp => State::Open,
        };
        // The card has it, so nothing asks for it to be installed.
        adopted.flags.set(Flags::INSTALLED, true);
        let slot = self.add_session(adopted, effects);
        self.log_blocks(effects);
        let flow = slot.and_then(|slot| self.flow(slot));
        if flow.is_none() {
            self.forget_if_unused(bib, now, effects);
        }
        flow.ok_or(AdoptError::Exists)
    }

    /// The binding of a client that has none with this pool address and port.
    fn rebind(&mut self, now: Time, mut key: Key6, pool: (Ipv4Addr, u16)) -> Result<u32, AdoptError> {
        if let Some(bound) = self.find_bib(&key).and_then(|slot| self.bibs.get(slot)) {
            // `on-conflict reallocate` gave the second session a binding of the term.
            let (bound, is_static) = (bound.pool, bound.is_static());
            let reallocates = self.policy.set(key.service_set).on_conflict == OnConflict::Reallocate;
            let second = Key6 {
                scope: Scope::Term,
                ..key
            };
            if is_static || !reallocates || self.bibs.find6(&second).is_some() {
                return Err(AdoptError::Bound(bound.0, bound.1));
            }
            key = second;
        }
        if self.bibs.len() >= self.policy.config.limits.bibs as usize {
            return Err(AdoptError::Limit(Reason::BibLimit));
        }
        let mut bib = Bib {
            six: key,
            pool,
            sessions: 0,
            inbound: 0,
            first: NONE,
            lease: None,
        };
        bib.lease = Some(self.claim(now, &bib)?);
        Ok(self.bibs.insert(bib))
    }

    fn prefix_of(&self, set: u16, address: Ipv6Addr, length: u8) -> Option<u16> {
        let of_set = &self.policy.sets[usize::from(set)].prefixes;
        let is = |&&prefix: &&u16| {
            let known = self.policy.prefixes[usize::from(prefix)];
            (known.address(), known.length()) == (address, length)
        };
        of_set.iter().find(is).copied()
    }

    /// The lease of a binding that had it before.
    fn claim(&self, now: Time, bib: &Bib) -> Result<Lease, AdoptError> {
        let (address, port) = bib.pool;
        let refused = |error| AdoptError::Pool(address, port, error);
        let (set, term) = (bib.six.service_set, bib.six.term);
        let translate = self
            .policy
            .translate(set, term)
            .ok_or(AdoptError::Rule(Reason::NoRule))?;
        let fixed = match &self.policy.sets[usize::from(set)].terms[usize::from(term)].deterministic {
            Some(map) => Some(
                map.forward(bib.six.client.0)
                    .ok_or(refused(ClaimError::Deterministic))?,
            ),
            None => None,
        };
        let request = Request {
            subscriber: self.policy.subscriber(set, bib.six.client.0),
            protocol: bib.six.protocol,
            source_port: bib.six.client.1,
            paired: translate.paired,
            fixed,
        };
        let first = self.pools[translate.pool].claim(now, &request, address, port);
        match (first, translate.overload_pool) {
            (Err(ClaimError::NotOurs | ClaimError::Deterministic), Some(overload)) => {
                let request = Request { fixed: None, ..request };
                self.pools[overload].claim(now, &request, address, port)
            }
            (first, _) => first,
        }
        .map_err(refused)
    }
}
