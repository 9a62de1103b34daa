//! What counts as drift, on answers of Docker's as it would give them. No Docker is asked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::create;
use crate::daemon::{Reach, Session};
use crate::fixture;
use serde_json::{Value, json};

/// What Docker would show of a container that was just made.
fn made(change: impl Fn(&mut dockswap_core::ports::ContainerGroup)) -> Value {
    let mut group = fixture::group("web");
    group.environment = vec![fixture::variable("TOKEN", "canary-51c"), fixture::variable("PORT", "8080")];
    group.options.command = Some(vec!["serve".to_owned(), "--key=canary-51c".to_owned()]);
    group.options.memory_limit_bytes = Some(256 << 20);
    change(&mut group);
    let session = Session { rotating_log_driver: None, reach: Reach::Direct, processors: 4 };
    let body = serde_json::to_value(create::body(&group, 1, &session)).unwrap();
    let mut host = body["HostConfig"].clone();
    host["MemorySwap"] = json!(host["Memory"].as_i64().unwrap_or_default() * 2);
    host["CpuShares"] = json!(0);
    host["NanoCpus"] = json!(host["NanoCpus"].as_i64().unwrap_or_default());
    host["Privileged"] = json!(false);
    let mut environment = body["Env"].as_array().unwrap().clone();
    environment.push(json!("PATH=/usr/bin"));
    json!({
        "Id": "c0ffee", "Name": "/web-blue-1", "Image": "sha256:1",
        "Config": {"Image": "sha256:1", "Labels": body["Labels"], "Env": environment, "Cmd": body["Cmd"]},
        "HostConfig": host,
        "NetworkSettings": {"Networks": {"dockswap": {"IPAddress": "172.18.0.2"}}},
    })
}

fn drift(shown: &Value) -> Vec<(String, String, String, Remedy)> {
    of(&serde_json::from_value(shown.clone()).unwrap(), 4)
        .into_iter()
        .map(|Drift { field, asked, found, remedy }| (field, asked, found, remedy))
        .collect()
}

#[test]
fn what_was_just_made_is_what_was_asked_for() {
    assert_eq!(drift(&made(|_| {})), []);
    assert_eq!(drift(&made(|group| group.options.memory_limit_bytes = None)), []);
}

#[test]
fn every_change_is_named_with_both_sides_and_what_sets_it_right() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str, &str, &str, Remedy); 9] = [
        (
            |s| s["HostConfig"]["Memory"] = json!(1 << 30),
            "memory",
            "268435456",
            "1073741824",
            Remedy::SetBack,
        ),
        (|s| s["HostConfig"]["NanoCpus"] = json!(500_000_000), "cpus", "none", "0.5", Remedy::SetBack),
        (|s| s["HostConfig"]["CpuShares"] = json!(2), "cpu_shares", "none", "2", Remedy::SetBack),
        (|s| s["HostConfig"]["PidsLimit"] = json!(10), "pids_limit", "512", "10", Remedy::SetBack),
        (|s| s["Name"] = json!("/mine"), "name", "web-blue-1", "mine", Remedy::SetBack),
        (|s| s["NetworkSettings"]["Networks"] = json!({}), "network", "dockswap", "none", Remedy::SetBack),
        (
            |s| s["NetworkSettings"]["Networks"]["other"] = json!({}),
            "networks",
            "dockswap",
            "dockswap, other",
            Remedy::Leave,
        ),
        (|s| s["HostConfig"]["Privileged"] = json!(true), "privileged", "false", "true", Remedy::Deploy),
        (|s| s["Config"]["User"] = json!("root"), "user", "", "", Remedy::Deploy),
    ];
    for (change, field, asked, found, remedy) in cases {
        let mut shown = made(|_| {});
        change(&mut shown);
        let expected = (field.to_owned(), asked.to_owned(), found.to_owned(), remedy);
        // A user that was not asked for is the image's.
        let expected = if field == "user" { vec![] } else { vec![expected] };
        assert_eq!(drift(&shown), expected, "{field}");
    }
}

#[test]
fn a_secret_is_told_by_its_hash_alone() {
    let mut shown = made(|_| {});
    shown["Config"]["Env"][0] = json!("TOKEN=canary-other");
    shown["Config"]["Cmd"] = json!(["serve", "--key=canary-other"]);
    let told = drift(&shown);
    assert_eq!(told.iter().map(|drift| drift.0.as_str()).collect::<Vec<_>>(), ["command", "environment"]);
    assert!(!format!("{told:?}{}", shown["Config"]["Labels"]).contains("canary"), "{told:?}");
}

#[test]
fn what_an_earlier_version_made_is_not_judged() {
    let mut shown = made(|_| {});
    shown["HostConfig"]["Memory"] = json!(1);
    shown["Config"]["Labels"].as_object_mut().unwrap().remove(ASKED);
    assert_eq!(drift(&shown), []);
}

#[test]
fn limits_are_set_back_to_what_then_counts_as_asked() {
    let set_back = |shown: &mut Value| {
        let drift = of(&serde_json::from_value(shown.clone()).unwrap(), 4);
        let update = serde_json::to_value(update(&drift, 4).unwrap()).unwrap();
        for (field, value) in update.as_object().unwrap() {
            shown["HostConfig"][field] = value.clone();
        }
    };
    let mut limited = made(|_| {});
    limited["HostConfig"]["Memory"] = json!(1 << 30);
    limited["HostConfig"]["MemorySwap"] = json!(2_i64 << 30);
    set_back(&mut limited);
    assert_eq!(limited["HostConfig"]["Memory"], json!(256 << 20));
    assert_eq!(limited["HostConfig"]["MemorySwap"], json!(512 << 20));
    let mut free = made(|group| group.options.memory_limit_bytes = None);
    for (field, value) in [("Memory", json!(1 << 30)), ("NanoCpus", json!(500_000_000))] {
        free["HostConfig"][field] = value;
    }
    free["HostConfig"]["CpusetCpus"] = json!("0");
    set_back(&mut free);
    assert_eq!((drift(&limited), drift(&free)), (vec![], vec![]));
}

#[test]
fn decimals_are_read_as_they_were_written() {
    for (nanos_, text) in [(1_500_000_000, "1.5"), (2_000_000_000, "2"), (10_000_000, "0.01")] {
        assert_eq!((decimal(nanos_), nanos(text)), (text.to_owned(), Some(nanos_)));
    }
}
