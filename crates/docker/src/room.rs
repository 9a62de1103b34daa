//! Whether an image that is to be fetched fits on Docker's disk: one that does not is refused before a byte of it is
//! here, for a full disk stops every app. How much is free is for others to look at.

use crate::daemon::Docker;
use crate::reference::Reference;
use bollard::query_parameters::ListImagesOptionsBuilder;
use dockswap_core::ports::ImageError;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The disk on which Docker keeps images and containers, as it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDisk {
    /// Docker's root directory.
    pub dir: String,
    /// Bytes that are free for images.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// How much of Docker's disk stays free, and who knows how much is.
#[derive(Clone)]
pub struct Room {
    min_free_bytes: Option<u64>,
    look: Arc<dyn Fn() -> Option<ImageDisk> + Send + Sync>,
}

/// What stays free where nothing else is said: this much, or a twentieth of a small disk.
const MIN_FREE: u64 = 1 << 30;

impl Room {
    /// `min_free_bytes`: what stays free; `None`: 1 GiB, or 5 % of a disk of less than 20 GiB. `look` must not
    /// block; where it knows nothing, every image fits.
    pub fn new(
        min_free_bytes: Option<u64>,
        look: impl Fn() -> Option<ImageDisk> + Send + Sync + 'static,
    ) -> Self {
        Self { min_free_bytes, look: Arc::new(look) }
    }

    /// Why `needed` more bytes do not fit; `None`: they do.
    fn refuses(&self, needed: Option<u64>) -> Option<(u64, ImageDisk)> {
        let disk = (self.look)()?;
        let stays = self.min_free_bytes.unwrap_or_else(|| MIN_FREE.min(disk.total_bytes / 20));
        (disk.free_bytes < stays.saturating_add(needed.unwrap_or_default())).then_some((stays, disk))
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("min_free_bytes", &self.min_free_bytes).finish_non_exhaustive()
    }
}

impl Docker {
    /// The same daemon, which fetches no image that does not fit.
    #[must_use]
    pub fn with_room(mut self, room: Room) -> Self {
        self.room = Some(room);
        self
    }

    /// Refuses to fetch what does not fit, by the size of the newest image of that name that is here.
    pub(crate) async fn check_room(&self, reference: &str) -> Result<(), ImageError> {
        let Some(room) = &self.room else { return Ok(()) };
        let like = self.newest_like(reference).await;
        let needed = like.as_ref().map(|(_, bytes)| *bytes);
        let Some((stays, disk)) = room.refuses(needed) else { return Ok(()) };
        let needs = match &like {
            Some((name, bytes)) => format!("it may need {}, as {name} does, and ", mebibytes(*bytes)),
            None => String::new(),
        };
        Err(ImageError::NoRoom {
            reference: reference.to_owned(),
            message: format!(
                "{needs}{} are free at {}, of which {} stay free (docker.min_free_disk): free some by `docker image \
                 prune -a` or `docker builder prune`, then deploy again",
                mebibytes(disk.free_bytes),
                disk.dir,
                mebibytes(stays)
            ),
        })
    }

    /// The newest image of the same name, with what it takes. Nothing, where Docker does not say.
    async fn newest_like(&self, reference: &str) -> Option<(String, u64)> {
        let name = Reference::parse(reference).name;
        let filters = HashMap::from([("reference", vec![name])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let images = self.call(|| self.client.list_images(Some(options.clone()))).await.ok()?;
        let newest = images.into_iter().max_by_key(|image| image.created)?;
        let bytes = u64::try_from(newest.size).ok()?;
        Some((newest.repo_tags.into_iter().next().unwrap_or_else(|| name.to_owned()), bytes))
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::{ImageDisk, Room};

    const GIB: u64 = 1 << 30;

    fn fits(min_free: Option<u64>, free: u64, total: u64, needed: Option<u64>) -> bool {
        let disk = ImageDisk { dir: "/var/lib/docker".to_owned(), free_bytes: free, total_bytes: total };
        Room::new(min_free, move || Some(disk.clone())).refuses(needed).is_none()
    }

    #[test]
    fn what_is_needed_fits_above_what_stays_free() {
        let cases = [
            (None, 3 * GIB, 100 * GIB, Some(GIB), true),
            (None, 2 * GIB, 100 * GIB, Some(GIB), true),
            (None, 2 * GIB - 1, 100 * GIB, Some(GIB), false),
            (None, GIB - 1, 100 * GIB, None, false),
            // A twentieth of a small disk.
            (None, GIB / 5, 2 * GIB, None, true),
            (None, GIB / 11, GIB * 2, Some(1), false),
            (Some(0), 1, 100 * GIB, None, true),
            (Some(5 * GIB), 5 * GIB - 1, 100 * GIB, None, false),
            (Some(u64::MAX), GIB, 100 * GIB, Some(u64::MAX), false),
        ];
        for (min_free, free, total, needed, expected) in cases {
            assert_eq!(
                fits(min_free, free, total, needed),
                expected,
                "{min_free:?} {free} {total} {needed:?}"
            );
        }
    }

    #[test]
    fn where_nothing_is_known_everything_fits() {
        assert!(Room::new(Some(u64::MAX), || None).refuses(Some(u64::MAX)).is_none());
    }
}
