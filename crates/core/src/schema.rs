//! The JSON Schemas of texts whose grammar a derive cannot know.

use crate::name::{AppName, ProjectName};
use crate::token::{TokenId, TokenName};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// A text of this pattern.
macro_rules! patterns {
    ($($name:ident = $pattern:literal;)+) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    )+};
}

patterns! {
    AppName = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
    ProjectName = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
    TokenId = "^[0-9A-Za-z]+$";
    TokenName = "^[0-9A-Za-z][0-9A-Za-z._@-]{0,63}$";
}
