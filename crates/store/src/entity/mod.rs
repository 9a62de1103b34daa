//! The tables as SeaORM entities, one file a table. What the rows mean is `core`'s business.

#![allow(missing_docs, reason = "the derives add items that cannot be documented")]
#![allow(unreachable_pub, reason = "the derives ask for `pub`")]

pub(crate) mod api_token;
pub(crate) mod app_checkpoint;
pub(crate) mod app_config;
pub(crate) mod app_machine;
pub(crate) mod app_project;
pub(crate) mod audit_log;
pub(crate) mod controller_lease;
pub(crate) mod current_state;
pub(crate) mod deployment;
pub(crate) mod deployment_event;
pub(crate) mod deployment_image;
pub(crate) mod order_key;
pub(crate) mod token_grant;
