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
    /// All of it with its tag, once it was asked for.
    ready: Option<Arc<Keyring>>,
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
        let mut content = self.content();
        if content.certificates.as_ref() != Some(&certificates) {
            content.certificates = Some(certificates);
            content.ready = None;
        }
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
            content.ready = None;
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
        *confirmed = Some(keyring.tag.clone());
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

    fn keyring(&self) -> Option<Arc<Keyring>> {
        let mut content = self.content();
        if let Some(ready) = &content.ready {
            return Some(Arc::clone(ready));
        }
        let shown = content.certificates.as_ref()?.iter();
        let mut keyring = Keyring {
            tag: String::new(),
            certificates: shown
                .map(|(host, pair)| HostCertificate { host: host.clone(), pair: pair.clone() })
                .collect(),
            challenges: content.challenges.values().cloned().collect(),
        };
        // Keys are long and random: their hash gives nothing away.
        let text = serde_json::to_vec(&keyring).unwrap_or_default();
        keyring.tag = Sha256::digest(text).iter().fold(String::new(), |mut tag, byte| {
            // Writing to a String cannot fail.
            let _ = write!(tag, "{byte:02x}");
            tag
        });
        let ready = Arc::new(keyring);
        content.ready = Some(Arc::clone(&ready));
        drop(content);
        Some(ready)
    }
}

impl Drop for Offered {
    /// The next keyring is without it; until then an answer does no harm.
    fn drop(&mut self) {
        let mut content = self.ring.content();
        content.challenges.remove(&self.number);
        content.ready = None;
    }
}
