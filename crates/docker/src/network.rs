//! The bridge networks that containers join: made when absent, never changed or removed otherwise.

use crate::daemon::Docker;
use crate::failure::Failure;
use crate::labels::{MANAGED, TRUE};
use bollard::models::{Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use chrono::DateTime;
use std::collections::HashMap;

impl Docker {
    /// Makes the bridge network `name` exist, once. One that somebody else made serves as well.
    pub(crate) async fn ensure_network(&self, name: &str) -> Result<(), Failure> {
        let _turn = self.network_turn.lock().await;
        if !self.networks_named(name).await?.is_empty() {
            return Ok(());
        }
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            labels: Some(HashMap::from([(MANAGED.to_owned(), TRUE.to_owned())])),
            ..NetworkCreateRequest::default()
        };
        let made = match self.call(|| self.client.create_network(request.clone())).await {
            Ok(made) => made.id,
            Err(failure) if failure.status() == Some(409) => return Ok(()),
            Err(failure) => return Err(failure),
        };
        tracing::info!(network = name, "network made");
        // Before API 1.44 two processes can make one name twice, and then nothing can join it: all
        // but the oldest give way.
        let oldest =
            self.networks_named(name).await?.into_iter().min_by_key(age).and_then(|network| network.id);
        if oldest.as_deref().is_some_and(|oldest| oldest != made) {
            match self.call(|| self.client.remove_network(&made)).await {
                Err(failure) if failure.status() != Some(404) => return Err(failure),
                _ => {}
            }
        }
        Ok(())
    }

    async fn networks_named(&self, name: &str) -> Result<Vec<Network>, Failure> {
        // Docker's filter takes every name that contains the word.
        let filters = HashMap::from([("name", vec![name])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let found = self.call(|| self.client.list_networks(Some(options.clone()))).await?;
        Ok(found.into_iter().filter(|network| network.name.as_deref() == Some(name)).collect())
    }
}

/// Oldest first; the id decides between two of one instant.
fn age(network: &Network) -> (Option<i64>, Option<String>) {
    let created = network.created.as_deref().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    (created.and_then(|time| time.timestamp_nanos_opt()), network.id.clone())
}
