//! The keys of orders: an order that is sent twice under one key is carried out once. It must not
//! know what is ordered, nor what an answer says.
//!
//! A key is on record before its order is begun, with the newest event at that time. So whoever finds
//! a key without an answer, because a controller was killed, can look among the later events whether
//! the order went through.

use crate::database::Database;
use crate::entity::{deployment_event, order_key};
use crate::error::timed_out;
use crate::history::History;
use crate::stamp::Stamp;
use crate::write::{Write, Written};
use dockswap_core::Timestamp;
use dockswap_core::records::StoreError;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};
use std::time::Duration;

/// For how long a key is remembered.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How many keys of one actor are remembered: of more, the oldest are forgotten.
const MOST: u64 = 10_000;

/// How often a key that is there and not to be found is tried again.
const TRIES: usize = 3;

/// Whose key, and which: the hash of what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId {
    /// Who sent it.
    pub actor: String,
    /// Its hash.
    pub key_sha: String,
}

/// An order that came with a key and is about to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The key.
    pub id: KeyId,
    /// The hash of what is ordered.
    pub fingerprint: String,
    /// When it came.
    pub at: Timestamp,
}

/// A key that is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The hash of what was ordered.
    pub fingerprint: String,
    /// The newest event when it came: what the order did came later.
    pub after_event: i64,
    /// What it was answered; `None`: it is being carried out, or the answer was lost.
    pub answer: Option<String>,
}

/// What came of putting a key on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// It is on record now, and was not before.
    Fresh,
    /// It was before.
    Known(KeyRecord),
}

/// What is written of keys.
#[derive(Clone, Debug)]
pub(crate) enum KeyWrite {
    Reserve(NewKey),
    Answer { id: KeyId, answer: String },
    Sweep { before: Timestamp },
}

/// The end of the time of which keys are forgotten at `now`.
fn horizon(now: Timestamp) -> Timestamp {
    let lifetime = i64::try_from(LIFETIME.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(lifetime))
}

impl KeyWrite {
    pub(crate) async fn apply<C: ConnectionTrait>(&self, db: &C) -> Result<Written, DbErr> {
        use order_key::{ActiveModel, Column, Entity};
        match self {
            Self::Reserve(key) => {
                let old = Column::CreatedAt.lte(Stamp(horizon(key.at)));
                Entity::delete_many().filter(is(&key.id)).filter(old).exec(db).await?;
                let row = ActiveModel {
                    actor: Set(key.id.actor.clone()),
                    key_sha: Set(key.id.key_sha.clone()),
                    fingerprint: Set(key.fingerprint.clone()),
                    after_event: Set(newest_event(db).await?),
                    created_at: Set(Stamp(key.at)),
                    answer: Set(None),
                };
                let known = OnConflict::columns([Column::Actor, Column::KeySha]).do_nothing().to_owned();
                let rows = Entity::insert(row).on_conflict(known).exec_without_returning(db).await?;
                if rows == 0 {
                    return Ok(Written::Conflict);
                }
                forget_surplus(&key.id.actor, db).await?;
            }
            Self::Answer { id, answer } => {
                let answered = Entity::update_many().col_expr(Column::Answer, Expr::value(answer.clone()));
                answered.filter(is(id)).exec(db).await?;
            }
            Self::Sweep { before } => {
                Entity::delete_many().filter(Column::CreatedAt.lte(Stamp(*before))).exec(db).await?;
            }
        }
        Ok(Written::Done)
    }

    /// What became of it, when the answer to the commit was lost.
    pub(crate) async fn find<C: ConnectionTrait>(&self, db: &C) -> Result<Option<Written>, DbErr> {
        let row = match self {
            Self::Reserve(NewKey { id, .. }) | Self::Answer { id, .. } => {
                order_key::Entity::find().filter(is(id)).one(db).await?
            }
            // The next one does it.
            Self::Sweep { .. } => return Ok(Some(Written::Done)),
        };
        let is_there = match (self, row) {
            (Self::Reserve(key), Some(row)) => {
                row.fingerprint == key.fingerprint && row.created_at == Stamp(key.at)
            }
            (Self::Answer { answer, .. }, Some(row)) => row.answer.as_ref() == Some(answer),
            (Self::Sweep { .. }, _) | (_, None) => false,
        };
        Ok(is_there.then_some(Written::Done))
    }
}

fn is(id: &KeyId) -> sea_orm::Condition {
    use order_key::Column;
    sea_orm::Condition::all()
        .add(Column::Actor.eq(id.actor.as_str()))
        .add(Column::KeySha.eq(id.key_sha.as_str()))
}

async fn newest_event<C: ConnectionTrait>(db: &C) -> Result<i64, DbErr> {
    use deployment_event::{Column, Entity};
    let newest = Entity::find().select_only().column(Column::Id).order_by_desc(Column::Id);
    Ok(newest.limit(1).into_tuple::<i64>().one(db).await?.unwrap_or(0))
}

/// Forgets the oldest keys of an actor who has too many.
async fn forget_surplus<C: ConnectionTrait>(actor: &str, db: &C) -> Result<(), DbErr> {
    use order_key::{Column, Entity};
    let surplus = Entity::find()
        .select_only()
        .column(Column::CreatedAt)
        .filter(Column::Actor.eq(actor))
        .order_by_desc(Column::CreatedAt)
        .offset(MOST)
        .limit(1);
    if let Some(newest) = surplus.into_tuple::<Stamp>().one(db).await? {
        let forgotten = Entity::delete_many().filter(Column::Actor.eq(actor));
        forgotten.filter(Column::CreatedAt.lte(newest)).exec(db).await?;
    }
    Ok(())
}

impl History {
    /// What is on record under a key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let query = order_key::Entity::find().filter(is(id));
        let row = self.read("read an order's key", query.one(&self.db)).await?;
        Ok(row.map(|row| KeyRecord {
            fingerprint: row.fingerprint,
            after_event: row.after_event,
            answer: row.answer,
        }))
    }
}

impl Database {
    /// Puts a key on record, unless it is there already. A key is forgotten after 24 h.
    ///
    /// # Errors
    /// When the database fails; it may be on record all the same.
    pub async fn reserve_key(&self, key: &NewKey) -> Result<Reservation, StoreError> {
        const OPERATION: &str = "record an order's key";
        for _ in 0..TRIES {
            if self.write(OPERATION, Write::Key(KeyWrite::Reserve(key.clone()))).await? != Written::Conflict {
                return Ok(Reservation::Fresh);
            }
            // One that was forgotten just now is fresh.
            if let Some(record) = self.history().key(&key.id).await? {
                return Ok(Reservation::Known(record));
            }
        }
        Err(timed_out(OPERATION, self.history().deadline))
    }

    /// Records what the order under a key was answered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn answer_key(&self, id: &KeyId, answer: String) -> Result<(), StoreError> {
        let write = KeyWrite::Answer { id: id.clone(), answer };
        self.write("record an order's answer", Write::Key(write)).await.map(|_| ())
    }

    /// Forgets the keys that are older than 24 h at `now`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_keys(&self, now: Timestamp) -> Result<(), StoreError> {
        let write = KeyWrite::Sweep { before: horizon(now) };
        self.write("forget old keys", Write::Key(write)).await.map(|_| ())
    }
}
