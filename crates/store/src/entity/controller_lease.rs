//! `controller_lease`: who may write.

use crate::stamp::Stamp;
use sea_orm::entity::prelude::*;

/// The one row: who wrote last, and how many have held the database.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "controller_lease")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// How many controllers have held the database: the fence of every write.
    pub epoch: i64,
    /// The last one, in words.
    pub holder: Option<String>,
    /// When it took over.
    pub acquired_at: Option<Stamp>,
}

/// The id of the one row.
pub(crate) const ROW: i64 = 1;

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
