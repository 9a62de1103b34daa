//! What no server is needed for: orders as they end, and a disk that takes nothing.

use super::*;
use crate::acme::{AcmeConfig, ChallengeKind};
use crate::wanted::CertificateFiles;
use async_trait::async_trait;
use dockswap_core::Timestamp;
use dockswap_core::keyring::Keyring;
use dockswap_core::ports::{Clock, Keyholder, RouterError};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::path::Path;

/// 2025.
const NOW: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);

struct Nothing;

#[async_trait]
impl CertificateFiles for Nothing {
    async fn read(&self, _: &str) -> Result<String, String> {
        Err("there is none".to_owned())
    }
}

impl Clock for Nothing {
    fn now(&self) -> Timestamp {
        NOW
    }
}

#[async_trait]
impl Keyholder for Nothing {
    async fn hold(&self, _: &Keyring) -> Result<(), RouterError> {
        Ok(())
    }

    async fn held(&self) -> Result<String, RouterError> {
        Ok(String::new())
    }
}

fn key() -> Key {
    (HostPattern::Exact("a.org".to_owned()), CertificateSource::Acme)
}

/// A custodian in `dir` that has just begun.
fn work(dir: &Path) -> Work {
    let wanted = || Wanted { app: "web".parse().expect("a name"), host: key().0, source: key().1 };
    let config = CustodianConfig {
        wanted: Box::new(move || vec![wanted()]),
        files: Arc::new(Nothing),
        keyholder: Arc::new(Nothing),
        clock: Arc::new(Nothing),
        acme: AcmeConfig {
            directory: "https://127.0.0.1:1/dir".to_owned(),
            email: None,
            ca_file: None,
            challenge: ChallengeKind::Http01,
            dir: dir.join("acme"),
        },
        last: Keyring::default(),
    };
    Work::new(config, watch::Sender::default(), watch::Sender::default())
}

fn pair() -> Pair {
    let mut params = CertificateParams::new(["a.org".to_owned()]).expect("a name");
    (params.not_before, params.not_after) = (date_time_ymd(2025, 1, 1), date_time_ymd(2050, 1, 1));
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    Pair { chain_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) }
}

fn trouble(work: &Work) -> String {
    work.slots[&key()].trouble.clone().unwrap_or_default()
}

#[tokio::test]
async fn an_order_that_panics_is_one_that_failed() {
    let order = async { if true { panic!("a fault") } else { Ok(()) } };
    assert_eq!(unbroken(order).await, Err(OWN_FAULT.to_owned()));
}

#[tokio::test]
async fn where_a_try_cannot_be_noted_none_is_made() {
    let dir = tempfile::tempdir().expect("a directory");
    // Where a directory should be.
    std::fs::write(dir.path().join("acme"), "").expect("written");
    let mut begun = work(dir.path());
    for _ in 0..3 {
        begun.look().await;
        assert!(trouble(&begun).starts_with("no certificate is asked for"), "{}", trouble(&begun));
        assert!(begun.orders.is_empty());
    }
    std::fs::remove_file(dir.path().join("acme")).expect("removed");
    begun.look().await;
    assert_eq!((trouble(&begun).as_str(), begun.orders.len()), ("", 1));
}

#[tokio::test]
async fn what_was_issued_is_kept_as_soon_as_it_can_be_and_not_asked_for_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut begun = work(dir.path());
    begun.look().await;
    assert_eq!(begun.orders.len(), 1);
    // The disk fills up while the order is under way.
    let own = begun.archive.dir().to_owned();
    std::fs::rename(&own, own.with_extension("away")).expect("renamed");
    std::fs::write(&own, "").expect("written");
    let issued = pair();
    begun.close_order(&key(), Ok(issued.clone()));
    begun.look().await;
    assert!(
        trouble(&begun).starts_with("the certificate is shown, and cannot be kept"),
        "{}",
        trouble(&begun)
    );
    assert_eq!(begun.ring.shown(&key().0), Ok(Some(issued.clone())));
    std::fs::remove_file(&own).expect("removed");
    std::fs::rename(own.with_extension("away"), &own).expect("renamed");
    // A start at this moment has no certificate, and knows of the try.
    let mut early = work(dir.path());
    early.look().await;
    assert_eq!(early.orders.len(), 0);
    begun.look().await;
    assert_eq!(trouble(&begun), "");
    let mut next = work(dir.path());
    next.look().await;
    assert_eq!(next.ring.shown(&key().0), Ok(Some(issued)));
    assert_eq!((next.orders.len(), next.slots[&key()].tries.count), (0, 0));
}
