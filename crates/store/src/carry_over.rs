//! What a restored backup must not bring back: tokens and grants that were taken away since it was made. What the
//! database that it replaces does not know as good is good for nothing afterwards; where that cannot be read, or is not
//! there, no token is. It must not know how files are put in place.

use crate::entity::{api_token, token_grant};
use crate::history::{History, Page};
use crate::stamp::Stamp;
use crate::transaction::begin_write;
use crate::{audit, sqlite};
use dockswap_core::audit::AuditRecord;
use dockswap_core::grants::Grants;
use dockswap_core::records::StoreError;
use dockswap_core::token::TokenId;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use std::collections::BTreeMap;
use std::path::Path;

/// By whom tokens were revoked that a restore has revoked.
const RESTORE: &str = "db restore";

/// The tokens that a database knows as good, and what for.
pub(crate) type Good = BTreeMap<TokenId, Grants>;

/// What was not brought back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TakenAway {
    /// The names of tokens that are revoked now.
    pub(crate) tokens: Vec<String>,
    /// How many grants other tokens have lost.
    pub(crate) grants: usize,
}

/// The good tokens of the database at `path`. One that cannot be read, or is not there, knows none.
pub(crate) async fn good_tokens(path: &Path) -> Good {
    if !path.exists() {
        return Good::new();
    }
    let Ok(db) = sqlite::open(path, sqlite::Access::Read).await else { return Good::new() };
    let history = History::of(db.clone());
    let read = history.tokens(Page::first(u64::MAX)).await;
    // What does not close in order is closed with the process.
    let _ = db.close().await;
    let rows = read.unwrap_or_default().into_iter();
    rows.filter(|row| row.revoked_at.is_none()).map(|row| (row.id, row.grants)).collect()
}

/// Takes away from the tokens of `copy` what `good` does not have, and puts `order` on record, in one transaction.
pub(crate) async fn carry_over(
    copy: &History,
    good: &Good,
    mut order: AuditRecord,
) -> Result<TakenAway, StoreError> {
    let mut taken = TakenAway::default();
    let mut revoked = Vec::new();
    let mut lost = Vec::new();
    let known = copy.tokens(Page::first(u64::MAX)).await?;
    for row in known.into_iter().filter(|row| row.revoked_at.is_none()) {
        match good.get(&row.id) {
            None => {
                taken.tokens.push(row.name.to_string());
                revoked.push(row.id.to_string());
            }
            Some(now) => {
                for grant in row.grants.0.into_iter().filter(|grant| !now.0.contains(grant)) {
                    taken.grants += 1;
                    lost.push((row.id.to_string(), grant));
                }
            }
        }
    }
    taken.tokens.sort();
    order.note("tokens_revoked", taken.tokens.clone());
    order.note("grants_lost", taken.grants);
    let writing = async {
        let transaction = begin_write(&copy.db).await?;
        if !revoked.is_empty() {
            use api_token::{Column, Entity};
            Entity::update_many()
                .col_expr(Column::RevokedAt, Expr::value(Stamp(order.at)))
                .col_expr(Column::RevokedBy, Expr::value(RESTORE))
                .filter(Column::Id.is_in(revoked))
                .exec(&transaction)
                .await?;
        }
        for (id, grant) in lost {
            use token_grant::{Column, Entity};
            let project = match &grant.project {
                Some(project) => Column::Project.eq(project.as_str()),
                None => Column::Project.is_null(),
            };
            let of_one = Entity::delete_many().filter(Column::TokenId.eq(id)).filter(project);
            of_one.filter(Column::Role.eq(grant.role.as_str())).exec(&transaction).await?;
        }
        audit::write(&order, &transaction).await?;
        transaction.commit().await?;
        Ok::<(), DbErr>(())
    };
    copy.read("take back what was taken away since", writing).await?;
    Ok(taken)
}
