//! What dockswap needs is taken already: a name, a port, an address.

use crate::stage::{Actor, Stage};
use dockswap_proof::{Proof, long};
use dockswap_tests::scripted::{Call, Fault};
use dockswap_tests::{free_port, holds};
use serde_json::json;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

/// What may pass on a busy machine between two things that follow at once.
const SOON: Duration = Duration::from_secs(60);

/// The name of the container that the app's next deployment makes, while nobody else deploys.
fn next_name(actor: &Actor<'_>) -> String {
    let next = actor.site.database().number("SELECT max(id) + 1 FROM deployments", &[]);
    let color = if actor.old[0].color == "blue" { "green" } else { "blue" };
    format!("{}-{color}-{next}", actor.app)
}

#[test]
fn dck_409() {
    let mut ours = Proof::of("dck.409", "scripted Docker, the name is taken by a container of ours");
    let mut foreign = Proof::of("dck.409", "scripted Docker, the name is taken by a stranger's");
    let mut stage = Stage::set("dck.409");
    for _ in 0..if long() { 25 } else { 3 } {
        // One after the other: the name tells the deployment's number.
        stage.play(&[()], |actor, ()| {
            let name = next_name(&actor);
            let stranger = actor.docker.stranger(&name, &[("com.example.team", "other")], &json!({}));
            let before = actor.docker.strangers();
            let (status, _) = actor.deploys(&actor.file().version("new"));
            assert_eq!(status, "failed", "{}", actor.site.events(&actor.app));
            actor.is_told(&name);
            assert_eq!(actor.docker.strangers(), before, "nobody touched {stranger}");
            // The next one has another name.
            let (status, _) = actor.deploys(&actor.file().version("newer"));
            assert_eq!(status, "success", "{}", actor.site.events(&actor.app));
            actor.leaves()
        });
        foreign.kept();
        stage.play(&[()], |actor, ()| {
            let name = next_name(&actor);
            // Docker has made it, and nobody was told: the name is taken when it is asked for again.
            let order = actor.docker.at(Call::ContainerCreate).of(&name).nth(1).meets(Fault::LostReply);
            let (status, _) = actor.deploys(&actor.file().version("new"));
            assert_eq!(status, "success", "{}", actor.site.events(&actor.app));
            order.strikes();
            let made =
                actor.docker.running(&actor.app).into_iter().filter(|found| found.name == name).count();
            assert_eq!(made, 1, "it was adopted");
            actor.leaves()
        });
        ours.kept();
        stage.play(&[()], |actor, ()| {
            // Ours by its labels, from a life before this database: it is replaced.
            let name = next_name(&actor);
            let (color, deployment) = name.rsplit_once('-').expect("a name");
            let color = color.rsplit_once('-').expect("a name").1;
            let labels = [
                ("dockswap.managed", "true"),
                ("dockswap.app", actor.app.as_str()),
                ("dockswap.color", color),
                ("dockswap.deployment", deployment),
                ("dockswap.config_sha", "of-another-life"),
                ("dockswap.replica", "1"),
            ];
            let relic = actor.docker.stranger(&name, &labels, &json!({}));
            let (status, _) = actor.deploys(&actor.file().version("new"));
            assert_eq!(status, "success", "{}", actor.site.events(&actor.app));
            assert!(actor.docker.containers(&actor.app).iter().all(|found| found.id != relic));
            actor.leaves()
        });
        ours.kept();
    }
    ours.conclude();
    foreign.conclude();
    stage.promises.conclude();
}

#[test]
fn dck_rmstuck() {
    let mut proof = Proof::of("dck.rmstuck", "scripted Docker, the old container's removal never ends");
    let mut stage = Stage::set("dck.rmstuck");
    let cases = vec![(); if long() { 50 } else { 6 }];
    stage.play(&cases, |actor, ()| {
        let stuck = actor.old[0].clone();
        let serves = |version: &str| {
            let (status, _) = actor.deploys(&actor.file().version(version));
            assert_eq!(status, "success", "{}", actor.site.events(&actor.app));
        };
        serves("two");
        actor.docker.sticks(&stuck.id);
        for version in ["three", "four", "five"] {
            serves(version);
        }
        let still = actor.docker.containers(&actor.app);
        assert!(still.iter().any(|found| found.id == stuck.id), "{still:?}");
        actor.docker.unsticks(&stuck.id);
        // Collected by a later look, at the latest.
        holds("what was stuck is gone", Duration::from_secs(60), || {
            actor.docker.containers(&actor.app).iter().all(|found| found.id != stuck.id)
        });
        actor.leaves()
    });
    proof.kept_times(cases.len() as u64);
    proof.conclude();
    stage.promises.conclude();
}

#[test]
fn dck_port() {
    let mut proof = Proof::of("dck.port", "scripted Docker, the port is a container's or a process's");
    let mut stage = Stage::set("dck.port");
    let cases = ["container", "process"].repeat(if long() { 25 } else { 4 });
    stage.play(&cases, |actor, holder| {
        let (port, other) = (free_port(), free_port());
        let (blue, green) = if actor.old[0].color == "blue" { (other, port) } else { (port, other) };
        let file = actor.file().version("new").line(&format!("ports: {{ blue: {blue}, green: {green} }}"));
        let name = format!("squatter-{port}");
        let squatter = (*holder == "container").then(|| {
            let bindings = json!({"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": port.to_string()}]});
            actor.docker.stranger(&name, &[], &json!({"PortBindings": bindings}))
        });
        let process =
            (*holder == "process").then(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port"));
        let (status, _) = actor.deploys(&file);
        assert_eq!(status, "failed", "{}", actor.site.events(&actor.app));
        actor.is_told(&format!("127.0.0.1:{port} is taken"));
        if squatter.is_some() {
            actor.is_told(&name);
        }
        holds("no debris", SOON, || actor.docker.containers(&actor.app) == actor.old);
        drop(process);
        actor.leaves().untouched()
    });
    proof.kept_times(cases.len() as u64);
    proof.conclude();
    stage.promises.conclude();
}

#[test]
fn dck_addrpool() {
    let mut proof = Proof::of("dck.addrpool", "scripted Docker, no pool, no address, a phantom endpoint");
    let mut stage = Stage::set("dck.addrpool");
    let pool = "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network";
    let full = "no available IPv4 addresses on this network's address pools: dockswap (6f1c5d)";
    let phantom = "endpoint with name web-green-2 already exists in network dockswap";
    let cases = [
        (Call::NetworkCreate, 404, pool, "docker network prune"),
        (Call::ContainerStart, 403, full, "docker network inspect"),
        (Call::ContainerStart, 403, phantom, "docker network disconnect"),
    ];
    let cases = cases.repeat(if long() { 7 } else { 2 });
    stage.play(&cases, |actor, (call, status, words, hint)| {
        // A network of its own, which is not there yet.
        let network = format!("net-{}", actor.app);
        let about = if *call == Call::NetworkCreate { network.as_str() } else { actor.app.as_str() };
        let order = actor.docker.at(*call).of(about).meets(Fault::says(*status, words));
        let mut file = actor.file().version("new");
        if *call == Call::NetworkCreate {
            file = file.docker("network", &network);
        }
        let (ended, _) = actor.deploys(&file);
        order.strikes();
        order.ends();
        assert_eq!(ended, "failed", "{}", actor.site.events(&actor.app));
        actor.is_told(words);
        actor.is_told(hint);
        holds("no debris", SOON, || actor.docker.containers(&actor.app) == actor.old);
        actor.leaves().untouched()
    });
    proof.kept_times(cases.len() as u64);
    proof.conclude();
    stage.promises.conclude();
}
