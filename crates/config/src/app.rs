//! A whole app file: bytes in, a validated [`AppSpec`] or every problem out.

use crate::container;
use crate::deployment;
use crate::fields::{Field, Fields, Item, Shape};
use crate::health;
use crate::limits;
use crate::policy::Policy;
use crate::problem::{Problem, Report};
use crate::routes;
use crate::scalar::image;
use crate::yaml;
use dockswap_core::{AppName, AppSpec, ProjectName};
use std::path::{Path, PathBuf};

/// The fields of an app file.
pub(crate) const FIELDS: &[Field] = &[
    Field::new("name", Shape::Name, "The app's name, a DNS label, unique over all files."),
    Field::new("description", Shape::Text, "Free text for people."),
    Field::new("project", Shape::Name, "The group that the app belongs to."),
    Field::new("image", Shape::Image, "The image; editing it is the usual deploy."),
    Field::new("replicas", Shape::Integer { min: 1, max: 32 }, "Containers per color; default 1."),
    Field::new("docker", Shape::Section(container::FIELDS, &["expose_port"]), "How containers are made."),
    Field::new("ports", Shape::Section(routes::PORTS, &[]), "Host ports on 127.0.0.1, unique over all apps."),
    Field::new(
        "health_check",
        Shape::Section(health::FIELDS, &[]),
        "How a container proves that it can serve.",
    ),
    Field::new("deployment", Shape::Section(deployment::FIELDS, &[]), "How a deployment goes."),
    Field::new(
        "routes",
        Shape::Sections(routes::ROUTE),
        "Where traffic comes in; default one route, <name>.localhost.",
    ),
    Field::new("proxy", Shape::Section(routes::PROXY, &[]), "Another spelling of one route."),
    Field::new("limits", Shape::Section(limits::FIELDS, &[]), "What requests may take of the proxy."),
];

/// The fields that must be there.
pub(crate) const REQUIRED: &[&str] = &["name", "image", "docker"];

/// What reading depends on, besides the text.
pub(crate) struct Surroundings<'a> {
    /// Relative paths begin here. Absolute.
    pub(crate) base_dir: PathBuf,
    /// What app files may ask for.
    pub(crate) policy: &'a Policy,
    /// Whether it stands in the directory, or was stored once.
    pub(crate) origin: Origin,
}

/// Where a file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The config directory.
    Directory,
    /// The records: what was good once is good for a rollback, also where files of its kind are refused by now.
    Records,
}

/// Reads an app file.
///
/// `file` names it in problems and need not exist; relative paths in it begin at `base_dir`. The
/// same bytes give the same spec, and so do bytes that differ in comments and layout only. The only
/// look at the file system is at the symlinks of host paths, for `policy`.
///
/// # Errors
/// Every problem that the file has, in the order of its text.
pub fn parse_app(
    file: &Path,
    bytes: &[u8],
    base_dir: &Path,
    policy: &Policy,
) -> Result<AppSpec, Vec<Problem>> {
    parse(file, bytes, base_dir, policy, Origin::Directory)
}

/// The same for a file from `origin`.
pub(crate) fn parse(
    file: &Path,
    bytes: &[u8],
    base_dir: &Path,
    policy: &Policy,
    origin: Origin,
) -> Result<AppSpec, Vec<Problem>> {
    let base_dir = std::path::absolute(base_dir).unwrap_or_else(|_| base_dir.to_owned());
    let mut report = Report::on(file);
    let spec = yaml::parse(bytes, &mut report).and_then(|root| {
        let fields = Fields::root(&root, FIELDS, &mut report)?;
        decode(&fields, &Surroundings { base_dir, policy, origin }, &mut report)
    });
    match spec {
        Some(spec) if report.is_clean() => Ok(spec),
        _ => Err(report.into_problems()),
    }
}

/// `None`: something required is missing or wrong, and `report` says what.
fn decode(fields: &Fields<'_>, around: &Surroundings<'_>, report: &mut Report) -> Option<AppSpec> {
    fields.require("name", "my-app", report);
    fields.require("image", "my-app:v1", report);
    fields.require("docker", "{ expose_port: 8080 }", report);
    let name = fields.take("name").and_then(|item| name(&item, report));
    let image = fields.take("image").and_then(|item| image(&item, report));
    let description = fields.text("description", report);
    let project = fields.take("project").and_then(|item| project(&item, around.origin, report));
    let replicas = fields.integer("replicas", report).unwrap_or(1);
    let docker = fields.section("docker", report);
    let container = docker.and_then(|docker| container::decode(&docker, around, report));
    let ports = fields.section("ports", report);
    let host_ports = routes::host_ports(ports.as_ref(), around.policy, report);
    let health_check = health::decode(fields.section("health_check", report).as_ref(), report);
    let deployment = deployment::decode(fields.section("deployment", report).as_ref(), report);
    let routes = routes::routes(fields, ports.as_ref(), name.as_ref(), around, report);
    let limits = limits::decode(fields.section("limits", report).as_ref(), report);
    let (name, image, container) = (name?, image?, container?);
    Some(AppSpec {
        name,
        description,
        project,
        image,
        replicas,
        container,
        host_ports,
        health_check,
        deployment,
        routes,
        limits,
    })
}

fn name(item: &Item<'_>, report: &mut Report) -> Option<AppName> {
    let text = item.text(report)?;
    item.parsed(text.parse::<AppName>().map_err(|invalid| invalid.to_string()), report)
}

fn project(item: &Item<'_>, origin: Origin, report: &mut Report) -> Option<String> {
    let text = item.text(report)?;
    if origin == Origin::Directory {
        item.parsed(text.parse::<ProjectName>().map_err(|invalid| invalid.to_string()), report)?;
    }
    Some(text.to_owned())
}

fn image(item: &Item<'_>, report: &mut Report) -> Option<String> {
    let text = item.text(report)?;
    item.parsed(image::check(text), report)?;
    Some(text.to_owned())
}
