//! Image references: which registry, name, and tag or digest a text means. Pure.

/// A reference, taken apart: `registry.example:5000/team/app:v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// Everything before the tag or digest, as written.
    pub(crate) name: &'a str,
    /// The tag, or the digest with its algorithm; `latest` when none is written.
    pub(crate) tag: &'a str,
    /// Which of the two `tag` is.
    pub(crate) kind: Kind,
}

/// Whether a reference can come to mean another image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A tag: it moves.
    Tag,
    /// A digest: it means one image for ever.
    Digest,
}

impl<'a> Reference<'a> {
    /// Takes `text` apart. Whether Docker accepts it is for Docker to say.
    pub(crate) fn parse(text: &'a str) -> Self {
        if let Some((name, digest)) = text.split_once('@') {
            // `app:v1@sha256:…`: the digest wins.
            let name = split_tag(name).map_or(name, |(name, _)| name);
            return Self { name, tag: digest, kind: Kind::Digest };
        }
        let (name, tag) = split_tag(text).unwrap_or((text, "latest"));
        Self { name, tag, kind: Kind::Tag }
    }

    /// The key of the registry in Docker's credential files.
    pub(crate) fn registry(&self) -> &'a str {
        match self.name.split_once('/') {
            Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
            _ => "https://index.docker.io/v1/",
        }
    }

    /// The name as Docker shows it, however Docker Hub's is written.
    pub(crate) fn plain_name(&self) -> &'a str {
        plain(self.name)
    }

    /// Whether `digest` (`name@sha256:…`) is of this name.
    pub(crate) fn names(&self, digest: &str) -> bool {
        digest.split_once('@').is_some_and(|(name, _)| plain(name) == self.plain_name())
    }
}

fn plain(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// A colon after the last slash begins a tag; one before it, a port.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let cases = [
            ("nginx", "nginx", "latest", Kind::Tag),
            ("nginx:1.27", "nginx", "1.27", Kind::Tag),
            ("localhost:5000/app", "localhost:5000/app", "latest", Kind::Tag),
            ("localhost:5000/app:v1", "localhost:5000/app", "v1", Kind::Tag),
            ("ghcr.io/o/app@sha256:aa", "ghcr.io/o/app", "sha256:aa", Kind::Digest),
            ("app:v1@sha256:aa", "app", "sha256:aa", Kind::Digest),
        ];
        for (text, name, tag, kind) in cases {
            assert_eq!(Reference::parse(text), Reference { name, tag, kind }, "{text}");
        }
    }

    #[test]
    fn the_registry_is_the_first_part_when_it_looks_like_a_host() {
        let hub = "https://index.docker.io/v1/";
        for (text, registry) in [
            ("nginx", hub),
            ("team/app:v1", hub),
            ("ghcr.io/team/app", "ghcr.io"),
            ("localhost/app", "localhost"),
            ("registry:5000/app", "registry:5000"),
        ] {
            assert_eq!(Reference::parse(text).registry(), registry, "{text}");
        }
    }

    #[test]
    fn digests_are_matched_by_name() {
        assert!(Reference::parse("docker.io/library/nginx:1").names("nginx@sha256:aa"));
        assert!(Reference::parse("ghcr.io/o/app:v1").names("ghcr.io/o/app@sha256:aa"));
        assert!(!Reference::parse("ghcr.io/o/app:v1").names("mirror.local/app@sha256:aa"));
    }
}
