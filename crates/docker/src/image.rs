//! Bringing an image onto the host, resolving it once, and pinning it.

use crate::daemon::Docker;
use crate::failure::Failure;
use crate::pulled::OURS;
use crate::reference::{Kind, Reference};
use bollard::models::ImageInspect;
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder};
use dockswap_core::name::{AppName, DeploymentId, ImageId};
use dockswap_core::ports::{EngineError, Image, ImageError, ImageRequest, PullProgress};
use dockswap_core::spec::PullPolicy;
use std::collections::HashMap;

/// How often an image is brought that is gone again before it is pinned: somebody removes images just now.
const ATTEMPTS: usize = 3;

impl Docker {
    pub(crate) async fn bring_image(
        &self,
        request: &ImageRequest,
        progress: PullProgress<'_>,
    ) -> Result<Image, ImageError> {
        let mut attempt = 1;
        loop {
            match self.bring_image_once(request, progress).await {
                Err(Unpinned::Gone(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(Unpinned::Gone(error) | Unpinned::Failed(error)) => return Err(error),
                Ok(image) => return Ok(image),
            }
        }
    }

    async fn bring_image_once(
        &self,
        request: &ImageRequest,
        progress: PullProgress<'_>,
    ) -> Result<Image, Unpinned> {
        let reference = &request.reference;
        let mut before = None;
        let local = match (&request.pinned, request.pull) {
            (Some(pinned), _) => self.local_image(&pinned.0).await?.ok_or_else(|| not_local(&pinned.0))?,
            (None, PullPolicy::Never) => {
                self.local_image(reference).await?.ok_or_else(|| not_local(reference))?
            }
            (None, PullPolicy::Missing) => match self.local_image(reference).await? {
                Some(local) => local,
                None => {
                    before = self.before_a_pull(reference, None).await;
                    self.pulled_image(reference, progress).await?
                }
            },
            (None, PullPolicy::Always) => match self.local_image(reference).await? {
                // A digest never means another image.
                Some(local) if Reference::parse(reference).kind == Kind::Digest => local,
                local => {
                    before = self.before_a_pull(reference, local.as_ref()).await;
                    self.pulled_image(reference, progress).await?
                }
            },
        };
        let id = local.id.clone().unwrap_or_default();
        self.pin(&id, &request.app, request.deployment, reference).await?;
        if let Some(before) = before {
            self.mark_pulled(reference, &before, &local).await;
        }
        let digests = local.repo_digests.unwrap_or_default();
        Ok(Image { id: ImageId(id), digest: own_digest(reference, digests) })
    }

    /// Takes the pins of these deployments from the images that have them. Docker then removes an image that has
    /// no other name. One that a container still uses stays pinned: those are given. Then removes what was pulled
    /// and nobody needs any more.
    pub(crate) async fn unpin(
        &self,
        app: &AppName,
        deployments: &[DeploymentId],
    ) -> Result<Vec<DeploymentId>, EngineError> {
        let stay =
            if deployments.is_empty() { Vec::new() } else { self.unpin_each(app, deployments).await? };
        self.remove_unneeded().await?;
        Ok(stay)
    }

    async fn unpin_each(
        &self,
        app: &AppName,
        deployments: &[DeploymentId],
    ) -> Result<Vec<DeploymentId>, EngineError> {
        let repository = format!("{OURS}/{app}");
        let filters = HashMap::from([("reference", vec![repository.as_str()])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let images = self
            .call(|| self.client.list_images(Some(options.clone())))
            .await
            .map_err(|failure| failure.during(format!("list pinned images of {app}")))?;
        let mut stay = Vec::new();
        for name in images.into_iter().flat_map(|image| image.repo_tags) {
            let pinned = pinned_by(&repository, &name).filter(|id| deployments.contains(id));
            let Some(deployment) = pinned else { continue };
            match self.call(|| self.client.remove_image(&name, None::<RemoveImageOptions>, None)).await {
                Ok(_) => {}
                Err(failure) => match failure.status() {
                    Some(404) => {}
                    Some(409) => stay.push(deployment),
                    _ => return Err(failure.during(format!("remove image {name}"))),
                },
            }
        }
        Ok(stay)
    }

    async fn local_image(&self, name: &str) -> Result<Option<ImageInspect>, ImageError> {
        match self.call(|| self.client.inspect_image(name)).await {
            Ok(image) => Ok(Some(image)),
            Err(failure) if failure.status() == Some(404) => Ok(None),
            Err(failure) => Err(failed(name, &failure)),
        }
    }

    async fn pulled_image(
        &self,
        reference: &str,
        progress: PullProgress<'_>,
    ) -> Result<ImageInspect, ImageError> {
        self.check_room(reference).await?;
        self.pull(reference, progress).await?;
        self.local_image(reference).await?.ok_or_else(|| ImageError::NotFound {
            reference: reference.to_owned(),
            message: "it was pulled, and is not there".to_owned(),
        })
    }

    /// Keeps the image on the host whatever becomes of its other names.
    async fn pin(
        &self,
        id: &str,
        app: &AppName,
        deployment: DeploymentId,
        reference: &str,
    ) -> Result<(), Unpinned> {
        let options = TagImageOptionsBuilder::new()
            .repo(&format!("{OURS}/{app}"))
            .tag(&format!("d{deployment}"))
            .build();
        self.call(|| self.client.tag_image(id, Some(options.clone()))).await.map_err(|failure| {
            let error = failed(reference, &failure);
            if failure.status() == Some(404) { Unpinned::Gone(error) } else { Unpinned::Failed(error) }
        })
    }
}

/// Why an image is not pinned.
enum Unpinned {
    /// It was there, and is not any more.
    Gone(ImageError),
    /// It is not to be had.
    Failed(ImageError),
}

impl From<ImageError> for Unpinned {
    fn from(error: ImageError) -> Self {
        Self::Failed(error)
    }
}

/// The deployment that `name` is the pin of.
fn pinned_by(repository: &str, name: &str) -> Option<DeploymentId> {
    name.strip_prefix(repository)?.strip_prefix(":d")?.parse().ok().map(DeploymentId)
}

fn not_local(reference: &str) -> ImageError {
    ImageError::NotLocal { reference: reference.to_owned() }
}

fn failed(reference: &str, failure: &Failure) -> ImageError {
    if failure.is_silence() {
        return ImageError::Unavailable { message: failure.message().to_owned() };
    }
    ImageError::Failed { reference: reference.to_owned(), message: failure.message().to_owned() }
}

/// The digest under the name that was asked for, else any: an image may be known by several.
fn own_digest(reference: &str, digests: Vec<String>) -> Option<String> {
    let reference = Reference::parse(reference);
    let own = digests.iter().position(|digest| reference.names(digest)).unwrap_or_default();
    digests.into_iter().nth(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_names_its_deployment() {
        assert_eq!(pinned_by("dockswap.local/web", "dockswap.local/web:d12"), Some(DeploymentId(12)));
        for other in ["dockswap.local/web:v1", "dockswap.local/web-2:d1", "web:d1"] {
            assert_eq!(pinned_by("dockswap.local/web", other), None, "{other}");
        }
    }

    #[test]
    fn the_digest_of_the_asked_name_wins() {
        let digests =
            || vec!["mirror.local/app@sha256:aa".to_owned(), "hub.example/o/app@sha256:bb".to_owned()];
        assert_eq!(
            own_digest("hub.example/o/app:v1", digests()).as_deref(),
            Some("hub.example/o/app@sha256:bb")
        );
        assert_eq!(own_digest("other:v1", digests()).as_deref(), Some("mirror.local/app@sha256:aa"));
        assert_eq!(own_digest("other:v1", vec![]), None);
    }
}
