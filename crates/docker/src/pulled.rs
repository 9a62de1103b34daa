//! Images that dockswap has pulled itself: each is marked by a tag of ours, and removed with the names by which it was
//! pulled once nothing needs it. What was on the host before is nobody's business here, and so is when a version is old.

use crate::daemon::Docker;
use crate::failure::Failure;
use crate::reference::{Kind, Reference};
use bollard::models::ImageInspect;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
};
use dockswap_core::ports::EngineError;
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};

/// Where pins and marks live. A host name that no registry has: none of them can be pushed by accident.
pub(crate) const OURS: &str = "dockswap.local";

/// Where marks live. No app has a slash in its name.
const MARKS: &str = "dockswap.local/pulled/image";

/// What was on the host before an image was pulled.
#[derive(Debug)]
pub(crate) struct Before {
    /// The ids of all images.
    ids: BTreeSet<String>,
    /// Whether the reference named one, and whose doing that was.
    name: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// It named none.
    Free,
    /// It named one that was pulled by it.
    Ours,
    /// It named one that somebody else has put there.
    Theirs,
}

impl Before {
    /// Whether nobody but us has brought the image that `reference` names now.
    fn says_ours(&self, now: &ImageInspect) -> bool {
        let known = now.id.as_ref().is_some_and(|id| self.ids.contains(id));
        let marked = tags(now).any(|tag| tag.starts_with(MARKS));
        self.name != Name::Theirs && (!known || marked)
    }
}

impl Docker {
    /// Looks at what is there before `reference` is pulled; `named`: what it names until then. `None`: that cannot be
    /// told, and what is pulled counts as somebody else's.
    pub(crate) async fn before_a_pull(
        &self,
        reference: &str,
        named: Option<&ImageInspect>,
    ) -> Option<Before> {
        let options = ListImagesOptionsBuilder::new().build();
        let images = self.call(|| self.client.list_images(Some(options.clone()))).await.ok()?;
        let name = match named {
            None => Name::Free,
            Some(image) if is_marked(image, reference) => Name::Ours,
            Some(_) => Name::Theirs,
        };
        Some(Before { ids: images.into_iter().map(|image| image.id).collect(), name })
    }

    /// Marks the image that `reference` names since it was pulled, unless somebody else may want it. It is pinned
    /// already: an image that is marked and needed by nobody goes.
    pub(crate) async fn mark_pulled(&self, reference: &str, before: &Before, now: &ImageInspect) {
        let Some(id) = now.id.as_deref().filter(|_| before.says_ours(now)) else { return };
        let options = TagImageOptionsBuilder::new().repo(MARKS).tag(&mark(reference, id)).build();
        if let Err(failure) = self.call(|| self.client.tag_image(id, Some(options.clone()))).await {
            // It stays for good then, as if somebody else had pulled it.
            tracing::debug!(reference, why = failure.message(), "an image that was pulled cannot be marked");
        }
    }

    /// Removes every image that was pulled by dockswap alone, that no deployment of any app has pinned, that no
    /// container is made of, and that nobody has given another name; how many.
    pub(crate) async fn remove_unneeded(&self) -> Result<usize, EngineError> {
        let failed = |failure: Failure| failure.during("list the images that were pulled".to_owned());
        let filters = HashMap::from([("reference", vec![MARKS])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let marked = self.call(|| self.client.list_images(Some(options.clone()))).await.map_err(failed)?;
        if marked.is_empty() {
            return Ok(0);
        }
        let mut removed = 0;
        for image in marked {
            removed += usize::from(self.remove_if_unneeded(&image.id).await?);
        }
        Ok(removed)
    }

    async fn remove_if_unneeded(&self, id: &str) -> Result<bool, EngineError> {
        let failed = |failure: Failure| failure.during(format!("look at image {id}"));
        let image = match self.call(|| self.client.inspect_image(id)).await {
            Ok(image) => image,
            Err(failure) if failure.status() == Some(404) => return Ok(false),
            Err(failure) => return Err(failed(failure)),
        };
        let Some(names) = names_to_remove(&image) else { return Ok(false) };
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let containers =
            self.call(|| self.client.list_containers(Some(options.clone()))).await.map_err(failed)?;
        if containers.iter().any(|container| container.image_id.as_deref() == Some(id)) {
            return Ok(false);
        }
        for name in names {
            match self.call(|| self.client.remove_image(&name, None::<RemoveImageOptions>, None)).await {
                Ok(_) => {}
                Err(failure) => match failure.status() {
                    Some(404) => {}
                    // A container came meanwhile. The marks, which go last, are still there.
                    Some(409) => return Ok(false),
                    _ => return Err(failure.during(format!("remove image {name}"))),
                },
            }
        }
        tracing::debug!(image = id, "removed an image that was pulled and that nothing needs any more");
        Ok(true)
    }
}

fn tags(image: &ImageInspect) -> impl Iterator<Item = &String> {
    image.repo_tags.iter().flatten()
}

/// Whether we have pulled `image` by `reference`.
fn is_marked(image: &ImageInspect, reference: &str) -> bool {
    let mark = format!("{MARKS}:{}", mark(reference, image.id.as_deref().unwrap_or_default()));
    tags(image).any(|tag| *tag == mark)
}

/// Every name of an image that nothing but our marks speaks for, the marks last; `None`: something does.
fn names_to_remove(image: &ImageInspect) -> Option<Vec<String>> {
    let marks: Vec<&String> = tags(image).filter(|tag| tag.starts_with(MARKS)).collect();
    let mark_parts = || marks.iter().filter_map(|mark| mark.rsplit_once(':')?.1.split_once('-'));
    let mut names = Vec::new();
    for tag in tags(image).filter(|tag| !tag.starts_with(MARKS)) {
        let reference = hash(&normal(&Reference::parse(tag)));
        // A pin is no reference that was ever pulled.
        if !mark_parts().any(|(_, rest)| rest.starts_with(&reference)) {
            return None;
        }
        names.push(tag.clone());
    }
    for digest in image.repo_digests.iter().flatten() {
        let parsed = Reference::parse(digest);
        // With the containerd image store, every tag has a digest of its own name.
        if parsed.name.starts_with(OURS) {
            continue;
        }
        let repository = hash(parsed.plain_name());
        if !mark_parts().any(|(marked, _)| marked == repository) {
            return None;
        }
        names.push(digest.clone());
    }
    names.extend(marks.into_iter().cloned());
    Some(names)
}

/// The tag that says that an image was pulled by `reference`: the repository, the reference and the image, hashed.
fn mark(reference: &str, id: &str) -> String {
    let reference = Reference::parse(reference);
    let short: String = id.trim_start_matches("sha256:").chars().take(16).collect();
    format!("{}-{}-{short}", hash(reference.plain_name()), hash(&normal(&reference)))
}

/// The reference as Docker shows it.
fn normal(reference: &Reference<'_>) -> String {
    let separator = if reference.kind == Kind::Digest { '@' } else { ':' };
    format!("{}{separator}{}", reference.plain_name(), reference.tag)
}

fn hash(text: &str) -> String {
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(text.as_bytes())[..8]);
    format!("{:016x}", u64::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const ID: &str = "sha256:0123456789abcdef0123";

    fn image(tags: &[&str], digests: &[&str]) -> ImageInspect {
        let owned = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        ImageInspect {
            id: Some(ID.to_owned()),
            repo_tags: owned(tags),
            repo_digests: owned(digests),
            ..ImageInspect::default()
        }
    }

    fn marked(reference: &str) -> String {
        format!("{MARKS}:{}", mark(reference, ID))
    }

    #[test]
    fn only_what_we_alone_have_pulled_is_ours() {
        let now = image(&["reg/app:v1"], &[]);
        let before =
            |ids: &[&str], name| Before { ids: ids.iter().map(|id| (*id).to_owned()).collect(), name };
        assert!(before(&[], Name::Free).says_ours(&now));
        assert!(before(&["sha256:other"], Name::Ours).says_ours(&now));
        // Somebody had the image, or the name, before.
        assert!(!before(&[ID], Name::Free).says_ours(&now));
        assert!(!before(&[], Name::Theirs).says_ours(&now));
        // We had it, under another name.
        let again = image(&["reg/app:v1", &marked("reg/app:v0")], &[]);
        assert!(before(&[ID], Name::Free).says_ours(&again));
    }

    #[test]
    fn a_name_is_ours_that_the_mark_was_made_for() {
        let ours = image(&["nginx:1", &marked("docker.io/library/nginx:1")], &[]);
        assert!(is_marked(&ours, "nginx:1"));
        assert!(!is_marked(&ours, "nginx:2"));
        let moved = ImageInspect { id: Some("sha256:fff".to_owned()), ..ours };
        assert!(!is_marked(&moved, "nginx:1"));
    }

    #[test]
    fn an_image_goes_with_the_names_it_was_pulled_by_and_stays_for_any_other() {
        let (one, other) = (marked("reg:5000/app:v1"), marked("reg:5000/app:latest"));
        let digest = "reg:5000/app@sha256:aa";
        let goes = |tags: &[&str], digests: &[&str]| names_to_remove(&image(tags, digests));
        assert_eq!(
            goes(&[&one, "reg:5000/app:v1"], &[digest]).unwrap(),
            ["reg:5000/app:v1", digest, one.as_str()]
        );
        // The name has moved on to another image, and the digest is left.
        assert_eq!(goes(&[&other], &[digest]).unwrap(), [digest, other.as_str()]);
        let stored = "dockswap.local/pulled/image@sha256:aa";
        assert_eq!(goes(&[&one, "reg:5000/app:v1"], &[stored]).unwrap(), ["reg:5000/app:v1", one.as_str()]);
        for stays in [
            vec![one.as_str(), "reg:5000/app:v1", "dockswap.local/web:d7"],
            vec![one.as_str(), "reg:5000/app:v1", "reg:5000/app:mine"],
            vec![one.as_str(), "mine:v1"],
        ] {
            assert_eq!(goes(&stays, &[digest]), None, "{stays:?}");
        }
        assert_eq!(goes(&[&one], &["elsewhere/app@sha256:aa"]), None);
        let by_digest = marked("reg:5000/app@sha256:aa");
        assert_eq!(goes(&[&by_digest], &[digest]).unwrap(), [digest, by_digest.as_str()]);
    }
}
