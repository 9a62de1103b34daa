//! A group of writes leaves what its members would have left one by one.

use super::fixtures::{Place, app, at, config, event, order, scribe};
use super::story::{Chance, Story};
use crate::batch;
use crate::entity::{
    app_config, app_machine, audit_log, current_state, deployment, deployment_event, deployment_image,
};
use crate::transaction::begin_write;
use crate::write::{Unit, Write, Written};
use dockswap_core::DeploymentId;
use dockswap_core::audit::AuditRecord;
use dockswap_core::records::{DeploymentStatus, DeploymentWrite};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QueryOrder};

const APPS: usize = 6;
const ROUNDS: u64 = 60;

/// Every row but for ids that the database gives, which no rollback takes back: only their order counts.
async fn rows<C: ConnectionTrait>(db: &C) -> Vec<String> {
    let mut rows = Vec::new();
    for row in app_config::Entity::find().order_by_asc(app_config::Column::Id).all(db).await.unwrap() {
        rows.push(format!("{:?}", app_config::Model { id: 0, ..row }));
    }
    let events = deployment_event::Entity::find().order_by_asc(deployment_event::Column::Id);
    for row in events.all(db).await.unwrap() {
        rows.push(format!("{:?}", deployment_event::Model { id: 0, ..row }));
    }
    for row in audit_log::Entity::find().order_by_asc(audit_log::Column::Id).all(db).await.unwrap() {
        rows.push(format!("{:?}", audit_log::Model { id: 0, ..row }));
    }
    let deployments = deployment::Entity::find().order_by_asc(deployment::Column::Id);
    rows.extend(deployments.all(db).await.unwrap().iter().map(|row| format!("{row:?}")));
    let images = deployment_image::Entity::find().order_by_asc(deployment_image::Column::DeploymentId);
    rows.extend(images.all(db).await.unwrap().iter().map(|row| format!("{row:?}")));
    let machines = app_machine::Entity::find().order_by_asc(app_machine::Column::AppName);
    rows.extend(machines.all(db).await.unwrap().iter().map(|row| format!("{row:?}")));
    let states = current_state::Entity::find().order_by_asc(current_state::Column::AppName);
    rows.extend(states.all(db).await.unwrap().iter().map(|row| format!("{row:?}")));
    rows
}

async fn one_by_one<C: ConnectionTrait>(writes: &[&Write], db: &C) -> Result<Vec<Written>, DbErr> {
    let mut written = Vec::new();
    for write in writes {
        written.push(write.apply(db).await?);
    }
    Ok(written)
}

fn asked(seed: u64, request: usize) -> AuditRecord {
    AuditRecord { request: format!("{seed}-{request}"), ..order("deploy") }
}

/// What several apps do at once, with what comes too late, twice, or is refused among it.
fn drawn(seed: u64, chance: &mut Chance, stories: &mut [Story]) -> Vec<Write> {
    let mut writes = Vec::new();
    for _ in 0..=chance.below(70) {
        let story = &mut stories[chance.below(APPS)];
        let name = story.machine.app().to_string();
        let write = match chance.below(12) {
            0 if chance.below(2) == 0 => Write::Audit(Box::new(asked(seed, chance.below(40)))),
            0 => Write::Config(config(&name, b"another\n", 7)),
            1 => {
                let deployment = story.machine.deployment().map_or(DeploymentId(9_999), |id| id);
                Write::Refusal(event(&name, deployment.0, 3))
            }
            2 => {
                let mut late = Unit::of(&story.next()).unwrap();
                late.audit = Some(asked(seed, 100 + chance.below(40)));
                late.expected += 1;
                late.version += 1;
                Write::Transition(Box::new(late))
            }
            _ => {
                let next = story.next();
                let mut unit = Unit::of(&next).unwrap();
                if chance.below(3) == 0 {
                    // Some are of one request, which has one row.
                    unit.audit = Some(asked(seed, chance.below(40)));
                }
                story.machine = next.committed();
                if chance.below(12) == 0 {
                    writes.push(Write::Transition(Box::new(unit.clone())));
                }
                Write::Transition(Box::new(unit))
            }
        };
        writes.push(write);
    }
    writes
}

pub(super) async fn a_group_writes_what_one_by_one_would(place: &Place) {
    let database = place.open().await;
    let mut stories = Vec::new();
    for (seat, name) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
        stories.push(Story::of(&database, name, i64::try_from(seat).unwrap()).await);
    }
    database.close().await;
    let scribe = scribe(place).await;
    let (mut together, mut conflicts) = (0, 0);
    for seed in 0..ROUNDS {
        let mut chance = Chance::of(seed);
        let writes = drawn(seed, &mut chance, &mut stories);
        let writes: Vec<&Write> = writes.iter().collect();
        let alone = begin_write(&scribe.db).await.unwrap();
        let expected = one_by_one(&writes, &alone).await.unwrap();
        let expected_rows = rows(&alone).await;
        alone.rollback().await.unwrap();
        let grouped = begin_write(&scribe.db).await.unwrap();
        let written = batch::apply(&writes, &grouped).await.unwrap();
        for (one, other) in expected.iter().zip(&written) {
            let both_configs = matches!((one, other), (Written::Config(_), Written::Config(_)));
            assert!(one == other || both_configs, "seed {seed}: {expected:?}\n{written:?}");
        }
        assert_eq!(expected.len(), written.len(), "seed {seed}");
        assert_eq!(rows(&grouped).await, expected_rows, "seed {seed}");
        grouped.commit().await.unwrap();
        together += writes.len();
        conflicts += written.iter().filter(|written| **written == Written::Conflict).count();
    }
    assert!(together > 1_000 && conflicts > 50, "{together} writes, {conflicts} conflicts: too tame");
    scribe.db.close().await.unwrap();
}

pub(super) async fn one_that_fails_fails_its_group_and_nothing_is_left(place: &Place) {
    let database = place.open().await;
    let mut stories = Vec::new();
    for (seat, name) in ["a", "b", "c"].into_iter().enumerate() {
        stories.push(Story::of(&database, name, i64::try_from(seat).unwrap()).await);
    }
    database.close().await;
    let scribe = scribe(place).await;
    let before = rows(&scribe.db).await;
    let mut units: Vec<Unit> = stories.iter_mut().map(|story| Unit::of(&story.next()).unwrap()).collect();
    let status = DeploymentStatus::Failed;
    units[1].deployments.push(DeploymentWrite::End { id: DeploymentId(77), status, at: at(0) });
    let writes: Vec<Write> = units.into_iter().map(|unit| Write::Transition(Box::new(unit))).collect();
    let writes: Vec<&Write> = writes.iter().collect();
    let begun = begin_write(&scribe.db).await.unwrap();
    assert!(batch::apply(&writes, &begun).await.is_err());
    begun.rollback().await.unwrap();
    assert_eq!(rows(&scribe.db).await, before);
    // Through the writer the others do not suffer for it.
    let outcomes = scribe.write_group(&writes).await;
    let done: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, false, true]);
    let machines = app_machine::Entity::find().all(&scribe.db).await.unwrap();
    assert_eq!(machines.iter().map(|row| row.app_name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert!(machines.iter().all(|row| row.app_name != app("b").as_str()));
    scribe.db.close().await.unwrap();
}
