//! Writing many things at once: transitions of different apps that are neighbors in a group become a
//! handful of statements instead of five each. What is written is the same, row by row, as when each is
//! applied alone (`write`), and each still decides its own conflict. It must not know when it is committed.

use crate::audit;
use crate::entity::{app_machine, current_state, deployment, deployment_event, deployment_image};
use crate::write::{Unit, Write, Written, end_deployment, image_row, replace_current_state, replace_image};
use dockswap_core::records::DeploymentWrite;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect, Set,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many rows a statement writes at most: a power of two, as all sizes are, so that a connection has
/// few statements to keep prepared.
const ROWS: usize = 64;

/// Writes all of `writes`, in their order. An error leaves a part in the transaction, which must then be
/// given up.
pub(crate) async fn apply<C: ConnectionTrait>(writes: &[&Write], db: &C) -> Result<Vec<Written>, DbErr> {
    let mut written = Vec::with_capacity(writes.len());
    while written.len() < writes.len() {
        let rest = &writes[written.len()..];
        let units = together(rest);
        match (&units[..], rest) {
            ([] | [_], [first, ..]) => written.push(first.apply(db).await?),
            _ => written.extend(apply_units(&units, db).await?),
        }
    }
    Ok(written)
}

/// The transitions at the head of `writes` that can be written together: no two of one app, since the
/// later one builds on the earlier.
fn together<'a>(writes: &[&'a Write]) -> Vec<&'a Unit> {
    let mut apps = BTreeSet::new();
    let units = writes.iter().map_while(|write| match write {
        Write::Transition(unit) => Some(&**unit),
        Write::Refusal(_)
        | Write::Config(_)
        | Write::GiveUp(..)
        | Write::Prune(..)
        | Write::Token(_)
        | Write::Key(_)
        | Write::Projects(_)
        | Write::RemoveProject(_)
        | Write::Audit(_)
        | Write::Touch => None,
    });
    units.take_while(|unit| unit.version == unit.expected + 1 && apps.insert(&unit.app)).collect()
}

async fn apply_units<C: ConnectionTrait>(units: &[&Unit], db: &C) -> Result<Vec<Written>, DbErr> {
    let versions = versions(units, db).await?;
    let is_next = |unit: &Unit| versions.get(unit.app.as_str()).copied().unwrap_or(0) == unit.expected;
    let accepted: Vec<&Unit> = units.iter().copied().filter(|unit| is_next(unit)).collect();
    advance_machines(&accepted, db).await?;
    let mut ends = Vec::new();
    let mut begun = Vec::new();
    for write in accepted.iter().flat_map(|unit| &unit.deployments) {
        match write {
            DeploymentWrite::Begin(row) => begun.push(deployment::ActiveModel::from(row)),
            DeploymentWrite::End { id, status, at } => ends.push((*id, *status, *at)),
        }
    }
    insert(begun, None, db).await?;
    for (id, status, at) in ends {
        end_deployment(id, status, at, db).await?;
    }
    let events = accepted.iter().map(|unit| deployment_event::ActiveModel::from(&unit.event)).collect();
    insert(events, None, db).await?;
    let states = accepted.iter().map(|unit| current_state::ActiveModel::from(&unit.current)).collect();
    insert(states, Some(replace_current_state()), db).await?;
    let images: Vec<deployment_image::ActiveModel> = accepted
        .iter()
        .filter_map(|unit| unit.image.as_ref())
        .map(|(id, image)| image_row(*id, image))
        .collect();
    insert(images, Some(replace_image()), db).await?;
    // One by one: few of them are orders, and a request has one row whoever writes it.
    for record in accepted.iter().filter_map(|unit| unit.audit.as_ref()) {
        audit::write(record, db).await?;
    }
    Ok(units.iter().map(|unit| if is_next(unit) { Written::Done } else { Written::Conflict }).collect())
}

/// The version of each app's machine, as nobody else can change it any more.
async fn versions<C: ConnectionTrait>(units: &[&Unit], db: &C) -> Result<BTreeMap<String, i64>, DbErr> {
    use app_machine::{Column, Entity};
    let mut names: Vec<&str> = units.iter().map(|unit| unit.app.as_str()).collect();
    // Asked for twice, it is found once: this keeps the statements few.
    names.resize(names.len().next_power_of_two(), units[0].app.as_str());
    let rows = Entity::find()
        .select_only()
        .columns([Column::AppName, Column::Version])
        .filter(Column::AppName.is_in(names))
        .lock_exclusive()
        .into_tuple::<(String, i64)>()
        .all(db)
        .await?;
    Ok(rows.into_iter().collect())
}

/// Makes every machine the next one. Whoever turns out not to be the expected one all the same (a
/// commit without an answer was still going on) fails the whole.
async fn advance_machines<C: ConnectionTrait>(units: &[&Unit], db: &C) -> Result<(), DbErr> {
    use app_machine::{ActiveModel, Column, Entity};
    let rows = units.iter().map(|unit| ActiveModel {
        app_name: Set(unit.app.to_string()),
        version: Set(unit.version),
        state: Set(unit.state.clone()),
    });
    let before = Expr::col((Entity, Column::Version)).add(1).eq(Expr::col(("excluded", Column::Version)));
    let next = OnConflict::column(Column::AppName)
        .update_columns([Column::Version, Column::State])
        .action_and_where(before)
        .to_owned();
    let advanced = insert(rows.collect(), Some(next), db).await?;
    if usize::try_from(advanced) == Ok(units.len()) { Ok(()) } else { Err(DbErr::RecordNotUpdated) }
}

/// Inserts `rows` in their order, in statements of few sizes; says how many were written.
async fn insert<A: ActiveModelTrait, C: ConnectionTrait>(
    rows: Vec<A>,
    conflict: Option<OnConflict>,
    db: &C,
) -> Result<u64, DbErr> {
    let mut written = 0;
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let size = ROWS.min(largest_power_of_two(rows.len()));
        let statement = A::Entity::insert_many(rows.by_ref().take(size));
        let statement = match &conflict {
            Some(conflict) => statement.on_conflict(conflict.clone()),
            None => statement,
        };
        written += statement.exec_without_returning(db).await?;
    }
    Ok(written)
}

/// The largest power of two that is at most `number`, which is not 0.
fn largest_power_of_two(number: usize) -> usize {
    1 << number.ilog2()
}

#[cfg(test)]
mod tests {
    use super::largest_power_of_two;

    #[test]
    fn sizes_are_few() {
        let sizes = |mut rows: usize| {
            let mut sizes = Vec::new();
            while rows > 0 {
                sizes.push(largest_power_of_two(rows));
                rows -= largest_power_of_two(rows);
            }
            sizes
        };
        assert_eq!(sizes(64), [64]);
        assert_eq!(sizes(63), [32, 16, 8, 4, 2, 1]);
        assert_eq!(sizes(1), [1]);
        assert!(sizes(0).is_empty());
    }
}
