//! The fingerprint of a container: what was asked for when it was made, kept as a label, and compared with what
//! Docker shows. Pure. What may be a secret (environment, command, labels of the user's) is kept as a hash alone.

use crate::create::aliases;
use crate::labels::{ASKED, Identity, OURS};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerUpdateBody, EndpointSettings, HostConfig, PortMap,
};
use dockswap_core::ports::{Drift, Remedy};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

/// More memory than any machine has: a limit cannot be taken back in place, only raised out of reach.
const OUT_OF_REACH: i64 = 1 << 50;

/// The weight of a container whose share of the processors nobody has changed.
const USUAL_SHARES: i64 = 1024;

/// Billionths of a core in one.
const NANOS: i64 = 1_000_000_000;

/// Whose word a field is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Asked,
    Found,
}

/// A field that has no limit.
const NONE: &str = "none";

/// What was asked for: field by field, in words, or as a hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    /// By the field's name. What the image decides is absent.
    fields: BTreeMap<String, String>,
    /// The names of the variables, and of the user's labels: an image brings others.
    #[serde(default)]
    variables: Vec<String>,
    #[serde(default)]
    labels: Vec<String>,
}

/// The label's value for what `body` asks for.
pub(crate) fn label(body: &ContainerCreateBody) -> String {
    // A map of texts is always written.
    serde_json::to_string(&Asked::of(body)).unwrap_or_default()
}

/// Wherein a container is not what was asked for. Nothing, where it was made by a version that took no note of that.
/// `processors`: how many Docker's host has.
pub(crate) fn of(shown: &ContainerInspectResponse, processors: i64) -> Vec<Drift> {
    let Some(asked) = asked(shown) else { return Vec::new() };
    let Some(identity) = crate::container::identity(shown) else { return Vec::new() };
    let mut drift = Vec::new();
    let mut compare = |field: &str, asked: &str, found: Option<String>, remedy| {
        if let Some(found) = found.filter(|found| found != asked) {
            drift.push(Drift { field: field.to_owned(), asked: asked.to_owned(), found, remedy });
        }
    };
    let name = shown.name.as_deref().map(|name| name.trim_start_matches('/').to_owned());
    compare("name", &identity.container_name(), name, Remedy::SetBack);
    let found = found(shown, &asked, processors);
    for (field, asked) in &asked.fields {
        let remedy = if in_place(field) { Remedy::SetBack } else { Remedy::Deploy };
        compare(field, asked, found.get(field.as_str()).cloned(), remedy);
    }
    if let (Some(network), Some(others)) = (asked.fields.get("network"), beside(shown, &asked)) {
        compare("networks", network, Some(others), Remedy::Leave);
    }
    drift
}

/// The update that sets limits back, where any has drifted.
pub(crate) fn update(drift: &[Drift], processors: i64) -> Option<ContainerUpdateBody> {
    let mut update = ContainerUpdateBody::default();
    for Drift { field, asked, .. } in drift {
        match field.as_str() {
            "memory" | "memory_swap" => match asked.parse::<i64>() {
                Ok(bytes) => {
                    let memory = if field == "memory" { bytes } else { bytes / 2 };
                    update.memory = Some(memory);
                    update.memory_swap = Some(memory.saturating_mul(2));
                }
                Err(_) => {
                    update.memory = Some(OUT_OF_REACH);
                    update.memory_swap = Some(-1);
                }
            },
            "cpus" => update.nano_cpus = Some(nanos(asked).unwrap_or(processors * NANOS)),
            "cpu_shares" => update.cpu_shares = Some(USUAL_SHARES),
            "cpu_quota" => update.cpu_quota = Some(-1),
            "cpuset" => update.cpuset_cpus = Some(all(processors)),
            "pids_limit" => update.pids_limit = asked.parse().ok(),
            _ => {}
        }
    }
    (update != ContainerUpdateBody::default()).then_some(update)
}

/// The network to join again, and how, where it was left.
pub(crate) fn network(
    shown: &ContainerInspectResponse,
    drift: &[Drift],
) -> Option<(String, EndpointSettings)> {
    let left = drift.iter().find(|drift| drift.field == "network")?;
    let identity = crate::container::identity(shown)?;
    let aliases = aliases(&left.asked, &identity.app, identity.color);
    Some((left.asked.clone(), EndpointSettings { aliases, ..EndpointSettings::default() }))
}

fn asked(shown: &ContainerInspectResponse) -> Option<Asked> {
    let labels = shown.config.as_ref()?.labels.as_ref()?;
    serde_json::from_str(labels.get(ASKED)?).ok()
}

/// What Docker changes of a container that is there.
fn in_place(field: &str) -> bool {
    ["memory", "memory_swap", "cpus", "cpu_shares", "cpu_quota", "cpuset", "pids_limit", "network", "name"]
        .contains(&field)
}

impl Asked {
    fn of(body: &ContainerCreateBody) -> Self {
        let host = body.host_config.clone().unwrap_or_default();
        let variables = names(body.env.as_deref().unwrap_or_default());
        let labels = users(body.labels.as_ref(), |_| true);
        let mut fields = BTreeMap::from([
            ("labels", hash_of(labels.iter().map(|(name, value)| format!("{name}={value}")))),
            ("environment", hash_of(body.env.iter().flatten().cloned())),
            ("network", host.network_mode.clone().unwrap_or_default()),
        ]);
        let of_image = [
            ("image", body.image.clone()),
            ("command", body.cmd.as_deref().map(ordered)),
            ("entrypoint", body.entrypoint.as_deref().map(ordered)),
            ("user", body.user.clone()),
            ("working_dir", body.working_dir.as_deref().map(plain_path)),
        ];
        fields.extend(of_image.into_iter().filter_map(|(field, value)| Some((field, value?))));
        fields.extend(limits(&host, Side::Asked));
        fields.insert("privileged", host.privileged.unwrap_or_default().to_string());
        fields.extend(kept(&host));
        Self {
            fields: fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect(),
            variables,
            labels: labels.into_keys().collect(),
        }
    }
}

/// The same fields as Docker shows them; what it does not show is absent.
fn found(shown: &ContainerInspectResponse, asked: &Asked, processors: i64) -> BTreeMap<&'static str, String> {
    let mut fields = BTreeMap::new();
    let config = shown.config.clone().unwrap_or_default();
    // Asked for by id or by name, both of which Docker shows.
    let images = [config.image.clone(), shown.image.clone()];
    let wanted = asked.fields.get("image");
    let image = images.iter().flatten().find(|image| Some(*image) == wanted).or(shown.image.as_ref());
    fields.extend(image.map(|image| ("image", image.clone())));
    if let Some(environment) = &config.env {
        let named = |entry: &&String| {
            let name = entry.split('=').next().unwrap_or_default();
            asked.variables.iter().any(|variable| variable == name)
        };
        fields.insert("environment", hash_of(environment.iter().filter(named).cloned()));
    }
    let labels = users(config.labels.as_ref(), |name| asked.labels.iter().any(|label| label == name));
    fields.insert("labels", hash_of(labels.into_iter().map(|(name, value)| format!("{name}={value}"))));
    fields.extend(config.cmd.as_deref().map(|command| ("command", ordered(command))));
    fields.extend(config.entrypoint.as_deref().map(|entrypoint| ("entrypoint", ordered(entrypoint))));
    fields.extend(config.user.map(|user| ("user", user)));
    fields.extend(config.working_dir.as_deref().map(|dir| ("working_dir", plain_path(dir))));
    if let Some(host) = &shown.host_config {
        fields.extend(limits(host, Side::Found));
        fields.extend(kept(host));
        // A limit as high as the machine is how one is taken back.
        let is_whole = |nanos: i64| nanos >= processors * NANOS;
        for (field, whole) in [
            ("cpus", host.nano_cpus.is_some_and(is_whole)),
            ("cpuset", host.cpuset_cpus == Some(all(processors))),
        ] {
            if whole && asked.fields.get(field).is_some_and(|asked| asked == NONE) {
                fields.insert(field, NONE.to_owned());
            }
        }
    }
    if let (Some(networks), Some(wanted)) = (joined(shown), asked.fields.get("network")) {
        let is_there = networks.iter().any(|network| network == key_of(wanted));
        let found = if networks.is_empty() { NONE.to_owned() } else { networks.join(", ") };
        fields.insert("network", if is_there { wanted.clone() } else { found });
    }
    fields
}

/// What `docker update` changes. Of what is asked for, what is not said is no limit; of what is shown, it is unknown.
fn limits(host: &HostConfig, whose: Side) -> Vec<(&'static str, String)> {
    let bytes = |bytes: Option<i64>| bytes.filter(|bytes| *bytes > 0 && *bytes < OUT_OF_REACH);
    let memory = bytes(host.memory);
    // Docker allows twice the memory, unless told otherwise; without accounting it says 0 or -1.
    let swap = memory.and_then(|memory| bytes(host.memory_swap).or(Some(memory.saturating_mul(2))));
    let set = |number: Option<i64>| number.map_or_else(|| NONE.to_owned(), |number| number.to_string());
    let fields = [
        ("memory", host.memory.is_some(), set(memory)),
        ("memory_swap", host.memory_swap.is_some(), set(swap)),
        (
            "cpus",
            host.nano_cpus.is_some(),
            host.nano_cpus.filter(|nanos| *nanos > 0).map_or_else(|| NONE.to_owned(), decimal),
        ),
        (
            "cpu_shares",
            host.cpu_shares.is_some(),
            set(host.cpu_shares.filter(|shares| *shares != 0 && *shares != USUAL_SHARES)),
        ),
        ("cpu_quota", host.cpu_quota.is_some(), set(host.cpu_quota.filter(|quota| *quota > 0))),
        (
            "cpuset",
            host.cpuset_cpus.is_some(),
            host.cpuset_cpus.clone().filter(|set| !set.is_empty()).unwrap_or_else(|| NONE.to_owned()),
        ),
        ("pids_limit", host.pids_limit.is_some(), host.pids_limit.unwrap_or_default().to_string()),
    ];
    let counts = |is_said: bool| is_said || whose == Side::Asked;
    fields
        .into_iter()
        .filter(|(_, is_said, _)| counts(*is_said))
        .map(|(field, _, text)| (field, text))
        .collect()
}

/// What stays as it was made.
fn kept(host: &HostConfig) -> Vec<(&'static str, String)> {
    let sorted = |mut lines: Vec<String>| {
        lines.sort_unstable();
        if lines.is_empty() { NONE.to_owned() } else { lines.join(", ") }
    };
    let plain = |names: &[String]| {
        sorted(names.iter().map(|name| name.trim_start_matches("CAP_").to_ascii_uppercase()).collect())
    };
    let mut fields = Vec::new();
    if let Some(binds) = &host.binds {
        fields.push(("mounts", sorted(binds.clone())));
    }
    if let Some(tmpfs) = &host.tmpfs {
        fields.push((
            "tmpfs",
            sorted(tmpfs.iter().map(|(path, options)| format!("{path}:{options}")).collect()),
        ));
    }
    if let Some(ports) = host.port_bindings.as_ref().map(chosen).filter(|ports| !ports.is_empty()) {
        fields.push(("ports", sorted(ports)));
    }
    if let Some(read_only) = host.readonly_rootfs {
        fields.push(("read_only", read_only.to_string()));
    }
    if let Some(hosts) = &host.extra_hosts {
        fields.push(("extra_hosts", sorted(hosts.clone())));
    }
    if let Some(capabilities) = &host.cap_add {
        fields.push(("capabilities", plain(capabilities)));
    }
    if let Some(privileged) = host.privileged {
        fields.push(("privileged", privileged.to_string()));
    }
    fields
}

/// The host ports that were chosen by a person: what Docker chose is another one at every start.
fn chosen(bindings: &PortMap) -> Vec<String> {
    let mut ports = Vec::new();
    for (inside, bindings) in bindings {
        for binding in bindings.iter().flatten() {
            let outside = binding.host_port.as_deref().unwrap_or_default();
            if !outside.is_empty() && outside != "0" {
                let address = binding.host_ip.as_deref().unwrap_or_default();
                ports.push(format!("{address}:{outside}->{inside}"));
            }
        }
    }
    ports
}

/// The networks that a container is in, sorted; `None`: Docker does not say.
fn joined(shown: &ContainerInspectResponse) -> Option<Vec<String>> {
    let networks = shown.network_settings.as_ref()?.networks.as_ref()?;
    let mut names: Vec<String> = networks.keys().cloned().collect();
    names.sort_unstable();
    Some(names)
}

/// The networks, where it is in others too.
fn beside(shown: &ContainerInspectResponse, asked: &Asked) -> Option<String> {
    let wanted = key_of(asked.fields.get("network")?);
    let networks = joined(shown)?;
    (networks.len() > 1 && networks.iter().any(|network| network == wanted)).then(|| networks.join(", "))
}

/// Docker's default network has two names.
fn key_of(network: &str) -> &str {
    if network == "default" { "bridge" } else { network }
}

fn names(environment: &[String]) -> Vec<String> {
    let mut names: Vec<String> =
        environment.iter().filter_map(|entry| Some(entry.split('=').next()?.to_owned())).collect();
    names.sort_unstable();
    names
}

/// Labels that are not ours.
fn users(
    labels: Option<&HashMap<String, String>>,
    wanted: impl Fn(&str) -> bool,
) -> BTreeMap<String, String> {
    let all = labels.into_iter().flatten();
    all.filter(|(name, _)| !name.starts_with(OURS) && wanted(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// A hash of texts in any order.
fn hash_of(texts: impl Iterator<Item = String>) -> String {
    let mut texts: Vec<String> = texts.collect();
    texts.sort_unstable();
    ordered(&texts)
}

/// A hash of texts in this order: enough of it to tell two apart.
fn ordered(texts: &[String]) -> String {
    let digest = texts.iter().fold(Sha256::new(), |hash, text| {
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        hash.chain_update(length.to_be_bytes()).chain_update(text)
    });
    digest.finalize().iter().take(8).fold("sha256:".to_owned(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// As Docker writes it.
fn plain_path(path: &str) -> String {
    if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path.to_owned() }
}

/// Billionths of a core as a decimal.
fn decimal(nanos: i64) -> String {
    let text = format!("{}.{:09}", nanos / NANOS, nanos % NANOS);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn nanos(decimal: &str) -> Option<i64> {
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, ""));
    let part = format!("{part:0<9}");
    Some(whole.parse::<i64>().ok()? * NANOS + part.get(..9)?.parse::<i64>().ok()?)
}

/// Every processor, as Docker writes a set of them.
fn all(processors: i64) -> String {
    if processors > 1 { format!("0-{}", processors - 1) } else { "0".to_owned() }
}

/// Whether what carries `identity` is called so.
pub(crate) fn name_to_restore(identity: &Identity, drift: &[Drift]) -> Option<String> {
    drift.iter().any(|drift| drift.field == "name").then(|| identity.container_name())
}

#[cfg(test)]
mod tests;
