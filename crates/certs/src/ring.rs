//! The keyring that should be in force, and bringing it to whoever holds it.

use dockswap_core::keyring::{Challenge, HostCertificate, Keyring, Pair};
use dockswap_core::ports::{Keyholder, RouterError};
use dockswap_core::spec::HostPattern;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Mutex as Turn;

/// What is to be in force.
pub(crate) struct Ring {
    keyholder: Arc<dyn Keyholder>,
    content: Mutex<Content>,
    /// The tag that was confirmed last.
    confirmed: Turn<Option<String>>,
}

#[derive(Default)]
struct Content {
    /// `None`: it is not known yet what is wanted, and what is in force stays.
    certificates: Option<BTreeMap<HostPattern, Pair>>,
    challenges: BTreeMap<u64, Challenge>,
    next: u64,
}

/// Nobody has said yet what is to be in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsaid;

/// A challenge that is answered until this is dropped.
pub(crate) struct Offered {
    ring: Arc<Ring>,
    number: u64,
}

impl Ring {
    pub(crate) fn new(keyholder: Arc<dyn Keyholder>) -> Self {
        Self { keyholder, content: Mutex::default(), confirmed: Turn::default() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which certificates are to be in force; [`Ring::publish`] brings them.
    pub(crate) fn fill(&self, certificates: BTreeMap<HostPattern, Pair>) {
        self.content().certificates = Some(certificates);
    }

    /// What `host` is shown now; `Err`: nobody has said yet what is to be in force.
    pub(crate) fn shown(&self, host: &HostPattern) -> Result<Option<Pair>, Unsaid> {
        let content = self.content();
        let certificates = content.certificates.as_ref().ok_or(Unsaid)?;
        Ok(certificates.get(host).cloned())
    }

    /// Answers `challenge` from now on. When this returns, an ACME server may ask.
    pub(crate) async fn offer(self: &Arc<Self>, challenge: Challenge) -> Result<Offered, RouterError> {
        let number = {
            let mut content = self.content();
            content.next += 1;
            let number = content.next;
            content.challenges.insert(number, challenge);
            number
        };
        let offered = Offered { ring: Arc::clone(self), number };
        self.publish().await?;
        Ok(offered)
    }

    /// Brings what is to be in force, unless it is already.
    pub(crate) async fn publish(&self) -> Result<(), RouterError> {
        let mut confirmed = self.confirmed.lock().await;
        let Some(keyring) = self.keyring() else { return Ok(()) };
        if confirmed.as_ref() == Some(&keyring.tag) {
            return Ok(());
        }
        *confirmed = None;
        self.keyholder.hold(&keyring).await?;
        *confirmed = Some(keyring.tag);
        Ok(())
    }

    /// Looks whether it still is in force, and brings it again when it is not: the proxy may have been restarted.
    pub(crate) async fn check(&self) -> Result<(), RouterError> {
        let held = self.keyholder.held().await?;
        {
            let mut confirmed = self.confirmed.lock().await;
            if confirmed.as_ref() != Some(&held) {
                *confirmed = None;
            }
        }
        self.publish().await
    }

    fn keyring(&self) -> Option<Keyring> {
        let content = self.content();
        let shown = content.certificates.as_ref()?.iter();
        let mut keyring = Keyring {
            tag: String::new(),
            certificates: shown
                .map(|(host, pair)| HostCertificate { host: host.clone(), pair: pair.clone() })
                .collect(),
            challenges: content.challenges.values().cloned().collect(),
        };
        drop(content);
        // Keys are long and random: their hash gives nothing away.
        let text = serde_json::to_vec(&keyring).unwrap_or_default();
        keyring.tag = Sha256::digest(text).iter().fold(String::new(), |mut tag, byte| {
            // Writing to a String cannot fail.
            let _ = write!(tag, "{byte:02x}");
            tag
        });
        Some(keyring)
    }
}

impl Drop for Offered {
    /// The next keyring is without it; until then an answer does no harm.
    fn drop(&mut self) {
        self.ring.content().challenges.remove(&self.number);
    }
}
