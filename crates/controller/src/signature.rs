//! Who gave an order, until that is on record. It goes along with the order, and whoever puts something on record first
//! takes it: so there is one record of an order, however many could write it.

use dockswap_core::audit::{AuditRecord, AuditResult};
use dockswap_core::{AppName, ConfigSha};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Who gave an order. The default is nobody: nothing is put on record then.
#[derive(Clone, Debug, Default)]
pub struct Signature(Arc<Mutex<Option<AuditRecord>>>);

impl Signature {
    /// Of an order that is on record nowhere yet.
    #[must_use]
    pub fn of(record: AuditRecord) -> Self {
        Self(Arc::new(Mutex::new(Some(record))))
    }

    /// What is to be put on record, unless somebody did, or does. Whoever takes it writes it, or puts it back.
    #[must_use]
    pub fn take(&self) -> Option<AuditRecord> {
        self.held().take()
    }

    /// What was taken is not on record.
    pub fn put_back(&self, record: AuditRecord) {
        *self.held() = Some(record);
    }

    /// Adds to what will be put on record.
    pub fn note(&self, name: &str, value: impl Into<serde_json::Value>) {
        if let Some(record) = self.held().as_mut() {
            record.note(name, value);
        }
    }

    /// Says what the order is about.
    pub fn about(&self, target: String) {
        if let Some(record) = self.held().as_mut() {
            record.target = target;
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<AuditRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose orders wrote files that are about to be found: by app and hash. The version that is stored for it is put on
/// record with the order.
#[derive(Debug, Default)]
pub(crate) struct Expected(Mutex<BTreeMap<(AppName, ConfigSha), Signature>>);

impl Expected {
    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<(AppName, ConfigSha), Signature>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The order that wrote this file, unless it is on record already.
    pub(crate) fn take(&self, app: &AppName, sha: &ConfigSha) -> Option<AuditRecord> {
        let record = self.held().get(&(app.clone(), sha.clone()))?.take()?;
        Some(AuditRecord { result: AuditResult::Done, ..record })
    }

    /// What was taken is not on record.
    pub(crate) fn put_back(&self, app: &AppName, sha: &ConfigSha, record: AuditRecord) {
        if let Some(signature) = self.held().get(&(app.clone(), sha.clone())) {
            signature.put_back(record);
        }
    }
}

/// As long as this lives, a file is expected.
#[derive(Debug)]
pub struct Expectation {
    expected: Arc<Expected>,
    key: (AppName, ConfigSha),
}

impl Expectation {
    pub(crate) fn of(expected: &Arc<Expected>, app: AppName, sha: ConfigSha, signature: Signature) -> Self {
        let key = (app, sha);
        expected.held().insert(key.clone(), signature);
        Self { expected: expected.clone(), key }
    }
}

impl Drop for Expectation {
    fn drop(&mut self) {
        self.expected.held().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::{Expectation, Expected, Signature};
    use dockswap_core::audit::{AuditRecord, AuditResult};
    use dockswap_core::{AppName, ConfigSha, Timestamp};
    use std::sync::Arc;

    fn record() -> AuditRecord {
        AuditRecord {
            at: Timestamp::default(),
            actor: "token:ci".to_owned(),
            token: None,
            address: None,
            verb: "deploy".to_owned(),
            target: "app/web".to_owned(),
            detail: serde_json::json!({}),
            result: AuditResult::Refused,
            deployment: None,
            request: "r".to_owned(),
        }
    }

    #[test]
    fn an_order_is_put_on_record_once() {
        let signature = Signature::of(record());
        signature.note("image", "app:v2");
        let other = signature.clone();
        let taken = other.take().expect("nobody has it yet");
        assert_eq!(taken.detail["image"], "app:v2");
        assert!(signature.take().is_none());
        other.put_back(taken);
        assert!(signature.take().is_some());
        assert!(Signature::default().take().is_none());
    }

    #[test]
    fn a_file_is_expected_once_and_for_as_long_as_somebody_waits() {
        let (app, sha) = ("web".parse::<AppName>().expect("a name"), ConfigSha("x".to_owned()));
        let expected = Arc::new(Expected::default());
        let waiting = Expectation::of(&expected, app.clone(), sha.clone(), Signature::of(record()));
        assert!(expected.take(&app, &ConfigSha("y".to_owned())).is_none());
        let taken = expected.take(&app, &sha).expect("it is expected");
        assert_eq!(taken.result, AuditResult::Done);
        assert!(expected.take(&app, &sha).is_none());
        expected.put_back(&app, &sha, taken);
        drop(waiting);
        assert!(expected.take(&app, &sha).is_none());
    }
}
