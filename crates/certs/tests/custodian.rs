//! The custodian on real files, with a keyholder that does as it is told.

use async_trait::async_trait;
use dockswap_certs::{
    AcmeConfig, CertificateFiles, CertificateView, ChallengeKind, Custodian, CustodianConfig, Wanted,
};
use dockswap_core::Timestamp;
use dockswap_core::keyring::{HostCertificate, Keyring, Pair};
use dockswap_core::ports::{Clock, Keyholder, RouterError, Secret};
use dockswap_core::spec::{CertificateSource, HostPattern};
use dockswap_proof::Proof;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// 2025.
const NOW: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        NOW
    }
}

struct Disk;

#[async_trait]
impl CertificateFiles for Disk {
    async fn read(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(path).map_err(|error| error.to_string())
    }
}

/// A proxy that remembers.
#[derive(Default)]
struct Holder {
    held: Mutex<Keyring>,
    handed: Mutex<u32>,
}

#[async_trait]
impl Keyholder for Holder {
    async fn hold(&self, keyring: &Keyring) -> Result<(), RouterError> {
        *self.held.lock().expect("a lock") = keyring.clone();
        *self.handed.lock().expect("a lock") += 1;
        Ok(())
    }

    async fn held(&self) -> Result<String, RouterError> {
        Ok(self.held.lock().expect("a lock").tag.clone())
    }
}

struct Scene {
    dir: tempfile::TempDir,
    holder: Arc<Holder>,
    wanted: Arc<Mutex<Vec<Wanted>>>,
    custodian: Custodian,
}

fn pair(names: &[&str], until: i32) -> Pair {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    Pair { chain_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) }
}

fn exact(host: &str) -> HostPattern {
    HostPattern::Exact(host.to_owned())
}

impl Scene {
    fn begin(last: Keyring) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (holder, wanted) = (Arc::new(Holder::default()), Arc::<Mutex<Vec<Wanted>>>::default());
        *holder.held.lock().expect("a lock") = last.clone();
        let asked = Arc::clone(&wanted);
        let custodian = Custodian::start(CustodianConfig {
            wanted: Box::new(move || asked.lock().expect("a lock").clone()),
            files: Arc::new(Disk),
            keyholder: holder.clone(),
            clock: Arc::new(Stopped),
            acme: AcmeConfig {
                directory: "https://127.0.0.1:1/dir".to_owned(),
                email: None,
                ca_file: None,
                challenge: ChallengeKind::Http01,
                dir: dir.path().join("acme"),
            },
            last,
        });
        Self { dir, holder, wanted, custodian }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `app` wants the certificate in the directory `name` for `host`.
    fn want(&self, app: &str, host: &str, name: &str) {
        let file = |which: &str| self.path(name).join(which).to_string_lossy().into_owned();
        let source = CertificateSource::Files { cert: file("cert.pem"), key: file("key.pem") };
        let wanted = Wanted { app: app.parse().expect("a name"), host: exact(host), source };
        self.wanted.lock().expect("a lock").push(wanted);
        self.custodian.look_again();
    }

    fn put(&self, name: &str, pair: &Pair) {
        put(&self.path(name), pair);
        self.custodian.look_again();
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(30), async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waited.await.is_ok(), "never happened: {what}: {:?}", self.custodian.views());
    }

    fn shows(&self, host: &str, pair: &Pair) -> bool {
        let held = self.holder.held.lock().expect("a lock");
        held.certificates.iter().any(|one| one.host == exact(host) && one.pair == *pair)
    }

    fn view(&self, app: &str) -> Option<CertificateView> {
        self.custodian.views().iter().find(|view| view.app.as_str() == app).cloned()
    }

    fn trouble(&self, app: &str) -> String {
        self.view(app).and_then(|view| view.trouble).unwrap_or_default()
    }
}

fn put(dir: &Path, pair: &Pair) {
    fs::create_dir_all(dir).expect("a directory");
    fs::write(dir.join("cert.pem"), &pair.chain_pem).expect("written");
    fs::write(dir.join("key.pem"), pair.key_pem.expose()).expect("written");
}

#[tokio::test]
async fn a_bad_file_keeps_the_last_good_pair_and_touches_no_other_app() {
    let mut proof = Proof::of("P21", "certificate files that cannot be used").part("files");
    let scene = Scene::begin(Keyring::default());
    let (a, b) = (pair(&["a.org"], 2050), pair(&["b.org"], 2050));
    scene.put("a", &a);
    scene.put("b", &b);
    scene.want("a", "a.org", "a");
    scene.want("b", "b.org", "b");
    scene.until("both are shown", |scene| scene.shows("a.org", &a) && scene.shows("b.org", &b)).await;
    assert_eq!(scene.trouble("a"), "");
    let other = pair(&["a.org"], 2050);
    let half = a.chain_pem.len() / 2;
    let bad: [(Pair, &str); 6] = [
        (
            Pair { key_pem: other.key_pem.clone(), ..a.clone() },
            "key.pem: it is not the key of the certificate",
        ),
        (
            Pair { chain_pem: other.chain_pem[..half].to_owned(), ..other.clone() },
            "cert.pem: its certificate cannot be understood",
        ),
        (Pair { chain_pem: String::new(), ..other.clone() }, "cert.pem: it holds no certificate"),
        (Pair { key_pem: Secret::new("x".to_owned()), ..other.clone() }, "key.pem: it holds no private key"),
        (pair(&["c.org"], 2050), "cert.pem: it is for c.org, and not for a.org"),
        (pair(&["a.org"], 2024), "cert.pem: it expired on"),
    ];
    for (bad, said) in &bad {
        scene.put("a", bad);
        scene.until(said, |scene| scene.trouble("a").contains(said)).await;
        assert!(scene.shows("a.org", &a) && scene.shows("b.org", &b), "{said}");
        assert_eq!(scene.trouble("b"), "");
        assert_eq!(
            scene.view("a").expect("a view").expires_at_us,
            scene.view("b").expect("a view").expires_at_us
        );
        proof.kept();
    }
    fs::remove_file(scene.path("a/key.pem")).expect("gone");
    scene.custodian.look_again();
    scene.until("the file is missed", |scene| scene.trouble("a").contains("No such file")).await;
    assert!(scene.shows("a.org", &a));
    scene.put("a", &other);
    scene.until("the new one is shown", |scene| scene.shows("a.org", &other)).await;
    assert_eq!(scene.trouble("a"), "");
    proof.conclude();
}

#[tokio::test]
async fn a_swapped_link_is_followed() {
    let scene = Scene::begin(Keyring::default());
    let (old, new) = (pair(&["a.org"], 2050), pair(&["a.org"], 2051));
    put(&scene.path("archive/1"), &old);
    put(&scene.path("archive/2"), &new);
    let live = scene.path("live");
    symlink(scene.path("archive/1"), &live).expect("a link");
    scene.want("a", "a.org", "live");
    scene.until("the first is shown", |scene| scene.shows("a.org", &old)).await;
    symlink(scene.path("archive/2"), scene.path("next")).expect("a link");
    fs::rename(scene.path("next"), &live).expect("swapped");
    // Nobody says so.
    scene.until("the second is shown", |scene| scene.shows("a.org", &new)).await;
}

#[tokio::test]
async fn a_proxy_that_forgot_is_handed_the_same_again_and_one_that_did_not_is_left_alone() {
    let scene = Scene::begin(Keyring::default());
    let a = pair(&["a.org"], 2050);
    scene.put("a", &a);
    scene.want("a", "a.org", "a");
    scene.until("it is shown", |scene| scene.shows("a.org", &a)).await;
    let before = *scene.holder.handed.lock().expect("a lock");
    scene.put("a", &a);
    scene.want("b", "a.org", "a");
    scene.until("it was looked at", |scene| scene.view("b").is_some()).await;
    assert_eq!(*scene.holder.handed.lock().expect("a lock"), before);
    *scene.holder.held.lock().expect("a lock") = Keyring::default();
    scene.until("it is shown again", |scene| scene.shows("a.org", &a)).await;
    // What nobody wants is no longer shown.
    scene.wanted.lock().expect("a lock").clear();
    scene.until("nothing is shown", |scene| !scene.shows("a.org", &a)).await;
}

#[tokio::test]
async fn a_start_with_a_bad_file_goes_on_with_what_the_proxy_had() {
    let a = pair(&["a.org"], 2050);
    let host = exact("a.org");
    let last = Keyring {
        tag: "before".to_owned(),
        certificates: vec![HostCertificate { host, pair: a.clone() }],
        challenges: Vec::new(),
    };
    let scene = Scene::begin(last);
    scene.put("a", &Pair { chain_pem: String::new(), ..a.clone() });
    scene.want("a", "a.org", "a");
    scene.until("it is told", |scene| scene.trouble("a").contains("it holds no certificate")).await;
    assert!(scene.shows("a.org", &a));
}

#[tokio::test]
async fn an_acme_server_that_does_not_answer_is_said_and_not_asked_again_at_once() {
    let scene = Scene::begin(Keyring::default());
    let wanted =
        Wanted { app: "a".parse().expect("a name"), host: exact("a.org"), source: CertificateSource::Acme };
    scene.wanted.lock().expect("a lock").push(wanted);
    scene.custodian.look_again();
    scene
        .until("it is said", |scene| scene.trouble("a").contains("https://127.0.0.1:1/dir cannot be asked"))
        .await;
    let view = scene.view("a").expect("a view");
    assert!(view.next_try_us >= Some(NOW + Duration::from_mins(5)), "{view:?}");
    assert_eq!(view.expires_at_us, None);
}

fn keyring(host: &str, pair: &Pair) -> Keyring {
    let certificates = vec![HostCertificate { host: exact(host), pair: pair.clone() }];
    Keyring { tag: "before".to_owned(), certificates, challenges: Vec::new() }
}

/// A start on a machine whose clock is wrong, or whose archive is lost, must not take away what works.
#[tokio::test]
async fn what_the_proxy_shows_stands_in_until_there_is_another() {
    for shown in [pair(&["a.org"], 2050), pair(&["a.org"], 2021)] {
        let scene = Scene::begin(keyring("a.org", &shown));
        let source = CertificateSource::Acme;
        let wanted = Wanted { app: "a".parse().expect("a name"), host: exact("a.org"), source };
        scene.wanted.lock().expect("a lock").push(wanted);
        scene.custodian.look_again();
        scene
            .until("one is asked for all the same", |scene| scene.trouble("a").contains("cannot be asked"))
            .await;
        assert!(scene.shows("a.org", &shown));
    }
}

#[tokio::test]
async fn an_edit_that_leads_to_a_bad_file_keeps_what_the_host_was_shown() {
    let (first, second) = (pair(&["a.org"], 2050), pair(&["a.org"], 2050));
    let scene = Scene::begin(Keyring::default());
    scene.put("first", &first);
    scene.want("a", "a.org", "first");
    scene.until("it is shown", |scene| scene.shows("a.org", &first)).await;

    scene.wanted.lock().expect("a lock").clear();
    scene.want("a", "a.org", "second");
    scene.until("it is told", |scene| scene.trouble("a").contains("second")).await;
    assert!(scene.shows("a.org", &first));

    scene.put("second", &second);
    scene.until("the new one is shown", |scene| scene.shows("a.org", &second)).await;
}

/// Certificates that nobody looks after any more would expire without a word.
#[tokio::test]
async fn a_fault_in_one_look_is_told_and_the_next_look_is_made() {
    let scene = Scene::begin(Keyring::default());
    let a = pair(&["a.org"], 2050);
    scene.put("a", &a);
    // The lock is poisoned: whoever asks what is wanted panics.
    let wanted = Arc::clone(&scene.wanted);
    let panicked = std::thread::spawn(move || {
        let _held = wanted.lock();
        panic!("a fault");
    });
    assert!(panicked.join().is_err());
    scene.until("it is told", |scene| scene.custodian.fault().is_some()).await;
    scene.wanted.clear_poison();
    scene.want("a", "a.org", "a");
    scene.until("it is shown", |scene| scene.shows("a.org", &a)).await;
    assert_eq!(scene.custodian.fault(), None);
}
