//! The Docker that a site is on: the real one or a scripted one, asked in the same words.

use dockswap_tests::docker;
use dockswap_tests::scripted::{Call, ScriptedDocker};
use dockswap_tests::{Micros, Site};

/// Which Docker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Real,
    Scripted,
}

impl Host {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Real => "real Docker",
            Self::Scripted => "scripted Docker",
        }
    }

    /// A site on it, with containers of strangers around.
    pub(crate) fn site(self) -> (Site, Strangers) {
        let site = Site::prepare();
        match self {
            Self::Scripted => {
                let docker = ScriptedDocker::start();
                let strangers = Strangers::Scripted(docker.clone());
                (site.on(&docker), strangers)
            }
            Self::Real => {
                let strangers = Strangers::settle(&site);
                (site, strangers)
            }
        }
    }
}

/// What nobody may touch, and Docker's own account of what was done to what.
#[derive(Debug)]
pub(crate) enum Strangers {
    Scripted(ScriptedDocker),
    /// The container's name, and how it was when it was started.
    Real(String, String),
}

impl Strangers {
    /// Runs one on the real Docker that looks as much like one of dockswap's as a stranger can.
    fn settle(site: &Site) -> Self {
        let name = site.name("stranger");
        let app = format!("dockswap.app={name}");
        docker::docker(&[
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            &name,
            "--label",
            &app,
            "dockswap-demo:v1",
        ]);
        let state = look(&name);
        Self::Real(name, state)
    }

    /// What was done to them; empty: nothing.
    pub(crate) fn touched(&self) -> Vec<String> {
        match self {
            Self::Scripted(docker) => docker.touched_strangers(),
            Self::Real(name, before) => {
                let now = look(name);
                (now != *before).then(|| format!("{name} was {before} and is {now}")).into_iter().collect()
            }
        }
    }

    /// Which running containers of `app` were stopped or removed since `since`: when, and of which
    /// deployment.
    pub(crate) fn stops(&self, app: &str, since: Micros) -> Vec<(Micros, i64)> {
        match self {
            Self::Real(..) => docker::signals(app, since),
            Self::Scripted(docker) => docker
                .asked()
                .iter()
                .filter(|asked| matches!(asked.call, Call::ContainerStop | Call::ContainerRemove))
                .filter(|asked| asked.at >= since && asked.running && asked.done())
                .filter(|asked| asked.app.as_deref() == Some(app))
                .filter_map(|asked| Some((asked.at, asked.deployment?)))
                .collect(),
        }
    }
}

fn look(name: &str) -> String {
    docker::docker(&["inspect", "--format", "{{.Id}} {{.State.Status}} {{.State.StartedAt}}", name])
}
