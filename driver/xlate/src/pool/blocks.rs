//! Port blocks (`secured-port-block-allocation`): a subscriber is given whole blocks and has its ports in them.

use std::net::Ipv6Addr;

use nat64_layout::Protocol;

use super::bits::BitTree;
use super::{Block, PoolError, Request, State};
use crate::effect::{Event, Time};

impl State {
    /// First and last port of block `index`.
    pub(super) fn block_ports(&self, index: u32) -> (u16, u16) {
        let size = u32::from(self.config.blocks.map_or(1, |blocks| blocks.block_size)).max(1);
        let low = u32::from(self.config.ports.0) + index * size;
        (low as u16, (low + size - 1) as u16)
    }

    /// Blocks of an address: the range is cut to whole ones.
    pub(super) fn blocks_per_address(&self) -> u32 {
        let (low, high) = self.config.ports;
        let size = u32::from(self.config.blocks.map_or(1, |blocks| blocks.block_size)).max(1);
        (u32::from(high) - u32::from(low) + 1) / size
    }

    pub(super) fn allocate_in_block(
        &mut self,
        request: &Request,
        known: Option<u32>,
    ) -> Result<(u32, u16, u32), PoolError> {
        let Some(rules) = self.config.blocks else {
            return Err(PoolError::Exhausted);
        };
        let held = known.map_or(0, |home| self.homes[home as usize].blocks.len());
        let timeout = rules.active_block_timeout.as_nanos() as Time;
        let may_have_more = held < usize::from(rules.max_blocks_per_address);
        let mut refusal = PoolError::SubscriberLimit;
        if let (Some(home), Some(active)) = (known, held.checked_sub(1)) {
            let block = self.homes[home as usize].blocks[active];
            let fresh = timeout == 0 || self.now < block.since.saturating_add(timeout);
            if fresh && !self.draining.contains(&block.address) {
                if let Some(port) = self.port_in_block(block, request) {
                    return Ok(self.settle(request, known, block.address, port, Some(active)));
                }
            }
        }
        if may_have_more {
            match self.new_block(request, known) {
                Ok(block) => {
                    let port = self.port_in_block(block, request).ok_or(PoolError::Exhausted);
                    let home = known.unwrap_or_else(|| self.add_home(request.subscriber, block.address));
                    self.homes[home as usize].blocks.push(block);
                    match port {
                        Ok(port) => return Ok(self.settle(request, Some(home), block.address, port, Some(held))),
                        Err(error) => {
                            // All ports of the block rest from the last subscriber.
                            self.homes[home as usize].blocks.pop();
                            self.free_block(request.subscriber, block);
                            if self.homes[home as usize].ports == 0 {
                                self.home_index.remove(&request.subscriber);
                                self.free_homes.push(home);
                            }
                            refusal = error;
                        }
                    }
                }
                Err(error) => refusal = error,
            }
        }
        // An old block with free ports is better than a refusal.
        for index in (0..held).rev() {
            let Some(home) = known else { break };
            let Some(&block) = self.homes[home as usize].blocks.get(index) else {
                break;
            };
            if !self.draining.contains(&block.address) {
                if let Some(port) = self.port_in_block(block, request) {
                    return Ok(self.settle(request, known, block.address, port, Some(index)));
                }
            }
        }
        if may_have_more {
            self.usage.out_of_blocks += 1;
        } else {
            self.usage.blocks_limited += 1;
        }
        Err(refusal)
    }

    fn port_in_block(&mut self, block: Block, request: &Request) -> Option<u16> {
        let (low, high) = self.block_ports(block.index);
        self.port_in(block.address, low, high, request)
    }

    fn new_block(&mut self, request: &Request, known: Option<u32>) -> Result<Block, PoolError> {
        let icmp_free = Request {
            protocol: Protocol::Tcp,
            ..*request
        };
        let first = self.choose_address(&icmp_free, known)?;
        let count = self.blocks_per_address();
        let from = match self.block_cursor {
            _ if self.config.random => self.random.below(count.max(1)),
            (number, next) if number == first => next,
            _ => 0,
        };
        let (number, index) = self
            .pick_block(first, from, request, known)
            .ok_or(PoolError::Exhausted)?;
        self.block_cursor = (number, index + 1);
        let address = self.addresses[number as usize].get_or_insert_default();
        let blocks = address
            .blocks
            .get_or_insert_with(|| Box::new(BitTree::new(count, true)));
        blocks.remove(index);
        if blocks.is_empty() {
            self.available[0].remove(number);
        }
        self.usage.blocks += 1;
        self.usage.blocks_peak = self.usage.blocks_peak.max(self.usage.blocks);
        let event = Event::PortBlockAllocated {
            subscriber: Ipv6Addr::from(request.subscriber),
            address: self.address(number),
            ports: self.block_ports(index),
        };
        self.events.push(event);
        Ok(Block {
            address: number,
            index,
            used: 0,
            since: self.now,
        })
    }

    /// Notes that a port of a block is not used any more; a block without used ports goes back.
    pub(super) fn release_block(&mut self, home: u32, number: u32, port: u16) {
        let (low, _) = self.block_ports(0);
        let size = u32::from(self.block_ports(0).1 - low) + 1;
        let index = (u32::from(port) - u32::from(low)) / size;
        let entry = &mut self.homes[home as usize];
        let Some(at) = entry
            .blocks
            .iter()
            .position(|block| block.address == number && block.index == index)
        else {
            return;
        };
        entry.blocks[at].used -= 1;
        if entry.blocks[at].used == 0 {
            let block = entry.blocks.remove(at);
            let subscriber = entry.subscriber;
            self.free_block(subscriber, block);
        }
    }

    pub(super) fn free_block(&mut self, subscriber: u128, block: Block) {
        let event = Event::PortBlockReleased {
            subscriber: Ipv6Addr::from(subscriber),
            address: self.address(block.address),
            ports: self.block_ports(block.index),
        };
        self.events.push(event);
        self.usage.blocks -= 1;
        if let Some(blocks) = self.addresses[block.address as usize]
            .as_mut()
            .and_then(|a| a.blocks.as_mut())
        {
            blocks.insert(block.index);
        }
        if !self.draining.contains(&block.address) {
            self.available[0].insert(block.address);
        }
    }
}
