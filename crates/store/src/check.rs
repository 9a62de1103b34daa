//! Whether the records of a database fit together: what `dockswap db check` asks, a restore before it
//! puts a copy in place, and every start of a controller. It finds and says; it mends nothing.

use crate::entity::{app_checkpoint, app_config, app_machine, current_state, deployment};
use crate::history::History;
use crate::inspection::AppRecords;
use crate::parts;
use dockswap_core::records::{CurrentState, StoreError, in_words};
use dockswap_core::{Color, DeploymentId};
use sea_orm::{ColumnTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write;

/// How many stored files are read at once: each may have a mebibyte.
const FILES: u64 = 16;

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many apps were looked at.
    pub apps: usize,
    /// How many of their events were replayed.
    pub events: usize,
    /// What is wrong, a line each; empty: nothing is.
    pub findings: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

impl History {
    /// Looks at everything: the database's own verdict; that nothing of the schema is missing, the triggers that keep
    /// records from being changed among it; and, by replaying the events of every app, that
    /// they give its machine, its row of `current_state`, its deployments and their images; and that
    /// every stored file still has its hash. Changes nothing.
    ///
    /// # Errors
    /// When the database does not answer. What cannot be read is a finding.
    pub async fn check(&self) -> Result<Verdict, StoreError> {
        let mut verdict = Verdict { findings: self.integrity().await?, ..Verdict::default() };
        if !verdict.is_sound() {
            // What else would be read from it could not be relied on.
            return Ok(verdict);
        }
        match Box::pin(self.look_at_records(&mut verdict)).await {
            Err(late @ (StoreError::TimedOut { .. } | StoreError::Fenced { .. })) => return Err(late),
            Err(error) => verdict.findings.push(in_words(&error)),
            Ok(()) => {}
        }
        Ok(verdict)
    }

    async fn look_at_records(&self, verdict: &mut Verdict) -> Result<(), StoreError> {
        if self.db.get_database_backend() == DbBackend::Sqlite {
            let missing = self.patient().read("look at the schema", parts::findings(&self.db)).await?;
            verdict.findings.extend(missing);
        }
        for app in self.apps().await? {
            verdict.apps += 1;
            match self.records(&app).await {
                Ok(records) => {
                    verdict.events += records.events;
                    verdict.findings.extend(wrong(&records));
                }
                Err(error @ StoreError::Unreadable { .. }) => verdict.findings.push(in_words(&error)),
                Err(error) => return Err(error),
            }
        }
        for app in self.apps_without_a_machine().await? {
            verdict.findings.push(format!("{app}: it has records, and its machine is not on record"));
        }
        verdict.findings.extend(self.changed_files().await?);
        Ok(())
    }

    /// Names that other tables know and `app_machines` does not.
    async fn apps_without_a_machine(&self) -> Result<BTreeSet<String>, StoreError> {
        let machines = || app_machine::Entity::find().select_only().column(app_machine::Column::AppName);
        let deployments = deployment::Entity::find()
            .select_only()
            .column(deployment::Column::AppName)
            .filter(deployment::Column::AppName.not_in_subquery(machines().into_query()))
            .into_tuple::<String>();
        let states = current_state::Entity::find()
            .select_only()
            .column(current_state::Column::AppName)
            .filter(current_state::Column::AppName.not_in_subquery(machines().into_query()))
            .into_tuple::<String>();
        let checkpoints = app_checkpoint::Entity::find()
            .select_only()
            .column(app_checkpoint::Column::AppName)
            .filter(app_checkpoint::Column::AppName.not_in_subquery(machines().into_query()))
            .into_tuple::<String>();
        self.patient()
            .read("look for apps without a machine", async {
                let mut names: BTreeSet<String> = deployments.all(&self.db).await?.into_iter().collect();
                names.extend(states.all(&self.db).await?);
                names.extend(checkpoints.all(&self.db).await?);
                Ok(names)
            })
            .await
    }

    /// Stored files whose bytes are not those that were hashed.
    async fn changed_files(&self) -> Result<Vec<String>, StoreError> {
        let mut findings = Vec::new();
        let mut after = 0;
        loop {
            let page = app_config::Entity::find()
                .filter(app_config::Column::Id.gt(after))
                .order_by_asc(app_config::Column::Id)
                .limit(FILES);
            let rows = self.patient().read("read the stored files", page.all(&self.db)).await?;
            let Some(last) = rows.last() else { return Ok(findings) };
            after = last.id;
            for row in rows {
                if hash(&row.config_yaml) != row.config_sha {
                    findings.push(format!(
                        "{}: the stored file {} is not what was stored: its bytes have another hash",
                        row.app_name, row.id
                    ));
                }
            }
        }
    }
}

pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// What does not fit together in the records of one app.
fn wrong(records: &AppRecords) -> Vec<String> {
    let app = &records.app;
    let retraced = match &records.retraced {
        Ok(retraced) => retraced,
        Err(error) => return vec![format!("{app}: {error}")],
    };
    let (replayed, written) = (retraced.machine(), &retraced.written);
    let mut findings = Vec::new();
    match &records.machine {
        None => findings.push(format!("{app}: its machine is not on record")),
        Some(machine) if machine != replayed => findings.push(format!(
            "{app}: its machine is on record as {} (version {}), and its events give {} (version {})",
            machine.state(),
            machine.version(),
            replayed.state(),
            replayed.version()
        )),
        Some(_) => {}
    }
    let recorded = records.current.as_ref();
    let expected = replayed.current_state(recorded.map(|row| row.updated_at).unwrap_or_default());
    if expected.as_ref() != recorded {
        findings.push(format!(
            "{app}: current_state says {}, and its events give {}",
            shown(recorded),
            shown(expected.as_ref())
        ));
    }
    let ids: BTreeSet<&DeploymentId> = written.deployments.keys().chain(records.deployments.keys()).collect();
    for id in ids {
        let as_written = (written.deployments.get(id), written.images.get(id));
        if as_written != (records.deployments.get(id), records.images.get(id)) {
            findings.push(format!("{app}: deployment {id} is not on record as its events give it"));
        }
    }
    findings
}

fn shown(row: Option<&CurrentState>) -> String {
    row.map_or_else(
        || "nothing".to_owned(),
        |row| {
            let color = row.active_color.map_or("none", Color::as_str);
            let image = row.image.as_deref().unwrap_or("none");
            format!("{} (deployment {}, color {color}, image {image})", row.status, row.deployment_id)
        },
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::wrong;
    use crate::checkpoint::Checkpoint;
    use crate::inspection::AppRecords;
    use crate::rows::EventRow;
    use crate::tests::plan;
    use dockswap_core::machine::{Event, Machine, Order, OrderReason, OrderTarget, ReplayError};
    use dockswap_core::records::{DeploymentStatus, DeploymentWrite};
    use dockswap_core::{AppName, Color, ConfigId, DeploymentId, Timestamp};
    use std::collections::BTreeMap;

    /// An app that pulls its first image.
    fn records() -> AppRecords {
        let app: AppName = "web".parse().unwrap();
        let at = Timestamp::from_micros(5);
        let order = Order {
            deployment: DeploymentId(1),
            target: OrderTarget::Config(plan(ConfigId(1))),
            reason: OrderReason::Edit,
        };
        let transition = Machine::new(app.clone()).step(&Event::Deploy(order), at).unwrap();
        let [DeploymentWrite::Begin(row)] = transition.deployments() else { panic!() };
        let deployments = BTreeMap::from([(row.id, row.clone())]);
        let event = EventRow {
            id: 1,
            deployment_id: DeploymentId(1),
            app_name: app.clone(),
            event_type: transition.event().event_type.to_owned(),
            payload: transition.event().payload.clone(),
            error: None,
            created_at: at,
        };
        let current = Some(transition.current().clone());
        let machine = Some(transition.committed());
        let retraced = retraced(&[event]);
        AppRecords { app, machine, current, retraced, events: 1, deployments, images: BTreeMap::new() }
    }

    fn retraced(events: &[EventRow]) -> Result<Checkpoint, ReplayError> {
        let mut reached = Checkpoint::beginning("web".parse().unwrap());
        events.iter().try_for_each(|event| reached.follow(event))?;
        Ok(reached)
    }

    #[test]
    fn records_that_fit_together_are_sound() {
        assert_eq!(wrong(&records()), Vec::<String>::new());
    }

    #[test]
    fn what_the_events_do_not_say_is_found() {
        let mut other_color = records();
        other_color.current.as_mut().unwrap().active_color = Some(Color::Green);
        assert_eq!(
            wrong(&other_color),
            [
                "web: current_state says pulling (deployment 1, color green, image none), and its events give pulling (deployment 1, color none, image none)"
            ]
        );
        let mut other_machine = records();
        other_machine.machine = Some(Machine::new("web".parse().unwrap()));
        assert_eq!(wrong(&other_machine).len(), 1);
        let mut lost_event = records();
        lost_event.retraced = retraced(&[]);
        assert_eq!(wrong(&lost_event).len(), 3);
        let mut unreadable = records();
        let message = "no event".to_owned();
        unreadable.retraced = Err(ReplayError::Unreadable { event: 1, message });
        assert_eq!(wrong(&unreadable), ["web: the payload of event 1 cannot be read: no event"]);
        let mut other_status = records();
        other_status.deployments.get_mut(&DeploymentId(1)).unwrap().status = DeploymentStatus::Success;
        assert_eq!(wrong(&other_status), ["web: deployment 1 is not on record as its events give it"]);
    }
}
