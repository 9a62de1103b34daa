//! `deployment_images.given_up_at`: the image of an old deployment that is not kept any more. It is marked
//! before Docker is asked to let go of it, so that nobody goes back to what is about to be gone. And the
//! indexes by which old rows are removed without looking at every other one that may refer to them.

use crate::time;
use sea_orm_migration::prelude::*;

/// Adds the column and the indexes, or drops them.
#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

const INDEXES: [(&str, &str); 2] =
    [("deployments_by_config", "config_id"), ("deployments_by_rollback_of", "rollback_of")];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = time("given_up_at");
        manager.alter_table(Table::alter().table("deployment_images").add_column(column).take()).await?;
        for (name, column) in INDEXES {
            let index = Index::create().name(name).table("deployments").col(column).take();
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, _) in INDEXES {
            manager.drop_index(Index::drop().name(name).table("deployments").to_owned()).await?;
        }
        manager.alter_table(Table::alter().table("deployment_images").drop_column("given_up_at").take()).await
    }
}
