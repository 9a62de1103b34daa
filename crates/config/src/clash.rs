//! Checks over all apps: names, routes and ports that only one of them can have. It must not know
//! how files are read, beyond finding a position in one.

use crate::problem::{Position, Problem, Report};
use crate::yaml::{self, Node};
use dockswap_core::spec::Route;
use dockswap_core::{AppSpec, Color};
use std::cell::OnceCell;
use std::path::Path;

/// An app that lays claim to its name, routes and ports.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The file that describes it.
    pub file: &'a Path,
    /// The file's bytes, for the positions of problems.
    pub bytes: &'a [u8],
    /// What the bytes say.
    pub spec: &'a AppSpec,
    /// Whether it holds what it claims.
    pub standing: Standing,
}

/// Whether an app holds what it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has been accepted before, and keeps what it has.
    Incumbent,
    /// It asks.
    Newcomer,
}

/// A port that no app can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedPort {
    /// The port.
    pub port: u16,
    /// Whose it is, as in `proxy.http`.
    pub owner: String,
}

/// Finds the newcomers that cannot stand beside the incumbents and the newcomers before them. Each
/// problem is on the newcomer's file and names the holder. A newcomer with the file and the name of
/// an incumbent is an edit of it, and does not clash with it. When two newcomers have one name,
/// nobody knows which was meant: both are refused.
#[must_use]
pub fn check_clashes(claims: &[Claim<'_>], reserved: &[ReservedPort]) -> Vec<Problem> {
    let (mut standing, newcomers): (Vec<&Claim<'_>>, Vec<&Claim<'_>>) =
        claims.iter().partition(|claim| claim.standing == Standing::Incumbent);
    let mut problems = Vec::new();
    for newcomer in &newcomers {
        let mut check = Check { claim: newcomer, root: OnceCell::new(), report: Report::on(newcomer.file) };
        check.name(&standing, &newcomers);
        check.reserved(reserved);
        check.own_ports();
        for holder in standing.iter().filter(|holder| !newcomer.is_edit_of(holder)) {
            check.routes(holder);
            check.certificates(holder, newcomers.iter().find(|edit| edit.is_edit_of(holder)).copied());
            check.ports(holder);
        }
        if check.report.is_clean() {
            standing.push(newcomer);
        }
        problems.extend(check.report.into_problems());
    }
    problems
}

impl Claim<'_> {
    fn is_edit_of(&self, other: &Self) -> bool {
        self.file == other.file && self.spec.name == other.spec.name
    }

    /// `app web (apps/web.yaml)`
    fn title(&self) -> String {
        format!("app {} ({})", self.spec.name, self.file.display())
    }

    /// The ports on 127.0.0.1, with what they are.
    fn host_ports(&self) -> impl Iterator<Item = (u16, Color)> {
        let ports = self.spec.host_ports;
        [Color::Blue, Color::Green].into_iter().filter_map(move |color| Some((ports.of(color)?, color)))
    }

    /// The ports of listeners of its own, with the index of the route.
    fn listen_ports(&self) -> impl Iterator<Item = (u16, usize)> {
        self.spec.routes.iter().enumerate().filter_map(|(index, route)| Some((route.listen_port?, index)))
    }
}

/// The checks of one newcomer.
struct Check<'a> {
    claim: &'a Claim<'a>,
    /// The file, read when the first position is needed.
    root: OnceCell<Option<Node>>,
    report: Report,
}

impl Check<'_> {
    fn name(&mut self, standing: &[&Claim<'_>], newcomers: &[&Claim<'_>]) {
        let same =
            |other: &&&Claim<'_>| other.spec.name == self.claim.spec.name && other.file != self.claim.file;
        let name = &self.claim.spec.name;
        let holder = standing.iter().find(|other| other.standing == Standing::Incumbent && same(other));
        let message = if let Some(holder) = holder {
            format!("{name} is the name of {} already: write another", holder.title())
        } else if let Some(twin) = newcomers.iter().find(same) {
            format!("{name} is also the name in {}: rename one of them", twin.file.display())
        } else {
            return;
        };
        self.refuse("name", &[Step::Key("name")], message);
    }

    fn reserved(&mut self, reserved: &[ReservedPort]) {
        let claim = self.claim;
        for ReservedPort { port, owner } in reserved {
            for (_, color) in claim.host_ports().filter(|(own, _)| own == port) {
                self.refuse_host_port(color, format!("{port} is the port of {owner}: write another"));
            }
            for (_, index) in claim.listen_ports().filter(|(own, _)| own == port) {
                let message =
                    format!("{port} is the port of {owner}: leave listen_port out, or write another");
                self.refuse_listen_port(index, message);
            }
        }
    }

    fn own_ports(&mut self) {
        let claim = self.claim;
        for (port, index) in claim.listen_ports() {
            if let Some((_, color)) = claim.host_ports().find(|&(own, _)| own == port) {
                self.refuse_listen_port(index, format!("{port} is ports.{color} of this app: write another"));
            }
        }
    }

    fn routes(&mut self, holder: &Claim<'_>) {
        let claim = self.claim;
        for (index, route) in claim.spec.routes.iter().enumerate() {
            if holder.spec.routes.iter().any(|held| held.clashes_with(route)) {
                let message = format!(
                    "{route} is a route of {} already: write another host, path_prefix or listen_port",
                    holder.title()
                );
                self.refuse_route(index, None, message);
            }
        }
    }

    /// A host is shown one certificate, whichever of its paths and ports is asked for: whoever shares a host takes
    /// the certificate that its holder names. An edit of the holder that waits to be accepted speaks for it too, so
    /// that two who share a host can change to another one together.
    fn certificates(&mut self, holder: &Claim<'_>, edit: Option<&Claim<'_>>) {
        let claim = self.claim;
        let said = |own: &Route, claim: &Claim<'_>| {
            let routes = claim.spec.routes.iter();
            routes
                .filter(|held| held.host == own.host)
                .filter_map(|held| held.tls.clone())
                .collect::<Vec<_>>()
        };
        for (index, route) in claim.spec.routes.iter().enumerate() {
            let Some(tls) = &route.tls else { continue };
            let held = said(route, holder);
            let Some(first) = held.first() else { continue };
            let edited = edit.map(|edit| said(route, edit)).unwrap_or_default();
            if held.iter().chain(&edited).any(|held| held.source == tls.source) {
                continue;
            }
            let message = format!(
                "{} is shown the certificate of {} already, which says {}, and a host is shown one: say the same here, change it in both files, or write another host",
                route.host,
                holder.title(),
                first.source
            );
            self.refuse_route(index, Some("tls"), message);
        }
    }

    fn ports(&mut self, holder: &Claim<'_>) {
        let claim = self.claim;
        for (port, color) in claim.host_ports() {
            let held = holder.host_ports().any(|(held, _)| held == port)
                || holder.listen_ports().any(|(held, _)| held == port);
            if held {
                self.refuse_host_port(
                    color,
                    format!("{port} is a port of {} already: write another", holder.title()),
                );
            }
        }
        for (port, index) in claim.listen_ports() {
            if holder.host_ports().any(|(held, _)| held == port) {
                let message = format!("{port} is a host port of {} already: write another", holder.title());
                self.refuse_listen_port(index, message);
            }
            let own = claim.spec.routes[index].tls.is_some();
            let mut shared = holder.spec.routes.iter().filter(|route| route.listen_port == Some(port));
            if shared.any(|route| route.tls.is_some() != own) {
                let message = format!(
                    "{port} is a listen_port of {} too, and one of them alone has TLS: write another",
                    holder.title()
                );
                self.refuse_listen_port(index, message);
            }
        }
    }

    fn refuse_host_port(&mut self, color: Color, message: String) {
        let color = color.as_str();
        self.refuse(&format!("ports.{color}"), &[Step::Key("ports"), Step::Key(color)], message);
    }

    fn refuse_listen_port(&mut self, route: usize, message: String) {
        self.refuse_route(route, Some("listen_port"), message);
    }

    /// Refuses a route, or a field of it, in whichever spelling the file has.
    fn refuse_route(&mut self, index: usize, field: Option<&'static str>, message: String) {
        let routes = [Step::Key("routes"), Step::Item(index)].into_iter();
        let proxy = [Step::Key("proxy")].into_iter();
        let field = field.map(Step::Key);
        let spellings: [Vec<Step>; 4] = [
            routes.chain(field).collect(),
            proxy.chain(field).collect(),
            vec![Step::Key("ports"), Step::Key("proxy")],
            vec![Step::Key("name")],
        ];
        let steps = spellings.into_iter().find(|steps| self.find(steps).is_some()).unwrap_or_default();
        self.refuse(&path(&steps), &steps, message);
    }

    fn refuse(&mut self, path: &str, steps: &[Step], message: String) {
        let at = self.find(steps).unwrap_or(Position::START);
        self.report.add(at, path, message);
    }

    fn find(&self, steps: &[Step]) -> Option<Position> {
        let claim = self.claim;
        let read = || yaml::parse(claim.bytes, &mut Report::on(claim.file));
        let root = self.root.get_or_init(read).as_ref()?;
        let node = steps.iter().try_fold(root, |node, step| match step {
            Step::Key(key) => node.get(key),
            Step::Item(index) => node.item(*index),
        })?;
        Some(node.at)
    }
}

/// One step into a file.
#[derive(Clone, Copy)]
enum Step {
    Key(&'static str),
    Item(usize),
}

fn path(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Key(key) => yaml::joined(&path, key),
        Step::Item(index) => yaml::indexed(&path, *index),
    })
}
