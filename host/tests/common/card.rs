//! A card for tests of the commit engine.

use std::sync::Arc;

use nat64_host::config::Model;
use nat64_host::store::{Apply, ApplyError, ApplyReport, Refusal};

/// A card that remembers what it runs on, and can be told to refuse.
#[derive(Default)]
pub struct Card {
    /// What it runs on.
    pub running: Option<Arc<Model>>,
    /// Calls of `prepare` that went well.
    pub prepared: usize,
    /// Calls of `abort`.
    pub aborted: usize,
    /// `prepare` refuses.
    pub refuse: bool,
    /// `apply` fails.
    pub fail: bool,
}

impl Apply for Card {
    type Prepared = Arc<Model>;

    fn prepare(&mut self, model: &Arc<Model>) -> Result<Arc<Model>, Refusal> {
        if self.refuse {
            return Err(Refusal {
                card: "card0".into(),
                reason: "it has no room".into(),
            });
        }
        self.prepared += 1;
        Ok(Arc::clone(model))
    }

    fn apply(&mut self, prepared: Arc<Model>) -> Result<ApplyReport, ApplyError> {
        if self.fail {
            return Err(ApplyError {
                card: "card0".into(),
                reason: "it does not answer".into(),
                card_lost: false,
            });
        }
        self.running = Some(prepared);
        Ok(ApplyReport {
            sessions_kept: 7,
            ..ApplyReport::default()
        })
    }

    fn abort(&mut self, _: Arc<Model>) {
        self.aborted += 1;
    }
}

impl Card {
    /// Name of its first pool.
    pub fn pool(&self) -> Option<String> {
        let model = self.running.as_ref()?;
        Some(model.cards.first()?.gateway.xlate.pools[0].name.clone())
    }
}
