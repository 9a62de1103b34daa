//! Pulling: progress over all layers, deadlines that follow it, and Docker's texts as typed errors.

use crate::credentials;
use crate::daemon::Docker;
use crate::failure::Failure;
use crate::reference::Reference;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use dockswap_core::ports::{ImageError, PullProgress};
use futures_util::stream::StreamExt;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// Without a word from Docker a pull is given up after this.
const SILENCE: Duration = Duration::from_secs(60);
/// However well it comes along, it may not take longer.
const LONGEST: Duration = Duration::from_secs(30 * 60);

impl Docker {
    pub(crate) async fn pull(&self, text: &str, progress: PullProgress<'_>) -> Result<(), ImageError> {
        timeout(LONGEST, self.pull_layers(text, progress))
            .await
            .unwrap_or_else(|_| {
                Err(Failure::Broken(format!("it was not complete after {} minutes", LONGEST.as_secs() / 60)))
            })
            .map_err(|failure| classify(text, &failure))
    }

    async fn pull_layers(&self, text: &str, progress: PullProgress<'_>) -> Result<(), Failure> {
        self.session_in_time().await?;
        let reference = Reference::parse(text);
        let credentials = credentials::of(reference.registry()).await;
        let options = CreateImageOptionsBuilder::new().from_image(reference.name).tag(reference.tag).build();
        let mut steps = self.client.create_image(Some(options), None, credentials);
        let mut layers = Layers::default();
        loop {
            let step = timeout(SILENCE, steps.next())
                .await
                .map_err(|_| Failure::Broken(format!("nothing came for {} s", SILENCE.as_secs())))?;
            match step {
                None => return Ok(()),
                Some(Err(error)) => return Err(Failure::from(error)),
                Some(Ok(step)) => {
                    if let Some(error) = step.error_detail {
                        return Err(Failure::Broken(error.message.unwrap_or_default()));
                    }
                    layers.record(&step);
                    let (done, total) = layers.sum();
                    progress(done, total);
                }
            }
        }
    }
}

/// Bytes fetched and expected, by layer.
#[derive(Debug, Default)]
struct Layers(BTreeMap<String, (u64, u64)>);

impl Layers {
    fn record(&mut self, step: &CreateImageInfo) {
        let (Some(layer), Some(status)) = (&step.id, &step.status) else { return };
        let detail = step.progress_detail.as_ref();
        let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        match status.as_str() {
            "Downloading" => {
                let done = bytes(detail.and_then(|detail| detail.current)).unwrap_or_default();
                let total = bytes(detail.and_then(|detail| detail.total)).unwrap_or_default();
                self.0.insert(layer.clone(), (done, total.max(done)));
            }
            "Download complete" | "Pull complete" => {
                if let Some((done, total)) = self.0.get_mut(layer) {
                    *done = *total;
                }
            }
            _ => {}
        }
    }

    fn sum(&self) -> (u64, u64) {
        self.0.values().fold((0, 0), |(done, total), layer| (done + layer.0, total + layer.1))
    }
}

/// What Docker's words mean for the one who wrote the reference.
fn classify(reference: &str, failure: &Failure) -> ImageError {
    let (reference, message) = (reference.to_owned(), failure.message().to_owned());
    if failure.is_silence() {
        return ImageError::Unavailable { message };
    }
    let words = message.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    // A rate limit is told with the same status as a denial, and Docker Hub tells a name that does
    // not exist as a denial: the order matters.
    if says(&["toomanyrequests", "rate limit", "too many requests"]) {
        let message = format!("{message} (the registry limits pulls: wait, or `docker login`)");
        return ImageError::Failed { reference, message };
    }
    if says(&["no space left"]) {
        let message = format!("{message} (the disk is full: `docker system df` shows what images take)");
        return ImageError::Failed { reference, message };
    }
    if says(&["manifest unknown", "name unknown", "does not exist", "no such image", "no matching manifest"])
        || (says(&["not found"]) && says(&["manifest", "repository", "docker.io", "reference"]))
    {
        return ImageError::NotFound { reference, message };
    }
    if says(&["unauthorized", "denied", "authentication required", "no basic auth credentials"]) {
        return ImageError::Denied { reference, message };
    }
    ImageError::Failed { reference, message }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use serde_json::json;

    #[test]
    fn progress_is_summed_over_layers() {
        let mut layers = Layers::default();
        let steps = [
            json!({"status": "Pulling from library/nginx", "id": "1.27"}),
            json!({"status": "Downloading", "id": "a", "progressDetail": {"current": 10, "total": 100}}),
            json!({"status": "Downloading", "id": "b", "progressDetail": {"current": 5, "total": 50}}),
            json!({"status": "Download complete", "id": "a"}),
            json!({"status": "Extracting", "id": "a", "progressDetail": {"current": 1, "total": 100}}),
            json!({"status": "Already exists", "id": "c"}),
        ];
        for step in steps {
            layers.record(&serde_json::from_value(step).unwrap());
        }
        assert_eq!(layers.sum(), (105, 150));
    }

    #[test]
    fn texts_of_docker_and_registries_are_told_apart() {
        let kind = |message: &str| match classify("app:v1", &Failure::Broken(message.to_owned())) {
            ImageError::NotFound { .. } => "not found",
            ImageError::Denied { .. } => "denied",
            ImageError::NotLocal { .. } => "not local",
            ImageError::Failed { .. } => "failed",
            ImageError::Unavailable { .. } => "unavailable",
            ImageError::NoRoom { .. } => "no room",
        };
        let cases = [
            ("manifest for app:v1 not found: manifest unknown: manifest unknown", "not found"),
            (
                "pull access denied for app, repository does not exist or may require 'docker login': denied: \
                 requested access to the resource is denied",
                "not found",
            ),
            (
                "failed to resolve reference \"docker.io/library/app:v1\": docker.io/library/app:v1: not found",
                "not found",
            ),
            ("no matching manifest for linux/amd64 in the manifest list entries", "not found"),
            ("Head \"https://hub.example/v2/o/app/manifests/v1\": unauthorized", "denied"),
            ("Head \"https://r.example/v2/\": no basic auth credentials", "denied"),
            ("toomanyrequests: You have reached your pull rate limit", "failed"),
            ("write /var/lib/docker/tmp/x: no space left on device", "failed"),
            (
                "Get \"https://registry.example/v2/\": dial tcp: lookup registry.example: no such host",
                "failed",
            ),
            ("nothing came for 60 s", "failed"),
        ];
        for (message, expected) in cases {
            assert_eq!(kind(message), expected, "{message}");
        }
        let cut = classify("app:v1", &Failure::Silent("connection closed".to_owned()));
        assert!(matches!(cut, ImageError::Unavailable { .. }), "{cut}");
    }
}
