//! The custodian: looks after every certificate that a route wants, and sees to it that the proxy has the last good
//! one of each. One host's trouble is none of another's.

use crate::acme::AcmeConfig;
use crate::acme::archive::Archive;
use crate::acme::issuer::Issuer;
use crate::examination::{examine, examine_whenever};
use crate::ring::{Ring, Unsaid};
use crate::slot::{Failures, Good, Origin, renewal};
use crate::view::{CertificateView, word};
use async_trait::async_trait;
use dockswap_core::keyring::{Keyring, Pair};
use dockswap_core::ports::{Clock, Keyholder, Secret};
use dockswap_core::spec::{CertificateSource, HostPattern};
use dockswap_core::{AppName, Timestamp};
use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// How often files and the proxy are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long a file may take to be read.
const READ: Duration = Duration::from_secs(2);

/// Orders at the same time.
const ORDERS: usize = 8;

/// A certificate that a route wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Whose route.
    pub app: AppName,
    /// Its host.
    pub host: HostPattern,
    /// Where the certificate comes from.
    pub source: CertificateSource,
}

/// Reading the files that app files name.
#[async_trait]
pub trait CertificateFiles: Send + Sync {
    /// The text of the file at `path`, as far as it may be read now.
    ///
    /// # Errors
    /// Why not, without the path.
    async fn read(&self, path: &str) -> Result<String, String>;
}

/// What a custodian works with.
pub struct CustodianConfig {
    /// What is wanted at present.
    pub wanted: Box<dyn Fn() -> Vec<Wanted> + Send + Sync>,
    /// Files.
    pub files: Arc<dyn CertificateFiles>,
    /// The proxy.
    pub keyholder: Arc<dyn Keyholder>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The ACME server.
    pub acme: AcmeConfig,
    /// What the proxy had last: good certificates whose files are bad now.
    pub last: Keyring,
}

/// The running custodian.
pub struct Custodian {
    views: watch::Receiver<Arc<Vec<CertificateView>>>,
    again: mpsc::Sender<()>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What a certificate is known by: two routes that want the same share it.
type Key = (HostPattern, CertificateSource);

/// A certificate that is wanted.
#[derive(Default)]
struct Slot {
    good: Option<Good>,
    trouble: Option<String>,
    failures: Failures,
    /// Somebody asked for a try, whatever the pause.
    hurried: bool,
    ordering: bool,
}

struct Work {
    config: CustodianConfig,
    ring: Arc<Ring>,
    issuer: Arc<Issuer>,
    archive: Archive,
    slots: BTreeMap<Key, Slot>,
    orders: JoinSet<(Key, Result<Pair, String>)>,
    views: watch::Sender<Arc<Vec<CertificateView>>>,
}

impl Custodian {
    /// Begins to look after what is wanted.
    #[must_use]
    pub fn start(config: CustodianConfig) -> Self {
        let ring = Arc::new(Ring::new(Arc::clone(&config.keyholder)));
        let archive = Archive::new(&config.acme.dir, &config.acme.directory);
        let issuer = Arc::new(Issuer::new(config.acme.clone(), archive.clone(), Arc::clone(&ring)));
        let (sender, views) = watch::channel(Arc::default());
        let (again, asked) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let work = Work {
            config,
            ring,
            issuer,
            archive,
            slots: BTreeMap::new(),
            orders: JoinSet::new(),
            views: sender,
        };
        let task = tokio::spawn(work.run(asked, stop.clone()));
        Self { views, again, stop, task: Mutex::new(Some(task)) }
    }

    /// How every certificate stands, by app and host.
    #[must_use]
    pub fn views(&self) -> Arc<Vec<CertificateView>> {
        self.views.borrow().clone()
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
    async fn run(mut self, mut asked: mpsc::Receiver<()>, stop: CancellationToken) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                Some(()) = asked.recv() => {
                    for slot in self.slots.values_mut() {
                        slot.hurried = slot.failures.count > 0;
                    }
                }
                Some(Ok((key, outcome))) = self.orders.join_next() => self.close_order(&key, outcome),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look() => {}
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
                failures: self.archive.failures(name),
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
        let files = &self.config.files;
        let now = self.config.clock.now();
        let reads = self.slots.keys().filter_map(|key| match &key.1 {
            CertificateSource::Files { cert, key: secret } => {
                Some((key.clone(), cert.clone(), secret.clone()))
            }
            CertificateSource::Acme => None,
        });
        let reads = reads.map(|(key, cert, secret)| async move {
            let read = read_pair(&**files, &cert, &secret).await;
            let good = read.and_then(|pair| match examine(&pair, &key.0, now) {
                Ok(validity) => Ok(Good { pair, validity, origin: Origin::Wanted }),
                Err(fault) => {
                    let file = if fault.is_of_the_key() { &secret } else { &cert };
                    Err(format!("{file}: {fault}"))
                }
            });
            (key, good)
        });
        for (key, good) in join_all(reads).await {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
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

    /// Asks for what is due.
    fn open_orders(&mut self, keys: &BTreeSet<Key>) {
        let now = self.config.clock.now();
        for key in keys {
            let (CertificateSource::Acme, HostPattern::Exact(host)) = (&key.1, &key.0) else { continue };
            let Some(slot) = self.slots.get_mut(key) else { continue };
            if slot.ordering || slot.due(host, now) > now || self.orders.len() >= ORDERS {
                continue;
            }
            slot.ordering = true;
            slot.hurried = false;
            // A start that ends in the middle of this is a failed try too.
            let mut failures = slot.failures.clone();
            failures.add("the controller ended in the middle of the order".to_owned(), now);
            note(self.archive.keep_failures(host, &failures));
            tracing::info!(host, "a certificate is asked for");
            let (issuer, host, key) = (Arc::clone(&self.issuer), host.clone(), key.clone());
            self.orders.spawn(async move {
                let outcome = issuer.issue(&host).await;
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
                *slot = Slot { good: Some(good), ..Slot::default() };
                note(self.archive.forget_failures(host));
            }
            Err(why) => {
                tracing::warn!(host, kept = slot.good.is_some(), "no certificate was issued: {why}");
                slot.failures.add(why, now);
                note(self.archive.keep_failures(host, &slot.failures));
            }
        }
    }

    fn view(&self, wanted: &Wanted) -> CertificateView {
        let slot = self.slots.get(&(wanted.host.clone(), wanted.source.clone()));
        let acme = slot.filter(|_| wanted.source == CertificateSource::Acme);
        let failed = |slot: &Slot| (slot.failures.count > 0).then(|| slot.failures.why.clone());
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

impl Slot {
    /// When an ACME server is asked next.
    fn due(&self, host: &str, now: Timestamp) -> Timestamp {
        let wanted = match &self.good {
            Some(good) if good.origin == Origin::Wanted => {
                renewal(good.validity, fraction(&[host, &good.pair.chain_pem]))
            }
            _ => now,
        };
        if self.hurried {
            return self.failures.soonest(now);
        }
        let allowed = self.failures.next(fraction(&[host, &self.failures.count.to_string()]));
        allowed.map_or(wanted, |allowed| allowed.max(wanted))
    }
}

/// From 0 to 1, the same for the same texts, and as good as random for others.
fn fraction(texts: &[&str]) -> f64 {
    let digest = texts.iter().fold(Sha256::new(), |hash, text| hash.chain_update(text).chain_update([0]));
    let bytes = digest.finalize();
    f64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])) / f64::from(u32::MAX)
}

async fn read_pair(files: &dyn CertificateFiles, cert: &str, key: &str) -> Result<Pair, String> {
    let chain_pem = read(files, cert).await?;
    let key_pem = Secret::new(read(files, key).await?);
    Ok(Pair { chain_pem, key_pem })
}

async fn read(files: &dyn CertificateFiles, path: &str) -> Result<String, String> {
    let late = |_| Err(format!("it could not be read within {} s", READ.as_secs()));
    let read = timeout(READ, files.read(path)).await.unwrap_or_else(late);
    read.map_err(|why| format!("{path}: {why}"))
}

fn note(outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "failed tries for a certificate cannot be kept");
    }
}
