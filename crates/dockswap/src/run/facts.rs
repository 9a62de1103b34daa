//! What is known of the machine: Docker, disks, memory, ports, certificates. Looked at in the background, each with a
//! deadline, so that neither a hung Docker nor a hung mount costs whoever asks anything; what was not seen for a
//! while is said to be stale, and forgotten in the end. Nothing here decides.

use crate::api::wire::{Fact, Time};
use dockswap_core::Timestamp;
use dockswap_core::ports::{Clock, Router};
use dockswap_docker::{Docker, EngineInfo, ImageDisk};
use dockswap_proxy::ProxyClient;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often disks, memory and ports are looked at, and what they may take.
const OFTEN: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(5);

/// And how often what hardly changes, in rounds of the former.
const SELDOM: u32 = 4;

/// How long a fact counts.
const TTL: Duration = Duration::from_secs(60);
const LONG_TTL: Duration = Duration::from_mins(4);

/// What was not seen for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_hours(1);

/// The names of facts.
const DOCKER: &str = "docker";
const DISK: &str = "disk";

/// What is known, by name and subject. Cheap to clone; clones share it.
#[derive(Clone)]
pub(crate) struct Facts {
    known: Arc<Mutex<Known>>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Known {
    facts: BTreeMap<(String, String), Seen>,
    /// Docker's root directory, once it is known.
    docker_root: Option<String>,
}

struct Seen {
    value: Value,
    at: Timestamp,
    ttl: Duration,
}

/// Whom the facts are asked of.
pub(crate) struct Sources {
    pub(crate) docker: Arc<Docker>,
    pub(crate) proxy: Arc<ProxyClient>,
    pub(crate) data_dir: PathBuf,
    /// When the certificate of each host expires.
    pub(crate) certificates: Arc<dyn Fn() -> Vec<(String, Option<Timestamp>)> + Send + Sync>,
}

impl Facts {
    /// Nothing yet.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { known: Arc::default(), clock }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, name: &str, subject: &str, value: Value, ttl: Duration) {
        let seen = Seen { value, at: self.clock.now(), ttl };
        self.known().facts.insert((name.to_owned(), subject.to_owned()), seen);
    }

    /// Of this name only these subjects are left.
    fn only(&self, name: &str, subjects: &BTreeSet<String>) {
        self.known().facts.retain(|(other, subject), _| other != name || subjects.contains(subject));
    }

    fn sweep(&self) {
        let now = self.clock.now();
        self.known().facts.retain(|_, seen| now.saturating_since(seen.at) < FORGOTTEN);
    }

    /// All of them, by name and subject.
    pub(crate) fn all(&self) -> Vec<Fact> {
        let now = self.clock.now();
        let known = self.known();
        let facts = known.facts.iter().map(|((name, subject), seen)| Fact {
            name: name.clone(),
            subject: subject.clone(),
            value: seen.value.clone(),
            seen_at: Time(seen.at),
            expires_at: Time(seen.at + seen.ttl),
            stale: seen.at + seen.ttl < now,
        });
        facts.collect()
    }

    /// Docker's disk, where it was looked at lately.
    pub(crate) fn image_disk(&self) -> Option<ImageDisk> {
        let now = self.clock.now();
        let known = self.known();
        let dir = known.docker_root.clone()?;
        let seen = known.facts.get(&(DISK.to_owned(), dir.clone()))?;
        let bytes = |field: &str| seen.value.get(field).and_then(Value::as_u64);
        let disk = ImageDisk { free_bytes: bytes("free_bytes")?, total_bytes: bytes("total_bytes")?, dir };
        (now <= seen.at + seen.ttl).then_some(disk)
    }

    /// Keeps them fresh until `stop`.
    pub(crate) fn keep(&self, sources: Sources, stop: CancellationToken) -> JoinHandle<()> {
        let facts = self.clone();
        tokio::spawn(async move {
            let mut disks = Disks::default();
            for round in 0_u32.. {
                let look = async {
                    if round.is_multiple_of(SELDOM) {
                        facts.look_at_docker(&sources).await;
                    }
                    facts.look_at_the_machine(&sources, &mut disks).await;
                    tokio::time::sleep(OFTEN).await;
                };
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = look => {}
                }
            }
        })
    }

    async fn look_at_docker(&self, sources: &Sources) {
        let asked = tokio::time::timeout(DEADLINE, sources.docker.info()).await;
        let Ok(Ok(info)) = asked else { return };
        self.known().docker_root = Some(info.root_dir.clone()).filter(|root| Path::new(root).is_absolute());
        let EngineInfo { version, api_version, live_restore, storage_driver, root_dir, .. } = info;
        let value = json!({
            "version": version, "api_version": api_version, "live_restore": live_restore,
            "storage_driver": storage_driver, "root_dir": root_dir,
        });
        self.learn(DOCKER, "engine", value, LONG_TTL);
    }

    async fn look_at_the_machine(&self, sources: &Sources, disks: &mut Disks) {
        let root = self.known().docker_root.clone().map(PathBuf::from);
        for dir in root.into_iter().chain([sources.data_dir.clone()]) {
            if let Some((free, total)) = disks.look(&dir).await {
                let value = json!({ "free_bytes": free, "total_bytes": total });
                self.learn(DISK, &dir.to_string_lossy(), value, TTL);
            }
        }
        if let Some(value) = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory(&text)) {
            self.learn("memory", "host", value, TTL);
        }
        if let Ok(Ok(status)) = tokio::time::timeout(DEADLINE, sources.proxy.status()).await {
            let listeners: BTreeSet<String> = status.listeners.iter().map(ToString::to_string).collect();
            for listener in &listeners {
                self.learn("port", listener, json!({ "held_by": "proxy" }), TTL);
            }
            self.only("port", &listeners);
        }
        let certificates = (sources.certificates)();
        for (host, expires) in &certificates {
            self.learn("tls", host, json!({ "expires_at": expires.map(Time) }), TTL);
        }
        self.only("tls", &certificates.into_iter().map(|(host, _)| host).collect());
        self.sweep();
    }
}

/// Looks at disks, at most one at a time each: a mount that hangs holds one thread, however often it is asked.
#[derive(Default)]
struct Disks(BTreeMap<PathBuf, JoinHandle<Option<(u64, u64)>>>);

impl Disks {
    /// Bytes that are free, and in all; `None`: it does not answer in time.
    async fn look(&mut self, dir: &Path) -> Option<(u64, u64)> {
        self.look_by(dir, DEADLINE, |dir| {
            let disk = rustix::fs::statvfs(dir).ok()?;
            Some((disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
        })
        .await
    }

    async fn look_by(
        &mut self,
        dir: &Path,
        deadline: Duration,
        ask: impl FnOnce(&Path) -> Option<(u64, u64)> + Send + 'static,
    ) -> Option<(u64, u64)> {
        let mut task = self.0.remove(dir).unwrap_or_else(|| {
            let dir = dir.to_owned();
            tokio::task::spawn_blocking(move || ask(&dir))
        });
        match tokio::time::timeout(deadline, &mut task).await {
            Ok(looked) => looked.ok().flatten(),
            Err(_) => {
                self.0.insert(dir.to_owned(), task);
                None
            }
        }
    }
}

/// Bytes of memory in all and to be had, as `/proc/meminfo` has them.
fn memory(text: &str) -> Option<Value> {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 =
            line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kibibytes * 1_024)
    };
    Some(json!({ "total_bytes": bytes("MemTotal")?, "available_bytes": bytes("MemAvailable")? }))
}

#[cfg(test)]
mod tests {
    use super::{DISK, Disks, FORGOTTEN, Facts, TTL, memory};
    use dockswap_core::Timestamp;
    use dockswap_core::ports::Clock;
    use serde_json::json;
    use std::path::Path;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// A time that is set.
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::Relaxed))
        }
    }

    fn at_zero() -> (Facts, Arc<Hand>) {
        let hand = Arc::new(Hand(AtomicI64::new(0)));
        (Facts::new(hand.clone()), hand)
    }

    #[test]
    fn a_fact_is_fresh_then_stale_then_forgotten() {
        let (facts, hand) = at_zero();
        facts.known().docker_root = Some("/var/lib/docker".to_owned());
        facts.learn(DISK, "/var/lib/docker", json!({ "free_bytes": 5, "total_bytes": 10 }), TTL);
        let look = |after: Duration| {
            hand.0.store((Timestamp::default() + after).as_micros(), Ordering::Relaxed);
            facts.sweep();
            let all = facts.all();
            (all.first().map(|fact| fact.stale), facts.image_disk().map(|disk| disk.free_bytes))
        };
        assert_eq!(look(TTL), (Some(false), Some(5)));
        let late = look(TTL + Duration::from_micros(1));
        assert_eq!(late, (Some(true), None), "nothing is decided by what is stale");
        assert_eq!(look(FORGOTTEN), (None, None));
    }

    #[test]
    fn what_is_gone_is_no_fact_any_more() {
        let (facts, _) = at_zero();
        for host in ["a.example", "b.example"] {
            facts.learn("tls", host, json!({}), TTL);
        }
        facts.only("tls", &["b.example".to_owned()].into());
        let left: Vec<String> = facts.all().into_iter().map(|fact| fact.subject).collect();
        assert_eq!(left, ["b.example"]);
    }

    /// A mount that hangs keeps nobody waiting longer than the deadline, and is asked by one thread alone.
    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_asked_once() {
        let (mut disks, asked) = (Disks::default(), Arc::new(AtomicI64::new(0)));
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..3 {
            let (asked, gate) = (asked.clone(), gate.clone());
            let hangs = move |_: &Path| {
                asked.fetch_add(1, Ordering::Relaxed);
                let _ = gate.lock().map(|gate| gate.recv());
                None
            };
            assert_eq!(disks.look_by(Path::new("/mnt"), Duration::ZERO, hangs).await, None);
        }
        assert!(asked.load(Ordering::Relaxed) <= 1, "one thread waits");
        drop(open);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:       16384 kB\nMemFree:         1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(memory(text), Some(json!({ "total_bytes": 16_777_216, "available_bytes": 2_097_152 })));
        assert_eq!(memory("MemTotal: many"), None);
    }
}
