//! Another configuration for a gateway that runs.

use std::collections::BTreeSet;

use nat64_xlate::{Effect, Flow, ReconfigureReport, SessionId, Time};

use super::{check, nets, Gateway, GatewayError};
use crate::config::GatewayConfig;
use crate::neigh::{self, UnitNet};
use crate::plan::Plan;

impl Gateway {
    /// Takes another configuration. Sessions it still allows live on, in the card too where their record stays the same.
    /// On an error nothing has changed, unless the card failed.
    pub fn reconfigure(&mut self, now: Time, config: GatewayConfig) -> Result<ReconfigureReport, GatewayError> {
        check(&config)?;
        let plan = Plan::new(&config);
        let plan = if self.card.is_some() { Some(plan?) } else { None };
        self.read_activity(now)?;
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        let report = match self.xlate.reconfigure(now, config.xlate.clone(), &mut effects) {
            Ok(report) => report,
            Err(error) => {
                self.effects = effects;
                return Err(error.into());
            }
        };
        // Some of these live on under other numbers.
        let removed = effects.iter().filter_map(|effect| match effect {
            Effect::Remove(id) => Some(*id),
            _ => None,
        });
        let removed: Vec<SessionId> = removed.collect();
        let out_of_card = self.take_out(now, &removed).and_then(|()| match &plan {
            Some(plan) => self.take_out_changed(now, &config, plan),
            None => Ok(Vec::new()),
        });
        let mut out = neigh::Output::default();
        self.neighbours.reconfigure(nets(&config), &mut out);
        self.config = config;
        // A card that fails from here on gets everything anew, so translator, neighbours and configuration must agree.
        let again = out_of_card?;
        if let (Some(card), Some(plan)) = (&mut self.card, plan) {
            card.apply(plan)?;
        }
        self.apply(now, out)?;
        for flow in again {
            self.install(now, flow)?;
        }
        self.perform(now, &effects, None)?;
        self.effects = effects;
        self.flush()?;
        Ok(report)
    }

    /// Takes sessions out of the card that would be there differently under another configuration. Returns all that are
    /// to be installed again, with the waiting ones.
    fn take_out_changed(&mut self, now: Time, config: &GatewayConfig, plan: &Plan) -> Result<Vec<Flow>, GatewayError> {
        let (old, new) = (nets(&self.config), nets(config));
        let place = |nets: &[UnitNet], unit: usize| {
            nets.get(unit).map(|net| UnitNet {
                proxy4: Vec::new(),
                ..net.clone()
            })
        };
        let outside = |config: &GatewayConfig, flow: &Flow| {
            config.xlate.service_sets.get(flow.service_set).map(|s| s.outside_unit)
        };
        let (mut changed, mut again) = (Vec::new(), Vec::new());
        // In an order of their own, so that the same input always gives the same output.
        let ids: BTreeSet<SessionId> = self.carried.keys().chain(self.deferred.keys()).copied().collect();
        for id in ids {
            let carried = self.carried.get(&id).copied();
            // The translator may number units and sets anew.
            let flow = self.xlate.session(id).map(|info| info.flow);
            let same = carried.zip(flow).is_some_and(|(carried, flow)| {
                let [(key6, hop6), (key4, hop4)] = carried.hops;
                let record = self
                    .card
                    .as_ref()
                    .and_then(|card| card.table().get(id))
                    .map(|i| i.record);
                carried.flow == flow
                    && self.config.link_type == config.link_type
                    && record == plan.record(&flow, hop6, hop4)
                    && outside(&self.config, &flow) == outside(config, &flow)
                    && [key6.0, key4.0]
                        .into_iter()
                        .all(|unit| place(&old, unit) == place(&new, unit))
            });
            if !same {
                changed.push(id);
                again.extend(flow);
            }
        }
        self.take_out(now, &changed)?;
        Ok(again)
    }
}
