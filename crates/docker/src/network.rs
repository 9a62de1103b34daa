//! The bridge networks that containers join: made when absent, never changed or removed otherwise.

use crate::daemon::Docker;
use crate::failure::Failure;
use crate::labels::{MANAGED, TRUE};
use bollard::models::{Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use chrono::DateTime;
use std::collections::HashMap;

/// More than any race needs.
const ATTEMPTS: usize = 10;

impl Docker {
    /// Makes the bridge network `name` exist, once. One that somebody else made serves as well.
    pub(crate) async fn ensure_network(&self, name: &str) -> Result<(), Failure> {
        let _turn = self.network_turn.lock().await;
        for _ in 0..ATTEMPTS {
            let mut found = self.networks_named(name).await?;
            found.sort_by_key(age);
            match found.split_first() {
                None => self.make_network(name).await?,
                Some((_, [])) => return Ok(()),
                // Before API 1.44 two processes can make one name twice, and then nothing can join
                // it. All agree on which is the oldest: whoever sees the others removes them.
                Some((_, younger)) => self.remove_networks(younger).await?,
            }
        }
        Err(Failure::Broken(format!("there are several networks named {name}")))
    }

    async fn make_network(&self, name: &str) -> Result<(), Failure> {
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            labels: Some(HashMap::from([(MANAGED.to_owned(), TRUE.to_owned())])),
            ..NetworkCreateRequest::default()
        };
        match self.call(|| self.client.create_network(request.clone())).await {
            Err(failure) if failure.status() != Some(409) => Err(failure),
            _ => Ok(()),
        }
    }

    /// Removes those of `networks` that dockswap made.
    async fn remove_networks(&self, networks: &[Network]) -> Result<(), Failure> {
        let is_ours = |network: &&Network| {
            network.labels.as_ref().and_then(|labels| labels.get(MANAGED)).is_some_and(|value| value == TRUE)
        };
        for id in networks.iter().filter(is_ours).filter_map(|network| network.id.as_deref()) {
            match self.call(|| self.client.remove_network(id)).await {
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
