//! Making a group run: create, adopt, start. Creating is tried first, for a new deployment pays for
//! every question that is asked before.

use crate::container;
use crate::create;
use crate::daemon::Docker;
use crate::failure::{Failure, is_network_trouble, is_port_clash};
use crate::labels::Identity;
use bollard::models::{ContainerInspectResponse, ContainerUpdateBody};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions,
};
use dockswap_core::ports::{Container, ContainerGroup, ContainerState, EngineError, Selector};
use dockswap_core::spec::RestartPolicy;
use futures_util::future::join_all;
use std::collections::HashMap;

/// How often a start is tried again after its network was made: others may make it meanwhile.
const NETWORK_ATTEMPTS: usize = 3;

/// What came of asking Docker to make a container.
enum Made {
    /// It is new, under this id.
    New(String),
    /// Its name is taken.
    NameTaken,
}

/// What a container needs of the host to start.
struct Surroundings {
    network: String,
    /// The host port that it publishes.
    port: Option<u16>,
}

impl Surroundings {
    fn of(group: &ContainerGroup) -> Self {
        Self { network: group.options.network.clone(), port: group.host_port }
    }

    /// As Docker shows them of a container that is there.
    fn shown(shown: &ContainerInspectResponse) -> Self {
        let host = shown.host_config.as_ref();
        let bindings = host.and_then(|host| host.port_bindings.as_ref());
        let ports = bindings.into_iter().flat_map(|bindings| bindings.values().flatten().flatten());
        Self {
            network: host.and_then(|host| host.network_mode.clone()).unwrap_or_default(),
            port: ports
                .filter_map(|binding| binding.host_port.as_ref()?.parse().ok())
                .find(|port| *port != 0),
        }
    }
}

impl Docker {
    pub(crate) async fn run_group(&self, group: &ContainerGroup) -> Result<Vec<Container>, EngineError> {
        // All of them come to an end, also when one fails: a call that is dropped half way may or
        // may not have been done.
        let replicas = join_all((1..=group.replicas).map(|replica| self.run_replica(group, replica))).await;
        replicas.into_iter().collect()
    }

    /// Starts what `selector` takes as it was made.
    pub(crate) async fn start_again(
        &self,
        selector: &Selector,
        restart: RestartPolicy,
    ) -> Result<Vec<Container>, EngineError> {
        let chosen = self.chosen(selector).await?;
        let started = join_all(chosen.iter().map(|shown| async move {
            let name = shown.name.as_deref().unwrap_or_default().trim_start_matches('/');
            let id = shown.id.as_deref().unwrap_or_default();
            self.wake(shown, (name, id), restart, &Surroundings::shown(shown)).await
        }))
        .await;
        let mut started: Vec<_> =
            started.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
        container::sort(&mut started);
        Ok(started)
    }

    async fn run_replica(&self, group: &ContainerGroup, replica: u8) -> Result<Container, EngineError> {
        let name = Identity::of(group, replica).container_name();
        let id = match self.create(group, replica, &name).await? {
            Made::New(id) => id,
            Made::NameTaken => match self.adopt(group, replica, &name).await? {
                Some(adopted) => return Ok(adopted),
                None => match self.create(group, replica, &name).await? {
                    Made::New(id) => id,
                    Made::NameTaken => {
                        return Err(EngineError::Refused {
                            operation: format!("create container {name}"),
                            message: "its name was taken again while it was being made".to_owned(),
                        });
                    }
                },
            },
        };
        self.start(&Surroundings::of(group), &name, &id).await?;
        self.look_at(&name, &id).await
    }

    async fn create(&self, group: &ContainerGroup, replica: u8, name: &str) -> Result<Made, EngineError> {
        let operation = || format!("create container {name}");
        let session = self.session_in_time().await.map_err(|failure| failure.during(operation()))?;
        let body = create::body(group, replica, &session);
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let request = || self.client.create_container(Some(options.clone()), body.clone());
        match self.call(request).await {
            Ok(made) => Ok(Made::New(made.id)),
            Err(failure) if failure.status() == Some(409) => Ok(Made::NameTaken),
            Err(failure) => Err(failure.during(operation())),
        }
    }

    /// Takes over the container that holds our name: an answer of Docker's was lost, or it is here
    /// since long. `None`: the name is free (again).
    async fn adopt(
        &self,
        group: &ContainerGroup,
        replica: u8,
        name: &str,
    ) -> Result<Option<Container>, EngineError> {
        let Some(shown) = self.inspect(name).await? else { return Ok(None) };
        let foreign = || EngineError::Foreign { what: format!("container {name}") };
        let wanted = Identity::of(group, replica);
        let found = container::identity(&shown).ok_or_else(foreign)?;
        let id = shown.id.clone().unwrap_or_default();
        if (&found.app, found.color, found.deployment, found.replica)
            != (&wanted.app, wanted.color, wanted.deployment, wanted.replica)
        {
            return Err(foreign());
        }
        if found.config != wanted.config || !runs_image(&shown, &group.image.0) {
            // Ours by every label, yet of another life: a database was begun anew. What it runs is
            // not what is wanted, and nothing else will ever ask for it.
            tracing::info!(container = name, "removed: it runs another config or image under this name");
            self.remove(name, &id).await?;
            return Ok(None);
        }
        self.wake(&shown, (name, &id), group.restart, &Surroundings::of(group)).await
    }

    /// Has a container that is there run, under this restart policy.
    async fn wake(
        &self,
        shown: &ContainerInspectResponse,
        (name, id): (&str, &str),
        restart: RestartPolicy,
        surroundings: &Surroundings,
    ) -> Result<Option<Container>, EngineError> {
        let policy = shown.host_config.as_ref().and_then(|config| config.restart_policy.as_ref());
        if !create::has_policy(policy, restart) {
            self.set_restart_policy(name, id, restart).await?;
        }
        match container::state(shown) {
            ContainerState::Running | ContainerState::Restarting(_) => {
                // It was shown before its policy was set.
                return Ok(container::read(shown).map(|found| Container { restart, ..found }));
            }
            ContainerState::Paused => {
                self.call(|| self.client.unpause_container(id))
                    .await
                    .map_err(|failure| failure.during(format!("unpause container {name}")))?;
            }
            ContainerState::Created | ContainerState::Exited(_) => self.start(surroundings, name, id).await?,
            ContainerState::Removing => {
                return Err(EngineError::Refused {
                    operation: format!("start container {name}"),
                    message: "Docker is removing it".to_owned(),
                });
            }
        }
        self.look_at(name, id).await.map(Some)
    }

    async fn start(&self, surroundings: &Surroundings, name: &str, id: &str) -> Result<(), EngineError> {
        let operation = || format!("start container {name}");
        let request = || self.client.start_container(id, None::<StartContainerOptions>);
        let mut started = self.call(request).await;
        for _ in 0..NETWORK_ATTEMPTS {
            match &started {
                Err(failure) if is_network_trouble(failure.message()) => {}
                _ => break,
            }
            let network = &surroundings.network;
            let made = self.ensure_network(network).await;
            made.map_err(|failure| {
                failure.with_network_advice().during(format!("create network {network}"))
            })?;
            started = self.call(request).await;
        }
        match started {
            Ok(()) => Ok(()),
            Err(failure) if is_port_clash(failure.message()) => Err(EngineError::Refused {
                operation: operation(),
                message: self.explain_port_clash(surroundings.port, failure.message()).await,
            }),
            Err(failure) => Err(failure.with_network_advice().during(operation())),
        }
    }

    /// Names the port, and who holds it where that is a container.
    async fn explain_port_clash(&self, port: Option<u16>, words: &str) -> String {
        let Some(port) = port else { return words.to_owned() };
        let filters = HashMap::from([("publish", vec![port.to_string()])]);
        let options = ListContainersOptionsBuilder::new().filters(&filters).build();
        let running = self.call(|| self.client.list_containers(Some(options.clone()))).await;
        let holder = running.unwrap_or_default().into_iter().find_map(|summary| {
            let holds = summary.ports.iter().flatten().any(|held| held.public_port == Some(port));
            let name = summary.names?.into_iter().next()?;
            holds.then(|| name.trim_start_matches('/').to_owned())
        });
        let holder = holder.map_or_else(
            || format!("something on this host that is no container (`ss -ltnp sport = :{port}` names it)"),
            |name| format!("container {name}"),
        );
        format!("host port 127.0.0.1:{port} is taken by {holder}: free it, or choose another under `ports`")
    }

    async fn look_at(&self, name: &str, id: &str) -> Result<Container, EngineError> {
        let shown = self.inspect(id).await?.as_ref().and_then(container::read);
        shown.ok_or_else(|| EngineError::Refused {
            operation: format!("inspect container {name}"),
            message: "it was removed while it was being started".to_owned(),
        })
    }

    /// A container by name or id; `None` when there is none.
    pub(crate) async fn inspect(&self, name: &str) -> Result<Option<ContainerInspectResponse>, EngineError> {
        match self.call(|| self.client.inspect_container(name, None::<InspectContainerOptions>)).await {
            Ok(shown) => Ok(Some(shown)),
            Err(failure) if failure.status() == Some(404) => Ok(None),
            Err(Failure::Silent(message)) => {
                Err(EngineError::Unavailable { message: format!("inspect container {name}: {message}") })
            }
            Err(failure) => Err(failure.during(format!("inspect container {name}"))),
        }
    }

    pub(crate) async fn set_restart_policy(
        &self,
        name: &str,
        id: &str,
        policy: RestartPolicy,
    ) -> Result<(), EngineError> {
        let change = ContainerUpdateBody {
            restart_policy: Some(create::restart_policy(policy)),
            ..ContainerUpdateBody::default()
        };
        match self.call(|| self.client.update_container(id, change.clone())).await {
            Err(failure) if failure.status() != Some(404) => {
                Err(failure.during(format!("update restart policy of container {name}")))
            }
            _ => Ok(()),
        }
    }

    /// Removes a container of ours with its anonymous volumes; one that is gone is no error.
    pub(crate) async fn remove(&self, name: &str, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.call(|| self.client.remove_container(id, Some(options.clone()))).await {
            Err(failure) if failure.status() != Some(404) => {
                Err(failure.during(format!("remove container {name}")))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the container was made from `image`: by what was asked for, or by what that was.
fn runs_image(shown: &ContainerInspectResponse, image: &str) -> bool {
    let asked = shown.config.as_ref().and_then(|config| config.image.as_deref());
    [asked, shown.image.as_deref()].contains(&Some(image))
}
