//! Setting back in place what somebody changed of a container: its name, its limits, its network. What is wrong is
//! asked anew: between two looks somebody may have set it right.

use crate::container;
use crate::daemon::Docker;
use crate::drift;
use bollard::models::NetworkConnectRequest;
use bollard::query_parameters::RenameContainerOptionsBuilder;
use dockswap_core::name::ContainerId;
use dockswap_core::ports::EngineError;

impl Docker {
    pub(crate) async fn restore(&self, container: &ContainerId) -> Result<(), EngineError> {
        let Some(shown) = self.inspect(&container.0).await? else { return Ok(()) };
        let Some(identity) = container::identity(&shown) else { return Ok(()) };
        let name = identity.container_name();
        let session =
            self.session_in_time().await.map_err(|failure| failure.during(format!("restore {name}")))?;
        let drift = drift::of(&shown, session.processors);
        let id = container.0.as_str();
        // All of them are tried, also when one fails.
        let mut failed = None;
        let mut tried = |operation: String, done: Result<(), crate::failure::Failure>| match done {
            Err(failure) if failure.status() != Some(404) => {
                failed.get_or_insert(failure.during(operation));
            }
            _ => {}
        };
        if let Some((network, endpoint)) = drift::network(&shown, &drift) {
            let operation = format!("connect container {name} to network {network}");
            let request = NetworkConnectRequest { container: id.to_owned(), endpoint_config: Some(endpoint) };
            let done = match self.ensure_network(&network).await {
                Ok(()) => self.call(|| self.client.connect_network(&network, request.clone())).await,
                Err(failure) => Err(failure),
            };
            tried(operation, done);
        }
        if let Some(update) = drift::update(&drift, session.processors) {
            let done = self.call(|| self.client.update_container(id, update.clone())).await;
            tried(format!("update limits of container {name}"), done);
        }
        if let Some(wanted) = drift::name_to_restore(&identity, &drift) {
            let options = RenameContainerOptionsBuilder::new().name(&wanted).build();
            let done = self.call(|| self.client.rename_container(id, options.clone())).await;
            tried(format!("rename container {id} to {wanted}"), done);
        }
        failed.map_or(Ok(()), Err)
    }
}
