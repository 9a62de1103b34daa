//! `dockswap facts`.

use super::exit::{CliError, Exit};
use super::session::{Session, now};
use super::text::{Table, age, bytes};
use crate::api::wire::{self, Fact};
use clap::Args;
use dockswap_core::Timestamp;
use serde_json::Value;

/// Show what the controller knows of this machine, and since when
///
/// Docker, free disk, memory, ports, certificates. Looked at in the background; what was not seen for a while is
/// marked stale, and nothing is decided by it.
#[derive(Debug, Args)]
pub(crate) struct FactsArgs {}

pub(crate) async fn facts(session: &Session, _: &FactsArgs) -> Result<Exit, CliError> {
    let known: wire::Facts = session.client.get("/v1/facts").await?;
    session.show(&known, || table(&known.facts, now()))?;
    Ok(Exit::Done)
}

fn table(facts: &[Fact], now: Timestamp) -> Vec<String> {
    let mut table = Table::new(["FACT", "OF", "VALUE", "SEEN"]);
    for fact in facts {
        table.row([
            fact.name.clone(),
            fact.subject.clone(),
            value(&fact.value),
            format!("{} ago{}", age(fact.seen_at.0, now), if fact.stale { ", stale" } else { "" }),
        ]);
    }
    if table.is_empty() { vec!["nothing is known yet".to_owned()] } else { table.lines() }
}

/// Field by field; bytes as people write them.
fn value(value: &Value) -> String {
    let Some(fields) = value.as_object() else { return value.to_string() };
    let fields = fields.iter().map(|(name, value)| match (name.strip_suffix("_bytes"), value) {
        (Some(name), Value::Number(number)) => {
            format!("{name} {}", bytes(number.as_u64().unwrap_or_default()))
        }
        (_, Value::String(text)) => format!("{} {text}", name.replace('_', " ")),
        (_, other) => format!("{} {other}", name.replace('_', " ")),
    });
    fields.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::api::wire::{Fact, Time};
    use dockswap_core::Timestamp;
    use serde_json::json;

    #[test]
    fn a_fact_is_shown_with_its_age_and_whether_it_still_counts() {
        let fact = |name: &str, subject: &str, value, stale| Fact {
            name: name.to_owned(),
            subject: subject.to_owned(),
            value,
            seen_at: Time(Timestamp::from_micros(0)),
            expires_at: Time(Timestamp::from_micros(60_000_000)),
            stale,
        };
        let facts = [
            fact("disk", "/srv", json!({ "free_bytes": 1_500_000_000_u64 }), false),
            fact("docker", "engine", json!({ "live_restore": true, "version": "27.0" }), true),
        ];
        assert_eq!(
            table(&facts, Timestamp::from_micros(5_000_000)),
            [
                "FACT    OF      VALUE                            SEEN",
                "disk    /srv    free 1.5 GB                      5s ago",
                "docker  engine  live restore true, version 27.0  5s ago, stale",
            ]
        );
        assert_eq!(table(&[], Timestamp::default()), ["nothing is known yet"]);
    }
}
