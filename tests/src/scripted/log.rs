//! What was asked of the scripted Docker that may have changed something.

use super::call::Call;
use crate::time::Micros;

/// A call that may have changed something.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When it was done.
    pub at: Micros,
    /// Which.
    pub call: Call,
    /// The container's name, or what the request named.
    pub object: String,
    /// The whole id, where it is a container.
    pub id: Option<String>,
    /// Whose container it is; `None`: not one of dockswap's.
    pub app: Option<String>,
    /// Which deployment made it.
    pub deployment: Option<i64>,
    /// It ran.
    pub running: bool,
    /// Requests that it was answering then, probes not among them.
    pub in_flight: u64,
    /// The status of the answer, whether it arrived or not; `None`: it was not done.
    pub status: Option<u16>,
}

impl Asked {
    /// Whether it was done.
    #[must_use]
    pub fn done(&self) -> bool {
        self.status.is_some_and(|status| status < 300)
    }
}
