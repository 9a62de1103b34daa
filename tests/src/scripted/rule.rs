//! Misbehavior on order: which call goes wrong, for whom, how often, and how.

use super::call::{Call, Request};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How a call goes wrong.
#[derive(Clone)]
pub enum Fault {
    /// It is done as usual, so much later.
    Late(Duration),
    /// It is not done: an answer with this status and these words.
    Says(u16, String),
    /// It is not done: the connection is closed without an answer.
    Cut,
    /// It is done: the connection is closed without an answer.
    LostReply,
    /// It is not done, and never answered.
    Hang,
    /// It is done, and never answered.
    DoneAndHang,
    /// Something else happens first; then it is done as usual.
    Meanwhile(Arc<dyn Fn() + Send + Sync>),
}

impl Fault {
    /// Something else happens first.
    pub fn meanwhile(what: impl Fn() + Send + Sync + 'static) -> Self {
        Self::Meanwhile(Arc::new(what))
    }

    /// An answer with `status` and `words`.
    #[must_use]
    pub fn says(status: u16, words: &str) -> Self {
        Self::Says(status, words.to_owned())
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(delay) => write!(f, "Late({delay:?})"),
            Self::Says(status, words) => write!(f, "Says({status}, {words:?})"),
            Self::Cut => f.write_str("Cut"),
            Self::LostReply => f.write_str("LostReply"),
            Self::Hang => f.write_str("Hang"),
            Self::DoneAndHang => f.write_str("DoneAndHang"),
            Self::Meanwhile(_) => f.write_str("Meanwhile"),
        }
    }
}

/// Which calls go wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Which {
    /// `None`: any.
    pub(super) call: Option<Call>,
    /// An app, or a part of the object's name; `None`: any.
    pub(super) of: Option<String>,
    /// So many of them go well first.
    pub(super) skip: usize,
    /// Then so many go wrong; `None`: all.
    pub(super) times: Option<usize>,
}

/// An order to misbehave.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) which: Which,
    pub(super) fault: Fault,
    met: usize,
    pub(super) applied: usize,
}

impl Rule {
    pub(super) const fn new(which: Which, fault: Fault) -> Self {
        Self { which, fault, met: 0, applied: 0 }
    }

    /// The fault, if this call is one that goes wrong. Counts it.
    pub(super) fn meets(&mut self, request: &Request, app: Option<&str>) -> Option<Fault> {
        let Which { call, of, skip, times } = &self.which;
        let call_fits = call.is_none_or(|call| call == request.call);
        let object_fits =
            of.as_ref().is_none_or(|of| app == Some(of) || request.object.contains(of.as_str()));
        if !call_fits || !object_fits {
            return None;
        }
        self.met += 1;
        let wrong = self.met > *skip && times.is_none_or(|times| self.met <= skip + times);
        wrong.then(|| {
            self.applied += 1;
            self.fault.clone()
        })
    }
}
