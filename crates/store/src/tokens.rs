//! The records of API tokens: made, read, revoked. Of a secret it knows the hash; whether a token is good, and for
//! what, others decide.

use crate::audit;
use crate::database::Database;
use crate::entity::{api_token, token_grant};
use crate::history::{History, Page, counted};
use crate::rows::{FromRow, Unreadable, parse};
use crate::stamp::Stamp;
use crate::write::{Write, Written};
use dockswap_core::Timestamp;
use dockswap_core::audit::AuditRecord;
use dockswap_core::grants::{Grant, Grants};
use dockswap_core::records::StoreError;
use dockswap_core::token::{TokenId, TokenName};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, NotSet, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};

/// A token on record. Its secret is not.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Which.
    pub id: TokenId,
    /// What people call it.
    pub name: TokenName,
    /// The SHA-256 of its secret in lower-case hex.
    pub secret_sha: String,
    /// What it is good for.
    pub grants: Grants,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// From then on it is good for nothing.
    pub expires_at: Option<Timestamp>,
    /// About when it was last used.
    pub last_used_at: Option<Timestamp>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
    /// When.
    pub revoked_at: Option<Timestamp>,
}

impl std::fmt::Debug for TokenRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRow").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What became of a change of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenOutcome {
    /// It is so now.
    Done,
    /// Another token that is not revoked has the name; nothing was written.
    NameTaken,
    /// There is no such token, or it was revoked before; nothing was written.
    Absent,
}

/// A change of tokens, whole or not at all.
#[derive(Clone, Debug)]
pub(crate) enum TokenWrite {
    /// A new one.
    Create { row: TokenRow, audit: Option<AuditRecord> },
    /// It is good for nothing from then on.
    Revoke { id: TokenId, by: String, at: Timestamp, audit: Option<AuditRecord> },
    /// It was used.
    Used { id: TokenId, at: Timestamp },
}

impl TokenWrite {
    pub(crate) async fn apply<C: ConnectionTrait>(&self, db: &C) -> Result<Written, DbErr> {
        use api_token::{Column, Entity};
        match self {
            Self::Create { row, audit } => {
                let taken = Entity::find()
                    .filter(Column::Name.eq(row.name.as_str()))
                    .filter(Column::RevokedAt.is_null())
                    .count(db)
                    .await?;
                if taken > 0 {
                    return Ok(Written::Token(TokenOutcome::NameTaken));
                }
                Entity::insert(api_token::ActiveModel::from(row)).exec_without_returning(db).await?;
                for grant in &row.grants.0 {
                    let row = token_grant::ActiveModel {
                        id: NotSet,
                        token_id: Set(row.id.to_string()),
                        project: Set(grant.project.as_ref().map(ToString::to_string)),
                        role: Set(grant.role.to_string()),
                    };
                    token_grant::Entity::insert(row).exec_without_returning(db).await?;
                }
                if let Some(record) = audit {
                    audit::write(record, db).await?;
                }
                Ok(Written::Token(TokenOutcome::Done))
            }
            Self::Revoke { id, by, at, audit } => {
                let revoked = Entity::update_many()
                    .col_expr(Column::RevokedAt, Expr::value(Stamp(*at)))
                    .col_expr(Column::RevokedBy, Expr::value(by.as_str()))
                    .filter(Column::Id.eq(id.as_str()))
                    .filter(Column::RevokedAt.is_null())
                    .exec(db)
                    .await?;
                if revoked.rows_affected == 0 {
                    return Ok(Written::Token(TokenOutcome::Absent));
                }
                if let Some(record) = audit {
                    audit::write(record, db).await?;
                }
                Ok(Written::Token(TokenOutcome::Done))
            }
            Self::Used { id, at } => {
                let used = Entity::update_many().col_expr(Column::LastUsedAt, Expr::value(Stamp(*at)));
                used.filter(Column::Id.eq(id.as_str())).exec(db).await?;
                Ok(Written::Token(TokenOutcome::Done))
            }
        }
    }

    /// What became of it, when the answer to the commit was lost.
    pub(crate) async fn find<C: ConnectionTrait>(&self, db: &C) -> Result<Option<Written>, DbErr> {
        use api_token::{Column, Entity};
        let row = match self {
            Self::Create { row, .. } => Entity::find_by_id(row.id.as_str()),
            Self::Revoke { id, at, .. } => {
                Entity::find_by_id(id.as_str()).filter(Column::RevokedAt.eq(Stamp(*at)))
            }
            Self::Used { id, at } => {
                Entity::find_by_id(id.as_str()).filter(Column::LastUsedAt.eq(Stamp(*at)))
            }
        };
        Ok(row.count(db).await?.gt(&0).then_some(Written::Token(TokenOutcome::Done)))
    }
}

impl From<&TokenRow> for api_token::ActiveModel {
    fn from(row: &TokenRow) -> Self {
        Self {
            id: Set(row.id.to_string()),
            name: Set(row.name.to_string()),
            secret_sha: Set(row.secret_sha.clone()),
            created_by: Set(row.created_by.clone()),
            created_at: Set(Stamp(row.created_at)),
            expires_at: Set(row.expires_at.map(Stamp)),
            last_used_at: Set(row.last_used_at.map(Stamp)),
            revoked_by: Set(row.revoked_by.clone()),
            revoked_at: Set(row.revoked_at.map(Stamp)),
        }
    }
}

impl FromRow for TokenRow {
    type Row = (api_token::Model, Vec<token_grant::Model>);

    fn from_row((row, grants): Self::Row) -> Result<Self, Unreadable> {
        let what = || format!("api_tokens {}", row.id);
        let grants = grants.into_iter().map(|grant| {
            let role = grant.role.parse().map_err(|cause| Unreadable::new(what(), &cause))?;
            let project = grant.project.map(|project| parse(project, what)).transpose()?;
            Ok(Grant { project, role })
        });
        Ok(Self {
            grants: Grants(grants.collect::<Result<_, Unreadable>>()?),
            id: parse(row.id.clone(), what)?,
            name: parse(row.name, || format!("api_tokens {}", row.id))?,
            secret_sha: row.secret_sha,
            created_by: row.created_by,
            created_at: row.created_at.into(),
            expires_at: row.expires_at.map(Timestamp::from),
            last_used_at: row.last_used_at.map(Timestamp::from),
            revoked_by: row.revoked_by,
            revoked_at: row.revoked_at.map(Timestamp::from),
        })
    }
}

impl History {
    /// One token, whether it is good or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token(&self, id: &TokenId) -> Result<Option<TokenRow>, StoreError> {
        let query = api_token::Entity::find_by_id(id.as_str());
        let rows = query.find_with_related(token_grant::Entity).order_by_asc(token_grant::Column::Id);
        Ok(self.list("read a token", rows.all(&self.db)).await?.pop())
    }

    /// The token of this name that is not revoked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token_named(&self, name: &TokenName) -> Result<Option<TokenRow>, StoreError> {
        use api_token::{Column, Entity};
        let query = Entity::find().filter(Column::Name.eq(name.as_str())).filter(Column::RevokedAt.is_null());
        let rows = query.find_with_related(token_grant::Entity).order_by_asc(token_grant::Column::Id);
        Ok(self.list("read a token", rows.all(&self.db)).await?.pop())
    }

    /// Tokens, newest first, those that were revoked among them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tokens(&self, page: Page) -> Result<Vec<TokenRow>, StoreError> {
        use api_token::{Column, Entity};
        let rows = Entity::find()
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Id)
            .limit(counted(page.limit))
            .offset(counted(page.offset));
        let tokens = self.read("read the tokens", rows.all(&self.db)).await?;
        let ids: Vec<String> = tokens.iter().map(|token| token.id.clone()).collect();
        let grants = token_grant::Entity::find()
            .filter(token_grant::Column::TokenId.is_in(ids))
            .order_by_asc(token_grant::Column::Id);
        let grants = self.read("read the tokens", grants.all(&self.db)).await?;
        let with_grants = tokens.into_iter().map(|token| {
            let own = grants.iter().filter(|grant| grant.token_id == token.id).cloned().collect();
            Ok((token, own))
        });
        self.list("read the tokens", async { with_grants.collect() }).await
    }
}

impl Database {
    /// Puts a new token on record, and `audit` with it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create_token(
        &self,
        token: TokenRow,
        audit: Option<AuditRecord>,
    ) -> Result<TokenOutcome, StoreError> {
        self.change_tokens("create a token", TokenWrite::Create { row: token, audit }).await
    }

    /// Makes a token good for nothing, and puts `audit` on record with it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_token(
        &self,
        id: &TokenId,
        by: &str,
        at: Timestamp,
        audit: Option<AuditRecord>,
    ) -> Result<TokenOutcome, StoreError> {
        let write = TokenWrite::Revoke { id: id.clone(), by: by.to_owned(), at, audit };
        self.change_tokens("revoke a token", write).await
    }

    /// Notes that a token was used.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_token_use(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError> {
        self.change_tokens("note the use of a token", TokenWrite::Used { id: id.clone(), at }).await.map(drop)
    }

    async fn change_tokens(
        &self,
        operation: &'static str,
        write: TokenWrite,
    ) -> Result<TokenOutcome, StoreError> {
        match self.write(operation, Write::Token(Box::new(write))).await? {
            Written::Token(outcome) => Ok(outcome),
            Written::Done
            | Written::Config(_)
            | Written::Conflict
            | Written::Pruned(_)
            | Written::Project(_) => Ok(TokenOutcome::Done),
        }
    }
}
