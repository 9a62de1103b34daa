//! The custodian: looks after every certificate that a route wants, and sees to it that the proxy has the last good
//! one of each. One host's trouble is none of another's.

use crate::acme::archive::Archive;
use crate::acme::issuer::Issuer;
use crate::examination::{examine, examine_whenever};
use crate::reads::Reads;
use crate::ring::{Ring, Unsaid};
use crate::slot::{Good, Origin, Slot};
use crate::view::{CertificateView, word};
use crate::wanted::{CustodianConfig, Wanted};
use dockswap_core::keyring::Pair;
use dockswap_core::ports::Secret;
use dockswap_core::spec::{CertificateSource, HostPattern};
use futures_util::FutureExt;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often files and the proxy are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Orders at the same time.
const ORDERS: usize = 8;

/// What is on record of an order while it lasts: a start in the middle of it counts as a failed try.
const BROKEN_OFF: &str = "the controller ended in the middle of the order";

/// What is said of a fault of our own.
const OWN_FAULT: &str = "it broke off by a fault of dockswap's own, which its log tells: report it";

/// The running custodian.
pub struct Custodian {
    views: watch::Receiver<Arc<Vec<CertificateView>>>,
    fault: watch::Receiver<Option<&'static str>>,
    again: mpsc::Sender<()>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Where people look.
type Views = watch::Sender<Arc<Vec<CertificateView>>>;

/// What a certificate is known by: two routes that want the same share it.
type Key = (HostPattern, CertificateSource);

struct Work {
    config: CustodianConfig,
    reads: Reads,
    ring: Arc<Ring>,
    issuer: Arc<Issuer>,
    archive: Archive,
    slots: BTreeMap<Key, Slot>,
    orders: JoinSet<(Key, Result<Pair, String>)>,
    views: Views,
    fault: watch::Sender<Option<&'static str>>,
}

impl Custodian {
    /// Begins to look after what is wanted.
    #[must_use]
    pub fn start(config: CustodianConfig) -> Self {
        let (sender, views) = watch::channel(Arc::default());
        let (fault_sender, fault) = watch::channel(None);
        let (again, asked) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let work = Work::new(config, sender, fault_sender);
        let task = tokio::spawn(work.run(asked, stop.clone()));
        Self { views, fault, again, stop, task: Mutex::new(Some(task)) }
    }

    /// How every certificate stands, by app and host.
    #[must_use]
    pub fn views(&self) -> Arc<Vec<CertificateView>> {
        self.views.borrow().clone()
    }

    /// What keeps the custodian itself from its work; `None`: nothing.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        *self.fault.borrow()
    }

    /// Looks at everything now, and tries again what failed, as far as that is allowed.
    pub fn look_again(&self) {
        // One that is not heard yet says the same.
        let _ = self.again.try_send(());
    }

    /// Ends it; orders in flight are given up. What the proxy holds stays.
    pub async fn end(&self) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

impl Work {
    fn new(config: CustodianConfig, views: Views, fault: watch::Sender<Option<&'static str>>) -> Self {
        let ring = Arc::new(Ring::new(Arc::clone(&config.keyholder)));
        let archive = Archive::new(&config.acme.dir, &config.acme.directory);
        let issuer = Arc::new(Issuer::new(config.acme.clone(), archive.clone(), Arc::clone(&ring)));
        Self {
            reads: Reads::of(Arc::clone(&config.files)),
            config,
            ring,
            issuer,
            archive,
            slots: BTreeMap::new(),
            orders: JoinSet::new(),
            views,
            fault,
        }
    }

    async fn run(mut self, mut asked: mpsc::Receiver<()>, stop: CancellationToken) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                Some(()) = asked.recv() => {
                    for slot in self.slots.values_mut() {
                        slot.hurried = slot.tries.count > 0;
                    }
                }
                Some(Ok((key, outcome))) = self.orders.join_next() => self.close_order(&key, outcome),
            }
            // One bad look must not be the last: certificates would expire, and nobody would say so.
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = AssertUnwindSafe(self.look()).catch_unwind() => looked,
            };
            let fault = looked.is_err().then_some(OWN_FAULT);
            let news = self.fault.send_if_modified(|known| std::mem::replace(known, fault) != fault);
            if news && fault.is_some() {
                tracing::error!("looking after certificates {OWN_FAULT}; trying again every second");
            }
        }
    }

    /// Does all that there is to do now.
    async fn look(&mut self) {
        let wanted = (self.config.wanted)();
        let keys: BTreeSet<Key> = wanted.iter().map(|one| (one.host.clone(), one.source.clone())).collect();
        self.slots.retain(|key, slot| keys.contains(key) || slot.ordering);
        for key in &keys {
            if !self.slots.contains_key(key) {
                let slot = self.open(key);
                self.slots.insert(key.clone(), slot);
            }
        }
        self.read_files().await;
        self.keep_issued();
        self.ring.fill(self.shown(&keys));
        if let Err(error) = self.ring.check().await {
            tracing::debug!(%error, "the proxy does not take certificates at present");
        }
        self.open_orders(&keys);
        let mut views: Vec<CertificateView> = wanted.iter().map(|one| self.view(one)).collect();
        views.sort_by(|a, b| (&a.app, &a.host, &a.source).cmp(&(&b.app, &b.host, &b.source)));
        views.dedup();
        self.views.send_if_modified(|shown| {
            let changed = **shown != views;
            if changed {
                *shown = Arc::new(views);
            }
            changed
        });
    }

    /// What is known of a certificate that was not wanted before.
    fn open(&self, (host, source): &Key) -> Slot {
        let good = |pair: Pair, origin: Origin| {
            let validity = examine_whenever(&pair, host).ok()?;
            Some(Good { pair, validity, origin })
        };
        let stand_in = || good(self.shown_before(host)?, Origin::StandIn);
        match (source, host) {
            (CertificateSource::Acme, HostPattern::Exact(name)) => Slot {
                good: self.archive.pair(name).and_then(|pair| good(pair, Origin::Wanted)).or_else(stand_in),
                tries: self.archive.tries(name),
                ..Slot::default()
            },
            _ => Slot { good: stand_in(), ..Slot::default() },
        }
    }

    /// What the host is shown, whyever: by this custodian, or, until it has said anything, by the proxy.
    fn shown_before(&self, host: &HostPattern) -> Option<Pair> {
        self.ring.shown(host).unwrap_or_else(|Unsaid| {
            let last = self.config.last.certificates.iter().find(|one| one.host == *host);
            last.map(|last| last.pair.clone())
        })
    }

    /// Reads all files; the last good pair stays where they are bad.
    async fn read_files(&mut self) {
        let reads = &self.reads;
        reads.tidy();
        let named = self.slots.keys().filter_map(|key| match &key.1 {
            CertificateSource::Files { cert, key: secret } => {
                Some((key.clone(), cert.clone(), secret.clone()))
            }
            CertificateSource::Acme => None,
        });
        let read = named.map(|(key, cert, secret)| async move {
            let pair = read_pair(reads, &cert, &secret).await;
            (key, cert, secret, pair)
        });
        let read = join_all(read).await;
        let now = self.config.clock.now();
        for (key, cert, secret, pair) in read {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            let good =
                pair.and_then(|pair| match slot.verdict(&pair, now, |pair| examine_whenever(pair, &key.0)) {
                    Ok(validity) => Ok(Good { pair, validity, origin: Origin::Wanted }),
                    Err(fault) => {
                        let file = if fault.is_of_the_key() { &secret } else { &cert };
                        Err(format!("{file}: {fault}"))
                    }
                });
            match good {
                Ok(good) => {
                    if slot.good.as_ref().is_none_or(|known| known.pair != good.pair) {
                        tracing::info!(host = %key.0, "a certificate was read");
                    }
                    slot.good = Some(good);
                    slot.trouble = None;
                }
                Err(why) => {
                    if slot.trouble.as_ref() != Some(&why) {
                        tracing::warn!(host = %key.0, kept = slot.good.is_some(), "a certificate cannot be used: {why}");
                    }
                    slot.trouble = Some(why);
                }
            }
        }
    }

    /// Brings to disk what was issued. Until it is there, what is on disk says that the order failed, so that a start
    /// does not ask for it at once.
    fn keep_issued(&mut self) {
        for (key, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.unkept) {
            let (HostPattern::Exact(host), Some(good)) = (&key.0, &slot.good) else { continue };
            let kept = self.archive.keep_pair(host, &good.pair);
            match kept.and_then(|()| self.archive.keep_tries(host, &slot.tries)) {
                Ok(()) => {
                    slot.unkept = false;
                    slot.trouble = None;
                }
                Err(error) => slot.is_troubled_by(
                    host,
                    format!(
                        "the certificate is shown, and cannot be kept in {}: {error}: free some space, or mend the directory",
                        self.archive.dir().display()
                    ),
                ),
            }
        }
    }

    /// Which pair each host is shown: of several sources files first.
    fn shown(&self, keys: &BTreeSet<Key>) -> BTreeMap<HostPattern, Pair> {
        let mut shown = BTreeMap::new();
        // The order of keys has ACME first; what comes later wins.
        for key in keys {
            if let Some(good) = self.slots.get(key).and_then(|slot| slot.good.as_ref()) {
                shown.insert(key.0.clone(), good.pair.clone());
            }
        }
        shown
    }

    /// Asks for what is due. A try that cannot be noted is not made: after a restart nobody would know of it, and a
    /// machine without space would ask at every start.
    fn open_orders(&mut self, keys: &BTreeSet<Key>) {
        let now = self.config.clock.now();
        for key in keys {
            let (CertificateSource::Acme, HostPattern::Exact(host)) = (&key.1, &key.0) else { continue };
            let Some(slot) = self.slots.get_mut(key) else { continue };
            if slot.ordering || slot.due(host, now) > now || self.orders.len() >= ORDERS {
                continue;
            }
            let mut tries = slot.tries.clone();
            tries.fail(BROKEN_OFF.to_owned(), now);
            if let Err(error) = self.archive.keep_tries(host, &tries) {
                let dir = self.archive.dir().display();
                slot.is_troubled_by(
                    host,
                    format!(
                        "no certificate is asked for, because that could not be noted in {dir}: {error}: free some space, or mend the directory"
                    ),
                );
                continue;
            }
            slot.trouble = None;
            slot.ordering = true;
            slot.hurried = false;
            tracing::info!(host, "a certificate is asked for");
            let (issuer, host, key) = (Arc::clone(&self.issuer), host.clone(), key.clone());
            self.orders.spawn(async move {
                let outcome = unbroken(issuer.issue(&host)).await;
                (key, outcome)
            });
        }
    }

    fn close_order(&mut self, key: &Key, outcome: Result<Pair, String>) {
        let (HostPattern::Exact(host), Some(slot)) = (&key.0, self.slots.get_mut(key)) else { return };
        slot.ordering = false;
        let now = self.config.clock.now();
        let good = outcome.and_then(|pair| match examine(&pair, &key.0, now) {
            Ok(validity) => Ok(Good { pair, validity, origin: Origin::Wanted }),
            Err(fault) => Err(format!("the ACME server gave a certificate that cannot be used: {fault}")),
        });
        match good {
            Ok(good) => {
                tracing::info!(host, "a certificate was issued");
                slot.good = Some(good);
                slot.tries.succeed(now);
                (slot.hurried, slot.unkept) = (false, true);
            }
            Err(why) => {
                tracing::warn!(host, kept = slot.good.is_some(), "no certificate was issued: {why}");
                slot.tries.fail(why, now);
                if let Err(error) = self.archive.keep_tries(host, &slot.tries) {
                    tracing::warn!(host, %error, "why there is no certificate cannot be kept");
                }
            }
        }
    }

    fn view(&self, wanted: &Wanted) -> CertificateView {
        let slot = self.slots.get(&(wanted.host.clone(), wanted.source.clone()));
        let acme = slot.filter(|_| wanted.source == CertificateSource::Acme);
        let failed = |slot: &Slot| (slot.tries.count > 0).then(|| slot.tries.why.clone());
        CertificateView {
            app: wanted.app.clone(),
            host: wanted.host.to_string(),
            source: word(&wanted.source).to_owned(),
            expires_at_us: slot.and_then(|slot| slot.good.as_ref()).map(|good| good.validity.until),
            next_try_us: acme.map(|slot| slot.due(&wanted.host.to_string(), self.config.clock.now())),
            trouble: slot.and_then(|slot| slot.trouble.clone().or_else(|| failed(slot))),
        }
    }
}

async fn read_pair(reads: &Reads, cert: &str, key: &str) -> Result<Pair, String> {
    let chain_pem = reads.read(cert).await?;
    let key_pem = Secret::new(reads.read(key).await?);
    Ok(Pair { chain_pem, key_pem })
}

/// What comes of an order, also when it panics: nothing may wait for it for ever.
async fn unbroken<T>(order: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    AssertUnwindSafe(order).catch_unwind().await.unwrap_or_else(|_| Err(OWN_FAULT.to_owned()))
}

#[cfg(test)]
mod tests;
