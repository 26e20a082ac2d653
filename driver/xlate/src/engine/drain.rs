//! Draining pool addresses: no new mappings on them, those that exist live on until they end by themselves.

use std::net::Ipv4Addr;

use super::Nat64;
use crate::config::Config;

/// A pool address that is drained, and what remains on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draining {
    /// Address.
    pub address: Ipv4Addr,
    /// The configuration asks for it (`nat64-nic pool NAME drain`); otherwise [`Nat64::drain`] did.
    pub configured: bool,
    /// Ports and echo identifiers in use on it, over all pools: 0 when the address can go.
    pub ports_in_use: u32,
}

/// Why an address is not drained, or goes on being so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    /// No pool has it.
    #[error("{0} is not an address of a pool")]
    NotOurs(Ipv4Addr),
    /// It is in use as always.
    #[error("{0} is not being drained")]
    NotDraining(Ipv4Addr),
    /// The configuration asks for it.
    #[error("the configuration drains {address} (pool {pool}); delete the statement there")]
    Configured {
        /// Address.
        address: Ipv4Addr,
        /// Pool.
        pool: String,
    },
}

impl Nat64 {
    /// Gives out no new mapping on a pool address from now on; what exists lives on. Tells what remains, also when the
    /// address is drained already. It lasts until [`Nat64::undrain`], or until no pool has the address any more.
    ///
    /// # Errors
    /// [`DrainError::NotOurs`].
    pub fn drain(&mut self, address: Ipv4Addr) -> Result<Draining, DrainError> {
        if !self.pools.iter().any(|pool| pool.contains(address)) {
            return Err(DrainError::NotOurs(address));
        }
        if let Err(at) = self.drained.binary_search(&address) {
            self.drained.insert(at, address);
            self.apply_draining(&self.policy.config);
        }
        Ok(self.draining_of(address))
    }

    /// Uses an address for new mappings again.
    ///
    /// # Errors
    /// [`DrainError`]; a drain of the configuration ends with the configuration.
    pub fn undrain(&mut self, address: Ipv4Addr) -> Result<Draining, DrainError> {
        if !self.pools.iter().any(|pool| pool.contains(address)) {
            return Err(DrainError::NotOurs(address));
        }
        let at = self.drained.binary_search(&address);
        if let Ok(at) = at {
            self.drained.remove(at);
            self.apply_draining(&self.policy.config);
        }
        let pools = &self.policy.config.pools;
        if let Some(pool) = pools.iter().find(|pool| pool.draining.contains(&address)) {
            let pool = pool.name.clone();
            return Err(DrainError::Configured { address, pool });
        }
        match at {
            Ok(_) => Ok(self.draining_of(address)),
            Err(_) => Err(DrainError::NotDraining(address)),
        }
    }

    /// The addresses that are drained, by rising number, with what remains on each.
    pub fn draining(&self) -> Vec<Draining> {
        let configured = self.policy.config.pools.iter().flat_map(|pool| &pool.draining);
        let mut all: Vec<Ipv4Addr> = configured.chain(&self.drained).copied().collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(|address| self.draining_of(address)).collect()
    }

    fn draining_of(&self, address: Ipv4Addr) -> Draining {
        let pools = &self.policy.config.pools;
        Draining {
            address,
            configured: pools.iter().any(|pool| pool.draining.contains(&address)),
            ports_in_use: self.ports_in_use(address),
        }
    }

    /// Tells the pools, which are those of `config`.
    pub(super) fn apply_draining(&self, config: &Config) {
        for (pool, config) in self.pools.iter().zip(&config.pools) {
            let mut addresses = config.draining.clone();
            addresses.extend(&self.drained);
            pool.set_draining(&addresses);
        }
    }
}
