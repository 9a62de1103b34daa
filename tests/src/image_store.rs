//! A registry that has one image at a time, of any size: for what goes wrong while images come in, and for what they
//! leave. Docker speaks plain HTTP to a registry on 127.0.0.0/8.

use crate::command::Done;
use crate::versions::Base;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;

pub(crate) const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The registry, for as long as the process lives.
#[derive(Debug)]
pub struct ImageStore {
    port: u16,
    image: Arc<Mutex<Arc<Image>>>,
    base: Option<Base>,
}

impl ImageStore {
    /// One whose image has a file of so many MiB, and nothing to run.
    #[must_use]
    pub fn of_mebibytes(count: u64) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let (file, layer) = (home.path().join("big"), home.path().join("layer"));
        std::fs::File::create(&file).and_then(|file| file.set_len(count << 20)).expect("a big file");
        let mut tar = Command::new("tar");
        let _ = Done::of(tar.arg("-C").arg(home.path()).arg("-cf").arg(&layer).arg("big")).exits(0);
        std::fs::remove_file(file).expect("the big file");
        let mut blobs = BTreeMap::new();
        let layer = digest(&layer);
        let mut keep = |name: &str, bytes: &str| {
            let path = home.path().join(name);
            std::fs::write(&path, bytes).expect("a blob");
            let digest = digest(&path);
            blobs.insert(digest.clone(), (name.to_owned(), bytes.len() as u64));
            digest
        };
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/big"]}},"rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
        );
        let config_digest = keep("config", &config);
        let size = std::fs::metadata(home.path().join("layer")).expect("the layer").len();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"{CONFIG}","size":{},"digest":"{config_digest}"}},"layers":[{{"mediaType":"{LAYER}","size":{size},"digest":"{layer}"}}]}}"#,
            config.len()
        );
        let manifest = keep("manifest", &manifest);
        blobs.insert(layer, ("layer".to_owned(), size));
        Self::with(Image { home, blobs, manifest }, None)
    }

    /// One that gives ever new versions of an image of the machine's Docker: the first one has so many MiB that no
    /// other has.
    #[must_use]
    pub fn of_versions(image: &str, mebibytes: u64) -> Self {
        let base = Base::of(image);
        Self::with(base.version(mebibytes), Some(base))
    }

    /// From now on the next version is given, whatever the tag, and no other.
    pub fn turn_over(&self, mebibytes: u64) {
        let next = self.base.as_ref().expect("a store of versions").version(mebibytes);
        *self.image.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    fn with(image: Image, base: Option<Base>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let image = Arc::new(Mutex::new(Arc::new(image)));
        let given = Arc::clone(&image);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let image = Arc::clone(&given.lock().unwrap_or_else(PoisonError::into_inner));
                // A peer that goes away is its own business.
                std::thread::spawn(move || drop(image.answer(&stream)));
            }
        });
        Self { port, image, base }
    }

    /// The reference of its image by another tag.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> String {
        format!("127.0.0.1:{}/big/app:{tag}", self.port)
    }

    /// The reference of its image.
    #[must_use]
    pub fn image(&self) -> String {
        self.tagged("v1")
    }
}

/// `sha256:…` of a file, by `sha256sum`.
pub(crate) fn digest(path: &Path) -> String {
    let done = Done::of(Command::new("sha256sum").arg(path)).exits(0);
    format!("sha256:{}", done.stdout.split_whitespace().next().expect("a hash"))
}

#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) home: TempDir,
    /// By digest: the file's name and size.
    pub(crate) blobs: BTreeMap<String, (String, u64)>,
    pub(crate) manifest: String,
}

impl Image {
    /// Answers one request, and closes.
    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let question = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let mut words = question.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let asked = path.rsplit('/').next().unwrap_or_default();
        let is_tag = path.contains("/manifests/") && !asked.starts_with("sha256:");
        let digest = if is_tag { self.manifest.as_str() } else { asked };
        let Some((name, size)) = self.blobs.get(digest) else {
            let status = if path == "/v2/" { "200 OK" } else { "404 Not Found" };
            return write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        };
        let kind = if name == "manifest" { MANIFEST } else { "application/octet-stream" };
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ndocker-content-digest: {digest}\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n"
        )?;
        if method == "HEAD" {
            return Ok(());
        }
        let mut file = std::fs::File::open(self.home.path().join(name))?;
        std::io::copy(&mut file, &mut stream).map(drop)
    }
}
