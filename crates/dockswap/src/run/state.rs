//! What the API and the tasks of `dockswap run` share.

use super::backups::Backups;
use super::facts::Facts;
use super::intake::IntakeHandle;
use super::upkeep::LastRound;
use crate::api::access::Porter;
use crate::api::audit::Ledger;
use crate::api::front::Rates;
use dockswap_certs::{CertificateView, Custodian};
use dockswap_config::RetentionSettings;
use dockswap_controller::{Controller, SystemClock};
use dockswap_core::ports::Clock;
use dockswap_core::{AppName, Timestamp};
use dockswap_docker::Docker;
use dockswap_proxy::ProxyClient;
use dockswap_store::Database;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

/// The running controller process.
pub(crate) struct State {
    /// Decides and acts.
    pub(crate) controller: Arc<Controller>,
    /// History, for people.
    pub(crate) database: Arc<Database>,
    /// Logs and versions, for people.
    pub(crate) docker: Arc<Docker>,
    /// Load and listeners, for people.
    pub(crate) proxy: Arc<ProxyClient>,
    /// The machine, as it was seen lately.
    pub(crate) facts: Facts,
    /// The config directory.
    pub(crate) intake: IntakeHandle,
    /// Certificates; `None`: nobody looks after them.
    pub(crate) certificates: Option<Arc<Custodian>>,
    /// What of the records is kept.
    pub(crate) retention: RetentionSettings,
    /// Whoever removes what is old has it.
    pub(crate) pruning: Mutex<()>,
    /// There is more to remove than an order had time for.
    pub(crate) prune_on: Notify,
    /// When everything was last looked through.
    pub(crate) last_round: LastRound,
    /// Copies of the database.
    pub(crate) backups: Backups,
    /// The time.
    pub(crate) clock: Arc<SystemClock>,
    /// Knows who asks.
    pub(crate) porter: Porter,
    /// How often each token asks.
    pub(crate) rates: Rates,
    /// Puts orders on record.
    pub(crate) ledger: Ledger,
    /// Ends everything.
    pub(crate) stop: CancellationToken,
}

impl State {
    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Looks at all files now, those of certificates too.
    pub(crate) async fn reload(&self) {
        if let Some(certificates) = &self.certificates {
            certificates.look_again();
        }
        self.intake.rescan().await;
    }

    /// How the certificates of an app stand.
    pub(crate) fn certificates_of(&self, app: &AppName) -> Vec<CertificateView> {
        let all = self.certificates.as_ref().map(|custodian| custodian.views());
        all.iter().flat_map(|all| all.iter()).filter(|view| view.app == *app).cloned().collect()
    }
}
